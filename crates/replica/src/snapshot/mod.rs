//! Snapshots of the state machine: what allows the log to be cut, and what a member gets that lacks entries.
//!
//! ```text
//!  cut the log:       the state on disk is as durable as the log, so its position is noted, nothing is copied
//!  another member:    view of the state ──► "exported" ──► over the network ──► "received" there
//!  install:           "received" ──► checked whole ──► "current" ──► the state, and its position is noted
//! ```

mod coming;
mod file;

use std::io::{ErrorKind, Seek};
use std::sync::Arc;

use futures::FutureExt;
use keyspace::{Engine, EngineError, View, read};
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

pub(crate) use self::coming::Coming;
use self::file::Reader;
use crate::disk::{AsyncFile, DiskFile, Family};
use crate::store::{Batch, StateEngine, Store, corrupt, io};
use crate::types::{SnapshotMeta, Stamp};

/// Meta record that says: the state is being replaced by the current snapshot; if found at start, do it again.
pub(crate) const INSTALLING: &[u8] = b"installing";
/// Meta record of the position up to which the log may be cut.
const NOTED: &[u8] = b"snapshot";

/// The snapshot that is being installed. An older version kept its newest one there.
const CURRENT: &str = "current";
/// The snapshot made for another member.
const EXPORTED: &str = "exported";
/// Files that are complete, and mean something to the next process.
pub(crate) const LASTING: [&str; 2] = [CURRENT, EXPORTED];
/// One being made.
const EXPORTING: &str = "exporting.partial";
/// One being received from another member.
const RECEIVING: &str = "receiving.partial";
/// One being checked before it is installed.
const CHECKING: &str = "checking.partial";
/// What an older version called one being made.
const BUILDING: &str = "building.partial";

/// The snapshots of one replica.
#[derive(Debug)]
pub(crate) struct Snapshots {
    store: Arc<Store>,
    /// The newest export.
    export: Mutex<Option<Export>>,
}

/// A complete file, and what it is of.
type Found = (SnapshotMeta, Box<dyn DiskFile>);

/// A snapshot for other members, perhaps still being written.
#[derive(Clone, Debug)]
struct Export {
    meta: SnapshotMeta,
    done: watch::Receiver<Option<Result<(), EngineError>>>,
}

impl Export {
    fn is_under_way(&self) -> bool {
        self.done.borrow().is_none()
    }
}

impl Snapshots {
    /// The snapshots beside `store`; what a crash left half done is removed.
    pub(crate) fn open(store: Arc<Store>) -> Result<Self, EngineError> {
        let snapshots = Snapshots { store, export: Mutex::default() };
        for partial in [BUILDING, EXPORTING, RECEIVING, CHECKING] {
            if snapshots.remove(partial)? {
                tracing::warn!(file = partial, "removed an unfinished keyspace snapshot");
            }
        }
        Ok(snapshots)
    }

