//! Checked records on a [`Disk`], and the state machine's tables among them.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use keyspace::{Direction, Engine, EngineError, Table, View, Visit};
use tokio::sync::{oneshot, watch};

use crate::disk::{Change, Disk, Durable, Family, Records};

/// The records of one replica, each with a checksum of its place and value.
#[derive(Debug)]
pub(crate) struct Store {
    /// What errors name.
    dir: PathBuf,
    /// The first failure of the storage: Raft stops at one and only says that it stopped.
    fault: Arc<OnceLock<EngineError>>,
    /// Whether the state is being replaced: until it is there as a whole nobody reads it.
    replacing: watch::Sender<bool>,
    /// Snapshots of other members that came in.
    replacements: AtomicU64,
    // Fields are dropped in order: the disk is closed, then that is told.
    disk: Box<dyn Disk>,
    closed: watch::Sender<()>,
}

impl Store {
    /// The records on `disk`, which errors call `dir`.
    pub(crate) fn new(disk: Box<dyn Disk>, dir: &Path) -> Self {
        Store {
            dir: dir.to_owned(),
            fault: Arc::default(),
            replacing: watch::Sender::new(false),
            replacements: AtomicU64::new(0),
            disk,
            closed: watch::Sender::new(()),
        }
    }

    /// From now on the state is no state of any position: who reads it is refused.
    pub(crate) fn begin_replacing(&self) {
        self.replacing.send_replace(true);
    }

    /// The state is whole again.
    pub(crate) fn end_replacing(&self) {
        self.replacing.send_replace(false);
    }

    /// Waits until the state is whole.
    pub(crate) async fn replaced(&self) {
        // The sender lives as long as this.
        let _ = self.replacing.subscribe().wait_for(|replacing| !replacing).await;
    }

    /// Notes that a snapshot of another member is going to be installed, and the log before it cut.
    pub(crate) fn note_replacement(&self) {
        self.replacements.fetch_add(1, Ordering::SeqCst);
    }

    /// How often that was so.
    pub(crate) fn replacements(&self) -> u64 {
        self.replacements.load(Ordering::SeqCst)
    }

    /// Its `changed` fails once the disk is closed and the directory free.
    pub(crate) fn closed(&self) -> watch::Receiver<()> {
        self.closed.subscribe()
    }

    pub(crate) fn disk(&self) -> &dyn Disk {
        self.disk.as_ref()
    }

    /// Reads a value and checks it.
    pub(crate) fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let framed = self.disk.get(family, key)?;
        framed.map(|framed| unframe_bytes(family, key, framed)).transpose()
    }

    /// Visits records of `family` in order, checking each.
    pub(crate) fn scan(
        &self,
        family: Family,
        lower: &[u8],
        upper: Option<&[u8]>,
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<(), EngineError> {
        scan(self.disk.view().as_ref(), family, lower, upper, direction, visit)
    }

    /// Writes a batch. It is durable after the next sync. Failing for want of room is no failure of the storage: nothing
    /// was done, and it can be done when there is some.
    pub(crate) fn write(&self, operation: &'static str, batch: Batch) -> Result<(), EngineError> {
        self.disk.write(operation, batch.0).map_err(|error| match error {
            EngineError::NoSpace { .. } => error,
            error => self.fail(error),
        })
    }

    /// Makes everything written before durable, while the caller waits.
    pub(crate) fn sync(&self) -> Result<(), EngineError> {
        self.disk.sync().map_err(|error| self.fail(error))
    }

    /// Makes everything written before durable, then calls `done`.
    pub(crate) fn sync_then(&self, done: Durable) {
        let fault = self.fault.clone();
        self.disk.sync_then(Box::new(move |synced| done(synced.map_err(|error| remember(&fault, error)))));
    }

    /// Makes everything written before durable.
    pub(crate) async fn synced(&self) -> Result<(), EngineError> {
        let (done, synced) = oneshot::channel();
        // Whoever asked may have gone; then nobody needs to know.
        self.sync_then(Box::new(move |result| drop(done.send(result))));
        synced.await.unwrap_or_else(|gone| Err(io("sync", std::io::Error::other(gone))))
    }

    /// Remembers the first failure, and gives it back.
    pub(crate) fn fail(&self, error: EngineError) -> EngineError {
        remember(&self.fault, error)
    }

    /// The first failure there was.
    pub(crate) fn fault(&self) -> Option<&EngineError> {
        self.fault.get()
    }

    /// An error unless so much is free.
    pub(crate) fn require_room(&self, reserve: u64) -> Result<(), EngineError> {
        match self.disk.free_bytes() {
            Some(free) if free < reserve => {
                let detail = format!("{free} bytes free in {}, {reserve} are kept in reserve", self.dir.display());
                Err(EngineError::NoSpace { operation: "write", source: Arc::new(std::io::Error::other(detail)) })
            }
            _ => Ok(()),
        }
    }
}

