//! Alarms: what is wrong with the keyspace as a whole. They are part of the replicated state, so that every member
//! refuses the same commands.

use serde::{Deserialize, Serialize};

use crate::codec;
use crate::engine::{Table, View};
use crate::limits::MAX_ALARMS;
use crate::work::Work;
use crate::{Command, EngineError, Op, Refusal, Txn};

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AlarmKind {
    /// The state has outgrown its quota (etcd's `NOSPACE`): what would grow it is refused until somebody clears the
    /// alarm.
    NoSpace,
    /// A member's state differs from the leader's (etcd's `CORRUPT`): every write is refused until somebody clears
    /// the alarm.
    Corrupt,
    /// A member's disk is nearly full: as [`AlarmKind::NoSpace`], but the member clears it when there is room.
    DiskFull,
}

impl std::fmt::Display for AlarmKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            AlarmKind::NoSpace => "NoSpace",
            AlarmKind::Corrupt => "Corrupt",
            AlarmKind::DiskFull => "DiskFull",
        })
    }
}

/// An alarm that is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Alarm {
    /// The member it is about.
    pub member: u64,
    /// What is wrong with it.
    pub kind: AlarmKind,
}

/// Alarms that are on, in order.
pub(crate) fn read(view: &impl View) -> Result<Vec<Alarm>, EngineError> {
    match view.get(Table::Meta, codec::ALARMS_KEY)? {
        None => Ok(Vec::new()),
        Some(bytes) => codec::decode(&bytes, "alarms"),
    }
}

/// Turns an alarm on or off; repeating it changes nothing.
pub(crate) fn turn<V: View>(work: &mut Work<'_, V>, alarm: Alarm, on: bool) -> Result<Vec<Alarm>, EngineError> {
    let mut alarms = work.alarms.clone();
    match (alarms.binary_search(&alarm), on) {
        (Err(at), true) if alarms.len() < MAX_ALARMS => alarms.insert(at, alarm),
        (Ok(at), false) => drop(alarms.remove(at)),
        _ => return Ok(alarms),
    }
    work.view.put(Table::Meta, codec::ALARMS_KEY, codec::encode(&alarms, "alarms")?);
    work.alarms.clone_from(&alarms);
    Ok(alarms)
}

/// Whether the alarms that are on forbid a command.
pub(crate) fn forbids(alarms: &[Alarm], command: &Command) -> Option<Refusal> {
    // Every command comes by here, and hardly ever is there an alarm.
    if alarms.is_empty() {
        return None;
    }
    let on = |wanted: fn(AlarmKind) -> bool| alarms.iter().find(|alarm| wanted(alarm.kind));
    let corrupt = on(|kind| kind == AlarmKind::Corrupt).filter(|_| command.is_request());
    if let Some(alarm) = corrupt {
        return Some(Refusal::Corrupt { member: alarm.member });
    }
    let full = on(|kind| kind != AlarmKind::Corrupt).filter(|_| command.grows());
    full.map(|alarm| Refusal::NoSpace { member: alarm.member })
}

impl Command {
    /// Whether somebody outside asked for it and it may change keys, history or leases.
    fn is_request(&self) -> bool {
        match self {
            Command::Txn(_) | Command::Compact { .. } | Command::LeaseGrant { .. } | Command::LeaseRevoke { .. } => {
                true
            }
            // Nothing is lost by keeping a lease; by refusing it, its keys would be.
            Command::LeaseKeepAlive { .. }
            | Command::Tick { .. }
            | Command::AlarmSet(_)
            | Command::AlarmClear(_)
            | Command::CheckHash { .. } => false,
        }
    }

    /// Whether it may make the state larger for good. Deletes and compactions do not; they make room.
    pub fn grows(&self) -> bool {
        fn puts(txn: &Txn) -> bool {
            txn.success.iter().chain(&txn.failure).any(|op| match op {
                Op::Put(_) => true,
                Op::Txn(inner) => puts(inner),
                Op::Delete(_) | Op::Range(_) => false,
            })
        }
        match self {
            Command::Txn(txn) => puts(txn),
            Command::LeaseGrant { .. } => true,
            Command::Compact { .. }
            | Command::LeaseKeepAlive { .. }
            | Command::LeaseRevoke { .. }
            | Command::Tick { .. }
            | Command::AlarmSet(_)
            | Command::AlarmClear(_)
            | Command::CheckHash { .. } => false,
        }
    }
}
