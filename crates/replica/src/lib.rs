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
//! - Every record carries a checksum of its place and value; a damaged one is named and never served.
//! - A directory has one process at a time and one member for ever.
//! - A failing disk stops writes with a typed error; nothing panics, nothing is half done.
//!
//! Limits: see [`config`]. There is one voter until a transport is given; storage does not care.

mod admin;
mod ages;
pub mod config;
mod damaged;
pub mod disk;
mod error;
pub mod inspect;
mod log_store;
mod maintenance;
mod metrics;
mod network;
mod observed;
mod proposer;
mod repair;
mod replica;
mod restore;
mod rocks;
mod room;
mod snapshot;
mod state_machine;
mod store;
pub mod transport;
mod types;

#[cfg(test)]
mod sync_tests;
#[cfg(test)]
mod tests;

pub use config::Config;
pub use error::Error;
pub use repair::{Repaired, repair};
pub use replica::Replica;
pub use restore::{Restore, save};
pub use transport::Transport;
pub use types::Peer;
