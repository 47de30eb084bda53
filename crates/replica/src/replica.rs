//! The replica: a [`Keyspace`] whose every write is in a Raft log on disk before it is acknowledged.

use std::collections::BTreeMap;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use keyspace::read::{self, Changes};
use keyspace::{
    Alarm, ClusterClock, Command, Engine, EngineError, Error as KeyspaceError, History, KeyRange, Keyspace, KvHash,
    LeaseGranted, LeaseId, LeaseInfo, LeaseKeeper, RangeRequest, RangeResponse, Revision, SnapshotStream, Status, Txn,
    TxnResponse, WatchRequest, WatchStream, check,
};
use openraft::error::{CheckIsLeaderError, RaftError};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, KEEP_LOG_ENTRIES, SNAPSHOT_AFTER_LOG_BYTES};
use crate::disk::{Disk, Family};
use crate::log_store::LogStore;
use crate::metrics::{self, Metrics};
use crate::network::Alone;
use crate::proposer::{Proposals, Proposer, from_fatal};
use crate::rocks::Rocks;
use crate::room::{self, Room};
use crate::state_machine::StateMachine;
use crate::store::{self, Batch, StateEngine, Store, corrupt};
use crate::types::{Peer, Raft, TypeConfig};
use crate::{Error, maintenance};

/// Longest to wait at start for a single voter to lead itself and to have applied its log.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Between heartbeats to other members, milliseconds.
const HEARTBEAT_MS: u64 = 250;
/// Shortest silence after which another member wants to lead, milliseconds.
const ELECTION_MIN_MS: u64 = 1_000;
/// Longest such silence, milliseconds.
const ELECTION_MAX_MS: u64 = 2_000;
/// Meta record with the member's id.
pub(crate) const IDENTITY: &[u8] = b"node_id";
/// Meta record with the cluster's id, and whether this member joins it.
pub(crate) const CLUSTER: &[u8] = b"cluster";
/// Ranges up to this limit are read on the caller's thread: that takes less time than changing threads.
const INLINE_LIMIT: u64 = 64;

/// A member of the replicated keyspace.
#[derive(Debug)]
pub struct Replica {
    pub(crate) parts: Arc<Parts>,
    pub(crate) proposals: Proposals,
    tasks: Mutex<JoinSet<()>>,
    stop: CancellationToken,
}

