//! The replica: a [`Keyspace`] whose every write is in a Raft log on disk before it is acknowledged.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use keyspace::read;
use keyspace::{
    Alarm, ClusterClock, Command, Engine, EngineError, Error as KeyspaceError, KeyRange, Keyspace, KvHash,
    LeaseGranted, LeaseId, LeaseInfo, LeaseKeeper, RangeRequest, RangeResponse, Revision, SnapshotStream, Status, Txn,
    TxnResponse, WatchRequest, WatchStream, check,
};
use openraft::error::Fatal;
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::disk::Disk;
use crate::leadership::{self, Leadership};
use crate::members::{self, Members};
use crate::metrics::Metrics;
use crate::observed;
use crate::parts::{Parts, blocking};
use crate::past::Past;
use crate::peer::answer::Answerer;
use crate::peer::hello::Rejection;
use crate::peer::links::{Links, Me};
use crate::peer::serve::serve;
use crate::proposer::{Proposals, Proposer, WritePath};
use crate::reads::{self, ReadAt, Reads};
use crate::room::Room;
use crate::room_guard;
use crate::start::{Opened, READY_WITHIN, open_disk, open_storage, start_raft, storage};
use crate::store::{self, StateEngine, Store};
use crate::{Error, Transport, maintenance};

/// Ranges up to this limit are read on the caller's thread: that takes less time than changing threads.
const INLINE_LIMIT: u64 = 64;
/// Longest that a shutdown waits for the writes under way.
const DRAIN_WITHIN: Duration = Duration::from_secs(3);

/// A member of the replicated keyspace.
#[derive(Debug)]
pub struct Replica {
    pub(crate) parts: Arc<Parts>,
    pub(crate) proposals: Proposals,
    reads: Reads,
    members: Arc<Members>,
    tasks: Mutex<JoinSet<()>>,
    stop: CancellationToken,
}

impl Replica {
    /// Opens the replica in its directory, forming a cluster of one in a new one, and registers its metrics. When it
    /// returns, a single voter serves reads and writes. It reaches no other member.
    pub async fn open(config: Config, registry: &mut Registry) -> Result<Arc<Self>, Error> {
        Self::open_with(config, None, registry).await
    }

    /// Like [`Replica::open`], with a way to other members. One of several members, or one that is yet to be taken in,
    /// serves as soon as there is a leader.
    pub async fn open_with(
        config: Config,
        transport: Option<Arc<dyn Transport>>,
        registry: &mut Registry,
    ) -> Result<Arc<Self>, Error> {
        if config.node_id == 0 {
            return Err(Error::NoIdentity);
        }
        let (dir, metrics) = (config.dir.clone(), Metrics::default());
        let (observed, opening) = (metrics.clone(), dir.clone());
        let disk = tokio::task::spawn_blocking(move || open_disk(&opening, observed)).await;
        let disk = disk.map_err(|source| Error::Raft { step: "open its storage", source: source.into() })??;
        Self::start(Box::new(disk), config, transport, metrics, registry).await
    }

    /// Like [`Replica::open`], on a disk of the caller's, which errors call by the configured directory.
    pub async fn open_on(disk: Box<dyn Disk>, config: Config, registry: &mut Registry) -> Result<Arc<Self>, Error> {
        Self::open_on_with(disk, config, None, registry).await
    }

    /// Like [`Replica::open_on`], with a way to other members.
    pub async fn open_on_with(
        disk: Box<dyn Disk>,
        config: Config,
        transport: Option<Arc<dyn Transport>>,
        registry: &mut Registry,
    ) -> Result<Arc<Self>, Error> {
        if config.node_id == 0 {
            return Err(Error::NoIdentity);
        }
        Self::start(disk, config, transport, Metrics::default(), registry).await
    }

