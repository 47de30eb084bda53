//! The file: all tables of the state machine at one log position.
//!
//! ```text
//! magic | frame: Header | frame: Records ... | frame: End        frame = length u32 | crc32 u32 | postcard
//! ```
//!
//! A file is complete when its End frame counts as many records as there are; anything else is refused.

use std::io::{BufReader, BufWriter, Read, SeekFrom, Write};
use std::ops::ControlFlow;

use keyspace::{Direction, EngineError, Table, View};
use serde::{Deserialize, Serialize};

use crate::disk::DiskFile;
use crate::store::{corrupt, io};
use crate::types::SnapshotMeta;

const MAGIC: &[u8; 8] = b"NCKSNAP1";
const FORMAT: u32 = 1;

/// Bytes of records in one frame, about.
const FRAME_BYTES: usize = 256 * 1024;
/// Largest frame that is believed: a record is at most a request with its key.
const MAX_FRAME_BYTES: u32 = 64 * 1024 * 1024;

#[derive(Debug, Serialize, Deserialize)]
enum Frame {
    Header { format: u32, meta: SnapshotMeta },
    Records(Vec<Record>),
    End { records: u64 },
}

/// A record of the state.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) table: u8,
    pub(super) key: bytes::Bytes,
    pub(super) value: bytes::Bytes,
}

/// Writes the state as it is in a view to a file.
pub(super) fn write(
    view: &impl View,
    meta: &SnapshotMeta,
    file: Box<dyn DiskFile>,
) -> Result<Box<dyn DiskFile>, EngineError> {
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
pub(super) struct Reader<'f> {
    input: BufReader<&'f mut dyn DiskFile>,
    pub(super) meta: SnapshotMeta,
    offset: u64,
    records: u64,
}

impl<'f> Reader<'f> {
    /// Reads the header.
    pub(super) fn open(file: &'f mut dyn DiskFile) -> Result<Self, EngineError> {
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
    pub(super) fn records(&mut self) -> Result<Option<Vec<Record>>, EngineError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frames_of_a_file_do_not_change() {
        let meta = SnapshotMeta { snapshot_id: "s".into(), ..SnapshotMeta::default() };
        let record = Record { table: 1, key: "k".into(), value: "v".into() };
        let frames = [Frame::Header { format: FORMAT, meta }, Frame::Records(vec![record]), Frame::End { records: 1 }];
        let mut now = String::new();
        keyspace::testing::record(&mut now, "frame", &frames);
        keyspace::testing::assert_recorded(include_str!("formats.txt"), &now);
    }
}
