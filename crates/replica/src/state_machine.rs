//! The keyspace's state machine as Raft drives it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use keyspace::{Applied, Command, Engine, EngineError, Hub, KvHash, Machine, read};
use openraft::storage::{RaftStateMachine, Snapshot};
use openraft::{AnyError, EntryPayload, OptionalSend, RaftSnapshotBuilder, StorageIOError};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::config::MAX_APPLY_ENTRIES;
use crate::disk::{AsyncFile, DiskFile};
use crate::metrics::Metrics;
use crate::snapshot::{Coming, Snapshots, stamp};
use crate::store::{self, StateEngine, io, unless_full};
use crate::types::{Answers, Entry, LogId, Membership, SnapshotMeta, Stamp, StorageError, TypeConfig};

/// The state machine of one replica. Clones are the same one.
#[derive(Clone, Debug)]
pub struct StateMachine {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    engine: Arc<StateEngine>,
    machine: Mutex<Machine<StateEngine>>,
    snapshots: Arc<Snapshots>,
    /// Whether Raft has started: only then does it ask for snapshots to send them.
    started: AtomicBool,
    hub: Arc<Hub>,
    metrics: Metrics,
    /// Told when there may be something to sweep.
    compacted: Arc<Notify>,
    /// Told when leases changed.
    leases_changed: Arc<Notify>,
    /// Told when alarms may have changed.
    alarms_changed: Arc<Notify>,
    /// The newest hash the leader told; this member is to compare its own.
    leader_hash: watch::Sender<Option<KvHash>>,
}

impl StateMachine {
    /// The state in `engine`.
    pub(crate) fn open(engine: Arc<StateEngine>, metrics: Metrics) -> Result<Self, EngineError> {
        let snapshots = Arc::new(Snapshots::open(engine.store().clone())?);
        snapshots.recover()?;
        let machine = Machine::open(engine.clone())?;
        let (newest, _) = read::revisions(&engine.view())?;
        let inner = Inner {
            engine,
            machine: Mutex::new(machine),
            snapshots,
            started: AtomicBool::new(false),
            hub: Arc::new(Hub::new(newest)),
            metrics,
            compacted: Arc::new(Notify::new()),
            leases_changed: Arc::new(Notify::new()),
            alarms_changed: Arc::new(Notify::new()),
            leader_hash: watch::Sender::new(None),
        };
        Ok(StateMachine { inner: Arc::new(inner) })
    }

    /// The position up to which the log may be cut.
    pub(crate) fn noted(&self) -> Result<Option<SnapshotMeta>, EngineError> {
        self.inner.snapshots.noted()
    }

    /// Says that Raft has started.
    pub(crate) fn started(&self) {
        self.inner.started.store(true, Ordering::SeqCst);
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.inner.hub
    }

    pub(crate) fn compacted(&self) -> &Arc<Notify> {
        &self.inner.compacted
    }

    pub(crate) fn leases_changed(&self) -> &Arc<Notify> {
        &self.inner.leases_changed
    }

    pub(crate) fn alarms_changed(&self) -> &Arc<Notify> {
        &self.inner.alarms_changed
    }

    /// What the leader tells its hash to be.
    pub(crate) fn leader_hash(&self) -> watch::Receiver<Option<KvHash>> {
        self.inner.leader_hash.subscribe()
    }

    /// One step of removing what compactions made unreadable; whether there is more.
    pub(crate) fn sweep(&self) -> Result<bool, EngineError> {
        self.inner.machine.lock().sweep()
    }

    /// Runs what may take long where that does no harm.
    async fn blocking<T: Send + 'static>(
        &self,
        operation: &'static str,
        run: impl FnOnce(&Inner) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let inner = self.inner.clone();
        let done = store::blocking(self.inner.engine.store(), move || run(&inner)).await;
        done.unwrap_or_else(|| Err(io(operation, std::io::Error::other("the runtime is going down"))))
    }

    fn position(&self) -> Result<Stamp, EngineError> {
        stamp(&self.inner.engine.view())
    }

    /// Applies entries, once there is room, where it holds up nobody.
    async fn apply_some(&self, entries: &[Entry], position: &mut Stamp) -> Result<Vec<Answers>, EngineError> {
        loop {
            let applied = if entries.iter().any(may_take_long) {
                self.apply_aside(entries, position).await
            } else {
                self.apply_batch(entries, position)
            };
            // Of a batch that was not written nothing happened, in memory neither.
            if let Some(done) = unless_full(applied).await {
                return done;
            }
        }
    }

    async fn apply_aside(&self, entries: &[Entry], position: &mut Stamp) -> Result<Vec<Answers>, EngineError> {
        let (this, entries, mut at) = (self.clone(), entries.to_vec(), position.clone());
        let applied = self.blocking("apply", move |_| this.apply_batch(&entries, &mut at).map(|answers| (answers, at)));
        let (answers, at) = applied.await?;
        *position = at;
        Ok(answers)
    }

    /// Applies entries as one atomic write, log position included.
    fn apply_batch(&self, entries: &[Entry], position: &mut Stamp) -> Result<Vec<Answers>, EngineError> {
        let began = Instant::now();
        let mut counts = Vec::with_capacity(entries.len());
        let mut commands: Vec<&Command> = Vec::new();
        for entry in entries {
            position.applied = Some(entry.log_id);
            let before = commands.len();
            match &entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Normal(proposal) => commands.extend(proposal.commands.iter()),
                EntryPayload::Membership(membership) => {
                    position.membership = Membership::new(Some(entry.log_id), membership.clone());
                }
            }
            counts.push(commands.len() - before);
        }
        let bytes = postcard::to_stdvec(position)
            .map_err(|error| io("encode the log position", std::io::Error::other(error)))?;
        let Applied { outcomes, changes } = {
            let mut machine = self.inner.machine.lock();
            machine.apply_all(commands.iter().copied(), Some(bytes.into()))?
        };
        self.inner.hub.publish(&changes);
        self.notify(&commands);
        self.inner.metrics.applied(began.elapsed());
        let mut outcomes = outcomes.into_iter();
        Ok(counts.into_iter().map(|count| Answers { outcomes: outcomes.by_ref().take(count).collect() }).collect())
    }

    fn notify(&self, commands: &[&Command]) {
        if commands.iter().any(|command| matches!(command, Command::Compact { .. })) {
            self.inner.compacted.notify_one();
        }
        if commands.iter().any(|command| command.needs_time()) {
            self.inner.leases_changed.notify_one();
        }
        for command in commands {
            match command {
                Command::CheckHash { hash } => drop(self.inner.leader_hash.send_replace(Some(*hash))),
                Command::AlarmSet(_) | Command::AlarmClear(_) | Command::RecordRemoval { .. } => {
                    self.inner.alarms_changed.notify_one();
                }
                _ => {}
            }
        }
    }

    fn install(&self, meta: &SnapshotMeta, received: Box<dyn DiskFile>) -> Result<(), EngineError> {
        let mut machine = self.inner.machine.lock();
        self.inner.snapshots.install(meta, received)?;
        *machine = Machine::open(self.inner.engine.clone())?;
        let (newest, _) = read::revisions(&self.inner.engine.view())?;
        drop(machine);
        self.inner.hub.reset(newest);
        self.inner.leases_changed.notify_one();
        self.inner.alarms_changed.notify_one();
        Ok(())
    }
}

