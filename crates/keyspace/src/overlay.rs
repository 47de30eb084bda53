//! Uncommitted writes over a view, so that a command sees what it and those before it in the batch wrote.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use crate::EngineError;
use crate::engine::{Batch, Direction, Table, View, Visit};

type Writes = BTreeMap<Bytes, Option<Bytes>>;

/// A view with writes on top.
pub(crate) struct Overlay<'v, V> {
    base: &'v V,
    writes: [Writes; Table::ALL.len()],
}

impl<'v, V: View> Overlay<'v, V> {
    pub(crate) fn new(base: &'v V) -> Self {
        Overlay { base, writes: Default::default() }
    }

    pub(crate) fn put(&mut self, table: Table, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.writes[table as usize].insert(key.into(), Some(value.into()));
    }

    pub(crate) fn delete(&mut self, table: Table, key: impl Into<Bytes>) {
        self.writes[table as usize].insert(key.into(), None);
    }

    pub(crate) fn into_batch(self) -> Batch {
        let mut batch = Batch::default();
        for (table, writes) in Table::ALL.into_iter().zip(self.writes) {
            batch.writes.extend(writes.into_iter().map(|(key, value)| (table, key, value)));
        }
        batch
    }
}

impl<V: View> View for Overlay<'_, V> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        match self.writes[table as usize].get(key) {
            Some(written) => Ok(written.clone()),
            None => self.base.get(table, key),
        }
    }

    fn scan(
        &self,
        table: Table,
        lower: &[u8],
        upper: Option<&[u8]>,
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<(), EngineError> {
        let writes = &self.writes[table as usize];
        if writes.is_empty() || upper.is_some_and(|upper| upper <= lower) {
            return self.base.scan(table, lower, upper, direction, visit);
        }
        let bounds = (Bound::Included(lower), upper.map_or(Bound::Unbounded, Bound::Excluded));
        let range = writes.range::<[u8], _>(bounds);
        match direction {
            Direction::Forward => {
                merge(range, |own, base| own < base, |f| self.base.scan(table, lower, upper, direction, f), visit)
            }
            Direction::Reverse => {
                merge(range.rev(), |own, base| own > base, |f| self.base.scan(table, lower, upper, direction, f), visit)
            }
        }
    }
}

/// Visits `own` and what `scan_base` yields as one ordered sequence; `own` shadows the base.
fn merge<'a>(
    own: impl Iterator<Item = (&'a Bytes, &'a Option<Bytes>)>,
    first: impl Fn(&[u8], &[u8]) -> bool,
    scan_base: impl FnOnce(&mut Visit<'_>) -> Result<(), EngineError>,
    visit: &mut Visit<'_>,
) -> Result<(), EngineError> {
    let mut own = own.peekable();
    let mut stopped = false;
    scan_base(&mut |key, value| {
        while let Some((mine, written)) = own.next_if(|(mine, _)| first(mine, key)) {
            if let Some(written) = written
                && visit(mine, written)?.is_break()
            {
                stopped = true;
                return Ok(ControlFlow::Break(()));
            }
        }
        let step = match own.next_if(|(mine, _)| mine.as_ref() == key) {
            Some((_, None)) => ControlFlow::Continue(()),
            Some((mine, Some(written))) => visit(mine, written)?,
            None => visit(key, value)?,
        };
        stopped = step.is_break();
        Ok(step)
    })?;
    if !stopped {
        for (mine, written) in own {
            if let Some(written) = written
                && visit(mine, written)?.is_break()
            {
                break;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryEngine;
    use crate::engine::Engine;
    use proptest::prelude::*;

    fn collect(
        view: &impl View,
        lower: &[u8],
        upper: Option<&[u8]>,
        direction: Direction,
        most: usize,
    ) -> Vec<(Bytes, Bytes)> {
        let mut found = Vec::new();
        view.scan(Table::Current, lower, upper, direction, &mut |key, value| {
            found.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
            Ok(if found.len() == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })
        .expect("memory does not fail");
        found
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        /// Scanning an overlay is scanning the base with the writes committed, in both directions and with any stop.
        #[test]
        fn overlay_equals_commit(
            base in proptest::collection::vec((0u8..12, 0u8..9), 0..12),
            writes in proptest::collection::vec((0u8..12, proptest::option::of(0u8..9)), 0..12),
            lower in 0u8..12, upper in proptest::option::of(0u8..13), most in 1usize..6, reverse: bool,
        ) {
            let engine = MemoryEngine::default();
            let mut batch = Batch::default();
            for (key, value) in base {
                batch.put(Table::Current, vec![key], vec![value]);
            }
            engine.write(batch).expect("memory does not fail");
            let direction = if reverse { Direction::Reverse } else { Direction::Forward };
            let upper = upper.map(|byte| vec![byte]);
            let (merged, batch) = {
                let view = engine.view();
                let mut overlay = Overlay::new(&view);
                for (key, value) in writes {
                    match value {
                        Some(value) => overlay.put(Table::Current, vec![key], vec![value]),
                        None => overlay.delete(Table::Current, vec![key]),
                    }
                }
                (collect(&overlay, &[lower], upper.as_deref(), direction, most), overlay.into_batch())
            };
            engine.write(batch).expect("memory does not fail");
            prop_assert_eq!(merged, collect(&engine.view(), &[lower], upper.as_deref(), direction, most));
        }
    }
}
