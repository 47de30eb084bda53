//! Opening a directory, and starting Raft on it.

use std::collections::BTreeMap;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use keyspace::EngineError;
use tokio::sync::Notify;

use crate::Error;
use crate::config::{CUT_AFTER_LOG_BYTES, Config, KEEP_LOG_ENTRIES, Start};
use crate::disk::Family;
use crate::log_store::LogStore;
use crate::metrics::Metrics;
use crate::peer::links::Links;
use crate::peer::network::Network;
use crate::rocks::Rocks;
use crate::state_machine::StateMachine;
use crate::store::{Batch, StateEngine, Store, corrupt};
use crate::types::{Raft, RaftMetrics, TypeConfig};

/// Longest to wait at start for a single voter to lead itself and to have applied its log.
pub(crate) const READY_WITHIN: Duration = Duration::from_secs(60);
/// Meta record with the member's id.
pub(crate) const IDENTITY: &[u8] = b"node_id";
/// Meta record with the cluster's id, and whether this member was to join one that there was.
pub(crate) const CLUSTER: &[u8] = b"cluster";

pub(crate) fn storage(dir: &Path, source: EngineError) -> Error {
    Error::Storage { dir: dir.to_owned(), source }
}

/// Opens the directory, or makes it.
pub(crate) fn open_disk(dir: &Path, metrics: Metrics) -> Result<Rocks, Error> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|source| Error::Directory { dir: dir.to_owned(), source })?;
    Rocks::open(dir, metrics)
}

/// A directory that was opened.
pub(crate) struct Opened {
    pub(crate) log: LogStore,
    pub(crate) machine: StateMachine,
    pub(crate) cluster: ClusterRecord,
}

/// Opens what a disk holds, for the member and the cluster of the configuration.
pub(crate) fn open_storage(
    store: &Arc<Store>,
    config: &Config,
    metrics: Metrics,
    log_pressure: Arc<Notify>,
) -> Result<Opened, Error> {
    let failed = |source| storage(&config.dir, source);
    let found = identity(store, config.node_id).map_err(failed)?;
    if found != config.node_id {
        return Err(Error::Identity { dir: config.dir.clone(), found, configured: config.node_id });
    }
    let cluster = cluster(store, config).map_err(failed)?;
    if let Start::Join { cluster_id } = config.start
        && cluster.id != cluster_id
    {
        let dir = config.dir.clone();
        return Err(Error::Cluster { dir, found: cluster.id, configured: cluster_id });
    }
    let machine = StateMachine::open(Arc::new(StateEngine::new(store.clone())), metrics).map_err(failed)?;
    let log = LogStore::open(store.clone(), log_pressure).map_err(failed)?;
    log.step_down(config.node_id).map_err(failed)?;
    log.cut_after(CUT_AFTER_LOG_BYTES);
    Ok(Opened { log, machine, cluster })
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

/// The cluster a directory belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClusterRecord {
    pub(crate) id: u64,
    /// It is one that there was: this member never forms one of its own.
    pub(crate) joins: bool,
}

/// The identity of the cluster; a directory from before there was one has 0.
pub(crate) fn cluster_id(store: &Store) -> Result<u64, EngineError> {
    let Some(bytes) = store.get(Family::Meta, CLUSTER)? else { return Ok(0) };
    let (id, _joins): (u64, bool) = postcard::from_bytes(&bytes).map_err(|error| corrupt("cluster id", error))?;
    Ok(id)
}

/// The cluster this directory belongs to; a new directory is given to the one to be joined, or to a new one.
fn cluster(store: &Store, config: &Config) -> Result<ClusterRecord, EngineError> {
    if let Some(bytes) = store.get(Family::Meta, CLUSTER)? {
        let (id, joins) = postcard::from_bytes(&bytes).map_err(|error| corrupt("cluster id", error))?;
        return Ok(ClusterRecord { id, joins });
    }
    let record = match config.start {
        Start::Join { cluster_id } => ClusterRecord { id: cluster_id, joins: true },
        Start::Form => {
            let io = |error| EngineError::Io { operation: "draw the cluster's id", source: Arc::new(error) };
            ClusterRecord { id: (config.random)().map_err(io)?, joins: false }
        }
    };
    let bytes = postcard::to_stdvec(&(record.id, record.joins)).map_err(|error| corrupt("cluster id", error))?;
    let mut batch = Batch::default();
    batch.put(Family::Meta, CLUSTER, &bytes);
    store.write("record the cluster's id", batch)?;
    store.sync()?;
    Ok(record)
}

/// Starts Raft. A single voter leads and has applied its log when this returns.
pub(crate) async fn start_raft(
    config: &Config,
    links: &Links,
    log: &LogStore,
    machine: &StateMachine,
    joins: bool,
) -> Result<Raft, Error> {
    fn failed<E: Into<Box<dyn std::error::Error + Send + Sync>>>(step: &'static str) -> impl FnOnce(E) -> Error {
        move |source| Error::Raft { step, source: source.into() }
    }
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let raft_config = openraft::Config {
        cluster_name: "nanocloud".into(),
        heartbeat_interval: millis(config.timing.heartbeat),
        election_timeout_min: millis(config.timing.election_min),
        election_timeout_max: millis(config.timing.election_max),
        snapshot_policy: openraft::SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: KEEP_LOG_ENTRIES,
        ..openraft::Config::default()
    };
    let raft_config = Arc::new(raft_config.validate().map_err(failed("accept its settings"))?);
    let node_id = config.node_id;
    let network = Network { links: links.clone(), timing: config.timing };
    let raft = openraft::Raft::<TypeConfig>::new(node_id, raft_config, network, log.clone(), machine.clone());
    let raft = raft.await.map_err(failed("start"))?;
    machine.started();
    if !raft.is_initialized().await.map_err(failed("start"))? {
        if joins {
            return Ok(raft);
        }
        let members = BTreeMap::from([(node_id, config.peer.clone())]);
        raft.initialize(members).await.map_err(failed("form a cluster"))?;
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
        log.begin_of_one(node_id);
    }
    Ok(raft)
}

fn voters(metrics: &RaftMetrics) -> impl Iterator<Item = u64> + '_ {
    metrics.membership_config.membership().voter_ids()
}