    /// Removes a file; whether it was there.
    fn remove(&self, name: &str) -> Result<bool, EngineError> {
        match self.store.disk().remove_file(name) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(io("remove a snapshot", error)),
        }
    }

    /// The complete file of that name, if there is one.
    fn find(&self, name: &str) -> Result<Option<Found>, EngineError> {
        let mut file = match self.store.disk().open_file(name) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io("open a snapshot", error)),
        };
        let meta = Reader::open(file.as_mut())?.meta;
        file.rewind().map_err(|error| io("open a snapshot", error))?;
        Ok(Some((meta, file)))
    }

    /// The position up to which the log may be cut.
    pub(crate) fn noted(&self) -> Result<Option<SnapshotMeta>, EngineError> {
        let Some(bytes) = self.store.get(Family::Meta, NOTED)? else {
            return Ok(self.find(CURRENT)?.map(|(meta, _)| meta));
        };
        postcard::from_bytes(&bytes).map(Some).map_err(|error| corrupt("noted log position", error))
    }

    /// Notes the position of the state now. It needs no sync: the write-ahead log keeps what was written in order, over a
    /// crash as well (see `wal`), so that the log is never cut without this note, nor this there without the state.
    pub(crate) fn note(&self, engine: &StateEngine) -> Result<SnapshotMeta, EngineError> {
        let meta = meta_of(&engine.view())?;
        let mut batch = Batch::default();
        batch.put(Family::Meta, NOTED, &encode(&meta)?);
        self.store.write("note a log position", batch)?;
        self.remove(CURRENT)?;
        if !self.export.lock().as_ref().is_some_and(Export::is_under_way) {
            self.remove(EXPORTED)?;
        }
        Ok(meta)
    }

    /// A snapshot for another member: what it is of is known at once, the file comes.
    pub(crate) async fn export(
        self: &Arc<Self>,
        engine: &Arc<StateEngine>,
    ) -> Result<(SnapshotMeta, Coming), EngineError> {
        let under_way = self.export.lock().clone().filter(Export::is_under_way);
        let export = match under_way {
            Some(export) => export,
            None => self.begin_export(engine.clone()).await?,
        };
        *self.export.lock() = Some(export.clone());
        let (this, mut done) = (self.clone(), export.done);
        let file = async move {
            match done.wait_for(Option::is_some).await.as_deref() {
                Ok(Some(Ok(()))) => Ok(this.store.disk().open_file(EXPORTED)?.into_async()),
                Ok(Some(Err(EngineError::NoSpace { source, .. }))) => {
                    Err(std::io::Error::new(ErrorKind::StorageFull, source.clone()))
                }
                // It was this member's turn to get one.
                Ok(Some(Err(EngineError::Replacing))) => Err(ErrorKind::NotFound.into()),
                Ok(Some(Err(error))) => Err(std::io::Error::other(error.clone())),
                Ok(None) | Err(_) => Err(std::io::Error::other("the runtime is going down")),
            }
        };
        Ok((export.meta, Coming::new(file.boxed())))
    }

    /// The snapshot of that position, made when somebody reads it. Who waits too long finds none.
    pub(crate) fn on_demand(self: &Arc<Self>, engine: &Arc<StateEngine>, meta: &SnapshotMeta) -> Coming {
        let (this, engine, wanted) = (self.clone(), engine.clone(), meta.last_log_id);
        let file = async move {
            let (found, file) = this.export(&engine).await.map_err(|error| match error {
                EngineError::Replacing => ErrorKind::NotFound.into(),
                error => std::io::Error::other(error),
            })?;
            if found.last_log_id != wanted {
                return Err(ErrorKind::NotFound.into());
            }
            Ok(Box::new(file) as Box<dyn AsyncFile>)
        };
        Coming::new(file.boxed())
    }

    async fn begin_export(self: &Arc<Self>, engine: Arc<StateEngine>) -> Result<Export, EngineError> {
        let (tell, told) = oneshot::channel();
        let (finished, mut done) = watch::channel(None);
        let this = self.clone();
        self.store.disk().run(Box::new(move || {
            // Whoever asked may have gone; then nobody needs to know.
            let exported = this.export_now(&engine, |meta| drop(tell.send(meta)));
            finished.send_replace(Some(exported));
        }));
        if let Ok(meta) = told.await {
            return Ok(Export { meta, done });
        }
        match done.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(Err(error))) => Err(error.clone()),
            _ => Err(io("export a snapshot", std::io::Error::other("the runtime is going down"))),
        }
    }

    /// Writes the state now to a file, unless there is one that will do, and says before what it is of.
    fn export_now(&self, engine: &StateEngine, tell: impl FnOnce(SnapshotMeta)) -> Result<(), EngineError> {
        let noted = self.noted()?.and_then(|noted| noted.last_log_id);
        if let Some((meta, _)) = self.find(EXPORTED)?
            && meta.last_log_id >= noted
        {
            tell(meta);
            return Ok(());
        }
        let view = engine.view();
        let meta = meta_of(&view)?;
        tell(meta.clone());
        let file = self.store.disk().create_file(EXPORTING).map_err(|error| io("write a snapshot", error))?;
        let file = file::write(&view, &meta, file)?;
        self.publish(EXPORTING, file.as_ref(), EXPORTED)
    }

    /// Gives a complete file its name, durably.
    fn publish(&self, partial: &str, file: &dyn DiskFile, name: &str) -> Result<(), EngineError> {
        let published = file.sync_all().and_then(|()| self.store.disk().rename_file(partial, name));
        published.map_err(|error| io("publish a snapshot", error))
    }

    /// A new file to receive a snapshot from another member in.
    pub(crate) fn receive(&self) -> std::io::Result<Box<dyn DiskFile>> {
        self.store.disk().create_file(RECEIVING)
    }

    /// Replaces the state by a received snapshot. It is checked whole before anything is touched, and a crash in the
    /// middle is made good by [`Snapshots::recover`].
    pub(crate) fn install(&self, meta: &SnapshotMeta, mut received: Box<dyn DiskFile>) -> Result<(), EngineError> {
        received.rewind().map_err(|error| io("read a received snapshot", error))?;
        let copy = self.store.disk().create_file(CHECKING);
        let mut copy = copy.map_err(|error| io("keep a received snapshot", error))?;
        std::io::copy(&mut received, &mut copy).map_err(|error| io("keep a received snapshot", error))?;
        copy.rewind().map_err(|error| io("read a received snapshot", error))?;
        let mut reader = Reader::open(copy.as_mut())?;
        if reader.meta.last_log_id != meta.last_log_id {
            return Err(corrupt("received snapshot", "it is of another log position than was said"));
        }
        while reader.records()?.is_some() {}
        self.publish(CHECKING, copy.as_ref(), CURRENT)?;
        let mut mark = Batch::default();
        mark.put(Family::Meta, INSTALLING, b"");
        self.store.write("begin to install a snapshot", mark)?;
        self.store.sync()?;
        self.import()
    }

    /// Finishes an installation that a crash interrupted.
    pub(crate) fn recover(&self) -> Result<(), EngineError> {
        if self.store.get(Family::Meta, INSTALLING)?.is_some() {
            tracing::warn!("finishing the interrupted installation of a keyspace snapshot");
            self.import()?;
        }
        Ok(())
    }

    /// Replaces the state by the current snapshot. Nobody reads it meanwhile, nor after this has failed in the middle.
    fn import(&self) -> Result<(), EngineError> {
        let found = self.find(CURRENT)?;
        let (meta, mut file) = found.ok_or_else(|| corrupt("snapshot", "it was to be installed and is gone"))?;
        let mut reader = Reader::open(file.as_mut())?;
        self.store.begin_replacing();
        let mut batch = Batch::default();
        batch.clear_state();
        while let Some(records) = reader.records()? {
            for record in records {
                batch.put_state(record.table, &record.key, &record.value);
            }
            self.store.write("install a snapshot", std::mem::take(&mut batch))?;
        }
        batch.delete(Family::Meta, INSTALLING);
        batch.put(Family::Meta, NOTED, &encode(&meta)?);
        self.store.write("install a snapshot", batch)?;
        self.store.sync()?;
        self.store.end_replacing();
        self.remove(CURRENT).map(drop)
    }
}

fn encode(meta: &SnapshotMeta) -> Result<Vec<u8>, EngineError> {
    postcard::to_stdvec(meta).map_err(|error| io("encode a log position", std::io::Error::other(error)))
}

/// The stamp of a view.
pub(crate) fn stamp(view: &impl View) -> Result<Stamp, EngineError> {
    match read::stamp(view)? {
        None => Ok(Stamp::default()),
        Some(bytes) => postcard::from_bytes(&bytes).map_err(|error| corrupt("log position of the state", error)),
    }
}

/// What a snapshot of a view is of.
fn meta_of(view: &impl View) -> Result<SnapshotMeta, EngineError> {
    let Stamp { applied, membership } = stamp(view)?;
    let snapshot_id = applied.map_or("empty".into(), |applied| format!("{}-{}", applied.leader_id, applied.index));
    Ok(SnapshotMeta { last_log_id: applied, last_membership: membership, snapshot_id })
}
