//! The whole keyspace in one process, without Raft and without a disk.

use std::sync::{Arc, OnceLock};

use futures::future::{BoxFuture, ready};
use futures::{FutureExt, StreamExt};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::engine::Engine;
use crate::hub::{History, Hub};
use crate::keeper::{ClusterClock, LeaseKeeper, expire_leases};
use crate::read::Changes;
use crate::{
    Alarm, Command, EngineError, Error, KeyRange, Keyspace, KvHash, LeaseGranted, LeaseId, LeaseInfo, Machine,
    MemoryEngine, RangeRequest, RangeResponse, Reply, Revision, SnapshotStream, Status, Txn, TxnResponse, WatchRequest,
    WatchStream, check, hash_kv, machine, read, snapshot,
};

/// A [`Keyspace`] on the memory engine: the real state machine, watchers and leases, for one process. It forgets
/// everything when dropped. Leases expire by tokio's clock, so tests may pause it.
#[derive(Debug)]
pub struct MemoryKeyspace {
    inner: Arc<Inner>,
    /// The task that expires leases; there is one once there was a lease.
    expiry: OnceLock<AbortHandle>,
}

#[derive(Debug)]
struct Inner {
    machine: Mutex<Machine<MemoryEngine>>,
    engine: Arc<MemoryEngine>,
    hub: Arc<Hub>,
    clock: OnceLock<ClusterClock>,
    leases_changed: Arc<Notify>,
}

impl Default for MemoryKeyspace {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryKeyspace {
    /// An empty keyspace.
    pub fn new() -> Self {
        let engine = Arc::new(MemoryEngine::default());
        let inner = Inner {
            machine: Mutex::new(Machine::empty(engine.clone())),
            engine,
            hub: Arc::new(Hub::new(1)),
            clock: OnceLock::new(),
            leases_changed: Arc::new(Notify::new()),
        };
        MemoryKeyspace { inner: Arc::new(inner), expiry: OnceLock::new() }
    }

    fn propose(&self, command: Command) -> Result<Reply, Error> {
        let needs_time = command.needs_time();
        let reply = self.inner.propose(command)?;
        if needs_time {
            self.expiry.get_or_init(|| {
                let keeper: Arc<dyn LeaseKeeper> = Arc::new(Keeper(Arc::downgrade(&self.inner)));
                #[expect(clippy::disallowed_methods, reason = "aborted when the keyspace is dropped")]
                tokio::spawn(expire_leases(keeper, self.inner.leases_changed.clone())).abort_handle()
            });
            self.inner.leases_changed.notify_one();
        }
        Ok(reply)
    }
}

impl Drop for MemoryKeyspace {
    fn drop(&mut self) {
        self.inner.hub.close();
        if let Some(expiry) = self.expiry.get() {
            expiry.abort();
        }
    }
}

impl Inner {
    fn propose(&self, command: Command) -> Result<Reply, Error> {
        check::command(&command)?;
        let tick = command.needs_time().then(|| Command::Tick { now_ms: self.now_ms() });
        let mut machine = self.machine.lock();
        let mut applied = machine.apply_all(tick.iter().chain([&command]), None)?;
        while machine.sweep()? {}
        self.hub.publish(&applied.changes);
        let outcome = applied.outcomes.pop().ok_or(Error::Closed)?;
        Ok(outcome?)
    }

    fn now_ms(&self) -> u64 {
        self.clock.get_or_init(|| ClusterClock::new(0)).now_ms()
    }
}

/// Holds the keyspace weakly: the task that expires leases does not keep it alive.
struct Keeper(std::sync::Weak<Inner>);

impl LeaseKeeper for Keeper {
    fn next_due_ms(&self) -> Result<Option<u64>, EngineError> {
        self.0.upgrade().map_or(Ok(None), |inner| read::next_expiry_ms(&inner.engine.view()))
    }

    fn now_ms(&self) -> u64 {
        self.0.upgrade().map_or(0, |inner| inner.now_ms())
    }

    fn tick(&self, now_ms: u64) -> BoxFuture<'_, Result<(), Error>> {
        let done = self.0.upgrade().map_or(Ok(()), |inner| inner.propose(Command::Tick { now_ms }).map(drop));
        ready(done).boxed()
    }
}

impl History for MemoryEngine {
    fn changes(&self, from: Revision, range: KeyRange, prev: bool) -> BoxFuture<'_, Result<Changes, Error>> {
        ready(read::changes(&self.view(), from, &range, prev)).boxed()
    }
}

