//! The port below the state machine: ordered bytes with atomic batches.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use crate::EngineError;

/// The ordered maps an engine keeps. The numbers are part of the disk format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Table {
    /// Few fixed keys: revisions, clock, the owner's stamp.
    Meta = 0,
    /// Key to its newest version.
    Current = 1,
    /// Revision to the change made at it, value included.
    Revisions = 2,
    /// Key and revision, in that order: which versions a key has.
    History = 3,
    /// Lease id to lease.
    Leases = 4,
    /// Lease id and key: what lives on a lease.
    LeaseKeys = 5,
    /// Expiry time and lease id: what is due next.
    Expiries = 6,
}

impl Table {
    /// All of them, in order of their number.
    pub const ALL: [Table; 7] = [
        Table::Meta,
        Table::Current,
        Table::Revisions,
        Table::History,
        Table::Leases,
        Table::LeaseKeys,
        Table::Expiries,
    ];
}

/// Where a scan begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// At the lower bound, upwards.
    Forward,
    /// At the upper bound, downwards.
    Reverse,
}

/// What a visitor answers for each record: go on, stop, or fail.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, EngineError> + 'a;

/// A consistent state of all tables: later writes are not seen.
pub trait View {
    /// The value of `key`.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, EngineError>;

    /// Visits the records with `lower <= key` and, if there is an upper bound, `key < upper`, in order.
    fn scan(
        &self,
        table: Table,
        lower: &[u8],
        upper: Option<&[u8]>,
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<(), EngineError>;
}

/// Visits the records of an ordered map with `lower <= key` and, if there is an upper bound, `key < upper`: what
/// [`View::scan`] promises.
pub fn scan_map<K: Ord + Borrow<[u8]>>(
    map: &BTreeMap<K, Bytes>,
    lower: &[u8],
    upper: Option<&[u8]>,
    direction: Direction,
    visit: &mut Visit<'_>,
) -> Result<(), EngineError> {
    if upper.is_some_and(|upper| upper <= lower) {
        return Ok(());
    }
    let bounds = (Bound::Included(lower), upper.map_or(Bound::Unbounded, Bound::Excluded));
    let mut records = map.range::<[u8], _>(bounds);
    while let Some((key, value)) = match direction {
        Direction::Forward => records.next(),
        Direction::Reverse => records.next_back(),
    } {
        if visit(key.borrow(), value)?.is_break() {
            break;
        }
    }
    Ok(())
}

/// Writes that take effect together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Table, key, and the value to put or `None` to delete. Of two writes to one key the later one holds.
    pub writes: Vec<(Table, Bytes, Option<Bytes>)>,
}

impl Batch {
    /// Adds a put.
    pub fn put(&mut self, table: Table, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.writes.push((table, key.into(), Some(value.into())));
    }

    /// Adds a delete.
    pub fn delete(&mut self, table: Table, key: impl Into<Bytes>) {
        self.writes.push((table, key.into(), None));
    }
}

/// Ordered bytes with atomic batches and consistent views. Batches survive a crash in the order they were
/// written: if one does, all before it do. What is read must be what was written, else
/// [`EngineError::Corrupt`].
pub trait Engine: Send + Sync + 'static {
    /// A consistent view. Keep it short: it may hold writers up or old data on disk.
    type View<'a>: View
    where
        Self: 'a;

    /// The state now.
    fn view(&self) -> Self::View<'_>;

    /// Writes a batch: all of it or, on an error, nothing.
    fn write(&self, batch: Batch) -> Result<(), EngineError>;

    /// Bytes it takes, approximately.
    fn size_bytes(&self) -> Result<u64, EngineError>;

    /// Of them, bytes of what is in it now; the rest is what overwriting and deleting left behind.
    fn in_use_bytes(&self) -> Result<u64, EngineError> {
        self.size_bytes()
    }

    /// Gives back the room of what was overwritten and deleted. May take long; reads and writes go on.
    fn defragment(&self) -> Result<(), EngineError> {
        Ok(())
    }
}