impl Inner {
    /// The snapshot of a noted position, of which only the position is there as long as nobody reads it.
    fn of_noted(&self, meta: SnapshotMeta) -> Snapshot<TypeConfig> {
        let file = self.snapshots.on_demand(&self.engine, &meta);
        snapshot_of(meta, file)
    }
}

fn may_take_long(entry: &Entry) -> bool {
    match &entry.payload {
        EntryPayload::Normal(proposal) => proposal.commands.iter().any(Command::may_take_long),
        EntryPayload::Blank | EntryPayload::Membership(_) => false,
    }
}

fn snapshot_of(meta: SnapshotMeta, file: Coming) -> Snapshot<TypeConfig> {
    Snapshot { meta, snapshot: Box::new(Box::new(file)) }
}

fn read_failed(error: &EngineError) -> StorageError {
    StorageIOError::read_state_machine(AnyError::new(error)).into()
}

impl RaftSnapshotBuilder<TypeConfig> for StateMachine {
    /// Raft takes only the position of it, to cut the log.
    async fn build_snapshot(&mut self) -> Result<Snapshot<TypeConfig>, StorageError> {
        let noted = self.blocking("note a log position", |inner| {
            let _no_other_state_comes = inner.machine.lock();
            match inner.snapshots.note(&inner.engine) {
                // The log is cut another time.
                Err(EngineError::NoSpace { .. }) => Ok(inner.snapshots.noted()?.unwrap_or_default()),
                noted => noted,
            }
        });
        let noted = noted.await.map(|meta| self.inner.of_noted(meta));
        noted.map_err(|error| StorageIOError::write_snapshot(None, AnyError::new(&error)).into())
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, Membership), StorageError> {
        let position = self.position().map_err(|error| read_failed(&error))?;
        Ok((position.applied, position.membership))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Answers>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let mut position = self.position().map_err(|error| read_failed(&error))?;
        let mut answers = Vec::with_capacity(entries.len());
        for batch in entries.chunks(MAX_APPLY_ENTRIES) {
            match self.apply_some(batch, &mut position).await {
                Ok(more) => answers.extend(more),
                Err(error) => {
                    let error = self.inner.engine.store().fail(error);
                    let at = batch.first().map(|entry| entry.log_id).unwrap_or_default();
                    return Err(StorageIOError::apply(at, AnyError::new(&error)).into());
                }
            }
        }
        Ok(answers)
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Box<dyn AsyncFile>>, StorageError> {
        let created = self.blocking("receive a snapshot", |inner| {
            inner.snapshots.receive().map_err(|error| io("receive a snapshot", error))
        });
        let file = created.await.map_err(|error| StorageIOError::write_snapshot(None, AnyError::new(&error)))?;
        Ok(Box::new(file.into_async()))
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<Box<dyn AsyncFile>>,
    ) -> Result<(), StorageError> {
        let (this, expected) = (self.clone(), meta.clone());
        let installed = match snapshot.into_blocking().await {
            Ok(received) => self.blocking("install a snapshot", move |_| this.install(&expected, received)).await,
            Err(error) => Err(io("read a received snapshot", error)),
        };
        installed.map_err(|error| {
            let error = self.inner.engine.store().fail(error);
            StorageIOError::write_snapshot(Some(meta.signature()), AnyError::new(&error)).into()
        })
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<TypeConfig>>, StorageError> {
        let inner = &self.inner;
        let found = if inner.started.load(Ordering::SeqCst) {
            inner.snapshots.export(&inner.engine).await.map(|(meta, file)| Some(snapshot_of(meta, file)))
        } else {
            // What it asks for at its start is the position.
            self.noted().map(|noted| noted.map(|meta| inner.of_noted(meta)))
        };
        found.map_err(|error| StorageIOError::read_snapshot(None, AnyError::new(&error)).into())
    }
}
