//! Reading a snapshot: every frame is checked, and at the end the digest.

use std::collections::VecDeque;
use std::io::{BufReader, Read};

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{
    ChangeRecord, Counts, DIGEST_BYTES, FORMAT, Frame, Header, LeaseRecord, MAGIC, MAX_FRAME_BYTES, SnapshotError,
};
use crate::codec::{self, Position};
use crate::{EventKind, KeyValue, LeaseId, Revision};

/// What is known of a snapshot that was read to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Version of the file's format.
    pub format: u32,
    /// What it begins with.
    pub header: Header,
    /// How much is in it.
    pub counts: Counts,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of all before the digest itself, in hexadecimal.
    pub sha256: String,
}

/// Reads a snapshot to its end and checks it against its checksums and digest.
pub fn status(input: impl Read) -> Result<Summary, SnapshotError> {
    let mut reader = Reader::open(input)?;
    while reader.next()?.is_some() {}
    reader.finish()
}

/// As [`status`], and also decodes every record and checks that they make one consistent history.
pub fn verify(input: impl Read) -> Result<Summary, SnapshotError> {
    let mut reader = Reader::open(input)?;
    let mut last = Position::default();
    let mut last_lease: LeaseId = 0;
    let newest = reader.header.revision;
    while let Some(frame) = reader.next()? {
        let damaged = |detail: String| SnapshotError::Damaged { offset: reader.frame_at, detail };
        match frame {
            Frame::Changes(records) => {
                for record in records {
                    let at = Position { main: record.revision, sub: record.sub };
                    if at <= last || at.main > newest {
                        return Err(damaged(format!("change {} of revision {} is out of order", at.sub, at.main)));
                    }
                    last = at;
                    let (kind, kv) =
                        codec::decode_change(at, &record.record, false).map_err(|error| damaged(error.to_string()))?;
                    if kv.mod_revision != at.main || (kind == EventKind::Put && kv.create_revision > at.main) {
                        return Err(damaged(format!("change {} of revision {} has other revisions", at.sub, at.main)));
                    }
                }
            }
            Frame::Leases(leases) => {
                for lease in leases {
                    if lease.id <= last_lease || lease.ttl_seconds <= 0 {
                        return Err(damaged(format!("lease {} is out of order or bounds", lease.id)));
                    }
                    last_lease = lease.id;
                }
            }
            Frame::Header { .. } | Frame::End(_) => {}
        }
    }
    reader.finish()
}

/// What is in a snapshot: changes in order of revision, then leases in order of id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A version of a key, or its delete.
    Change {
        /// Revision it was made at.
        revision: Revision,
        /// Number within the revision.
        sub: u32,
        /// Put or delete.
        kind: EventKind,
        /// The version; of a delete only the key and the revision.
        kv: KeyValue,
    },
    /// A lease.
    Lease {
        /// Its id.
        id: LeaseId,
        /// Time to live it was granted with, seconds.
        ttl_seconds: i64,
        /// Milliseconds it had left.
        remaining_ms: u64,
    },
}

/// Reads frames in order.
#[derive(Debug)]
pub struct Reader<R: Read> {
    input: BufReader<R>,
    digest: Sha256,
    pub(super) header: Header,
    seen: Counts,
    end: Option<Counts>,
    /// Records of the last frame that were not asked for yet.
    open: VecDeque<Record>,
    /// Where the next byte is.
    offset: u64,
    /// Where the last frame began.
    pub(super) frame_at: u64,
}

