//! Saving what can be saved of damaged tables.
//!
//! The newest version of a key is there twice: as the current one and in the history, and that it exists a third time,
//! in the index of the history. So a damaged record is mostly made good from another. What cannot be is dropped, by
//! name: an older version is never passed off as the newest. History is not kept; clients are told to read anew.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::codec::{self, Lease, Position, State};
use crate::engine::{Batch, Engine, Table};
use crate::read::HISTORY_PUT;
use crate::{EngineError, EventKind, KeyValue, LeaseId, Revision};

/// How far revisions go on after what was found, so that none is given twice.
const BUMP_REVISIONS: u64 = 1_000_000;
/// Records put into one batch, about.
const BATCH_RECORDS: usize = 2_000;
/// Time a lease gets of which only its keys are known, seconds.
const LOST_LEASE_SECONDS: i64 = 60;

/// Looks at a record: its key, and its value unless that is damaged.
pub type Look<'a> = dyn FnMut(&[u8], Option<&[u8]>) + 'a;

/// Tables that may be damaged.
pub trait DamagedTables {
    /// Looks at what can be read of a table, in order. Answers how many stretches could not be read at all.
    fn scan(&self, table: Table, look: &mut Look<'_>) -> Result<u64, EngineError>;

    /// The value of a record, if it is sound.
    fn get(&self, table: Table, key: &[u8]) -> Option<Bytes>;
}

/// A key whose newest version could not be saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// The key.
    pub key: Bytes,
    /// Revision of the version that is lost.
    pub revision: Revision,
}

/// What was found, and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Salvaged {
    /// Records that could be read.
    pub sound: u64,
    /// Records whose value was damaged.
    pub damaged: u64,
    /// Stretches of tables that could not be read at all.
    pub stretches: u64,
    /// Keys that are there now.
    pub kept: u64,
    /// Of them, those that were made good from a second copy.
    pub recovered: Vec<Bytes>,
    /// Keys that are gone.
    pub dropped: Vec<Dropped>,
    /// Revisions of which nothing was left: what they changed is as it was before, and cannot be named.
    pub lost_revisions: Vec<Revision>,
    /// Leases that got a short time to live because theirs was lost.
    pub shortened_leases: Vec<LeaseId>,
    /// The revision now.
    pub revision: Revision,
}

impl Salvaged {
    /// Whether there was nothing to save.
    pub fn is_sound(&self) -> bool {
        self.damaged == 0
            && self.stretches == 0
            && self.recovered.is_empty()
            && self.dropped.is_empty()
            && self.lost_revisions.is_empty()
    }
}

/// The newest that is known of a key.
#[derive(Clone, Copy, Debug)]
struct Newest {
    at: Position,
    live: bool,
    saved: bool,
}

/// What the tables tell, before anything is written.
#[derive(Default)]
struct Survey {
    keys: BTreeMap<Bytes, Newest>,
    missing: BTreeSet<Revision>,
    newest: Revision,
    leases: BTreeMap<LeaseId, Lease>,
    found: Salvaged,
}

/// Looks at every record without writing any.
pub fn examine(wreck: &impl DamagedTables) -> Result<Salvaged, EngineError> {
    let (mut survey, _) = survey(wreck)?;
    save(wreck, &mut survey, &mut |_| Ok(()))?;
    Ok(survey.found)
}

/// Writes what can be saved to an empty engine; `stamp` goes with the last batch.
pub fn salvage<E: Engine>(wreck: &impl DamagedTables, into: &E, stamp: Bytes) -> Result<Salvaged, EngineError> {
    let (mut survey, state) = survey(wreck)?;
    let mut pending = Batch::default();
    let mut on_lease: BTreeSet<LeaseId> = BTreeSet::new();
    save(wreck, &mut survey, &mut |(at, kv)| {
        if kv.lease != 0 {
            on_lease.insert(kv.lease);
            pending.put(Table::LeaseKeys, codec::lease_attachment(kv.lease, &kv.key), Vec::new());
        }
        pending.put(Table::Revisions, at.encode().to_vec(), codec::encode_change(EventKind::Put, kv)?);
        pending.put(Table::History, codec::history_key(&kv.key, at), &[HISTORY_PUT][..]);
        pending.put(Table::Current, kv.key.clone(), codec::encode_current(kv)?);
        if pending.writes.len() >= BATCH_RECORDS { into.write(std::mem::take(&mut pending)) } else { Ok(()) }
    })?;
    let mut found = survey.found;
    for id in on_lease {
        if let std::collections::btree_map::Entry::Vacant(lost) = survey.leases.entry(id) {
            let ttl_ms = u64::try_from(LOST_LEASE_SECONDS).unwrap_or(0) * 1_000;
            lost.insert(Lease { ttl_seconds: LOST_LEASE_SECONDS, expires_ms: state.clock_ms.saturating_add(ttl_ms) });
            found.shortened_leases.push(id);
        }
    }
    for (id, lease) in &survey.leases {
        pending.put(Table::Leases, codec::lease_key(*id).to_vec(), codec::encode(lease, "lease")?);
        pending.put(Table::Expiries, codec::expiry_key(lease.expires_ms, *id), Vec::new());
    }
    let revision = survey.newest.max(state.revision).saturating_add(BUMP_REVISIONS);
    let last_lease = survey.leases.keys().next_back().copied().unwrap_or(0).max(state.last_lease);
    let leases = survey.leases.len() as u64;
    let state = State { revision, compact_revision: revision, last_lease, leases, ..state };
    pending.put(Table::Meta, codec::STATE_KEY, codec::encode(&state, "keyspace state")?);
    pending.put(Table::Meta, codec::STAMP_KEY, stamp);
    into.write(pending)?;
    found.revision = revision;
    Ok(found)
}

