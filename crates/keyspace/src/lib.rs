//! Multi-version keyspace after etcd's semantics: revisions, transactions, leases, watch.
//!
//! ```text
//!   callers ──► dyn Keyspace (port) ◄── MemoryKeyspace here, Replica in `replica`
//!                    │ commands               │ reads
//!                    ▼                        ▼
//!   check ──► Machine::apply_all          read::* on a View
//!                    │  Batch (atomic)        ▲
//!                    ▼                        │
//!                  Engine: ordered tables (MemoryEngine here, RocksDB in `replica`)
//!                    │ Changes
//!                    ▼
//!                   Hub ──► WatchStreams
//! ```
//!
//! Invariants:
//! - The machine is deterministic: equal commands in equal order give equal answers and equal tables. It knows no
//!   clock, no randomness and no IO but its engine. Time is in the commands ([`Command::Tick`]).
//! - A revision is one atomic write. Its events have consecutive numbers and a key occurs in it at most once.
//! - Refused commands change nothing.
//! - A watcher gets every matching revision from its first one on, in order, once and whole, or an error; writes never
//!   wait for watchers.
//! - After a compaction at `C`, reads at `C` or later answer as before, and watches from `C` or later are complete.
//!
//! Limits: see [`limits`].

mod admission;
mod alarm;
pub mod check;
mod cluster;
mod codec;
mod command;
mod engine;
mod error;
#[cfg(test)]
mod formats;
mod hash;
mod hub;
mod keeper;
mod kv;
mod lease;
pub mod limits;
mod local;
mod machine;
mod memory;
mod overlay;
mod port;
mod range;
pub mod read;
mod request;
pub mod salvage;
pub mod snapshot;
mod sweep;
pub mod testing;
mod txn;
mod work;

pub use admission::replaces;
pub use alarm::{Alarm, AlarmKind};
pub use cluster::{Cluster, ClusterError, ClusterState, MAX_VOTERS, Member, MemberChange, MemberRole, MemberState};
pub use command::{Command, Outcome, Reply};
pub use engine::{Batch, Direction, Engine, Table, View, Visit, scan_map};
pub use error::{EngineError, Error, Refusal};
pub use hash::{Comparison, KvHash, hash_kv};
pub use hub::{History, Hub, HubStats};
pub use keeper::{ClusterClock, LeaseKeeper, expire_leases};
pub use kv::{EventKind, KeyValue, LeaseId, Revision, WatchEvent};
pub use local::MemoryKeyspace;
pub use machine::{Applied, Machine, read_only_txn};
pub use memory::{MemoryEngine, MemoryView};
pub use port::{Keyspace, KeyspaceExt, Marker, SnapshotStream, WatchStream};
pub use range::{KeyRange, prefix_end};
pub use request::{
    Compare, Delete, LeaseGranted, LeaseInfo, Op, OpResponse, Operand, Projection, Put, RangeRequest, RangeResponse,
    Relation, RevisionFilter, SortOrder, SortTarget, Status, Txn, TxnResponse, WatchBatch, WatchKinds, WatchRequest,
};
