//! A snapshot of the state machine as a file: all tables at one log position.
//!
//! ```text
//! magic | frame: Header | frame: Records ... | frame: End        frame = length u32 | crc32 u32 | postcard
//! ```
//!
//! A file is complete when its End frame counts as many records as there are; anything else is refused.

use std::io::{BufReader, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::sync::Arc;

use keyspace::{Direction, Engine, EngineError, Table, View, read};
use serde::{Deserialize, Serialize};

use crate::disk::{DiskFile, Family};
use crate::store::{Batch, StateEngine, Store, corrupt, io};
use crate::types::{SnapshotMeta, Stamp};

const MAGIC: &[u8; 8] = b"NCKSNAP1";
const FORMAT: u32 = 1;

/// Bytes of records in one frame, about.
const FRAME_BYTES: usize = 256 * 1024;
/// Largest frame that is believed: a record is at most a request with its key.
const MAX_FRAME_BYTES: u32 = 64 * 1024 * 1024;

/// Meta record that says: the state is being replaced by the current snapshot; if found at start, do it again.
pub(crate) const INSTALLING: &[u8] = b"installing";

#[derive(Debug, Serialize, Deserialize)]
enum Frame {
    Header { format: u32, meta: SnapshotMeta },
    Records(Vec<Record>),
    End { records: u64 },
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    table: u8,
    key: bytes::Bytes,
    value: bytes::Bytes,
}

/// The complete snapshot.
const CURRENT: &str = "current";
/// One being built.
const BUILDING: &str = "building.partial";
/// One being received from another member.
const RECEIVING: &str = "receiving.partial";
/// One being checked before it is installed.
const CHECKING: &str = "checking.partial";

/// A snapshot there is, and its file.
pub(crate) type Stored = (SnapshotMeta, Box<dyn DiskFile>);

/// The snapshots of one replica: at most one that is complete.
#[derive(Debug)]
pub(crate) struct Snapshots {
    store: Arc<Store>,
}

impl Snapshots {
    /// The snapshots beside `store`; what a crash left half done is removed.
    pub(crate) fn open(store: Arc<Store>) -> Result<Self, EngineError> {
        for partial in [BUILDING, RECEIVING, CHECKING] {
            match store.disk().remove_file(partial) {
                Ok(()) => tracing::warn!(file = partial, "removed an unfinished keyspace snapshot"),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(io("remove an unfinished snapshot", error)),
            }
        }
        Ok(Snapshots { store })
    }

    /// A new file to receive a snapshot from another member in.
    pub(crate) fn receive(&self) -> std::io::Result<Box<dyn DiskFile>> {
        self.store.disk().create_file(RECEIVING)
    }

    /// The complete snapshot, if there is one.
    pub(crate) fn load(&self) -> Result<Option<Stored>, EngineError> {
        let mut file = match self.store.disk().open_file(CURRENT) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io("open the snapshot", error)),
        };
        let meta = Reader::open(file.as_mut())?.meta;
        file.rewind().map_err(|error| io("open the snapshot", error))?;
        Ok(Some((meta, file)))
    }

    /// Makes a snapshot of the state now, unless the current one is of the same log position.
    pub(crate) fn build(&self, engine: &StateEngine) -> Result<Stored, EngineError> {
        let view = engine.view();
        let stamp = stamp(&view)?;
        if let Some((meta, file)) = self.load()?
            && meta.last_log_id == stamp.applied
        {
            return Ok((meta, file));
        }
        let id = stamp.applied.map_or("empty".into(), |applied| format!("{}-{}", applied.leader_id, applied.index));
        let meta = SnapshotMeta { last_log_id: stamp.applied, last_membership: stamp.membership, snapshot_id: id };
        let file = self.store.disk().create_file(BUILDING).map_err(|error| io("write a snapshot", error))?;
        let file = export(&view, &meta, file)?;
        self.publish(BUILDING, file.as_ref())?;
        self.load()?.ok_or_else(|| corrupt("snapshot", "gone as soon as it was made"))
    }

    /// Makes the file the current snapshot, durably.
    fn publish(&self, name: &str, file: &dyn DiskFile) -> Result<(), EngineError> {
        let published = file.sync_all().and_then(|()| self.store.disk().rename_file(name, CURRENT));
        published.map_err(|error| io("publish a snapshot", error))
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
        self.publish(CHECKING, copy.as_ref())?;
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

    /// Replaces the state by the current snapshot.
    fn import(&self) -> Result<(), EngineError> {
        let (_, mut file) = self.load()?.ok_or_else(|| corrupt("snapshot", "it was to be installed and is gone"))?;
        let mut reader = Reader::open(file.as_mut())?;
        let mut batch = Batch::default();
        batch.clear_state();
        while let Some(records) = reader.records()? {
            for record in records {
                batch.put_state(record.table, &record.key, &record.value);
            }
            self.store.write("install a snapshot", std::mem::take(&mut batch))?;
        }
        batch.delete(Family::Meta, INSTALLING);
        self.store.write("install a snapshot", batch)?;
        self.store.sync()
    }
}

