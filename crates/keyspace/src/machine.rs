//! The state machine: commands in, outcomes and changes out. Equal commands in equal order give equal states on
//! every engine and member.

use std::sync::Arc;

use bytes::Bytes;

use crate::codec::{self, FORMAT, State};
use crate::engine::{Engine, Table, View};
use crate::read::{self, Change};
use crate::work::Work;
use crate::{
    Alarm, Command, EngineError, Error, Op, Outcome, Refusal, Reply, Txn, TxnResponse, admission, alarm, check, lease,
    sweep, txn,
};

/// What a batch of commands did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// One for each command.
    pub outcomes: Vec<Outcome>,
    /// The revisions made, in order: what watchers are to be told.
    pub changes: Vec<Arc<Change>>,
}

/// The deterministic state machine over an engine. There is one writer; readers use views of the engine and the
/// functions of [`read`].
#[derive(Debug)]
pub struct Machine<E> {
    engine: Arc<E>,
    state: State,
    alarms: Vec<Alarm>,
}

impl<E: Engine> Machine<E> {
    /// The machine on what the engine holds; an empty engine is an empty keyspace.
    pub fn open(engine: Arc<E>) -> Result<Self, EngineError> {
        let (state, alarms) = {
            let view = engine.view();
            (read::state(&view)?, alarm::read(&view)?)
        };
        if state.format != FORMAT {
            return Err(EngineError::Format { found: state.format, known: FORMAT });
        }
        Ok(Machine { engine, state, alarms })
    }

    /// The machine on an engine known to be empty.
    pub(crate) fn empty(engine: Arc<E>) -> Self {
        Machine { engine, state: State::default(), alarms: Vec::new() }
    }

    /// The engine.
    pub fn engine(&self) -> &Arc<E> {
        &self.engine
    }

    /// Applies one command.
    pub fn apply(&mut self, command: Command) -> Result<(Outcome, Vec<Arc<Change>>), EngineError> {
        let mut applied = self.apply_all([&command], None)?;
        let outcome = applied.outcomes.pop().ok_or_else(|| codec::corrupt("outcome", "missing"))?;
        Ok((outcome, applied.changes))
    }

    /// Applies commands in order as one atomic write, together with an opaque `stamp` of the caller (such as the
    /// log position they come from), which [`read::stamp`] gives back. On an error nothing happened.
    pub fn apply_all<'c>(
        &mut self,
        commands: impl IntoIterator<Item = &'c Command>,
        stamp: Option<Bytes>,
    ) -> Result<Applied, EngineError> {
        let engine = self.engine.clone();
        let view = engine.view();
        let mut work = Work::new(&view, self.state.clone(), self.alarms.clone());
        let mut outcomes = Vec::new();
        for command in commands {
            outcomes.push(run(&mut work, command)?);
        }
        if work.state != self.state {
            work.view.put(Table::Meta, codec::STATE_KEY, codec::encode(&work.state, "keyspace state")?);
        }
        if let Some(stamp) = stamp {
            work.view.put(Table::Meta, codec::STAMP_KEY, stamp);
        }
        let Work { view: overlay, state, alarms, changes, .. } = work;
        let batch = overlay.into_batch();
        drop(view);
        engine.write(batch)?;
        self.state = state;
        self.alarms = alarms;
        Ok(Applied { outcomes, changes })
    }

    /// Carries compactions out, a bounded step at a time; answers whether there is more to do. What it removes
    /// could not be read any more, so when and whether this runs shows in nothing but the size.
    pub fn sweep(&mut self) -> Result<bool, EngineError> {
        let engine = self.engine.clone();
        let step = sweep::plan(&engine.view(), self.state.compact_revision)?;
        if let Some(batch) = step.batch {
            engine.write(batch)?;
        }
        Ok(step.more)
    }
}