    async fn start(
        disk: Box<dyn Disk>,
        config: Config,
        transport: Option<Arc<dyn Transport>>,
        metrics: Metrics,
        registry: &mut Registry,
    ) -> Result<Arc<Self>, Error> {
        let store = Arc::new(Store::new(disk, &config.dir));
        let log_pressure = Arc::new(Notify::new());
        let Opened { log, machine, cluster } = {
            let (config, metrics, log_pressure) = (config.clone(), metrics.clone(), log_pressure.clone());
            let opening = store.clone();
            let opened = move || open_storage(&opening, &config, metrics, log_pressure);
            let stopped = || Error::Raft { step: "open its storage", source: "the runtime is going down".into() };
            store::blocking(&store, opened).await.ok_or_else(stopped)??
        };
        let incarnation = (config.random)().map_err(|source| Error::Directory { dir: config.dir.clone(), source })?;
        let me = Me { id: config.node_id, cluster_id: cluster.id, incarnation };
        let links = Links::new(me, config.timing, transport);
        let raft = start_raft(&config, &links, &log, &machine, cluster.joins).await?;
        metrics.register(registry, machine.hub().clone());
        let engine = Arc::new(StateEngine::new(store.clone()));
        let clock_ms = read::clock_ms(&engine.view()).map_err(|source| storage(&config.dir, source))?;
        let clock = Arc::new(ClusterClock::new(clock_ms));
        let room = Arc::new(Room::new(config.quota_bytes, engine.clone()));
        let leadership = Leadership::new(config.timing);
        let damaged = Arc::new(Notify::new());
        let parts =
            Parts { config, store, engine, log, machine, raft, clock, log_pressure, room, leadership, links, damaged };
        let parts = Arc::new(parts);
        parts.look_for_leader();
        observed::register(&parts, registry);
        Ok(Arc::new(Self::run(parts, metrics)))
    }

    /// Starts what runs beside.
    fn run(parts: Arc<Parts>, metrics: Metrics) -> Self {
        let stop = CancellationToken::new();
        let (proposals, queue) = Proposals::new(metrics.clone());
        let (reads, asking) = Reads::new();
        let members = Arc::new(Members::new(parts.clone(), proposals.clone()));
        let way = WritePath {
            raft: parts.raft.clone(),
            store: parts.store.clone(),
            clock: parts.clock.clone(),
            room: parts.room.clone(),
            node_id: parts.config.node_id,
            leadership: parts.leadership.clone(),
            links: parts.links.clone(),
            timing: parts.config.timing,
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(Proposer { way, metrics }.run(queue, stop.clone()));
        let keeper = Arc::new(Keeper { parts: parts.clone(), proposals: proposals.clone() });
        let leases = keyspace::expire_leases(keeper, parts.machine.leases_changed().clone());
        spawn_until(&mut tasks, &stop, leases);
        spawn_until(&mut tasks, &stop, reads::run(parts.clone(), asking));
        spawn_until(&mut tasks, &stop, maintenance::sweep(parts.clone()));
        spawn_until(&mut tasks, &stop, maintenance::cut_log(parts.clone()));
        spawn_until(&mut tasks, &stop, maintenance::compact(parts.clone(), proposals.clone()));
        spawn_until(&mut tasks, &stop, maintenance::follow_leader(parts.clone()));
        spawn_until(&mut tasks, &stop, maintenance::tell_hash(parts.clone(), proposals.clone()));
        spawn_until(&mut tasks, &stop, maintenance::compare_hash(parts.clone(), proposals.clone()));
        spawn_until(&mut tasks, &stop, maintenance::tell_damage(parts.clone(), proposals.clone()));
        spawn_until(&mut tasks, &stop, room_guard::guard(parts.clone(), proposals.clone()));
        if let Some(transport) = parts.links.transport().cloned() {
            let answerer = Answerer {
                parts: parts.clone(),
                proposals: proposals.clone(),
                members: members.clone(),
                receiver: Default::default(),
            };
            spawn_until(&mut tasks, &stop, serve(transport, parts.links.clone(), Arc::new(answerer)));
            spawn_until(&mut tasks, &stop, members::presence(members.clone()));
            spawn_until(&mut tasks, &stop, members::tend(members.clone()));
        }
        Replica { parts, proposals, reads, members, tasks: Mutex::new(tasks), stop }
    }

    /// The port to the members of the cluster.
    pub fn cluster(&self) -> Arc<dyn keyspace::Cluster> {
        Arc::new(members::Port(self.members.clone()))
    }

    /// The cluster's identity.
    pub fn cluster_id(&self) -> u64 {
        self.parts.links.me().cluster_id
    }

    /// Whether this member leads, told whenever that changes.
    pub fn leads(&self) -> impl futures::Stream<Item = bool> + Send + 'static {
        let leading = self.parts.leadership.watch();
        futures::stream::unfold((leading, None), |(mut leading, told)| async move {
            loop {
                let leads = leading.borrow_and_update().leader == leadership::Leader::Here;
                if told != Some(leads) {
                    return Some((leads, (leading, Some(leads))));
                }
                leading.changed().await.ok()?;
            }
        })
    }

