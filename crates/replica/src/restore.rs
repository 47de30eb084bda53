//! From a snapshot's file to the directory of a member, and back, while no server runs.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keyspace::snapshot::{self, Options, Origin, SnapshotError, Summary};
use keyspace::{Engine, EngineError};
use openraft::RaftLogReader;
use openraft::storage::RaftStateMachine;
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

use crate::Error;
use crate::disk::Family;
use crate::log_store::{self, LogStore};
use crate::metrics::Metrics;
use crate::start::{self, CLUSTER, IDENTITY, open_disk, storage};
use crate::state_machine::StateMachine;
use crate::store::{Batch, StateEngine, Store, corrupt};
use crate::types::{LogId, Membership, Peer, Stamp};

/// Log entries applied at a time when a directory is saved.
const APPLY_ENTRIES: u64 = 64;

/// A member to be made from a snapshot. Every member of a cluster is made from the same file with the same members;
/// together they are a new cluster, with an identity that follows from both.
#[derive(Clone, Debug)]
pub struct Restore {
    /// The file.
    pub snapshot: PathBuf,
    /// The member to make.
    pub node_id: u64,
    /// All members with their addresses. Empty for one that is alone.
    pub members: BTreeMap<u64, String>,
    /// How the file is loaded.
    pub options: Options,
}

impl Restore {
    /// Makes `dir`, which must not be there or be empty. The file is checked whole before; whatever goes wrong, `dir`
    /// is as it was.
    pub fn run(&self, dir: &Path) -> Result<Summary, Error> {
        let mut members = self.members.clone();
        if members.is_empty() {
            members.insert(self.node_id, String::new());
        }
        if self.node_id == 0 || !members.contains_key(&self.node_id) {
            return Err(Error::NotAMember { node_id: self.node_id });
        }
        require_free(dir)?;
        let checked = self.read(snapshot::verify)?;
        let building = beside(dir, "restoring")?;
        let directory = |source| Error::Directory { dir: building.clone(), source };
        remove(&building).map_err(directory)?;
        let cluster_id = cluster_id(&checked, &members);
        let built = self.build(&building, &members, cluster_id).and_then(|summary| {
            let synced = File::open(&building).and_then(|dir| dir.sync_all());
            synced.and_then(|()| take_place(&building, dir)).map_err(directory)?;
            Ok(summary)
        });
        if built.is_err()
            && let Err(error) = remove(&building)
        {
            tracing::warn!(%error, dir = %building.display(), "an unfinished restore was not removed");
        }
        built
    }

    fn build(&self, dir: &Path, members: &BTreeMap<u64, String>, cluster_id: u64) -> Result<Summary, Error> {
        let failed = |source| storage(dir, source);
        let store = Arc::new(Store::new(Box::new(open_disk(dir, Metrics::default())?), dir));
        let engine = StateEngine::new(store.clone());
        let stamp = encode(&first_stamp(members)).map_err(failed)?;
        let summary = self.read(|file| snapshot::load(file, &engine, self.options, Some(stamp.into())))?;
        write_identity(&store, self.node_id, cluster_id).map_err(failed)?;
        Ok(summary)
    }

    fn read(&self, with: impl FnOnce(File) -> Result<Summary, SnapshotError>) -> Result<Summary, Error> {
        let failed = |source| Error::Snapshot { path: self.snapshot.clone(), source };
        let file = File::open(&self.snapshot).map_err(|error| failed(SnapshotError::Read(error)))?;
        with(file).map_err(failed)
    }
}