fn survey(wreck: &impl DamagedTables) -> Result<(Survey, State), EngineError> {
    let mut survey = Survey::default();
    let state = survey.meta(wreck)?;
    survey.revisions(wreck, &state)?;
    survey.history(wreck)?;
    survey.current(wreck)?;
    survey.leases(wreck)?;
    survey.found.lost_revisions = std::mem::take(&mut survey.missing).into_iter().collect();
    survey.found.revision = survey.newest.max(state.revision);
    Ok((survey, state))
}

impl Survey {
    fn count(&mut self, value: Option<&[u8]>) {
        match value {
            Some(_) => self.found.sound += 1,
            None => self.found.damaged += 1,
        }
    }

    fn note(&mut self, key: &[u8], at: Position, live: bool) {
        self.newest = self.newest.max(at.main);
        match self.keys.get_mut(key) {
            Some(known) if known.at >= at => {}
            Some(known) => *known = Newest { at, live, saved: false },
            None => drop(self.keys.insert(Bytes::copy_from_slice(key), Newest { at, live, saved: false })),
        }
    }

    fn meta(&mut self, wreck: &impl DamagedTables) -> Result<State, EngineError> {
        let stretches = wreck.scan(Table::Meta, &mut |_, value| self.count(value))?;
        self.found.stretches += stretches;
        let state = wreck.get(Table::Meta, codec::STATE_KEY);
        Ok(state.and_then(|bytes| codec::decode(&bytes, "keyspace state").ok()).unwrap_or_default())
    }

    /// Every revision after the last compaction has a record, so those without one are lost, or only here.
    fn revisions(&mut self, wreck: &impl DamagedTables, state: &State) -> Result<(), EngineError> {
        let mut expected = state.compact_revision + 1;
        // Revision 1 is the empty keyspace.
        expected = expected.max(2);
        let stretches = wreck.scan(Table::Revisions, &mut |key, record| {
            self.count(record);
            let Ok(at) = Position::decode(key) else { return };
            if at.main > state.compact_revision {
                self.missing.extend(expected..at.main);
                expected = at.main + 1;
            }
            if let Some(Ok((kind, key))) = record.map(|record| codec::change_key(at, record)) {
                self.note(key, at, kind == EventKind::Put);
            }
        })?;
        self.found.stretches += stretches;
        self.missing.extend(expected..=state.revision);
        Ok(())
    }

    fn history(&mut self, wreck: &impl DamagedTables) -> Result<(), EngineError> {
        let stretches = wreck.scan(Table::History, &mut |key, kind| {
            self.count(kind);
            let Ok((prefix, at)) = codec::split_history(key) else { return };
            self.missing.remove(&at.main);
            let Some(key) = codec::key_of(prefix) else { return };
            // Without its mark it is not known whether this made or deleted the key: the record of the revision tells,
            // and if that is damaged too, the key counts as lost and not as deleted.
            let live = kind.is_none_or(|kind| kind.first() == Some(&HISTORY_PUT));
            self.note(&key, at, live);
        })?;
        self.found.stretches += stretches;
        Ok(())
    }

