//! Loading a snapshot into an empty engine: changes as they were, indexes made anew.

use std::io::Read;
use std::ops::ControlFlow;

use bytes::Bytes;

use super::read::{Reader, Summary};
use super::{ChangeRecord, Frame, LeaseRecord, SnapshotError};
use crate::codec::{self, Lease, Position, State};
use crate::engine::{Batch, Direction, Engine, Table, View};
use crate::read::{HISTORY_DELETE, HISTORY_PUT};
use crate::{EngineError, EventKind};

/// How a snapshot is loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Makes revisions go on this much later than in the snapshot, so that clients which saw revisions made after it
    /// never meet other contents under the same numbers. 0 goes on where it ended.
    pub bump_revisions: u64,
    /// Counts all history as compacted, so that clients which resume a watch are told to read anew.
    pub mark_compacted: bool,
}

/// Records put into one batch, about.
const BATCH_RECORDS: usize = 2_000;

/// Loads a snapshot. `stamp` is written with the last batch, as with [`Machine::apply_all`](crate::Machine::apply_all):
/// an engine without one was not loaded to the end. The digest is checked before that.
pub fn load<E: Engine>(
    input: impl Read,
    engine: &E,
    options: Options,
    stamp: Option<Bytes>,
) -> Result<Summary, SnapshotError> {
    if crate::read::revisions(&engine.view()).map_err(SnapshotError::Load)? != (1, 0) {
        return Err(SnapshotError::NotEmpty);
    }
    let mut reader = Reader::open(input)?;
    let mut leases = 0;
    while let Some(frame) = reader.next()? {
        let batch = match frame {
            Frame::Changes(records) => changes(&records),
            Frame::Leases(records) => {
                leases += records.len() as u64;
                self::leases(&records)
            }
            Frame::Header { .. } | Frame::End(_) => Ok(Batch::default()),
        };
        batch.and_then(|batch| engine.write(batch)).map_err(SnapshotError::Load)?;
    }
    let header = reader.header().clone();
    let summary = reader.finish()?;
    let revision = header.revision.saturating_add(options.bump_revisions);
    let compact_revision = if options.mark_compacted { revision } else { header.compact_revision };
    let state = State {
        revision,
        compact_revision,
        clock_ms: header.clock_ms,
        last_lease: header.last_lease,
        leases,
        ..State::default()
    };
    finish(engine, &state, stamp).map_err(SnapshotError::Load)?;
    Ok(summary)
}

/// The indexes over the leases of keys, then what makes the load complete.
fn finish<E: Engine>(engine: &E, state: &State, stamp: Option<Bytes>) -> Result<(), EngineError> {
    let mut batch = Batch::default();
    let mut from = Vec::new();
    loop {
        let mut next = None;
        // In steps, so that a view is never open while the engine is written to.
        engine.view().scan(Table::Current, &from, None, Direction::Forward, &mut |key, bytes| {
            if batch.writes.len() == BATCH_RECORDS {
                next = Some(key.to_vec());
                return Ok(ControlFlow::Break(()));
            }
            let kv = codec::decode_current(key, bytes, false)?;
            if kv.lease != 0 {
                batch.put(Table::LeaseKeys, codec::lease_attachment(kv.lease, key), Vec::new());
            }
            Ok(ControlFlow::Continue(()))
        })?;
        let Some(next) = next else { break };
        engine.write(std::mem::take(&mut batch))?;
        from = next;
    }
    batch.put(Table::Meta, codec::STATE_KEY, codec::encode(state, "keyspace state")?);
    if let Some(stamp) = stamp {
        batch.put(Table::Meta, codec::STAMP_KEY, stamp);
    }
    engine.write(batch)
}

fn changes(records: &[ChangeRecord]) -> Result<Batch, EngineError> {
    let mut batch = Batch::default();
    for record in records {
        let at = Position { main: record.revision, sub: record.sub };
        let (kind, kv) = codec::decode_change(at, &record.record, true)?;
        batch.put(Table::Revisions, at.encode().to_vec(), record.record.clone());
        let history = codec::history_key(&kv.key, at);
        match kind {
            EventKind::Put => {
                batch.put(Table::History, history, &[HISTORY_PUT][..]);
                batch.put(Table::Current, kv.key.clone(), codec::encode_current(&kv)?);
            }
            EventKind::Delete => {
                batch.put(Table::History, history, &[HISTORY_DELETE][..]);
                batch.delete(Table::Current, kv.key);
            }
        }
    }
    Ok(batch)
}

fn leases(records: &[LeaseRecord]) -> Result<Batch, EngineError> {
    let mut batch = Batch::default();
    for LeaseRecord { id, ttl_seconds, expires_ms } in records {
        let lease = Lease { ttl_seconds: *ttl_seconds, expires_ms: *expires_ms };
        batch.put(Table::Leases, codec::lease_key(*id).to_vec(), codec::encode(&lease, "lease")?);
        batch.put(Table::Expiries, codec::expiry_key(*expires_ms, *id), Vec::new());
    }
    Ok(batch)
}