impl<R: Read> Reader<R> {
    /// Reads the header.
    pub fn open(input: R) -> Result<Self, SnapshotError> {
        let mut reader = Reader {
            input: BufReader::new(input),
            digest: Sha256::new(),
            header: Header::default(),
            seen: Counts::default(),
            end: None,
            open: VecDeque::new(),
            offset: 0,
            frame_at: 0,
        };
        let mut magic = [0; MAGIC.len()];
        match reader.input.read_exact(&mut magic) {
            Ok(()) if magic == *MAGIC => {}
            Err(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => return Err(SnapshotError::Read(error)),
            _ => return Err(SnapshotError::Foreign),
        }
        reader.took(&magic);
        reader.header = match reader.frame(true)? {
            Frame::Header { format: FORMAT, header } => header,
            Frame::Header { format, .. } => return Err(SnapshotError::Format { found: format }),
            _ => return Err(reader.damaged("it has no header")),
        };
        Ok(reader)
    }

    /// What the snapshot begins with.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The next record; nothing when all have been read.
    pub fn record(&mut self) -> Result<Option<Record>, SnapshotError> {
        loop {
            if let Some(record) = self.open.pop_front() {
                return Ok(Some(record));
            }
            let Some(frame) = self.next()? else { return Ok(None) };
            match frame {
                Frame::Changes(records) => {
                    for ChangeRecord { revision, sub, record } in records {
                        let at = Position { main: revision, sub };
                        let decoded = codec::decode_change(at, &record, true);
                        let (kind, kv) = decoded.map_err(|error| self.damaged(&error.to_string()))?;
                        self.open.push_back(Record::Change { revision, sub, kind, kv });
                    }
                }
                Frame::Leases(leases) => {
                    let clock_ms = self.header.clock_ms;
                    self.open.extend(leases.into_iter().map(|LeaseRecord { id, ttl_seconds, expires_ms }| {
                        let remaining_ms = expires_ms.saturating_sub(clock_ms);
                        Record::Lease { id, ttl_seconds, remaining_ms }
                    }));
                }
                Frame::Header { .. } | Frame::End(_) => {}
            }
        }
    }

    /// The next frame with records; nothing when all have been read.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, SnapshotError> {
        if self.end.is_some() {
            return Ok(None);
        }
        let frame = self.frame(false)?;
        match &frame {
            Frame::Changes(records) => self.seen.changes += records.len() as u64,
            Frame::Leases(leases) => self.seen.leases += leases.len() as u64,
            Frame::Header { .. } => return Err(self.damaged("it has two headers")),
            Frame::End(counts) => {
                if (counts.changes, counts.leases) != (self.seen.changes, self.seen.leases) {
                    return Err(self.damaged("it has another number of records than it should"));
                }
                self.end = Some(*counts);
                return Ok(None);
            }
        }
        Ok(Some(frame))
    }

    /// Checks the digest, after the last frame.
    pub fn finish(mut self) -> Result<Summary, SnapshotError> {
        let Some(counts) = self.end else { return Err(self.damaged("it was not read to its end")) };
        let computed: [u8; DIGEST_BYTES] = self.digest.clone().finalize().into();
        let mut written = [0; DIGEST_BYTES];
        self.exact(&mut written)?;
        if computed != written {
            return Err(SnapshotError::Digest { computed: hex(&computed), written: hex(&written) });
        }
        let mut more = [0];
        if self.input.read(&mut more).map_err(SnapshotError::Read)? != 0 {
            return Err(self.damaged("it goes on after its digest"));
        }
        Ok(Summary { format: FORMAT, header: self.header, counts, bytes: self.offset, sha256: hex(&computed) })
    }

    /// The next frame. The version of a header is read even if the rest of it is of another format.
    fn frame(&mut self, header: bool) -> Result<Frame, SnapshotError> {
        self.frame_at = self.offset;
        let mut head = [0; 8];
        self.exact(&mut head)?;
        let [l0, l1, l2, l3, c0, c1, c2, c3] = head;
        let (length, sum) = (u32::from_le_bytes([l0, l1, l2, l3]), u32::from_le_bytes([c0, c1, c2, c3]));
        if length > MAX_FRAME_BYTES {
            return Err(self.damaged("the length of a frame is beyond all bounds"));
        }
        let mut bytes = vec![0; length as usize];
        self.exact(&mut bytes)?;
        if crc32fast::hash(&bytes) != sum {
            return Err(self.damaged("the checksum of a frame does not match"));
        }
        if header
            && let Ok((0u32, rest)) = postcard::take_from_bytes::<u32>(&bytes)
            && let Ok((found, _)) = postcard::take_from_bytes::<u32>(rest)
            && found != FORMAT
        {
            return Err(SnapshotError::Format { found });
        }
        postcard::from_bytes(&bytes).map_err(|error| self.damaged(&error.to_string()))
    }

    fn exact(&mut self, bytes: &mut [u8]) -> Result<(), SnapshotError> {
        match self.input.read_exact(bytes) {
            Ok(()) => {
                self.took(bytes);
                Ok(())
            }
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Err(self.damaged("it ends too early")),
            Err(error) => Err(SnapshotError::Read(error)),
        }
    }

    fn took(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
        self.offset += bytes.len() as u64;
    }

    fn damaged(&self, detail: &str) -> SnapshotError {
        SnapshotError::Damaged { offset: self.frame_at, detail: detail.to_owned() }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