    fn current(&mut self, wreck: &impl DamagedTables) -> Result<(), EngineError> {
        let mut subs = u32::MAX;
        let stretches = wreck.scan(Table::Current, &mut |key, bytes| {
            self.count(bytes);
            let Some(Ok(kv)) = bytes.map(|bytes| codec::decode_current(key, bytes, false)) else {
                if !self.keys.contains_key(key) {
                    // Its history is gone, too: all that is known is that it was there.
                    self.note(key, Position::default(), true);
                }
                return;
            };
            self.missing.remove(&kv.mod_revision);
            if self.keys.get(key).is_none_or(|known| known.at.main < kv.mod_revision) {
                // Only this copy is left; its number within the revision is made up.
                self.note(key, Position { main: kv.mod_revision, sub: subs }, true);
                subs -= 1;
            }
        })?;
        self.found.stretches += stretches;
        Ok(())
    }

    fn leases(&mut self, wreck: &impl DamagedTables) -> Result<(), EngineError> {
        let stretches = wreck.scan(Table::Leases, &mut |key, bytes| {
            self.count(bytes);
            let lease = bytes.and_then(|bytes| codec::decode::<Lease>(bytes, "lease").ok());
            if let (Ok(id), Some(lease)) = (codec::decode_lease_key(key), lease) {
                self.leases.insert(id, lease);
            }
        })?;
        self.found.stretches += stretches;
        let stretches = wreck.scan(Table::Expiries, &mut |key, value| {
            self.count(value);
            if let Ok((expires_ms, id)) = codec::decode_expiry(key) {
                self.leases.entry(id).or_insert(Lease { ttl_seconds: LOST_LEASE_SECONDS, expires_ms });
            }
        })?;
        self.found.stretches += stretches;
        self.found.stretches += wreck.scan(Table::LeaseKeys, &mut |_, value| self.count(value))?;
        Ok(())
    }
}

/// Where a version is, and the version.
type Version<'k> = (Position, &'k KeyValue);