impl Keyspace for MemoryKeyspace {
    fn range(&self, request: RangeRequest) -> BoxFuture<'_, Result<RangeResponse, Error>> {
        let answer = check::range(&request).map_err(Error::from);
        ready(answer.and_then(|()| read::range(&self.inner.engine.view(), &request))).boxed()
    }

    fn txn(&self, txn: Txn) -> BoxFuture<'_, Result<TxnResponse, Error>> {
        async move {
            if txn.is_read_only() {
                return machine::read_only_txn(&self.inner.engine.view(), &txn);
            }
            self.propose(Command::Txn(txn))?.into_txn()
        }
        .boxed()
    }

    fn watch(&self, request: WatchRequest) -> BoxFuture<'_, Result<WatchStream, Error>> {
        async move {
            check::key_range(&request.range)?;
            let (newest, compacted) = read::revisions(&self.inner.engine.view())?;
            self.inner.hub.watch(self.inner.engine.clone(), request, newest, compacted)
        }
        .boxed()
    }

    fn compact(&self, revision: Revision) -> BoxFuture<'_, Result<Revision, Error>> {
        async move { self.propose(Command::Compact { revision })?.into_revision() }.boxed()
    }

    fn lease_grant(&self, id: LeaseId, ttl_seconds: i64) -> BoxFuture<'_, Result<LeaseGranted, Error>> {
        async move { self.propose(Command::LeaseGrant { id, ttl_seconds })?.into_lease() }.boxed()
    }

    fn lease_keep_alive(&self, id: LeaseId) -> BoxFuture<'_, Result<LeaseGranted, Error>> {
        async move { self.propose(Command::LeaseKeepAlive { id })?.into_lease() }.boxed()
    }

    fn lease_revoke(&self, id: LeaseId) -> BoxFuture<'_, Result<Revision, Error>> {
        async move { self.propose(Command::LeaseRevoke { id })?.into_revision() }.boxed()
    }

    fn lease_time_to_live(&self, id: LeaseId) -> BoxFuture<'_, Result<LeaseInfo, Error>> {
        ready(read::lease(&self.inner.engine.view(), id, self.inner.now_ms())).boxed()
    }

    fn leases(&self) -> BoxFuture<'_, Result<Vec<LeaseId>, Error>> {
        ready(read::leases(&self.inner.engine.view()).map_err(Error::from)).boxed()
    }

    fn alarms(&self) -> BoxFuture<'_, Result<Vec<Alarm>, Error>> {
        ready(read::alarms(&self.inner.engine.view()).map_err(Error::from)).boxed()
    }

    fn alarm_set(&self, alarm: Alarm) -> BoxFuture<'_, Result<Vec<Alarm>, Error>> {
        async move { self.propose(Command::AlarmSet(alarm))?.into_alarms() }.boxed()
    }

    fn alarm_clear(&self, alarm: Alarm) -> BoxFuture<'_, Result<Vec<Alarm>, Error>> {
        async move { self.propose(Command::AlarmClear(alarm))?.into_alarms() }.boxed()
    }

    fn hash_kv(&self, revision: Revision) -> BoxFuture<'_, Result<KvHash, Error>> {
        // Every compaction is carried out at once, so there always is a hash.
        let hash = hash_kv(&self.inner.engine.view(), revision);
        ready(hash.and_then(|hash| hash.ok_or(Error::Closed))).boxed()
    }

    fn defragment(&self) -> BoxFuture<'_, Result<(), Error>> {
        ready(self.inner.engine.defragment().map_err(Error::from)).boxed()
    }

    fn snapshot(&self) -> BoxFuture<'_, Result<SnapshotStream, Error>> {
        let mut pieces = Vec::new();
        let origin = snapshot::Origin { member: 1, program: env!("CARGO_PKG_VERSION").into(), ..Default::default() };
        let written = snapshot::write(&self.inner.engine.view(), origin, &mut |piece| {
            pieces.push(Ok(piece));
            Ok(())
        });
        ready(written.map(|_| futures::stream::iter(pieces).boxed()).map_err(Error::from)).boxed()
    }

    fn status(&self) -> BoxFuture<'_, Result<Status, Error>> {
        ready(self.inner.status()).boxed()
    }
}

impl Inner {
    fn status(&self) -> Result<Status, Error> {
        let size_bytes = self.engine.size_bytes()?;
        let view = self.engine.view();
        let (revision, compact_revision) = read::revisions(&view)?;
        let leases = read::lease_count(&view)?;
        let alarms = read::alarms(&view)?;
        Ok(Status {
            revision,
            compact_revision,
            leases,
            size_bytes,
            in_use_bytes: size_bytes,
            alarms,
            node_id: 1,
            leader: Some(1),
            voters: vec![1],
            ..Status::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{against_model, contract};

    macro_rules! promises {
        ($($name:ident),* $(,)?) => {
            $(#[tokio::test(start_paused = true)]
            async fn $name() {
                contract::$name(Arc::new(MemoryKeyspace::new())).await;
            })*
        };
    }

    crate::promises!(promises);
    crate::own_promises!(promises);

    #[tokio::test(start_paused = true)]
    async fn random_histories_agree_with_the_model() {
        for seed in 0..100 {
            against_model(Arc::new(MemoryKeyspace::new()), seed, 500).await;
        }
    }

    #[tokio::test]
    async fn dropping_it_ends_watches() {
        let keyspace = MemoryKeyspace::new();
        let mut watch = keyspace.watch(WatchRequest::new(KeyRange::all(), 0)).await.expect("watch");
        drop(keyspace);
        let error = crate::testing::next(&mut watch).await.expect_err("closed");
        assert!(matches!(error, Error::Closed));
    }
}