/// The stamp of a view.
pub(crate) fn stamp(view: &impl View) -> Result<Stamp, EngineError> {
    match read::stamp(view)? {
        None => Ok(Stamp::default()),
        Some(bytes) => postcard::from_bytes(&bytes).map_err(|error| corrupt("log position of the state", error)),
    }
}

fn export(view: &impl View, meta: &SnapshotMeta, file: Box<dyn DiskFile>) -> Result<Box<dyn DiskFile>, EngineError> {
    let mut writer = Writer { out: BufWriter::new(file), pending: Vec::new(), pending_bytes: 0, records: 0 };
    writer.out.write_all(MAGIC).map_err(|error| io("write a snapshot", error))?;
    writer.frame(&Frame::Header { format: FORMAT, meta: meta.clone() })?;
    for table in Table::ALL {
        view.scan(table, &[], None, Direction::Forward, &mut |key, value| {
            writer.record(table, key, value)?;
            Ok(ControlFlow::Continue(()))
        })?;
    }
    writer.finish()
}

struct Writer {
    out: BufWriter<Box<dyn DiskFile>>,
    pending: Vec<Record>,
    pending_bytes: usize,
    records: u64,
}

impl Writer {
    fn record(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), EngineError> {
        let (key, value) = (bytes::Bytes::copy_from_slice(key), bytes::Bytes::copy_from_slice(value));
        self.pending_bytes += key.len() + value.len();
        self.pending.push(Record { table: table as u8, key, value });
        self.records += 1;
        if self.pending_bytes >= FRAME_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), EngineError> {
        self.pending_bytes = 0;
        let records = std::mem::take(&mut self.pending);
        if records.is_empty() { Ok(()) } else { self.frame(&Frame::Records(records)) }
    }

    fn frame(&mut self, frame: &Frame) -> Result<(), EngineError> {
        let failed = |error| io("write a snapshot", error);
        let bytes = postcard::to_stdvec(frame).map_err(|error| failed(std::io::Error::other(error)))?;
        let length = u32::try_from(bytes.len()).map_err(|error| failed(std::io::Error::other(error)))?;
        self.out.write_all(&length.to_le_bytes()).map_err(failed)?;
        self.out.write_all(&crc32fast::hash(&bytes).to_le_bytes()).map_err(failed)?;
        self.out.write_all(&bytes).map_err(failed)
    }

    fn finish(mut self) -> Result<Box<dyn DiskFile>, EngineError> {
        self.flush()?;
        let records = self.records;
        self.frame(&Frame::End { records })?;
        self.out.into_inner().map_err(|error| io("write a snapshot", error.into_error()))
    }
}

/// Reads a snapshot, checking each frame.
struct Reader<'f> {
    input: BufReader<&'f mut dyn DiskFile>,
    meta: SnapshotMeta,
    offset: u64,
    records: u64,
}

impl<'f> Reader<'f> {
    fn open(file: &'f mut dyn DiskFile) -> Result<Self, EngineError> {
        let mut magic = [0; MAGIC.len()];
        file.seek(SeekFrom::Start(0)).map_err(|error| io("read a snapshot", error))?;
        file.read_exact(&mut magic).map_err(|error| corrupt("snapshot", error))?;
        if magic != *MAGIC {
            return Err(corrupt("snapshot", "it does not begin like one"));
        }
        let offset = MAGIC.len() as u64;
        let mut reader = Reader { input: BufReader::new(file), meta: SnapshotMeta::default(), offset, records: 0 };
        match reader.frame()? {
            Frame::Header { format: FORMAT, meta } => reader.meta = meta,
            Frame::Header { format, .. } => return Err(EngineError::Format { found: format, known: FORMAT }),
            _ => return Err(corrupt("snapshot", "it has no header")),
        }
        Ok(reader)
    }

    /// The next records; nothing at the end, when all are there.
    fn records(&mut self) -> Result<Option<Vec<Record>>, EngineError> {
        match self.frame()? {
            Frame::Records(records) => {
                self.records += records.len() as u64;
                Ok(Some(records))
            }
            Frame::End { records } if records == self.records => Ok(None),
            Frame::End { records } => {
                Err(corrupt("snapshot", format!("it has {} records and should have {records}", self.records)))
            }
            Frame::Header { .. } => Err(corrupt("snapshot", "it has two headers")),
        }
    }

    fn frame(&mut self) -> Result<Frame, EngineError> {
        let at = format!("snapshot, frame at byte {}", self.offset);
        let mut head = [0; 8];
        self.input.read_exact(&mut head).map_err(|error| corrupt(at.as_str(), error))?;
        let [l0, l1, l2, l3, c0, c1, c2, c3] = head;
        let (length, sum) = (u32::from_le_bytes([l0, l1, l2, l3]), u32::from_le_bytes([c0, c1, c2, c3]));
        if length > MAX_FRAME_BYTES {
            return Err(corrupt(at, format!("its length {length} is beyond all bounds")));
        }
        let mut bytes = vec![0; length as usize];
        self.input.read_exact(&mut bytes).map_err(|error| corrupt(at.as_str(), error))?;
        if crc32fast::hash(&bytes) != sum {
            return Err(corrupt(at, "its checksum does not match"));
        }
        self.offset += 8 + u64::from(length);
        postcard::from_bytes(&bytes).map_err(|error| corrupt(at, error))
    }
}
