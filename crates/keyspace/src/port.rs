//! The port: what the rest of nanocloud sees of a keyspace.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, Stream, StreamExt};

use crate::{
    Alarm, Error, KeyValue, KvHash, LeaseGranted, LeaseId, LeaseInfo, Op, RangeRequest, RangeResponse, Revision,
    Status, Txn, TxnResponse, WatchBatch, WatchRequest,
};

/// A multi-version keyspace. Object-safe: hold it as `Arc<dyn Keyspace>`.
///
/// Writes are acknowledged when they survive a crash. Reads are linearizable unless asked to be serializable.
/// Dropping a future does not undo a write that was already on its way.
pub trait Keyspace: Send + Sync + 'static {
    /// Reads keys.
    fn range(&self, request: RangeRequest) -> BoxFuture<'_, Result<RangeResponse, Error>>;

    /// Runs a transaction. With no writes in it this is a linearizable read.
    fn txn(&self, txn: Txn) -> BoxFuture<'_, Result<TxnResponse, Error>>;

    /// Follows changes. Fails at once when `from_revision` has been compacted.
    fn watch(&self, request: WatchRequest) -> BoxFuture<'_, Result<WatchStream, Error>>;

    /// Forgets history before `revision`; what was live at it stays readable. Answers the newest revision.
    fn compact(&self, revision: Revision) -> BoxFuture<'_, Result<Revision, Error>>;

    /// Grants a lease of `ttl_seconds`; `id` 0 has one chosen.
    fn lease_grant(&self, id: LeaseId, ttl_seconds: i64) -> BoxFuture<'_, Result<LeaseGranted, Error>>;

    /// Starts the lease's time to live anew.
    fn lease_keep_alive(&self, id: LeaseId) -> BoxFuture<'_, Result<LeaseGranted, Error>>;

    /// Ends a lease and deletes its keys. Answers the revision after.
    fn lease_revoke(&self, id: LeaseId) -> BoxFuture<'_, Result<Revision, Error>>;

    /// What is known of a lease.
    fn lease_time_to_live(&self, id: LeaseId) -> BoxFuture<'_, Result<LeaseInfo, Error>>;

    /// All leases, in order of id.
    fn leases(&self) -> BoxFuture<'_, Result<Vec<LeaseId>, Error>>;

    /// Alarms that are on, in order.
    fn alarms(&self) -> BoxFuture<'_, Result<Vec<Alarm>, Error>>;

    /// Turns an alarm on. Answers those that are on.
    fn alarm_set(&self, alarm: Alarm) -> BoxFuture<'_, Result<Vec<Alarm>, Error>>;

    /// Turns an alarm off. Answers those that are on. One whose reason stays comes back with the next write.
    fn alarm_clear(&self, alarm: Alarm) -> BoxFuture<'_, Result<Vec<Alarm>, Error>>;

    /// Checksum of this member's state up to a revision (0: the newest), to be compared with other members'.
    fn hash_kv(&self, revision: Revision) -> BoxFuture<'_, Result<KvHash, Error>>;

    /// Gives back the room of what was overwritten, deleted and compacted on this member. Reads and writes go on.
    fn defragment(&self) -> BoxFuture<'_, Result<(), Error>>;

    /// The whole keyspace at one revision as a file (see [`snapshot`](crate::snapshot)), in pieces. Complete only
    /// when the stream ends without an error.
    fn snapshot(&self) -> BoxFuture<'_, Result<SnapshotStream, Error>>;

    /// State of the keyspace and of this member.
    fn status(&self) -> BoxFuture<'_, Result<Status, Error>>;
}

/// Shorthands over [`Keyspace`].
pub trait KeyspaceExt: Keyspace {
    /// The newest version of `key`.
    fn get(&self, key: impl Into<Bytes>) -> impl Future<Output = Result<Option<KeyValue>, Error>> + Send {
        let answer = self.range(RangeRequest::key(key));
        async move { Ok(answer.await?.kvs.pop()) }
    }

    /// Writes `key` unconditionally; answers the revision made.
    fn put(
        &self,
        key: impl Into<Bytes>,
        value: impl Into<Bytes>,
    ) -> impl Future<Output = Result<Revision, Error>> + Send {
        let answer = self.txn(Txn::run([Op::put(key, value)]));
        async move { Ok(answer.await?.revision) }
    }

    /// Deletes `key` unconditionally; answers the revision after.
    fn delete(&self, key: impl Into<Bytes>) -> impl Future<Output = Result<Revision, Error>> + Send {
        let answer = self.txn(Txn::run([Op::delete(key)]));
        async move { Ok(answer.await?.revision) }
    }
}

impl<K: Keyspace + ?Sized> KeyspaceExt for K {}

/// The pieces of a snapshot's file, in order.
pub type SnapshotStream = BoxStream<'static, Result<Bytes, Error>>;

/// The batches of a watch: ordered, each revision once, without gaps. Ends only after an error (the watch fell
/// behind a compaction, the storage failed) or when the keyspace closes. Dropping it ends the watch.
pub struct WatchStream {
    revision: Revision,
    marker: Marker,
    batches: BoxStream<'static, Result<WatchBatch, Error>>,
}

/// Asks a watch how far it has come.
#[derive(Clone)]
pub struct Marker(Arc<dyn Fn() + Send + Sync>);

impl Marker {
    /// A marker that calls `ask`.
    pub fn new(ask: impl Fn() + Send + Sync + 'static) -> Self {
        Marker(Arc::new(ask))
    }

    /// Has the watch deliver a progress mark as soon as everything acknowledged before this call has been delivered.
    /// Several calls may be answered by one mark.
    pub fn request(&self) {
        (self.0)();
    }
}

impl std::fmt::Debug for Marker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Marker").finish_non_exhaustive()
    }
}

impl WatchStream {
    /// Wraps a stream that keeps the promises above; `revision` was the newest when the watch began.
    pub fn new(
        revision: Revision,
        marker: Marker,
        stream: impl Stream<Item = Result<WatchBatch, Error>> + Send + 'static,
    ) -> Self {
        WatchStream { revision, marker, batches: stream.boxed() }
    }

    /// What asks this watch how far it has come; it may be kept apart from the stream.
    pub fn marker(&self) -> Marker {
        self.marker.clone()
    }

    /// Newest revision of the keyspace when the watch began.
    pub fn revision(&self) -> Revision {
        self.revision
    }
}

impl Stream for WatchStream {
    type Item = Result<WatchBatch, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.batches.poll_next_unpin(cx)
    }
}

impl std::fmt::Debug for WatchStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WatchStream").field("revision", &self.revision).finish_non_exhaustive()
    }
}