/// What the replica's tasks share with it.
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) store: Arc<Store>,
    pub(crate) engine: Arc<StateEngine>,
    pub(crate) log: LogStore,
    pub(crate) machine: StateMachine,
    pub(crate) raft: Raft,
    pub(crate) clock: Arc<ClusterClock>,
    pub(crate) log_pressure: Arc<Notify>,
    pub(crate) room: Arc<Room>,
    pub(crate) cluster_id: u64,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Replica {
    /// Opens the replica in its directory, forming a cluster of one in a new one, and registers its metrics. When it
    /// returns, a single voter serves reads and writes.
    pub async fn open(config: Config, registry: &mut Registry) -> Result<Arc<Self>, Error> {
        if config.node_id == 0 {
            return Err(Error::NoIdentity);
        }
        let (dir, metrics) = (config.dir.clone(), Metrics::default());
        let (observed, opening) = (metrics.clone(), dir.clone());
        let disk = tokio::task::spawn_blocking(move || open_disk(&opening, observed)).await;
        let disk = disk.map_err(|source| Error::Raft { step: "open its storage", source: source.into() })??;
        Self::start(Box::new(disk), config, metrics, registry).await
    }

    /// Like [`Replica::open`], on a disk of the caller's, which errors call by the configured directory.
    pub async fn open_on(disk: Box<dyn Disk>, config: Config, registry: &mut Registry) -> Result<Arc<Self>, Error> {
        if config.node_id == 0 {
            return Err(Error::NoIdentity);
        }
        Self::start(disk, config, Metrics::default(), registry).await
    }

    async fn start(
        disk: Box<dyn Disk>,
        config: Config,
        metrics: Metrics,
        registry: &mut Registry,
    ) -> Result<Arc<Self>, Error> {
        let store = Arc::new(Store::new(disk, &config.dir));
        let log_pressure = Arc::new(Notify::new());
        let (log, machine) = {
            let (config, metrics, log_pressure) = (config.clone(), metrics.clone(), log_pressure.clone());
            let opening = store.clone();
            let opened = move || open_storage(&opening, &config, metrics, log_pressure);
            let stopped = || Error::Raft { step: "open its storage", source: "the runtime is going down".into() };
            store::blocking(&store, opened).await.ok_or_else(stopped)??
        };
        let raft = start_raft(&config, &log, &machine).await?;
        metrics.register(registry, machine.hub().clone());
        let engine = Arc::new(StateEngine::new(store.clone()));
        let clock_ms = read::clock_ms(&engine.view()).map_err(|source| storage(&config.dir, source))?;
        let clock = Arc::new(ClusterClock::new(clock_ms));
        let room = Arc::new(Room::new(config.quota_bytes, engine.clone()));
        let cluster_id = cluster_id(&store).map_err(|source| storage(&config.dir, source))?;
        let parts =
            Arc::new(Parts { config, store, engine, log, machine, raft, clock, log_pressure, room, cluster_id });
        metrics::observe(&parts, registry);
        Ok(Arc::new(Self::run(parts, metrics)))
    }

    /// Starts what runs beside.
    fn run(parts: Arc<Parts>, metrics: Metrics) -> Self {
        let stop = CancellationToken::new();
        let (proposals, queue) = Proposals::new(metrics.clone());
        let proposer = Proposer {
            raft: parts.raft.clone(),
            store: parts.store.clone(),
            clock: parts.clock.clone(),
            room: parts.room.clone(),
            node_id: parts.config.node_id,
            metrics,
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(proposer.run(queue, stop.clone()));
        let keeper = Arc::new(Keeper { parts: parts.clone(), proposals: proposals.clone() });
        let leases = keyspace::expire_leases(keeper, parts.machine.leases_changed().clone());
        spawn_until(&mut tasks, &stop, leases);
        spawn_until(&mut tasks, &stop, maintenance::sweep(parts.clone()));
        spawn_until(&mut tasks, &stop, maintenance::cut_log(parts.clone()));
        spawn_until(&mut tasks, &stop, maintenance::compact(parts.clone(), proposals.clone()));
        spawn_until(&mut tasks, &stop, maintenance::follow_leader(parts.clone()));
        spawn_until(&mut tasks, &stop, maintenance::tell_hash(parts.clone(), proposals.clone()));
        spawn_until(&mut tasks, &stop, maintenance::compare_hash(parts.clone(), proposals.clone()));
        spawn_until(&mut tasks, &stop, room::guard(parts.clone(), proposals.clone()));
        Replica { parts, proposals, tasks: Mutex::new(tasks), stop }
    }

    /// Stops serving: what was taken is finished, what waits is refused, watches end. Repeating it is harmless. The
    /// directory is free once this and every watch are dropped (see [`Replica::closed`]).
    pub async fn shutdown(&self) -> Result<(), Error> {
        self.stop.cancel();
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        while let Some(ended) = tasks.join_next().await {
            ended.map_err(|source| Error::Raft { step: "end its tasks", source: source.into() })?;
        }
        self.parts.machine.hub().close();
        let stopped = self.parts.raft.shutdown().await;
        stopped.map_err(|source| Error::Raft { step: "stop", source: source.into() })?;
        self.parts.store.synced().await.map_err(|source| storage(&self.parts.config.dir, source))
    }

    /// Completes when the database is closed and its directory free for another process.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut closed = self.parts.store.closed();
        async move { while closed.changed().await.is_ok() {} }
    }

    /// Waits until a read here sees every write acknowledged before.
    async fn barrier(&self) -> Result<(), KeyspaceError> {
        if self.stop.is_cancelled() {
            return Err(KeyspaceError::Closed);
        }
        if self.parts.leads_alone() {
            // Nobody else could have acknowledged a write, and here it is applied before it is acknowledged.
            return Ok(());
        }
        match self.parts.raft.ensure_linearizable().await {
            Ok(_) => Ok(()),
            Err(RaftError::Fatal(fatal)) => Err(from_fatal(&self.parts.store, &fatal)),
            Err(RaftError::APIError(CheckIsLeaderError::ForwardToLeader(forward))) => {
                Err(KeyspaceError::NotLeader { leader: forward.leader_id })
            }
            Err(RaftError::APIError(CheckIsLeaderError::QuorumNotEnough(error))) => {
                Err(KeyspaceError::Unavailable { detail: error.to_string() })
            }
        }
    }

    /// Reads, on another thread when it may take long.
    async fn read<T: Send + 'static>(
        &self,
        short: bool,
        run: impl FnOnce(&StateEngine) -> Result<T, KeyspaceError> + Send + 'static,
    ) -> Result<T, KeyspaceError> {
        let answer = if short { run(&self.parts.engine) } else { blocking(self.parts.engine.clone(), run).await };
        if let Err(KeyspaceError::Storage(error)) = &answer {
            tracing::error!(error = error as &dyn std::error::Error, "the keyspace could not be read");
        }
        answer
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
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let raft = self.parts.raft.clone();
            runtime.spawn(async move { raft.shutdown().await });
        }
    }
}

