//! Writing a snapshot, piece by piece.

use std::ops::ControlFlow;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{ChangeRecord, Counts, FORMAT, FRAME_BYTES, Frame, Header, LeaseRecord, MAGIC, Origin};
use crate::codec::{self, Position};
use crate::engine::{Direction, Table, View};
use crate::read::{self, HISTORY_PUT};
use crate::{EngineError, KeyRange};

/// Takes the pieces of a file in order; failing ends the writing.
pub type Sink<'a> = dyn FnMut(Bytes) -> Result<(), EngineError> + 'a;

/// Writes what `view` shows. The pieces are of moderate size; together they are the file.
pub fn write(view: &impl View, origin: Origin, sink: &mut Sink<'_>) -> Result<Counts, EngineError> {
    let state = read::state(view)?;
    let mut writer = Writer { sink, digest: Sha256::new() };
    writer.piece(Bytes::from_static(MAGIC))?;
    let header = Header {
        origin,
        revision: state.revision,
        compact_revision: state.compact_revision,
        clock_ms: state.clock_ms,
        last_lease: state.last_lease,
    };
    writer.frame(&Frame::Header { format: FORMAT, header })?;
    let mut counts = Counts { keys: count_keys(view)?, changes: 0, leases: 0 };
    write_changes(view, &mut writer, &mut counts)?;
    write_leases(view, &mut writer, &mut counts)?;
    writer.frame(&Frame::End(counts))?;
    let digest = writer.digest.clone().finalize();
    (writer.sink)(Bytes::copy_from_slice(&digest))?;
    Ok(counts)
}

fn write_changes(view: &impl View, writer: &mut Writer<'_, '_>, counts: &mut Counts) -> Result<(), EngineError> {
    let (mut pending, mut bytes) = (Vec::new(), 0);
    view.scan(Table::Revisions, &[], None, Direction::Forward, &mut |key, record| {
        let Position { main, sub } = Position::decode(key)?;
        bytes += record.len();
        pending.push(ChangeRecord { revision: main, sub, record: Bytes::copy_from_slice(record) });
        counts.changes += 1;
        if bytes >= FRAME_BYTES {
            bytes = 0;
            writer.frame(&Frame::Changes(std::mem::take(&mut pending)))?;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    if pending.is_empty() { Ok(()) } else { writer.frame(&Frame::Changes(pending)) }
}

fn write_leases(view: &impl View, writer: &mut Writer<'_, '_>, counts: &mut Counts) -> Result<(), EngineError> {
    let most = FRAME_BYTES / size_of::<LeaseRecord>();
    let mut pending = Vec::new();
    view.scan(Table::Leases, &[], None, Direction::Forward, &mut |key, bytes| {
        let lease: codec::Lease = codec::decode(bytes, "lease")?;
        let id = codec::decode_lease_key(key)?;
        pending.push(LeaseRecord { id, ttl_seconds: lease.ttl_seconds, expires_ms: lease.expires_ms });
        counts.leases += 1;
        if pending.len() >= most {
            writer.frame(&Frame::Leases(std::mem::take(&mut pending)))?;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    if pending.is_empty() { Ok(()) } else { writer.frame(&Frame::Leases(pending)) }
}

/// Keys at the newest revision: those whose last version is a put. Values are not read.
fn count_keys(view: &impl View) -> Result<u64, EngineError> {
    let (lower, upper) = codec::history_bounds(&KeyRange::all());
    let mut keys = 0;
    let mut prefix: Vec<u8> = Vec::new();
    let mut live = false;
    view.scan(Table::History, &lower, upper.as_deref(), Direction::Forward, &mut |key, kind| {
        let (of, _) = codec::split_history(key)?;
        if of != prefix {
            keys += u64::from(live);
            prefix.clear();
            prefix.extend_from_slice(of);
        }
        live = kind.first() == Some(&HISTORY_PUT);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(keys + u64::from(live))
}

struct Writer<'w, 's> {
    sink: &'w mut Sink<'s>,
    digest: Sha256,
}

impl Writer<'_, '_> {
    fn frame(&mut self, frame: &Frame) -> Result<(), EngineError> {
        // The place of length and checksum is kept free, so that a frame is one piece.
        let mut bytes = codec::extend(frame, vec![0; 8], "frame of a snapshot")?;
        let (head, body) = bytes.split_at_mut(8);
        let length = u32::try_from(body.len()).map_err(|_| codec::corrupt("frame of a snapshot", "4 GiB or more"))?;
        head[..4].copy_from_slice(&length.to_le_bytes());
        head[4..].copy_from_slice(&crc32fast::hash(body).to_le_bytes());
        self.piece(bytes.into())
    }

    fn piece(&mut self, piece: Bytes) -> Result<(), EngineError> {
        self.digest.update(&piece);
        (self.sink)(piece)
    }
}