/// Saves the keyspace of the member in `dir`, which no server has open. What a single voter's log holds beyond its
/// state is applied first: it was acknowledged. Of one of several members it is what that member had applied.
pub async fn save(dir: &Path, sink: &mut snapshot::Sink<'_>) -> Result<(), Error> {
    let failed = |source| storage(dir, source);
    if !dir.join("db").is_dir() {
        let source = std::io::Error::from(std::io::ErrorKind::NotFound);
        return Err(Error::Directory { dir: dir.join("db"), source });
    }
    let store = Arc::new(Store::new(Box::new(open_disk(dir, Metrics::default())?), dir));
    let engine = Arc::new(StateEngine::new(store.clone()));
    let mut machine = StateMachine::open(engine.clone(), Metrics::default()).map_err(failed)?;
    let mut log = LogStore::open(store.clone(), Arc::new(Notify::new())).map_err(failed)?;
    let raft = |source| Error::Raft { step: "apply its log", source };
    let (mut applied, membership) = machine.applied_state().await.map_err(|error| raft(error.into()))?;
    while membership.membership().voter_ids().count() <= 1 {
        let next = applied.map_or(0, |applied| applied.index + 1);
        let entries = log.limited_get_log_entries(next, next + APPLY_ENTRIES).await;
        let entries = entries.map_err(|error| raft(error.into()))?;
        let Some(last) = entries.last() else { break };
        applied = Some(last.log_id);
        machine.apply(entries).await.map_err(|error| raft(error.into()))?;
    }
    let origin = Origin {
        cluster_id: start::cluster_id(&store).map_err(failed)?,
        member: member(&store).map_err(failed)?,
        ..crate::admin::origin_now()
    };
    snapshot::write(&engine.view(), origin, sink).map_err(failed)?;
    Ok(())
}

/// The member a directory belongs to, 0 if it was never used.
fn member(store: &Store) -> Result<u64, EngineError> {
    let Some(bytes) = store.get(Family::Meta, IDENTITY)? else { return Ok(0) };
    bytes.as_ref().try_into().map(u64::from_be_bytes).map_err(|_| corrupt("member id", "not 8 bytes"))
}

/// Where a state stands whose log begins anew: after the entry that forms a cluster, as if that had been purged.
pub(crate) fn first_stamp(members: &BTreeMap<u64, String>) -> Stamp {
    let peer = |address: &String| Peer { address: address.clone(), ..Peer::default() };
    let nodes: BTreeMap<u64, Peer> = members.iter().map(|(id, address)| (*id, peer(address))).collect();
    let membership = openraft::Membership::new(vec![nodes.keys().copied().collect()], nodes);
    Stamp { applied: Some(LogId::default()), membership: Membership::new(Some(LogId::default()), membership) }
}

pub(crate) fn encode(stamp: &Stamp) -> Result<Vec<u8>, EngineError> {
    postcard::to_stdvec(stamp)
        .map_err(|error| EngineError::Io { operation: "encode the log position", source: Arc::new(error) })
}

/// Writes who the member is and where its log begins, durably.
pub(crate) fn write_identity(store: &Store, node_id: u64, cluster_id: u64) -> Result<(), EngineError> {
    let mut batch = Batch::default();
    batch.put(Family::Meta, IDENTITY, &node_id.to_be_bytes());
    let cluster = postcard::to_stdvec(&(cluster_id, false)).map_err(|error| corrupt("cluster id", error))?;
    batch.put(Family::Meta, CLUSTER, &cluster);
    batch.put(Family::Meta, log_store::PURGED, &log_store::encode(&LogId::default(), "purged log id")?);
    store.write("record the member", batch)?;
    store.sync()
}

/// The identity of the cluster that is made of a snapshot: the same on every member, and another one than before.
fn cluster_id(summary: &Summary, members: &BTreeMap<u64, String>) -> u64 {
    let mut digest = Sha256::new();
    digest.update(&summary.sha256);
    for (id, address) in members {
        digest.update(format!("\n{id}={address}"));
    }
    let digest: [u8; 32] = digest.finalize().into();
    let [a, b, c, d, e, f, g, h, ..] = digest;
    u64::from_be_bytes([a, b, c, d, e, f, g, h]).max(1)
}

fn require_free(dir: &Path) -> Result<(), Error> {
    match std::fs::read_dir(dir).map(|mut entries| entries.next().is_some()) {
        Ok(false) => Ok(()),
        Ok(true) => Err(Error::Occupied { dir: dir.to_owned() }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(Error::Directory { dir: dir.to_owned(), source }),
    }
}

/// A name in the same directory, so that it can take the place of `dir` at once.
pub(crate) fn beside(dir: &Path, what: &str) -> Result<PathBuf, Error> {
    let Some(name) = dir.file_name() else {
        let source = std::io::Error::from(std::io::ErrorKind::InvalidInput);
        return Err(Error::Directory { dir: dir.to_owned(), source });
    };
    let mut hidden = name.to_owned();
    hidden.push(format!(".{what}"));
    Ok(dir.with_file_name(hidden))
}

/// Removes a directory, if there is one.
pub(crate) fn remove(dir: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Gives `from` the name `to`, which nothing or an empty directory has, durably.
pub(crate) fn take_place(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::rename(from, to)?;
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}
