//! Requests and answers: ranges, transactions, watches, leases.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{Alarm, KeyRange, KeyValue, LeaseId, Revision, WatchEvent};

/// What a range answer is sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SortTarget {
    /// Key bytes.
    #[default]
    Key,
    /// Version of the key.
    Version,
    /// Revision of creation.
    Create,
    /// Revision of the last change.
    Mod,
    /// Value bytes.
    Value,
}

/// Direction of a sort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SortOrder {
    /// Smallest first.
    #[default]
    Ascending,
    /// Largest first.
    Descending,
}

/// How much of each match is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Projection {
    /// Keys with values.
    #[default]
    Full,
    /// Keys with empty values.
    KeysOnly,
    /// Only `count`.
    CountOnly,
}

/// Bounds (both included, 0 = none) on the revisions of the key-values answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisionFilter {
    /// Smallest `mod_revision`.
    pub min_mod: Revision,
    /// Largest `mod_revision`.
    pub max_mod: Revision,
    /// Smallest `create_revision`.
    pub min_create: Revision,
    /// Largest `create_revision`.
    pub max_create: Revision,
}

impl RevisionFilter {
    /// Whether `kv` passes.
    pub fn passes(&self, kv: &KeyValue) -> bool {
        let within = |value, min, max| value >= min && (max == 0 || value <= max);
        within(kv.mod_revision, self.min_mod, self.max_mod)
            && within(kv.create_revision, self.min_create, self.max_create)
    }

    /// Whether everything passes.
    pub fn is_open(&self) -> bool {
        *self == RevisionFilter::default()
    }
}

/// Reads keys, now or at an earlier revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeRequest {
    /// Keys to read.
    pub range: KeyRange,
    /// Revision to read at; 0 is the newest.
    pub revision: Revision,
    /// Most key-values to answer; 0 is all.
    pub limit: u64,
    /// What to sort by before `limit` applies.
    pub target: SortTarget,
    /// Direction of the sort.
    pub order: SortOrder,
    /// How much to answer.
    pub projection: Projection,
    /// Bounds on revisions; they do not change `count`.
    pub filter: RevisionFilter,
    /// Stop at the limit instead of counting all matches: then `count` is only the number of key-values answered.
    /// A reader that pages through a large range wants this.
    pub skip_count: bool,
    /// Answer from this member's own state without asking the others whether it is the newest.
    pub serializable: bool,
}

impl RangeRequest {
    /// Everything in `range`, newest, in key order.
    pub fn new(range: KeyRange) -> Self {
        RangeRequest {
            range,
            revision: 0,
            limit: 0,
            target: SortTarget::Key,
            order: SortOrder::Ascending,
            projection: Projection::Full,
            filter: RevisionFilter::default(),
            skip_count: false,
            serializable: false,
        }
    }

    /// One key.
    pub fn key(key: impl Into<Bytes>) -> Self {
        Self::new(KeyRange::key(key))
    }

    /// All keys with a prefix.
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        Self::new(KeyRange::prefix(prefix))
    }

    /// As of an earlier revision.
    pub fn at(mut self, revision: Revision) -> Self {
        self.revision = revision;
        self
    }

    /// At most `limit` key-values (0: all).
    pub fn limit(mut self, limit: u64) -> Self {
        self.limit = limit;
        self
    }
}

/// Answer to a [`RangeRequest`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeResponse {
    /// The keyspace's newest revision when this was read (not the requested one).
    pub revision: Revision,
    /// The matches, sorted and limited.
    pub kvs: Vec<KeyValue>,
    /// Whether the limit left matches out.
    pub more: bool,
    /// Number of keys in the range at the requested revision (see [`RangeRequest::skip_count`]).
    pub count: u64,
}

/// How a compared attribute must relate to its operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Relation {
    /// The same.
    Equal,
    /// Different.
    NotEqual,
    /// The stored one is greater.
    Greater,
    /// The stored one is less.
    Less,
}

