//! What alarms do: they are turned on and off by commands, and forbid others.

use crate::codec;
use crate::engine::{Table, View};
use crate::limits::{MAX_ALARMS, REPLACE_SLACK_BYTES};
use crate::work::Work;
use crate::{Alarm, AlarmKind, Command, EngineError, Op, Put, Refusal, Txn};

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

/// Turns off every alarm of a member.
pub(crate) fn forget<V: View>(work: &mut Work<'_, V>, member: u64) -> Result<(), EngineError> {
    let theirs: Vec<Alarm> = work.alarms.iter().copied().filter(|alarm| alarm.member == member).collect();
    theirs.into_iter().try_for_each(|alarm| turn(work, alarm, false).map(drop))
}

/// Whether the alarms that are on forbid a command.
pub(crate) fn forbids<V: View>(work: &Work<'_, V>, command: &Command) -> Result<Option<Refusal>, EngineError> {
    // Every command comes by here, and hardly ever is there an alarm.
    if work.alarms.is_empty() {
        return Ok(None);
    }
    let on = |kind| work.alarms.iter().find(|alarm| alarm.kind == kind);
    if let Some(alarm) = on(AlarmKind::Corrupt).filter(|_| command.is_request()) {
        return Ok(Some(Refusal::Corrupt { member: alarm.member }));
    }
    match on(AlarmKind::NoSpace).filter(|_| command.grows()) {
        Some(alarm) if !replaces(&work.view, command)? => Ok(Some(Refusal::NoSpace { member: alarm.member })),
        _ => Ok(None),
    }
}

/// Whether a command puts nothing but keys that are there, each to a value that is hardly larger: such as a mark that
/// something is to be deleted, a status, a sign of life. Without these nothing could be tidied up while there is no room;
/// what they leave in history goes with the next compaction.
pub fn replaces(view: &impl View, command: &Command) -> Result<bool, EngineError> {
    match command {
        Command::Txn(txn) => all_replace(view, txn),
        Command::LeaseGrant { .. } => Ok(false),
        _ => Ok(true),
    }
}

fn all_replace(view: &impl View, txn: &Txn) -> Result<bool, EngineError> {
    for op in txn.success.iter().chain(&txn.failure) {
        let replaces = match op {
            Op::Put(put) => is_hardly_larger(view, put)?,
            Op::Txn(inner) => all_replace(view, inner)?,
            Op::Delete(_) | Op::Range(_) => true,
        };
        if !replaces {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_hardly_larger(view: &impl View, put: &Put) -> Result<bool, EngineError> {
    let Some(bytes) = view.get(Table::Current, &put.key)? else { return Ok(false) };
    let before = codec::decode_current(&put.key, &bytes, true)?.value.len();
    Ok(put.ignore_value || put.value.len() <= before + REPLACE_SLACK_BYTES)
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
            | Command::CheckHash { .. }
            | Command::RecordRemoval { .. } => false,
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
            | Command::CheckHash { .. }
            | Command::RecordRemoval { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::alarm::read;
    use crate::engine::Engine;
    use crate::{Compare, Machine, MemoryEngine, Outcome};

    /// What each alarm of member 3 lets pass.
    #[test]
    fn alarms_forbid_what_they_are_about() {
        let put = |key: &'static str, bytes: usize| Command::Txn(Txn::run([Op::put(key, vec![7; bytes])]));
        let nested = Txn::run([Op::Txn(Txn::run([Op::put("new", "x")]))]);
        let either = Txn::when([Compare::present("old")]).then([Op::put("old", "x")]).otherwise([Op::put("new", "x")]);
        let removal = Command::RecordRemoval { member: 3, key: "\0removed/3".into(), value: "three".into() };
        let commands = [
            ("create", put("new", 1)),
            ("grow", put("old", 100 + REPLACE_SLACK_BYTES + 1)),
            ("nested create", Command::Txn(nested)),
            ("perhaps create", Command::Txn(either)),
            ("grant", Command::LeaseGrant { id: 0, ttl_seconds: 9 }),
            ("replace", put("old", 100 + REPLACE_SLACK_BYTES)),
            ("delete", Command::Txn(Txn::run([Op::delete("old")]))),
            ("keep", Command::LeaseKeepAlive { id: 5 }),
            ("remove the member", removal),
        ];
        for kind in AlarmKind::ALL {
            let refused: Vec<_> = commands.iter().filter(|(_, command)| refuses(kind, command)).collect();
            let names: Vec<_> = refused.into_iter().map(|(name, _)| *name).collect();
            let wanted: &[&str] = match kind {
                AlarmKind::NoSpace => &["create", "grow", "nested create", "perhaps create", "grant"],
                AlarmKind::Corrupt => {
                    &["create", "grow", "nested create", "perhaps create", "grant", "replace", "delete"]
                }
                AlarmKind::DiskFull | AlarmKind::Damaged | AlarmKind::Differs => &[],
            };
            assert_eq!(names, wanted, "{kind}");
        }
    }

    fn refuses(kind: AlarmKind, command: &Command) -> bool {
        let mut machine = Machine::open(Arc::new(MemoryEngine::default())).expect("opens");
        let mut apply = |command: &Command| -> Outcome { machine.apply(command.clone()).expect("applies").0 };
        apply(&Command::Txn(Txn::run([Op::put("old", vec![7; 100])]))).expect("puts");
        apply(&Command::LeaseGrant { id: 5, ttl_seconds: 9 }).expect("grants");
        apply(&Command::AlarmSet(Alarm { member: 3, kind })).expect("sets");
        matches!(apply(command), Err(Refusal::NoSpace { member: 3 } | Refusal::Corrupt { member: 3 }))
    }

    /// A member that is removed takes its alarms along, whatever they forbid, and no others.
    #[test]
    fn a_removal_is_recorded_under_every_alarm_and_ends_those_of_the_member() {
        let mut machine = Machine::open(Arc::new(MemoryEngine::default())).expect("opens");
        let other = Alarm { member: 2, kind: AlarmKind::NoSpace };
        for alarm in AlarmKind::ALL.map(|kind| Alarm { member: 3, kind }).into_iter().chain([other]) {
            machine.apply(Command::AlarmSet(alarm)).expect("applies").0.expect("sets");
        }
        let removal = Command::RecordRemoval { member: 3, key: "\0removed/3".into(), value: "three".into() };
        let (outcome, changes) = machine.apply(removal).expect("applies");
        outcome.expect("is recorded");
        assert_eq!(changes.iter().map(|change| change.events.len()).sum::<usize>(), 1);
        assert_eq!(read(&machine.engine().view()).expect("reads"), [other]);
    }
}
