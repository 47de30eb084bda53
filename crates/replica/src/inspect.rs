//! What is on a disk, read without opening a replica on it: for those who check members from outside.

use std::ops::ControlFlow;
use std::sync::Arc;

use keyspace::{Command, Direction, EngineError};
use openraft::EntryPayload;

use crate::disk::{Family, Records};
use crate::types::{Entry, Stamp};
use crate::{log_store, snapshot, store};

/// A log entry as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Term of the leader that proposed it.
    pub term: u64,
    /// Its place in the log.
    pub index: u64,
    /// What the state machine is told by it.
    pub commands: Arc<Vec<Command>>,
    /// Voters from this entry on, if it changes them.
    pub voters: Option<Vec<u64>>,
}

/// Log entries from `first` on.
pub fn log(records: &dyn Records, first: u64) -> Result<Vec<LogEntry>, EngineError> {
    let mut entries = Vec::new();
    let visit = &mut |key: &[u8], value: &[u8]| {
        entries.push(entry(log_store::entry_of(key, value)?));
        Ok(ControlFlow::Continue(()))
    };
    store::scan(records, Family::Log, &first.to_be_bytes(), None, Direction::Forward, visit)?;
    Ok(entries)
}

fn entry(entry: Entry) -> LogEntry {
    let (mut commands, mut voters) = (Arc::default(), None);
    match entry.payload {
        EntryPayload::Blank => {}
        EntryPayload::Normal(proposal) => commands = proposal.commands,
        EntryPayload::Membership(membership) => voters = Some(membership.voter_ids().collect()),
    }
    LogEntry { term: entry.log_id.leader_id.term, index: entry.log_id.index, commands, voters }
}

/// Log position of the state that carries this stamp, 0 for the empty one.
pub fn position(stamp: &[u8]) -> Result<u64, EngineError> {
    let stamp: Stamp =
        postcard::from_bytes(stamp).map_err(|error| store::corrupt("log position of the state", error))?;
    Ok(stamp.applied.map_or(0, |applied| applied.index))
}

/// Whether the state is just being replaced by a snapshot, and is no state of any position.
pub fn installing(records: &dyn Records) -> Result<bool, EngineError> {
    Ok(records.get(Family::Meta, snapshot::INSTALLING)?.is_some())
}