/// The attribute compared, with its operand. An absent key has 0 everywhere and no value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operand {
    /// Number of puts since creation.
    Version(u64),
    /// Revision of creation.
    Create(Revision),
    /// Revision of the last change.
    Mod(Revision),
    /// Value bytes; any comparison with an absent key's value fails.
    Value(Bytes),
    /// Lease.
    Lease(LeaseId),
}

/// A condition on the keyspace. Over a range with several keys it must hold for each of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compare {
    /// Keys to look at.
    pub range: KeyRange,
    /// Required relation of the stored attribute to the operand.
    pub relation: Relation,
    /// Attribute and operand.
    pub operand: Operand,
}

impl Compare {
    /// The key does not exist.
    pub fn absent(key: impl Into<Bytes>) -> Self {
        Self::equal(key, Operand::Create(0))
    }

    /// The key exists.
    pub fn present(key: impl Into<Bytes>) -> Self {
        Compare { range: KeyRange::key(key), relation: Relation::Greater, operand: Operand::Create(0) }
    }

    /// The key was last changed at exactly `revision` (0: does not exist).
    pub fn unchanged(key: impl Into<Bytes>, revision: Revision) -> Self {
        Self::equal(key, Operand::Mod(revision))
    }

    /// The attribute of the key equals the operand.
    pub fn equal(key: impl Into<Bytes>, operand: Operand) -> Self {
        Compare { range: KeyRange::key(key), relation: Relation::Equal, operand }
    }
}

/// Writes one key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Put {
    /// The key, not empty.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
    /// Lease to live on, 0 for none.
    pub lease: LeaseId,
    /// Answer the version before.
    pub prev: bool,
    /// Keep the stored value (`value` must be empty); the key must exist.
    pub ignore_value: bool,
    /// Keep the stored lease (`lease` must be 0); the key must exist.
    pub ignore_lease: bool,
}

/// Deletes keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delete {
    /// Keys to delete.
    pub range: KeyRange,
    /// Answer the versions deleted.
    pub prev: bool,
}

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// Write a key.
    Put(Put),
    /// Delete keys.
    Delete(Delete),
    /// Read keys; sees the writes of earlier operations of the same transaction.
    Range(RangeRequest),
    /// A transaction within. Its compares are decided before anything is written.
    Txn(Txn),
}

impl Op {
    /// Write `key`.
    pub fn put(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Op::Put(Put { key: key.into(), value: value.into(), ..Put::default() })
    }

    /// Delete `key`, answering what it was.
    pub fn delete(key: impl Into<Bytes>) -> Self {
        Op::Delete(Delete { range: KeyRange::key(key), prev: true })
    }

    /// Read `key`.
    pub fn get(key: impl Into<Bytes>) -> Self {
        Op::Range(RangeRequest::key(key))
    }
}

/// If all compares hold run `success`, else `failure`; atomically and at one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Txn {
    /// Conditions; none at all holds.
    pub compares: Vec<Compare>,
    /// Operations when they hold.
    pub success: Vec<Op>,
    /// Operations when one does not.
    pub failure: Vec<Op>,
}

impl Txn {
    /// An unconditional transaction.
    pub fn run(ops: impl Into<Vec<Op>>) -> Self {
        Txn { success: ops.into(), ..Txn::default() }
    }

    /// A transaction with conditions.
    pub fn when(compares: impl Into<Vec<Compare>>) -> Self {
        Txn { compares: compares.into(), ..Txn::default() }
    }

    /// Adds what to do when the conditions hold.
    pub fn then(mut self, ops: impl Into<Vec<Op>>) -> Self {
        self.success = ops.into();
        self
    }

    /// Adds what to do when one does not hold.
    pub fn otherwise(mut self, ops: impl Into<Vec<Op>>) -> Self {
        self.failure = ops.into();
        self
    }
}

/// Answer to one operation, in the order of the branch taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OpResponse {
    /// Of a put: the version before, when asked for and there was one.
    Put {
        /// The version before.
        prev: Option<KeyValue>,
    },
    /// Of a delete.
    Delete {
        /// Number of keys deleted.
        deleted: u64,
        /// The versions deleted, when asked for.
        prev: Vec<KeyValue>,
    },
    /// Of a range.
    Range(RangeResponse),
    /// Of a transaction within.
    Txn(TxnResponse),
}