/// Gives the newest version of each key, from whichever copy is sound.
fn save(
    wreck: &impl DamagedTables,
    survey: &mut Survey,
    keep: &mut dyn FnMut(Version<'_>) -> Result<(), EngineError>,
) -> Result<(), EngineError> {
    let mut failed = Ok(());
    let (keys, found) = (&mut survey.keys, &mut survey.found);
    wreck.scan(Table::Current, &mut |key, bytes| {
        let (Some(known), Some(bytes), Ok(())) = (keys.get_mut(key), bytes, &failed) else { return };
        let Ok(kv) = codec::decode_current(key, bytes, true) else { return };
        if known.live && known.at.main == kv.mod_revision {
            known.saved = true;
            found.kept += 1;
            failed = keep((known.at, &kv));
        }
    })?;
    failed?;
    for (key, known) in keys.iter().filter(|(_, known)| known.live && !known.saved) {
        let record = wreck.get(Table::Revisions, &known.at.encode());
        let version = record.and_then(|record| codec::decode_change(known.at, &record, true).ok());
        match version {
            Some((EventKind::Put, kv)) if kv.key == *key => {
                found.kept += 1;
                found.recovered.push(key.clone());
                keep((known.at, &kv))?;
            }
            Some((EventKind::Delete, kv)) if kv.key == *key => {}
            _ => found.dropped.push(Dropped { key: key.clone(), revision: known.at.main }),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::ops::ControlFlow;
    use std::sync::Arc;

    use super::*;
    use crate::engine::{Direction, View};
    use crate::testing::Random;
    use crate::{Command, Machine, MemoryEngine, Op, Put, Txn, read};

    /// Tables of which some records are damaged and some cannot be seen at all.
    struct Broken {
        engine: Arc<MemoryEngine>,
        damaged: HashSet<(Table, Vec<u8>)>,
        unseen: HashSet<(Table, Vec<u8>)>,
    }

    impl DamagedTables for Broken {
        fn scan(&self, table: Table, look: &mut Look<'_>) -> Result<u64, EngineError> {
            let mut stretches = 0;
            self.engine.view().scan(table, &[], None, Direction::Forward, &mut |key, value| {
                let at = (table, key.to_vec());
                if self.unseen.contains(&at) {
                    stretches += 1;
                } else {
                    look(key, (!self.damaged.contains(&at)).then_some(value));
                }
                Ok(ControlFlow::Continue(()))
            })?;
            Ok(stretches)
        }

        fn get(&self, table: Table, key: &[u8]) -> Option<Bytes> {
            let at = (table, key.to_vec());
            let gone = self.unseen.contains(&at) || self.damaged.contains(&at);
            self.engine.view().get(table, key).expect("memory does not fail").filter(|_| !gone)
        }
    }

    fn filled(random: &mut Random) -> Machine<MemoryEngine> {
        let mut machine = Machine::open(Arc::new(MemoryEngine::default())).expect("opens");
        for id in 1..4 {
            machine.apply(Command::LeaseGrant { id, ttl_seconds: 100 }).expect("applies").0.expect("grants");
        }
        for n in 0..120 {
            let key = format!("k{}", random.below(15));
            let command = if random.one_in(6) {
                Command::Txn(Txn::run([Op::delete(key)]))
            } else {
                let lease = random.below(4) as i64;
                let value = format!("value {n}").into();
                Command::Txn(Txn::run([Op::Put(Put { key: key.into(), value, lease, ..Put::default() })]))
            };
            machine.apply(command).expect("applies").0.expect("is no refusal");
        }
        machine
    }

    fn all(engine: &MemoryEngine) -> BTreeMap<Bytes, Bytes> {
        let answer = read::range(&engine.view(), &crate::RangeRequest::prefix("")).expect("reads");
        answer.kvs.into_iter().map(|kv| (kv.key, kv.value)).collect()
    }

    fn records(engine: &MemoryEngine) -> Vec<(Table, Vec<u8>)> {
        let mut found = Vec::new();
        for table in Table::ALL {
            let visit = &mut |key: &[u8], _: &[u8]| {
                found.push((table, key.to_vec()));
                Ok(ControlFlow::Continue(()))
            };
            engine.view().scan(table, &[], None, Direction::Forward, visit).expect("memory does not fail");
        }
        found
    }

    /// Whatever is damaged: each key is as it was, or named as dropped; nothing old and nothing else comes up.
    #[test]
    fn keys_are_right_or_named() {
        let mut named = 0;
        for seed in 0..300 {
            let mut random = Random::new(seed);
            let machine = filled(&mut random);
            let engine = machine.engine().clone();
            let wanted = all(&engine);
            let mut wreck = Broken { engine: engine.clone(), damaged: HashSet::new(), unseen: HashSet::new() };
            let one_in = 2 + random.below(40);
            for record in records(&engine) {
                // A copy of each in which nothing is known to exist would be a loss that cannot be named.
                if random.one_in(one_in) {
                    wreck.damaged.insert(record);
                }
            }
            let target = Arc::new(MemoryEngine::default());
            let salvaged = salvage(&wreck, &*target, Bytes::from_static(b"stamp")).expect("saves");
            let mut after = all(&target);
            for Dropped { key, .. } in &salvaged.dropped {
                assert!(!after.contains_key(key), "seed {seed}");
                named += 1;
            }
            let dropped: HashSet<&Bytes> = salvaged.dropped.iter().map(|dropped| &dropped.key).collect();
            for (key, value) in &wanted {
                match after.remove(key) {
                    Some(saved) => assert_eq!(saved, value, "seed {seed}: {key:?}"),
                    None => assert!(dropped.contains(key), "seed {seed}: {key:?} is gone without a word"),
                }
            }
            assert_eq!(after, BTreeMap::new(), "seed {seed}: keys came up that were deleted");
            assert_eq!(salvaged.kept, all(&target).len() as u64);
            let mut machine = Machine::open(target.clone()).expect("opens");
            while machine.sweep().expect("sweeps") {}
            let put = Command::Txn(Txn::run([Op::put("new", "x")]));
            let revision = machine.apply(put).expect("applies").0.expect("puts").into_txn().expect("txn").revision;
            assert_eq!(revision, salvaged.revision + 1);
        }
        assert!(named > 0, "nothing was ever lost");
    }

    #[test]
    fn sound_tables_are_sound_and_one_lost_copy_loses_nothing() {
        let mut random = Random::new(1);
        let engine = filled(&mut random).engine().clone();
        let mut wreck = Broken { engine: engine.clone(), damaged: HashSet::new(), unseen: HashSet::new() };
        let found = examine(&wreck).expect("looks");
        assert!(found.is_sound() && found.kept == all(&engine).len() as u64, "{found:?}");
        for (table, key) in records(&engine) {
            if table == Table::Meta {
                continue;
            }
            wreck.unseen = HashSet::from([(table, key.clone())]);
            let target = MemoryEngine::default();
            let salvaged = salvage(&wreck, &target, Bytes::new()).expect("saves");
            assert_eq!((salvaged.dropped.len(), salvaged.lost_revisions.len()), (0, 0), "{table:?} {key:?}");
            assert_eq!(all(&target), all(&engine), "{table:?} {key:?}");
            assert_eq!(read::leases(&target.view()).expect("reads"), [1, 2, 3]);
        }
    }
}