fn run<V: View>(work: &mut Work<'_, V>, command: &Command) -> Result<Outcome, EngineError> {
    if let Err(refusal) = check::command(command) {
        return Ok(Err(refusal));
    }
    if let Some(refusal) = admission::forbids(work, command)? {
        return Ok(Err(refusal));
    }
    Ok(match command {
        Command::Txn(request) => txn::run(work, request)?.map(Reply::Txn),
        Command::Compact { revision } => compact(&mut work.state, *revision),
        Command::LeaseGrant { id, ttl_seconds } => lease::grant(work, *id, *ttl_seconds)?.map(Reply::Lease),
        Command::LeaseKeepAlive { id } => lease::keep_alive(work, *id)?.map(Reply::Lease),
        Command::LeaseRevoke { id } => {
            lease::revoke(work, *id)?.map(|()| Reply::Revoked { revision: work.state.revision })
        }
        Command::Tick { now_ms } => Ok(lease::tick(work, *now_ms)?),
        Command::AlarmSet(alarm) => Ok(Reply::Alarms(admission::turn(work, *alarm, true)?)),
        Command::AlarmClear(alarm) => Ok(Reply::Alarms(admission::turn(work, *alarm, false)?)),
        Command::CheckHash { .. } => Ok(Reply::HashTaken),
        Command::RecordRemoval { member, key, value } => {
            admission::forget(work, *member)?;
            txn::run(work, &Txn::run([Op::put(key.clone(), value.clone())]))?.map(Reply::Txn)
        }
    })
}

fn compact(state: &mut State, revision: u64) -> Outcome {
    if revision > state.revision {
        return Err(Refusal::FutureRevision { requested: revision, current: state.revision });
    }
    if revision <= state.compact_revision {
        return Err(Refusal::Compacted { requested: revision, compacted: state.compact_revision });
    }
    state.compact_revision = revision;
    Ok(Reply::Compacted { revision: state.revision })
}