/// Pause before what failed for want of room is done again.
const FULL_PAUSE: Duration = Duration::from_millis(500);

/// Does what must be done, such as appending what others wait for; waits while there is no room for it. What would grow
/// the state is refused long before (see `room`), so this is met only when somebody else filled the disk to the last
/// byte.
pub(crate) async fn once_there_is_room<T>(mut run: impl FnMut() -> Result<T, EngineError>) -> Result<T, EngineError> {
    loop {
        if let Some(done) = unless_full(run()).await {
            return done;
        }
    }
}

/// What became of it, or nothing after a pause when it failed for want of room.
pub(crate) async fn unless_full<T>(done: Result<T, EngineError>) -> Option<Result<T, EngineError>> {
    let Err(error @ EngineError::NoSpace { .. }) = &done else { return Some(done) };
    tracing::error!(error = error as &dyn std::error::Error, "the keyspace waits for room on its disk");
    tokio::time::sleep(FULL_PAUSE).await;
    None
}

fn remember(fault: &OnceLock<EngineError>, error: EngineError) -> EngineError {
    tracing::error!(error = &error as &dyn std::error::Error, "keyspace storage failed");
    let _ = fault.set(error.clone());
    error
}

/// Runs what may take long where that does no harm. Nothing when the runtime is going down.
pub(crate) async fn blocking<T: Send + 'static>(store: &Store, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, result) = oneshot::channel();
    // Whoever asked may have gone; then nobody needs to know.
    store.disk.run(Box::new(move || drop(done.send(work()))));
    result.await.ok()
}

/// Changes that take effect together.
#[derive(Debug, Default)]
pub(crate) struct Batch(Vec<Change>);

impl Batch {
    /// Writes a record with its checksum.
    pub(crate) fn put(&mut self, family: Family, key: impl Into<Vec<u8>>, value: &[u8]) {
        let key = key.into();
        let value = frame(family, &key, value);
        self.0.push(Change::Put { family, key, value });
    }

    pub(crate) fn delete(&mut self, family: Family, key: impl Into<Vec<u8>>) {
        self.0.push(Change::Delete { family, key: key.into() });
    }

    /// Removes all records with `from <= key < to`.
    pub(crate) fn delete_range(&mut self, family: Family, from: impl Into<Vec<u8>>, to: impl Into<Vec<u8>>) {
        self.0.push(Change::DeleteRange { family, from: from.into(), to: to.into() });
    }

    /// Writes a record of the state machine.
    pub(crate) fn put_state(&mut self, table: u8, key: &[u8], value: &[u8]) {
        self.put(Family::State, place(table, key), value);
    }

    /// Removes all tables of the state machine.
    pub(crate) fn clear_state(&mut self) {
        self.delete_range(Family::State, [0u8], [u8::MAX]);
    }
}

/// Where a record of a table is.
fn place(table: u8, key: &[u8]) -> Vec<u8> {
    [&[table], key].concat()
}

pub(crate) fn corrupt(what: impl Into<String>, detail: impl ToString) -> EngineError {
    EngineError::Corrupt { what: what.into(), detail: detail.to_string() }
}

pub(crate) fn io(operation: &'static str, error: std::io::Error) -> EngineError {
    let full = matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded);
    let source = Arc::new(error);
    if full { EngineError::NoSpace { operation, source } } else { EngineError::Io { operation, source } }
}

/// A record for people: which one is damaged.
pub(crate) fn record_name(family: Family, key: &[u8]) -> String {
    match (family, key) {
        (Family::State, [table, key @ ..]) => {
            let table = Table::ALL.get(usize::from(*table)).map_or("unknown".into(), |table| format!("{table:?}"));
            format!("record {} of table {table}", key.escape_ascii())
        }
        (Family::Log, key) => match key.try_into() {
            Ok(index) => format!("log entry {}", u64::from_be_bytes(index)),
            Err(_) => format!("log entry with key {}", key.escape_ascii()),
        },
        (family, key) => format!("record {} of {}", key.escape_ascii(), family.name()),
    }
}