    /// Makes a snapshot and removes the log before it, all of it: a member that lacks entries gets the snapshot.
    ///
    /// # Errors
    /// When the consensus has stopped, or makes none within a minute.
    pub async fn compact_log(&self) -> Result<(), Error> {
        fn failed<E: Into<Box<dyn std::error::Error + Send + Sync>>>(source: E) -> Error {
            Error::Raft { step: "compact its log", source: source.into() }
        }
        let raft = &self.parts.raft;
        let applied = raft.metrics().borrow().last_applied;
        let Some(applied) = applied else { return Ok(()) };
        raft.trigger().snapshot().await.map_err(failed)?;
        let wait = raft.wait(Some(READY_WITHIN));
        wait.metrics(|metrics| metrics.snapshot >= Some(applied), "a snapshot is made").await.map_err(failed)?;
        raft.trigger().purge_log(applied.index).await.map_err(failed)?;
        wait.metrics(|metrics| metrics.purged >= Some(applied), "the log is cut").await.map_err(failed)?;
        Ok(())
    }

    /// Why other members do not talk to this one; nothing while they do.
    pub fn rejection(&self) -> watch::Receiver<Option<Rejection>> {
        self.parts.links.verdict()
    }

    /// Stops serving: what was taken is finished if that is possible soon, what waits is refused, watches end. Repeating
    /// it is harmless. The directory is free once this and every watch are dropped (see [`Replica::closed`]).
    pub async fn shutdown(&self) -> Result<(), Error> {
        self.stop.cancel();
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        // Without a majority what is under way never ends by itself; it does when Raft has stopped.
        let drained = tokio::time::timeout(DRAIN_WITHIN, all_end(&mut tasks)).await;
        self.parts.machine.hub().close();
        self.parts.links.close();
        let stopped = self.parts.raft.shutdown().await;
        stopped.map_err(|source| Error::Raft { step: "stop", source: source.into() })?;
        match drained {
            Ok(ended) => ended?,
            Err(_elapsed) => all_end(&mut tasks).await?,
        }
        self.parts.store.synced().await.map_err(|source| storage(&self.parts.config.dir, source))
    }

    /// Completes when Raft has stopped although nobody shut it down, with the reason, such as a disk that failed a sync.
    /// Nothing is written here any more, and what is on the disk can be known only by opening it again.
    pub fn failed(&self) -> impl Future<Output = Error> + Send + 'static {
        let (mut metrics, dir) = (self.parts.raft.metrics(), self.parts.config.dir.clone());
        // Waiting does not keep the directory.
        let store = Arc::downgrade(&self.parts.store);
        async move {
            let stopped = metrics.wait_for(|metrics| metrics.running_state.is_err()).await;
            let fatal = stopped.ok().and_then(|metrics| metrics.running_state.clone().err());
            match store.upgrade().and_then(|store| store.fault().cloned()) {
                Some(fault) => storage(&dir, fault),
                None => Error::Raft { step: "go on", source: fatal.unwrap_or(Fatal::Stopped).into() },
            }
        }
    }

    /// Completes when the database is closed and its directory free for another process.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut closed = self.parts.store.closed();
        async move { while closed.changed().await.is_ok() {} }
    }

    /// Waits until a read here sees every write acknowledged before; answers the cluster's time.
    async fn barrier(&self) -> Result<ReadAt, KeyspaceError> {
        if self.stop.is_cancelled() {
            return Err(KeyspaceError::Closed);
        }
        if self.parts.leads_alone() {
            // Nobody else could have acknowledged a write, and here it is applied before it is acknowledged.
            return Ok(ReadAt { index: 0, now_ms: self.parts.clock.now_ms() });
        }
        self.reads.confirm().await
    }

    /// An error when what is read here is not what the others have.
    fn require_agreement(&self) -> Result<(), KeyspaceError> {
        self.parts.room.require_agreement(self.parts.config.node_id)
    }

    /// Reads, on another thread when it may take long.
    async fn read<T: Send + 'static>(
        &self,
        short: bool,
        run: impl FnOnce(&StateEngine) -> Result<T, KeyspaceError> + Send + 'static,
    ) -> Result<T, KeyspaceError> {
        let answer = if short { run(&self.parts.engine) } else { blocking(self.parts.engine.clone(), run).await };
        match answer {
            Err(KeyspaceError::Storage(error @ EngineError::Replacing)) => {
                Err(KeyspaceError::NoLeader { detail: error.to_string() })
            }
            Err(KeyspaceError::Storage(error)) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the keyspace could not be read");
                if matches!(error, EngineError::Corrupt { .. }) {
                    self.parts.damaged.notify_one();
                }
                Err(error.into())
            }
            answer => answer,
        }
    }
}