/// Answer to a [`Txn`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxnResponse {
    /// Whether the compares held.
    pub succeeded: bool,
    /// The keyspace's revision after the transaction: its own, if it changed something.
    pub revision: Revision,
    /// One answer for each operation of the branch taken.
    pub responses: Vec<OpResponse>,
}

/// Which events a watch delivers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WatchKinds {
    /// Puts and deletes.
    #[default]
    All,
    /// Puts only.
    Puts,
    /// Deletes only.
    Deletes,
}

/// Follows the changes of keys.
#[derive(Clone, Debug)]
pub struct WatchRequest {
    /// Keys to follow.
    pub range: KeyRange,
    /// First revision to deliver; 0 is the next one to be made. May lie in the future.
    pub from_revision: Revision,
    /// Deliver the version before each change too.
    pub prev: bool,
    /// Which events.
    pub kinds: WatchKinds,
    /// Deliver a progress mark (a batch without events) once history has been delivered, and then whenever this
    /// time went by without an event.
    pub progress: Option<Duration>,
}

impl WatchRequest {
    /// All changes in `range` from `from_revision` on (0: from now on), without previous versions.
    pub fn new(range: KeyRange, from_revision: Revision) -> Self {
        WatchRequest { range, from_revision, prev: false, kinds: WatchKinds::All, progress: None }
    }

    /// Also deliver previous versions.
    pub fn with_prev(mut self) -> Self {
        self.prev = true;
        self
    }

    /// Also deliver progress marks.
    pub fn with_progress(mut self, every: Duration) -> Self {
        self.progress = Some(every);
        self
    }
}

/// Some events, in order. No revision is ever split over two batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchBatch {
    /// Everything of the watch up to and including this revision has been delivered with this batch; resume
    /// at `revision + 1`.
    pub revision: Revision,
    /// The events; none in a progress mark.
    pub events: Vec<WatchEvent>,
}

impl WatchBatch {
    /// Whether this only says how far the watch has come.
    pub fn is_progress(&self) -> bool {
        self.events.is_empty()
    }
}

/// Answer to a grant or keep-alive of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseGranted {
    /// The lease.
    pub id: LeaseId,
    /// Its time to live in seconds, from now.
    pub ttl_seconds: i64,
    /// The keyspace's revision.
    pub revision: Revision,
}

/// What is known of a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseInfo {
    /// The lease.
    pub id: LeaseId,
    /// Time to live it was granted with, in seconds.
    pub granted_ttl_seconds: i64,
    /// Milliseconds left; 0 when it is due but not yet revoked.
    pub remaining_ms: u64,
    /// Keys on it, in order.
    pub keys: Vec<Bytes>,
    /// The keyspace's revision.
    pub revision: Revision,
}

/// State of the keyspace and of the member that was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Newest revision.
    pub revision: Revision,
    /// Reads and watches below this revision are refused as compacted (0: nothing was compacted yet).
    pub compact_revision: Revision,
    /// Number of leases.
    pub leases: u64,
    /// Bytes on disk (or in memory, on the memory engine), approximately.
    pub size_bytes: u64,
    /// Of them, bytes in use; the rest is given back by defragmenting.
    pub in_use_bytes: u64,
    /// Size at which writes are refused, 0 for none.
    pub quota_bytes: u64,
    /// Alarms that are on.
    pub alarms: Vec<Alarm>,
    /// This member.
    pub node_id: u64,
    /// The leader, if there is one.
    pub leader: Option<u64>,
    /// Raft term (0 without Raft).
    pub term: u64,
    /// Index of the newest log entry (0 without Raft).
    pub log_index: u64,
    /// Index of the newest log entry applied (0 without Raft).
    pub applied_index: u64,
    /// Voting members.
    pub voters: Vec<u64>,
}
