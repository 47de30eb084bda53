//! The keyspace on disk, replicated: Raft (openraft) and RocksDB under the state machine of `keyspace`.
//!
//! ```text
//!  writers ──► Proposals (bounded) ──► Proposer: what waits becomes one entry
//!                                         │
//!                                         ▼
//!            Raft ──► LogStore ──► Store `log`   (one sync for all that was written: group commit)
//!             │ committed
//!             ▼
//!      StateMachine ──► Machine ──► StateEngine ──► Store `state`   (no sync of its own)
//!             │                                        ▲
//!             ▼                                        │
//!            Hub ──► watchers                       readers
//!
//!      Store (checksums) ──► dyn Disk: Rocks (RocksDB and a directory); a simulated one in tests
//! ```
//!
//! Invariants:
//! - A write is acknowledged after its log entry is synced and applied.
//! - State and log share one write-ahead log, and the log position is written atomically with the state: after a crash
//!   the state is that of some position, never between two, and never ahead of the log.
//! - The log is cut behind a position whose state is on disk; a snapshot is made a file only when a member needs one.
//! - Every record carries a checksum of its place and value; a damaged one is named and never served.
//! - A directory has one process at a time and one member for ever.
//! - A read sees every write acknowledged before it began, on every member, or is refused.
//! - A write that fails says whether nothing was done or whether that is unknown; what may have been done is never sent
//!   again.
//! - Time that ends leases is told by the leader alone, and stands still while there is none.
//! - What is wrong with one member stops that member, not the others; it can always be removed.
//! - Members prove who they are to each other; one that was removed, belongs to another cluster, or runs twice is
//!   refused, and told why.
//! - A failing disk stops writes with a typed error; nothing panics, nothing is half done.
//!
//! Limits: see [`config`]. At most five voters, and an odd number by itself: a learner waits until it makes one.

mod admin;
pub mod config;
mod damaged;
pub mod disk;
mod error;
#[cfg(test)]
mod formats;
pub mod inspect;
mod leadership;
mod log_store;
mod maintenance;
mod members;
mod metrics;
mod observed;
mod own_runtime;
mod parts;
mod past;
mod peer;
mod proposer;
mod reads;
mod repair;
mod replica;
mod restore;
mod revision_times;
mod rocks;
mod room;
mod room_guard;
mod snapshot;
mod start;
mod state_machine;
mod store;
mod tls;
pub mod transport;
mod types;
mod wal;

#[cfg(test)]
mod recovery_tests;
#[cfg(test)]
mod sync_tests;
#[cfg(test)]
mod tests;

pub use config::{Config, Settings, Start, Timing};
pub use error::Error;
pub use own_runtime::OwnRuntime;
pub use peer::hello::{Rejection, probe};
pub use repair::{Repaired, repair};
pub use replica::Replica;
pub use restore::{Restore, save};
pub use tls::TlsTransport;
pub use transport::Transport;
pub use types::Peer;