impl Drop for Replica {
    /// Without a shutdown before, Raft's own task has to be told; it would keep the directory otherwise.
    fn drop(&mut self) {
        if self.stop.is_cancelled() {
            return;
        }
        self.stop.cancel();
        self.parts.machine.hub().close();
        self.parts.links.close();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let raft = self.parts.raft.clone();
            runtime.spawn(async move { raft.shutdown().await });
        }
    }
}

async fn all_end(tasks: &mut JoinSet<()>) -> Result<(), Error> {
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(|source| Error::Raft { step: "end its tasks", source: source.into() })?;
    }
    Ok(())
}

fn spawn_until(tasks: &mut JoinSet<()>, stop: &CancellationToken, run: impl Future<Output = ()> + Send + 'static) {
    let stop = stop.clone();
    tasks.spawn(async move {
        stop.run_until_cancelled(run).await;
    });
}

/// Ticks for leases while this member leads.
struct Keeper {
    parts: Arc<Parts>,
    proposals: Proposals,
}

impl LeaseKeeper for Keeper {
    fn next_due_ms(&self) -> Result<Option<u64>, EngineError> {
        if self.parts.leads() { read::next_expiry_ms(&self.parts.engine.view()) } else { Ok(None) }
    }

    fn now_ms(&self) -> u64 {
        self.parts.clock.now_ms()
    }

    fn tick(&self, now_ms: u64) -> BoxFuture<'_, Result<(), KeyspaceError>> {
        async move { self.proposals.propose_here(Command::Tick { now_ms }).await.map(drop) }.boxed()
    }
}

