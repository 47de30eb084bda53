//! Key-values and the changes made to them.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Number of a state of the whole keyspace. An empty keyspace is at revision 1; each request that changes
/// something makes the next one.
pub type Revision = u64;

/// Identity of a lease; 0 is "no lease".
pub type LeaseId = i64;

/// One version of one key (etcd's `mvccpb.KeyValue`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyValue {
    /// The key.
    pub key: Bytes,
    /// Its value; empty in the `kv` of a delete event and in keys-only answers.
    pub value: Bytes,
    /// Revision at which the key was last created (0 in a delete event).
    pub create_revision: Revision,
    /// Revision of this version.
    pub mod_revision: Revision,
    /// 1 for a key just made, one more with each put (0 in a delete event).
    pub version: u64,
    /// Lease the key lives on, 0 for none.
    pub lease: LeaseId,
}

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EventKind {
    /// Created or overwritten.
    Put,
    /// Deleted, or gone with its lease.
    Delete,
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchEvent {
    /// Put or delete.
    pub kind: EventKind,
    /// The version made. For a delete only `key` and `mod_revision` are set.
    pub kv: KeyValue,
    /// The version before, when the watch asked for it and it has not been compacted away.
    pub prev: Option<KeyValue>,
}

impl WatchEvent {
    /// Whether this put made a key that was not there.
    pub fn is_create(&self) -> bool {
        self.kind == EventKind::Put && self.kv.create_revision == self.kv.mod_revision
    }

    /// Bytes this event holds on to.
    pub fn size(&self) -> usize {
        let of = |kv: &KeyValue| kv.key.len() + kv.value.len();
        of(&self.kv) + self.prev.as_ref().map_or(0, of)
    }
}
