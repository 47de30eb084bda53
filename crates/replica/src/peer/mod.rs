//! Members talk to members.
//!
//! ```text
//!  Raft ──► Network ─┐                             ┌─► raft: append, vote, snapshot
//!  Router ───────────┼─► Link ══ Transport ══► serve ─► router: propose, read index, change
//!  presence ─────────┘   (one for each peer and lane)  └─► ping
//! ```
//!
//! A connection begins with a [`Hello`](hello::Hello): protocol, cluster, both members, the run of the process, and the
//! lane. Then requests and answers are frames with a number, so that a slow answer holds up no other one. Lanes are
//! connections of their own: a snapshot or a large proposal never stands before a heartbeat. None of this is reachable
//! without a member's certificate.

pub(crate) mod answer;
mod backoff;
pub(crate) mod hello;
pub(crate) mod link;
pub(crate) mod links;
pub(crate) mod network;
pub(crate) mod receive;
pub(crate) mod serve;
pub(crate) mod sessions;
pub(crate) mod standing;
pub(crate) mod wire;
