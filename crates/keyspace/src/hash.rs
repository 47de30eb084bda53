//! A checksum of what can be read, to compare members with each other (etcd's HashKV).
//!
//! What a compaction made unreadable is removed later and on each member at its own pace, so the checksum is taken
//! when that is done.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use crate::codec::{self, Position};
use crate::engine::{Direction, Table, View};
use crate::{Error, Revision, read, sweep};

/// Checksum of the history that is kept, up to a revision. Two members agree on it if their keys, values, leases and
/// history do, and both values are of the same revisions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvHash {
    /// The checksum (CRC-32).
    pub hash: u32,
    /// Newest revision in it.
    pub revision: Revision,
    /// Compaction it was taken after.
    pub compact_revision: Revision,
}

/// The checksum up to `revision` (0: the newest). `None` while a sweep is not done: sweep, and ask again.
pub fn hash_kv(view: &impl View, revision: Revision) -> Result<Option<KvHash>, Error> {
    let state = read::state(view)?;
    read::check_revision(&state, revision)?;
    if sweep::swept(view)?.revision < state.compact_revision {
        return Ok(None);
    }
    let revision = if revision == 0 { state.revision } else { revision };
    let mut hasher = crc32fast::Hasher::new();
    let upper = Position::start_of(revision + 1).encode();
    view.scan(Table::Revisions, &[], Some(&upper), Direction::Forward, &mut |key, record| {
        // Decoded, so that a record that cannot be read is an error and no checksum.
        codec::change_key(Position::decode(key)?, record)?;
        hasher.update(key);
        hasher.update(record);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(Some(KvHash { hash: hasher.finalize(), revision, compact_revision: state.compact_revision }))
}

/// What a member finds when it compares itself with the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// The same.
    Same,
    /// This member's state is not what the log makes of it.
    Differs,
    /// History was compacted meanwhile: nothing can be said.
    Unknown,
}

impl KvHash {
    /// Compares with a checksum of the same revisions.
    pub fn compare(&self, other: &KvHash) -> Comparison {
        if (self.revision, self.compact_revision) != (other.revision, other.compact_revision) {
            Comparison::Unknown
        } else if self.hash == other.hash {
            Comparison::Same
        } else {
            Comparison::Differs
        }
    }
}
