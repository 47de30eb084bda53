//! The engine that forgets: tables in memory.

use bytes::Bytes;
use parking_lot::{RwLock, RwLockReadGuard};
use std::collections::BTreeMap;

use crate::EngineError;
use crate::engine::{Batch, Direction, Engine, Table, View, Visit, scan_map};

type Tables = [BTreeMap<Bytes, Bytes>; Table::ALL.len()];

/// An [`Engine`] in memory. A view locks writers out while it lives.
#[derive(Debug, Default)]
pub struct MemoryEngine {
    tables: RwLock<Tables>,
}

/// A view of a [`MemoryEngine`].
#[derive(Debug)]
pub struct MemoryView<'a>(RwLockReadGuard<'a, Tables>);

impl View for MemoryView<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        Ok(self.0[table as usize].get(key).cloned())
    }

    fn scan(
        &self,
        table: Table,
        lower: &[u8],
        upper: Option<&[u8]>,
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<(), EngineError> {
        scan_map(&self.0[table as usize], lower, upper, direction, visit)
    }
}

impl Engine for MemoryEngine {
    type View<'a> = MemoryView<'a>;

    fn view(&self) -> MemoryView<'_> {
        MemoryView(self.tables.read())
    }

    fn write(&self, batch: Batch) -> Result<(), EngineError> {
        let mut tables = self.tables.write();
        for (table, key, value) in batch.writes {
            match value {
                Some(value) => tables[table as usize].insert(key, value),
                None => tables[table as usize].remove(&key),
            };
        }
        Ok(())
    }

    fn size_bytes(&self) -> Result<u64, EngineError> {
        let tables = self.tables.read();
        Ok(tables.iter().flatten().map(|(key, value)| (key.len() + value.len()) as u64).sum())
    }
}
