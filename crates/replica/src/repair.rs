//! Repairing the directory of a member that is alone, while no server runs: `nanocloud setup --repair`.
//!
//! ```text
//!  read every record ── all sound ──► nothing is touched
//!        │ damage
//!        ▼
//!  a copy, opened leniently ──► salvage ──► a new directory ──► takes the place; the old one is kept beside it
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use keyspace::salvage::{self, DamagedTables, Look, Salvaged};
use keyspace::{Command, EngineError, Machine, Revision, Table};

use crate::Error;
use crate::damaged::Damaged;
use crate::disk::Family;
use crate::log_store;
use crate::metrics::Metrics;
use crate::restore::{beside, encode, first_stamp, remove, take_place, write_identity};
use crate::start::{CLUSTER, IDENTITY, open_disk, storage};
use crate::store::{StateEngine, Store};
use crate::types::{Entry, Stamp};

/// What a repair found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// What was found, and what became of it.
    pub found: Salvaged,
    /// Why it could not be read as it was; nothing if it could.
    pub damage: Option<String>,
    /// Newest revision found in a database that could not be opened as it was: what was written after it, if anything,
    /// was in a part of the write-ahead log that cannot be read, and is as it was before.
    pub uncertain_after: Option<Revision>,
    /// Where the damaged directory is now; nothing if it was sound and is as it was.
    pub quarantine: Option<PathBuf>,
}

/// Repairs the keyspace in `dir`. A sound one is not touched; of a damaged one everything is kept in a directory beside
/// it. A member of several is not repaired: the others have what it lost.
pub fn repair(dir: &Path) -> Result<Repaired, Error> {
    let salvaging = beside(dir, "salvage")?;
    let repairing = beside(dir, "repairing")?;
    let failed = |source| Error::Directory { dir: dir.to_owned(), source };
    for unfinished in [&salvaging, &repairing] {
        remove(unfinished).map_err(failed)?;
    }
    let _in_use = crate::rocks::lock(dir)?;
    let mut opened = true;
    let damage = match Damaged::open(&dir.join("db"), &salvaging, false).map_err(failed)? {
        Ok(sound) => {
            let found = inspect(&sound);
            match found {
                Ok(found) if found.is_sound() => {
                    drop(sound);
                    remove(&salvaging).map_err(failed)?;
                    return Ok(Repaired { found, ..Repaired::default() });
                }
                Ok(_) => "records are damaged".to_owned(),
                Err(error) => format!("{error}"),
            }
        }
        Err(error) => {
            opened = false;
            error
        }
    };
    remove(&salvaging).map_err(failed)?;
    let wreck = Damaged::open(&dir.join("db"), &salvaging, true).map_err(failed)?;
    let wreck = wreck.map_err(|detail| {
        let source = EngineError::Corrupt { what: "database".into(), detail };
        Error::Storage { dir: dir.to_owned(), source }
    })?;
    let newest = salvage::examine(&wreck).map_err(|source| storage(dir, source))?.revision;
    let found = rebuild(dir, &wreck, &repairing)?;
    drop(wreck);
    let uncertain_after = (!opened).then_some(newest);
    let damage = match uncertain_after {
        Some(revision) => format!("{damage}; what was written after revision {revision} may be lost"),
        None => damage,
    };
    remove(&salvaging).map_err(failed)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let quarantine = beside(dir, &format!("damaged-{now}"))?;
    take_place(dir, &quarantine).and_then(|()| take_place(&repairing, dir)).map_err(failed)?;
    Ok(Repaired { found, damage: Some(damage), uncertain_after, quarantine: Some(quarantine) })
}

/// Looks at every record of every family.
fn inspect(wreck: &Damaged) -> Result<Salvaged, EngineError> {
    let mut found = salvage::examine(wreck)?;
    for family in [Family::Log, Family::Meta] {
        found.stretches += wreck.scan_family(family, &[], None, &mut |_, value| match value {
            Some(_) => found.sound += 1,
            None => found.damaged += 1,
        })?;
    }
    Ok(found)
}

