//! Multi-version keyspace: revisions, transactions, leases, watch; deterministic, no IO.

mod error;
mod kv;
pub mod limits;
mod port;
mod range;
mod request;

pub use error::{EngineError, Error, Refusal};
pub use kv::{EventKind, KeyValue, LeaseId, Revision, WatchEvent};
pub use port::{Keyspace, KeyspaceExt, WatchStream};
pub use range::{KeyRange, prefix_end};
pub use request::{
    Compare, Delete, LeaseGranted, LeaseInfo, Op, OpResponse, Operand, Projection, Put,
    RangeRequest, RangeResponse, Relation, RevisionFilter, SortOrder, SortTarget, Status, Txn,
    TxnResponse, WatchBatch, WatchKinds, WatchRequest,
};