const CHECKSUM_BYTES: usize = 4;

fn checksum(family: Family, key: &[u8], value: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(family.name().as_bytes());
    hasher.update(key);
    hasher.update(value);
    hasher.finalize().to_le_bytes()
}

/// A value with the checksum of its place and itself.
fn frame(family: Family, key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(value.len() + CHECKSUM_BYTES);
    framed.extend_from_slice(value);
    framed.extend_from_slice(&checksum(family, key, value));
    framed
}

/// The value, if it is the one that was written at this place.
pub(crate) fn unframe<'a>(family: Family, key: &[u8], framed: &'a [u8]) -> Result<&'a [u8], EngineError> {
    match framed.split_last_chunk::<CHECKSUM_BYTES>() {
        Some((value, sum)) if *sum == checksum(family, key, value) => Ok(value),
        Some(_) => Err(corrupt(record_name(family, key), "its checksum does not match")),
        None => Err(corrupt(record_name(family, key), "shorter than its checksum")),
    }
}

fn unframe_bytes(family: Family, key: &[u8], mut framed: Bytes) -> Result<Bytes, EngineError> {
    let length = unframe(family, key, &framed)?.len();
    framed.truncate(length);
    Ok(framed)
}

pub(crate) fn scan(
    records: &dyn Records,
    family: Family,
    lower: &[u8],
    upper: Option<&[u8]>,
    direction: Direction,
    visit: &mut Visit<'_>,
) -> Result<(), EngineError> {
    records.scan(family, lower, upper, direction, &mut |key, framed| visit(key, unframe(family, key, framed)?))
}

/// The state machine's tables in a [`Store`].
#[derive(Clone, Debug)]
pub struct StateEngine {
    store: Arc<Store>,
}

impl StateEngine {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        StateEngine { store }
    }

    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.store
    }
}

impl Engine for StateEngine {
    type View<'a> = StateView<'a>;

    fn view(&self) -> StateView<'_> {
        // Held until there is a view: what is replaced from then on does not show in it.
        let replacing = self.store.replacing.borrow();
        StateView { records: (!*replacing).then(|| self.store.disk.view()) }
    }

    fn write(&self, batch: keyspace::Batch) -> Result<(), EngineError> {
        if batch.writes.is_empty() {
            return Ok(());
        }
        let mut writes = Batch(Vec::with_capacity(batch.writes.len()));
        for (table, key, value) in batch.writes {
            match value {
                Some(value) => writes.put_state(table as u8, &key, &value),
                None => writes.delete(Family::State, place(table as u8, &key)),
            }
        }
        self.store.write("apply to the state", writes)
    }

    fn size_bytes(&self) -> Result<u64, EngineError> {
        self.store.disk.size_bytes(Family::State)
    }

    fn in_use_bytes(&self) -> Result<u64, EngineError> {
        self.store.disk.in_use_bytes(Family::State)
    }

    fn defragment(&self) -> Result<(), EngineError> {
        self.store.disk.defragment()
    }
}

/// A consistent view of the state machine's tables.
pub struct StateView<'a> {
    /// None while the state is being replaced.
    records: Option<Box<dyn Records + 'a>>,
}

impl StateView<'_> {
    fn records(&self) -> Result<&dyn Records, EngineError> {
        self.records.as_deref().map(|records| records as &dyn Records).ok_or(EngineError::Replacing)
    }
}

impl std::fmt::Debug for StateView<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateView").finish_non_exhaustive()
    }
}

impl View for StateView<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let place = place(table as u8, key);
        let framed = self.records()?.get(Family::State, &place)?;
        framed.map(|framed| unframe_bytes(Family::State, &place, framed)).transpose()
    }

    fn scan(
        &self,
        table: Table,
        lower: &[u8],
        upper: Option<&[u8]>,
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<(), EngineError> {
        if upper.is_some_and(|upper| upper <= lower) {
            return Ok(());
        }
        let table = table as u8;
        let lower = place(table, lower);
        let upper = upper.map_or(vec![table + 1], |upper| place(table, upper));
        let without_table: &mut Visit<'_> = &mut |place, value| visit(place.get(1..).unwrap_or_default(), value);
        scan(self.records()?, Family::State, &lower, Some(&upper), direction, without_table)
    }
}