/// Answers a transaction that writes nothing from a view.
///
/// The caller has made sure of [`Txn::is_read_only`]; writes would be answered but not kept.
pub fn read_only_txn(view: &impl View, request: &Txn) -> Result<TxnResponse, Error> {
    check::txn(request)?;
    let mut work = Work::new(view, read::state(view)?, Vec::new());
    Ok(txn::run(&mut work, request)??)
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;
    use crate::engine::Direction;
    use crate::testing::Random;
    use crate::{Delete, KeyRange, MemoryEngine};

    fn machine() -> Machine<MemoryEngine> {
        Machine::open(Arc::new(MemoryEngine::default())).expect("an empty engine opens")
    }

    fn records(machine: &Machine<MemoryEngine>, table: Table) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut found = Vec::new();
        let visit = &mut |key: &[u8], value: &[u8]| {
            found.push((key.to_vec(), value.to_vec()));
            Ok(ControlFlow::Continue(()))
        };
        machine.engine.view().scan(table, &[], None, Direction::Forward, visit).expect("memory does not fail");
        found
    }

    fn put(key: &'static str) -> Command {
        Command::Txn(Txn::run([Op::put(key, "v")]))
    }

    fn sweep_all(machine: &mut Machine<MemoryEngine>) {
        while machine.sweep().expect("memory does not fail") {}
    }

    #[test]
    fn sweeping_leaves_what_can_be_read() {
        let mut machine = machine();
        let overwrites = 2 * crate::limits::SWEEP_RECORDS;
        for _ in 0..overwrites {
            machine.apply(put("a")).expect("applies").0.expect("puts");
        }
        machine.apply(put("b")).expect("applies").0.expect("puts");
        let delete = Delete { range: KeyRange::key("b"), prev: false };
        machine.apply(Command::Txn(Txn::run([Op::Delete(delete)]))).expect("applies").0.expect("deletes");
        let deleted = machine.state.revision;
        machine.apply(Command::Compact { revision: deleted }).expect("applies").0.expect("compacts");
        sweep_all(&mut machine);
        // The newest "a", and the delete of "b", which a watch from this very revision must see.
        assert_eq!(records(&machine, Table::Revisions).len(), 2);
        assert_eq!(records(&machine, Table::History).len(), 2);
        machine.apply(put("c")).expect("applies").0.expect("puts");
        machine.apply(Command::Compact { revision: deleted + 1 }).expect("applies").0.expect("compacts");
        sweep_all(&mut machine);
        assert_eq!(records(&machine, Table::Revisions).len(), 2, "a and c; the delete of b is gone");
        assert_eq!(records(&machine, Table::History).len(), 2);
    }

    /// Commands however batched, with sweeps at whatever time, give the same outcomes and the same state.
    #[test]
    fn batching_and_sweeping_do_not_show() {
        for seed in 0..20 {
            let mut random = Random::new(seed);
            let commands: Vec<Command> = (0..200).map(|_| command(&mut random)).collect();
            let (mut one, mut many) = (machine(), machine());
            let mut singly = Vec::new();
            for command in &commands {
                singly.push(one.apply(command.clone()).expect("applies").0);
                if random.one_in(5) {
                    one.sweep().expect("sweeps");
                }
            }
            let mut batched = Vec::new();
            let mut rest = &commands[..];
            while !rest.is_empty() {
                let (batch, after) = rest.split_at(rest.len().min(1 + random.below(9) as usize));
                batched.extend(many.apply_all(batch, None).expect("applies").outcomes);
                rest = after;
            }
            assert_eq!(singly, batched, "seed {seed}");
            sweep_all(&mut one);
            sweep_all(&mut many);
            for table in Table::ALL {
                assert_eq!(records(&one, table), records(&many, table), "seed {seed}: {table:?}");
            }
            let reopened = Machine::open(one.engine.clone()).expect("opens");
            assert_eq!(reopened.state, one.state);
        }
    }

    fn command(random: &mut Random) -> Command {
        let key = *random.pick(&["a", "b", "c", "d"]);
        let id = 1 + random.below(3) as i64;
        match random.below(10) {
            0 => Command::Compact { revision: random.below(150) },
            1 => Command::LeaseGrant { id, ttl_seconds: 1 + random.below(3) as i64 },
            2 => Command::LeaseKeepAlive { id },
            3 => Command::LeaseRevoke { id },
            4 => Command::Tick { now_ms: random.below(200_000) },
            5 => Command::Txn(Txn::run([Op::delete(key)])),
            _ => {
                let lease = if random.one_in(2) { 0 } else { id };
                Command::Txn(Txn::run([Op::Put(crate::Put { key: key.into(), lease, ..Default::default() })]))
            }
        }
    }

    #[test]
    fn an_unknown_format_is_refused() {
        let mut machine = machine();
        machine.apply(put("a")).expect("applies").0.expect("puts");
        let newer = State { format: FORMAT + 1, ..machine.state.clone() };
        let mut batch = crate::Batch::default();
        batch.put(Table::Meta, codec::STATE_KEY, codec::encode(&newer, "state").expect("encodes"));
        machine.engine.write(batch).expect("memory does not fail");
        let error = Machine::open(machine.engine.clone()).expect_err("refused");
        assert!(matches!(error, EngineError::Format { known: FORMAT, .. }));
    }

    #[test]
    fn time_never_runs_backwards_and_ends_leases_in_order() {
        let mut machine = machine();
        machine.apply(Command::LeaseGrant { id: 1, ttl_seconds: 2 }).expect("applies").0.expect("grants");
        machine.apply(Command::LeaseGrant { id: 2, ttl_seconds: 1 }).expect("applies").0.expect("grants");
        for (now_ms, left) in [(999, 2), (500, 2), (1_000, 1), (10, 1), (5_000, 0)] {
            machine.apply(Command::Tick { now_ms }).expect("applies").0.expect("ticks");
            assert_eq!(machine.state.leases, left, "at {now_ms}");
        }
        assert_eq!(machine.state.clock_ms, 5_000);
        assert_eq!(machine.state.revision, 1, "leases without keys make no revision");
    }
}