async fn blocking<T: Send + 'static>(
    engine: Arc<StateEngine>,
    run: impl FnOnce(&StateEngine) -> Result<T, KeyspaceError> + Send + 'static,
) -> Result<T, KeyspaceError> {
    let store = engine.store().clone();
    // Without an answer the runtime is going down, and the task with it.
    store::blocking(&store, move || run(&engine)).await.unwrap_or(Err(KeyspaceError::Closed))
}

fn spawn_until(tasks: &mut JoinSet<()>, stop: &CancellationToken, run: impl Future<Output = ()> + Send + 'static) {
    let stop = stop.clone();
    tasks.spawn(async move {
        stop.run_until_cancelled(run).await;
    });
}

impl Parts {
    /// Whether this member leads.
    pub(crate) fn leads(&self) -> bool {
        self.raft.server_metrics().borrow().current_leader == Some(self.config.node_id)
    }

    /// Whether this member leads and is the only voter.
    pub(crate) fn leads_alone(&self) -> bool {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow();
        let voters = metrics.membership_config.membership().voter_ids();
        metrics.current_leader == Some(self.config.node_id) && voters.eq([self.config.node_id])
    }
}

pub(crate) fn storage(dir: &Path, source: EngineError) -> Error {
    Error::Storage { dir: dir.to_owned(), source }
}

pub(crate) fn open_disk(dir: &Path, metrics: Metrics) -> Result<Rocks, Error> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|source| Error::Directory { dir: dir.to_owned(), source })?;
    Rocks::open(dir, metrics)
}

fn open_storage(
    store: &Arc<Store>,
    config: &Config,
    metrics: Metrics,
    log_pressure: Arc<Notify>,
) -> Result<(LogStore, StateMachine), Error> {
    let failed = |source| storage(&config.dir, source);
    let found = identity(store, config.node_id).map_err(failed)?;
    if found != config.node_id {
        return Err(Error::Identity { dir: config.dir.clone(), found, configured: config.node_id });
    }
    let machine = StateMachine::open(Arc::new(StateEngine::new(store.clone())), metrics).map_err(failed)?;
    let log = LogStore::open(store.clone(), log_pressure).map_err(failed)?;
    log.cut_after(SNAPSHOT_AFTER_LOG_BYTES);
    Ok((log, machine))
}