/// Makes a directory of what can be saved.
fn rebuild(dir: &Path, wreck: &Damaged, repairing: &Path) -> Result<Salvaged, Error> {
    let failed = |source| storage(dir, source);
    let stamp: Option<Stamp> = wreck.get(Table::Meta, b"stamp").and_then(|bytes| postcard::from_bytes(&bytes).ok());
    let members = stamp.as_ref().map(|stamp| {
        let nodes = stamp.membership.nodes();
        nodes.map(|(id, peer)| (*id, peer.address.clone())).collect::<BTreeMap<_, _>>()
    });
    let members = members.unwrap_or_default();
    if members.len() > 1 {
        return Err(Error::OneOfSeveral { dir: dir.to_owned() });
    }
    let node_id = members.keys().next().copied().or_else(|| member_of(wreck)).unwrap_or(1);
    let members = if members.is_empty() { [(node_id, String::new())].into() } else { members };
    let store = Arc::new(Store::new(Box::new(open_disk(repairing, Metrics::default())?), repairing));
    let engine = Arc::new(StateEngine::new(store.clone()));
    let first: Bytes = encode(&first_stamp(&members)).map_err(failed)?.into();
    let mut found = salvage::salvage(wreck, &*engine, first.clone()).map_err(failed)?;
    let stamp_lost = stamp.is_none();
    let applied = stamp.and_then(|stamp| stamp.applied).map(|applied| applied.index);
    if found.kept == 0 && found.dropped.is_empty() && stamp_lost {
        let detail = "nothing in it can be read".to_owned();
        return Err(failed(EngineError::Corrupt { what: "keyspace".into(), detail }));
    }
    replay(wreck, applied, engine, first, &mut found).map_err(failed)?;
    write_identity(&store, node_id, cluster_of(wreck).unwrap_or(0)).map_err(failed)?;
    Ok(found)
}

fn member_of(wreck: &Damaged) -> Option<u64> {
    let bytes = wreck.get_record(Family::Meta, IDENTITY)?;
    Some(u64::from_be_bytes(bytes.as_ref().try_into().ok()?))
}

fn cluster_of(wreck: &Damaged) -> Option<u64> {
    let bytes = wreck.get_record(Family::Meta, CLUSTER)?;
    postcard::from_bytes::<(u64, bool)>(&bytes).ok().map(|(id, _)| id)
}

/// Applies what the log holds beyond the state, as far as it is whole: it was acknowledged.
fn replay(
    wreck: &Damaged,
    applied: Option<u64>,
    engine: Arc<StateEngine>,
    stamp: Bytes,
    found: &mut Salvaged,
) -> Result<(), EngineError> {
    // Without a position nothing is known to be missing.
    let Some(applied) = applied else { return Ok(()) };
    let mut machine = Machine::open(engine)?;
    let mut next = applied + 1;
    let mut entries: Vec<Entry> = Vec::new();
    wreck.scan_family(Family::Log, &next.to_be_bytes(), None, &mut |key, value| {
        let entry = value.and_then(|value| log_store::entry_of(key, value).ok());
        if let Some(entry) = entry.filter(|entry| entry.log_id.index == next) {
            entries.push(entry);
            next += 1;
        }
    })?;
    for entry in &entries {
        let openraft::EntryPayload::Normal(proposal) = &entry.payload else { continue };
        let commands: &Vec<Command> = &proposal.commands;
        let applied = machine.apply_all(commands, Some(stamp.clone()))?;
        found.revision = applied.changes.last().map_or(found.revision, |change| change.revision);
    }
    Ok(())
}

impl DamagedTables for Damaged {
    fn scan(&self, table: Table, look: &mut Look<'_>) -> Result<u64, EngineError> {
        let (from, to) = ([table as u8], [table as u8 + 1]);
        self.scan_family(Family::State, &from, Some(&to), &mut |place, value| {
            look(place.get(1..).unwrap_or_default(), value);
        })
    }

    fn get(&self, table: Table, key: &[u8]) -> Option<Bytes> {
        self.get_record(Family::State, &[&[table as u8], key].concat())
    }
}
