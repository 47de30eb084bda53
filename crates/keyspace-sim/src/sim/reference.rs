//! The committed log, done again by a machine of its own: what every member must have.

use std::collections::BTreeMap;
use std::sync::Arc;

use keyspace::{Applied, Batch, Engine, EngineError, Machine, MemoryEngine, MemoryView, Revision};
use keyspace_sim::history::Truth;
use parking_lot::Mutex;
use replica::disk::Disk as _;
use replica::inspect::{self, LogEntry};

use crate::disk::{Disk, Landmark, weight};

/// A memory engine that knows the hash of what is in it.
#[derive(Debug, Default)]
struct Weighed {
    engine: MemoryEngine,
    hash: Mutex<u64>,
}

impl Engine for Weighed {
    type View<'a> = MemoryView<'a>;

    fn view(&self) -> MemoryView<'_> {
        self.engine.view()
    }

    fn write(&self, batch: Batch) -> Result<(), EngineError> {
        // One by one: of two writes to one key the later one holds.
        for (table, key, value) in batch.writes {
            let place = [&[table as u8], &key[..]].concat();
            let before = keyspace::View::get(&self.engine.view(), table, &key)?;
            let weigh = |value: Option<&bytes::Bytes>| value.map_or(0, |value| weight(&place, value));
            let mut hash = self.hash.lock();
            *hash = hash.wrapping_add(weigh(value.as_ref())).wrapping_sub(weigh(before.as_ref()));
            self.engine.write(Batch { writes: vec![(table, key, value)] })?;
        }
        Ok(())
    }

    fn size_bytes(&self) -> Result<u64, EngineError> {
        self.engine.size_bytes()
    }
}

/// What was committed, and what it makes.
pub struct Reference {
    engine: Arc<Weighed>,
    machine: Machine<Weighed>,
    /// Committed entries, by index.
    log: BTreeMap<u64, LogEntry>,
    /// Hash of the state after each index.
    hashes: BTreeMap<u64, u64>,
    /// All revisions.
    pub truth: Truth,
    /// When each revision was first seen, milliseconds.
    pub seen_ms: BTreeMap<Revision, u64>,
}

impl Reference {
    /// Nothing committed.
    pub fn new() -> Result<Self, EngineError> {
        let engine = Arc::new(Weighed::default());
        let machine = Machine::open(engine.clone())?;
        let (log, hashes) = (BTreeMap::new(), BTreeMap::new());
        Ok(Reference { engine, machine, log, hashes, truth: Truth::new(), seen_ms: BTreeMap::new() })
    }

    /// Newest committed index known.
    fn newest(&self) -> Option<u64> {
        self.log.keys().next_back().copied()
    }

    /// Takes note of the states a disk was in. Each must be what its log makes, and its log what the others' are.
    pub fn follow(&mut self, disk: &Disk, now_ms: u64) -> Result<(), String> {
        for landmark in disk.landmarks() {
            self.extend(&landmark, now_ms)?;
            self.compare(&landmark)?;
        }
        Ok(())
    }

    /// Applies what a disk has committed beyond what is known.
    fn extend(&mut self, landmark: &Landmark, now_ms: u64) -> Result<(), String> {
        let applied = landmark.index;
        let next = self.newest().map_or(0, |newest| newest + 1);
        if applied < next {
            return Ok(());
        }
        let found = inspect::log(&landmark.log, next).map_err(|error| format!("a log cannot be read: {error:?}"))?;
        for entry in found.into_iter().take_while(|entry| entry.index <= applied) {
            let wanted = self.newest().map_or(0, |newest| newest + 1);
            if entry.index != wanted {
                return Err(format!("log entry {wanted} is applied and not in the log"));
            }
            self.apply(entry, now_ms).map_err(|error| format!("the reference cannot apply: {error:?}"))?;
        }
        match self.newest() {
            Some(newest) if newest >= applied => Ok(()),
            newest => Err(format!("log entry {applied} is applied, and the log ends at {newest:?}")),
        }
    }

    fn apply(&mut self, entry: LogEntry, now_ms: u64) -> Result<(), EngineError> {
        let Applied { changes, .. } = self.machine.apply_all(entry.commands.iter(), Some(bytes::Bytes::new()))?;
        for change in changes {
            self.seen_ms.insert(change.revision, now_ms);
            self.truth.insert(change.revision, change.events.clone().into());
        }
        self.hashes.insert(entry.index, *self.engine.hash.lock());
        self.log.insert(entry.index, entry);
        Ok(())
    }

    fn compare(&self, landmark: &Landmark) -> Result<(), String> {
        match self.hashes.get(&landmark.index) {
            Some(hash) if *hash == landmark.hash => Ok(()),
            Some(hash) => {
                let Landmark { index, hash: found, .. } = landmark;
                Err(format!("the state at log entry {index} is {found:016x} and should be {hash:016x}"))
            }
            None if landmark.index == 0 => Ok(()),
            None => Err(format!("log entry {} was never committed", landmark.index)),
        }
    }

    /// Compares what a disk has of the committed log with what was committed.
    pub fn match_log(&self, disk: &Disk, applied: u64) -> Result<(), String> {
        let found =
            inspect::log(disk.view().as_ref(), 0).map_err(|error| format!("a log cannot be read: {error:?}"))?;
        for entry in found.iter().filter(|entry| entry.index <= applied) {
            if self.log.get(&entry.index) != Some(entry) {
                return Err(format!("log entry {} differs from the one committed: {entry:?}", entry.index));
            }
        }
        Ok(())
    }

    /// Newest revision.
    pub fn revision(&self) -> Revision {
        self.truth.keys().next_back().copied().unwrap_or(1)
    }
}