/// The member this directory belongs to; a new directory is given to `node_id`.
fn identity(store: &Store, node_id: u64) -> Result<u64, EngineError> {
    if let Some(bytes) = store.get(Family::Meta, IDENTITY)? {
        let bytes = bytes.as_ref().try_into().map_err(|_| corrupt("member id", "not 8 bytes"))?;
        return Ok(u64::from_be_bytes(bytes));
    }
    let mut batch = Batch::default();
    batch.put(Family::Meta, IDENTITY, &node_id.to_be_bytes());
    store.write("record the member id", batch)?;
    store.sync()?;
    Ok(node_id)
}

/// The identity of the cluster; a directory from before there was one has 0.
pub(crate) fn cluster_id(store: &Store) -> Result<u64, EngineError> {
    let Some(bytes) = store.get(Family::Meta, CLUSTER)? else { return Ok(0) };
    let (id, _joins): (u64, bool) = postcard::from_bytes(&bytes).map_err(|error| corrupt("cluster id", error))?;
    Ok(id)
}

async fn start_raft(config: &Config, log: &LogStore, machine: &StateMachine) -> Result<Raft, Error> {
    fn failed<E: Into<Box<dyn std::error::Error + Send + Sync>>>(step: &'static str) -> impl FnOnce(E) -> Error {
        move |source| Error::Raft { step, source: source.into() }
    }
    let raft_config = openraft::Config {
        cluster_name: "nanocloud".into(),
        heartbeat_interval: HEARTBEAT_MS,
        election_timeout_min: ELECTION_MIN_MS,
        election_timeout_max: ELECTION_MAX_MS,
        snapshot_policy: openraft::SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: KEEP_LOG_ENTRIES,
        ..openraft::Config::default()
    };
    let raft_config = Arc::new(raft_config.validate().map_err(failed("accept its settings"))?);
    let node_id = config.node_id;
    let raft = openraft::Raft::<TypeConfig>::new(node_id, raft_config, Alone, log.clone(), machine.clone());
    let raft = raft.await.map_err(failed("start"))?;
    if !raft.is_initialized().await.map_err(failed("start"))? {
        let node = Peer { address: config.address.clone(), ..Peer::default() };
        raft.initialize(BTreeMap::from([(node_id, node)])).await.map_err(failed("form a cluster"))?;
    }
    // Until Raft's own task has run, its metrics say nothing.
    let wait = raft.wait(Some(READY_WITHIN));
    let known = wait.metrics(|metrics| voters(metrics).next().is_some(), "the members are known").await;
    let known = known.map_err(failed("learn its members"))?;
    if voters(&known).eq([node_id]) {
        if known.current_leader != Some(node_id) {
            raft.trigger().elect().await.map_err(failed("elect"))?;
        }
        let ready = wait.metrics(
            |metrics| {
                let applied = metrics.last_applied.map(|applied| applied.index);
                metrics.current_leader == Some(node_id) && applied.is_some() && applied >= metrics.last_log_index
            },
            "the single voter leads and has applied its log",
        );
        ready.await.map_err(failed("get ready"))?;
    }
    Ok(raft)
}

fn voters(metrics: &openraft::RaftMetrics<u64, Peer>) -> impl Iterator<Item = u64> + '_ {
    metrics.membership_config.membership().voter_ids()
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
        async move { self.proposals.propose(Command::Tick { now_ms }).await.map(drop) }.boxed()
    }
}

/// History for watchers, read on another thread.
struct Past(Arc<StateEngine>);

impl History for Past {
    fn changes(&self, from: Revision, range: KeyRange, prev: bool) -> BoxFuture<'_, Result<Changes, KeyspaceError>> {
        let engine = self.0.clone();
        blocking(engine, move |engine| read::changes(&engine.view(), from, &range, prev)).boxed()
    }
}

impl Keyspace for Replica {
    fn range(&self, request: RangeRequest) -> BoxFuture<'_, Result<RangeResponse, KeyspaceError>> {
        async move {
            check::range(&request)?;
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
            self.barrier().await?;
            let (newest, compacted) = self.read(true, |engine| Ok(read::revisions(&engine.view())?)).await?;
            let past = Arc::new(Past(self.parts.engine.clone()));
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
            self.barrier().await?;
            let now_ms = self.parts.clock.now_ms();
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
