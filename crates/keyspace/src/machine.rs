//! The state machine: commands in, outcomes and changes out. Equal commands in equal order give equal states on
//! every engine and member.

use std::sync::Arc;

use bytes::Bytes;

use crate::codec::{self, FORMAT, State};
use crate::engine::{Engine, Table, View};
use crate::read::{self, Change};
use crate::work::Work;
use crate::{Command, EngineError, Error, Outcome, Refusal, Reply, Txn, TxnResponse, check, lease, sweep, txn};

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
}

impl<E: Engine> Machine<E> {
    /// The machine on what the engine holds; an empty engine is an empty keyspace.
    pub fn open(engine: Arc<E>) -> Result<Self, EngineError> {
        let state = read::state(&engine.view())?;
        if state.format != FORMAT {
            return Err(EngineError::Format { found: state.format, known: FORMAT });
        }
        Ok(Machine { engine, state })
    }

    /// The machine on an engine known to be empty.
    pub(crate) fn empty(engine: Arc<E>) -> Self {
        Machine { engine, state: State::default() }
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
        let mut work = Work::new(&view, self.state.clone());
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
        let Work { view: overlay, state, changes, .. } = work;
        let batch = overlay.into_batch();
        drop(view);
        engine.write(batch)?;
        self.state = state;
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
    Ok(match command {
        Command::Txn(request) => txn::run(work, request)?.map(Reply::Txn),
        Command::Compact { revision } => compact(&mut work.state, *revision),
        Command::LeaseGrant { id, ttl_seconds } => lease::grant(work, *id, *ttl_seconds)?.map(Reply::Lease),
        Command::LeaseKeepAlive { id } => lease::keep_alive(work, *id)?.map(Reply::Lease),
        Command::LeaseRevoke { id } => {
            lease::revoke(work, *id)?.map(|()| Reply::Revoked { revision: work.state.revision })
        }
        Command::Tick { now_ms } => Ok(lease::tick(work, *now_ms)?),
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
    let mut work = Work::new(view, read::state(view)?);
    Ok(txn::run(&mut work, request)??)
}
