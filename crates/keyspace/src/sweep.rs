//! The work behind a compaction: removing versions that cannot be read any more.
//!
//! After a compaction at `C` a key needs only its newest version at or before `C`, and not even that when it is a
//! delete before `C`. (The delete at `C` itself stays, for watches that begin at `C`.) So each change up to `C` makes
//! the version before it removable. Changes are looked at once, in order, from where the last sweep ended: the work
//! is proportional to the changes made, not to the keys there are.

use std::ops::ControlFlow;

use bytes::Bytes;

use crate::codec::{self, Position, Swept};
use crate::engine::{Batch, Direction, Table, View};
use crate::limits::SWEEP_RECORDS;
use crate::{EngineError, EventKind, Revision, read};

/// A step of the sweep.
pub(crate) struct Step {
    /// What to write; nothing when there is nothing to do.
    pub(crate) batch: Option<Batch>,
    /// Whether there is more to do.
    pub(crate) more: bool,
}

/// How far the sweep has come.
pub(crate) fn swept(view: &impl View) -> Result<Swept, EngineError> {
    match view.get(Table::Meta, codec::SWEPT_KEY)? {
        None => Ok(Swept::default()),
        Some(bytes) => codec::decode(&bytes, "sweep position"),
    }
}

pub(crate) fn plan(view: &impl View, compact_revision: Revision) -> Result<Step, EngineError> {
    let mut swept = swept(view)?;
    if swept.revision >= compact_revision {
        return Ok(Step { batch: None, more: false });
    }
    let mut batch = Batch::default();
    let mut looked_at = 0;
    let mut more = false;
    let (lower, upper) = (swept.next.encode(), Position::start_of(compact_revision + 1).encode());
    view.scan(Table::Revisions, &lower, Some(&upper[..]), Direction::Forward, &mut |key, record| {
        let at = Position::decode(key)?;
        if looked_at == SWEEP_RECORDS {
            more = true;
            swept.next = at;
            return Ok(ControlFlow::Break(()));
        }
        looked_at += 1;
        let (kind, key) = codec::change_key(at, record)?;
        if let Some((before, _)) = read::position_before(view, key, at)? {
            remove(&mut batch, key, before);
        }
        if kind == EventKind::Delete && at.main < compact_revision {
            remove(&mut batch, key, at);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    if !more {
        // The next sweep looks at this revision again: its deletes stay until then.
        swept = Swept { revision: compact_revision, next: Position::start_of(compact_revision) };
    }
    batch.put(Table::Meta, codec::SWEPT_KEY, codec::encode(&swept, "sweep position")?);
    Ok(Step { batch: Some(batch), more })
}

fn remove(batch: &mut Batch, key: &[u8], at: Position) {
    batch.delete(Table::Revisions, Bytes::copy_from_slice(&at.encode()));
    batch.delete(Table::History, codec::history_key(key, at));
}