impl Keyspace for Replica {
    fn range(&self, request: RangeRequest) -> BoxFuture<'_, Result<RangeResponse, KeyspaceError>> {
        async move {
            check::range(&request)?;
            self.require_agreement()?;
            if !request.serializable {
                self.barrier().await?;
            }
            let few = request.skip_count && (1..=INLINE_LIMIT).contains(&request.limit);
            let short = few || matches!(request.range, KeyRange::Key(_));
            self.read(short, move |engine| read::range(&engine.view(), &request)).await
        }
        .boxed()
    }

    fn txn(&self, txn: Txn) -> BoxFuture<'_, Result<TxnResponse, KeyspaceError>> {
        async move {
            if txn.is_read_only() {
                check::txn(&txn)?;
                self.require_agreement()?;
                self.barrier().await?;
                return self.read(false, move |engine| keyspace::read_only_txn(&engine.view(), &txn)).await;
            }
            self.proposals.propose(Command::Txn(txn)).await?.into_txn()
        }
        .boxed()
    }

    fn watch(&self, request: WatchRequest) -> BoxFuture<'_, Result<WatchStream, KeyspaceError>> {
        async move {
            check::key_range(&request.range)?;
            self.require_agreement()?;
            self.barrier().await?;
            let (newest, compacted) = self.read(true, |engine| Ok(read::revisions(&engine.view())?)).await?;
            let past = Arc::new(Past::new(self.parts.engine.clone()));
            self.parts.machine.hub().watch(past, request, newest, compacted)
        }
        .boxed()
    }

    fn compact(&self, revision: Revision) -> BoxFuture<'_, Result<Revision, KeyspaceError>> {
        async move { self.proposals.propose(Command::Compact { revision }).await?.into_revision() }.boxed()
    }

    fn lease_grant(&self, id: LeaseId, ttl_seconds: i64) -> BoxFuture<'_, Result<LeaseGranted, KeyspaceError>> {
        async move { self.proposals.propose(Command::LeaseGrant { id, ttl_seconds }).await?.into_lease() }.boxed()
    }

    fn lease_keep_alive(&self, id: LeaseId) -> BoxFuture<'_, Result<LeaseGranted, KeyspaceError>> {
        async move { self.proposals.propose(Command::LeaseKeepAlive { id }).await?.into_lease() }.boxed()
    }

    fn lease_revoke(&self, id: LeaseId) -> BoxFuture<'_, Result<Revision, KeyspaceError>> {
        async move { self.proposals.propose(Command::LeaseRevoke { id }).await?.into_revision() }.boxed()
    }

    fn lease_time_to_live(&self, id: LeaseId) -> BoxFuture<'_, Result<LeaseInfo, KeyspaceError>> {
        async move {
            let ReadAt { now_ms, .. } = self.barrier().await?;
            self.read(false, move |engine| read::lease(&engine.view(), id, now_ms)).await
        }
        .boxed()
    }

    fn leases(&self) -> BoxFuture<'_, Result<Vec<LeaseId>, KeyspaceError>> {
        async move {
            self.barrier().await?;
            self.read(false, |engine| Ok(read::leases(&engine.view())?)).await
        }
        .boxed()
    }

    fn alarms(&self) -> BoxFuture<'_, Result<Vec<Alarm>, KeyspaceError>> {
        async move {
            self.barrier().await?;
            self.read(true, |engine| Ok(read::alarms(&engine.view())?)).await
        }
        .boxed()
    }

    fn alarm_set(&self, alarm: Alarm) -> BoxFuture<'_, Result<Vec<Alarm>, KeyspaceError>> {
        async move { self.proposals.propose(Command::AlarmSet(alarm)).await?.into_alarms() }.boxed()
    }

    fn alarm_clear(&self, alarm: Alarm) -> BoxFuture<'_, Result<Vec<Alarm>, KeyspaceError>> {
        async move { self.proposals.propose(Command::AlarmClear(alarm)).await?.into_alarms() }.boxed()
    }

    fn hash_kv(&self, revision: Revision) -> BoxFuture<'_, Result<KvHash, KeyspaceError>> {
        let parts = self.parts.clone();
        async move { self.read(false, move |_| parts.hash(revision)).await }.boxed()
    }

    fn defragment(&self) -> BoxFuture<'_, Result<(), KeyspaceError>> {
        async move { self.read(false, |engine| Ok(engine.defragment()?)).await }.boxed()
    }

    fn snapshot(&self) -> BoxFuture<'_, Result<SnapshotStream, KeyspaceError>> {
        async move {
            self.require_agreement()?;
            self.barrier().await?;
            Ok(self.parts.snapshot(self.stop.clone()))
        }
        .boxed()
    }

    fn status(&self) -> BoxFuture<'_, Result<Status, KeyspaceError>> {
        async move {
            let metrics = self.parts.raft.metrics().borrow().clone();
            let node_id = self.parts.config.node_id;
            let quota_bytes = self.parts.config.quota_bytes;
            self.read(true, move |engine| {
                let size_bytes = engine.size_bytes()?;
                let view = engine.view();
                let (revision, compact_revision) = read::revisions(&view)?;
                Ok(Status {
                    revision,
                    compact_revision,
                    leases: read::lease_count(&view)?,
                    size_bytes,
                    in_use_bytes: engine.in_use_bytes()?,
                    quota_bytes,
                    alarms: read::alarms(&view)?,
                    node_id,
                    leader: metrics.current_leader,
                    term: metrics.current_term,
                    log_index: metrics.last_log_index.unwrap_or(0),
                    applied_index: metrics.last_applied.map_or(0, |applied| applied.index),
                    voters: metrics.membership_config.membership().voter_ids().collect(),
                })
            })
            .await
        }
        .boxed()
    }
}
