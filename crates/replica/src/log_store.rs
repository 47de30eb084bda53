//! Raft's log and vote in RocksDB.
//!
//! Appending writes the entries without waiting for the disk, then hands the callback to one thread that makes all
//! that was written so far durable with a single sync. Applying goes on meanwhile.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Instant;

use keyspace::EngineError;
use openraft::storage::{LogFlushed, LogState, RaftLogStorage};
use openraft::{AnyError, OptionalSend, RaftLogReader, StorageIOError, Vote};
use parking_lot::Mutex;
use rocksdb::{IteratorMode, WriteBatch};
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, oneshot};

use crate::config::{LOG_CACHE_BYTES, MAX_BATCH_BYTES};
use crate::metrics::Metrics;
use crate::rocks::{LOG, META, Rocks, corrupt, frame, unframe};
use crate::types::{Entry, LogId, StorageError, TypeConfig};

/// Version of the encoding of entries and of the meta records here.
const FORMAT: u8 = 1;
const VOTE: &[u8] = b"vote";
const PURGED: &[u8] = b"purged";

/// Syncs that may wait. Raft waits for each append, so there are hardly ever two.
const SYNC_QUEUE: usize = 16;

/// The log of one replica. Clones are readers of the same log.
#[derive(Clone, Debug)]
pub struct LogStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    rocks: Arc<Rocks>,
    head: Mutex<Head>,
    /// There until the log is dropped.
    syncs: Option<SyncSender<Waiter>>,
    sync_thread: Option<JoinHandle<()>>,
    /// Bytes appended since the log was last cut.
    grown: AtomicU64,
    /// Told when `grown` passes `grown_limit`.
    pressure: Arc<Notify>,
    grown_limit: AtomicU64,
}

/// The ends of the log, and its newest entries.
#[derive(Debug, Default)]
struct Head {
    purged: Option<LogId>,
    last: Option<LogId>,
    /// Newest entries with their sizes, consecutive, ending with `last`.
    recent: VecDeque<(Entry, usize)>,
    recent_bytes: usize,
}

/// Who waits for a sync.
enum Waiter {
    Append(LogFlushed<TypeConfig>),
    Vote(oneshot::Sender<Result<(), EngineError>>),
}

const SYNC_ENDED: &str = "the sync thread has ended";

impl Drop for Inner {
    fn drop(&mut self) {
        self.syncs = None;
        if let Some(thread) = self.sync_thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the keyspace's sync thread panicked");
        }
    }
}

impl LogStore {
    /// The log in `rocks`. `pressure` is told when the log should be cut (see [`LogStore::cut_after`]).
    pub(crate) fn open(rocks: Arc<Rocks>, metrics: Metrics, pressure: Arc<Notify>) -> Result<Self, EngineError> {
        let purged = rocks.get(META, PURGED)?.map(|bytes| decode(&bytes, "purged log id")).transpose()?;
        let newest = rocks.db().iterator_cf(rocks.family(LOG)?, IteratorMode::End).next();
        let last = match newest {
            None => purged,
            Some(Err(error)) => return Err(rocks.read_error(LOG, b"", error)),
            Some(Ok((key, framed))) => Some(entry_of(&key, &framed)?.log_id),
        };
        let family = rocks.family(LOG)?;
        let live = rocks.db().property_int_value_cf(family, "rocksdb.estimate-live-data-size");
        let grown = live.map_err(|error| rocks.read_error(LOG, b"", error))?.unwrap_or(0);
        let (syncs, queue) = sync_channel(SYNC_QUEUE);
        let syncing = rocks.clone();
        let sync_thread = std::thread::Builder::new()
            .name("keyspace-sync".into())
            .spawn(move || sync_loop(&syncing, &metrics, &queue))
            .map_err(|source| EngineError::Io { operation: "start the sync thread", source: Arc::new(source) })?;
        let inner = Inner {
            rocks,
            head: Mutex::new(Head { purged, last, ..Head::default() }),
            syncs: Some(syncs),
            sync_thread: Some(sync_thread),
            grown: AtomicU64::new(grown),
            pressure,
            grown_limit: AtomicU64::new(u64::MAX),
        };
        Ok(LogStore { inner: Arc::new(inner) })
    }

    /// Asks for pressure to be told once this many bytes were appended since the log was last cut.
    pub(crate) fn cut_after(&self, bytes: u64) {
        self.inner.grown_limit.store(bytes, Ordering::Relaxed);
    }

    /// Bytes appended since the log was last cut.
    pub(crate) fn grown(&self) -> u64 {
        self.inner.grown.load(Ordering::Relaxed)
    }

    /// Writes the batch and waits until it is durable.
    async fn write_durably(&self, operation: &'static str, batch: WriteBatch) -> Result<(), EngineError> {
        self.inner.rocks.write(operation, batch)?;
        let (done, durable) = oneshot::channel();
        let ended = || EngineError::Io { operation, source: Arc::new(std::io::Error::other(SYNC_ENDED)) };
        self.sync(Waiter::Vote(done)).map_err(|_| ended())?;
        durable.await.map_err(|_| ended())?
    }

    /// Hands a waiter to the sync thread, or back.
    fn sync(&self, waiter: Waiter) -> Result<(), Waiter> {
        match &self.inner.syncs {
            Some(syncs) => syncs.send(waiter).map_err(|unsent| unsent.0),
            None => Err(waiter),
        }
    }

    fn append_all(&self, entries: Vec<Entry>) -> Result<(), EngineError> {
        let rocks = &self.inner.rocks;
        let family = rocks.family(LOG)?;
        let mut batch = WriteBatch::default();
        let mut sized = Vec::with_capacity(entries.len());
        for entry in entries {
            let key = entry.log_id.index.to_be_bytes();
            let bytes = encode(&entry, "log entry")?;
            sized.push((entry, bytes.len()));
            batch.put_cf(family, key, frame(LOG, &key, &bytes));
        }
        rocks.write("append to the log", batch)?;
        let added: usize = sized.iter().map(|(_, bytes)| bytes).sum();
        self.inner.head.lock().extend(sized);
        let grown = self.inner.grown.fetch_add(added as u64, Ordering::Relaxed) + added as u64;
        if grown >= self.inner.grown_limit.load(Ordering::Relaxed) {
            self.inner.pressure.notify_one();
        }
        Ok(())
    }

    /// Entries with `start <= index < end`, at least one if there is one, and not many more than `most_bytes`.
    fn entries(&self, start: u64, end: u64, most_bytes: usize) -> Result<Vec<Entry>, EngineError> {
        if let Some(entries) = self.inner.head.lock().cached(start, end) {
            return Ok(entries);
        }
        let rocks = &self.inner.rocks;
        let mut options = rocksdb::ReadOptions::default();
        options.set_iterate_lower_bound(start.to_be_bytes());
        options.set_iterate_upper_bound(end.to_be_bytes());
        let (mut entries, mut bytes) = (Vec::new(), 0);
        for record in rocks.db().iterator_cf_opt(rocks.family(LOG)?, options, IteratorMode::Start) {
            let (key, framed) = record.map_err(|error| rocks.read_error(LOG, &start.to_be_bytes(), error))?;
            entries.push(entry_of(&key, &framed)?);
            bytes += framed.len();
            if bytes >= most_bytes {
                break;
            }
        }
        Ok(entries)
    }

    fn cut(&self, operation: &'static str, from: u64, to: u64, purged: Option<LogId>) -> Result<(), EngineError> {
        let rocks = &self.inner.rocks;
        let mut batch = WriteBatch::default();
        batch.delete_range_cf(rocks.family(LOG)?, from.to_be_bytes(), to.to_be_bytes());
        if let Some(purged) = &purged {
            let bytes = encode(purged, "purged log id")?;
            batch.put_cf(rocks.family(META)?, PURGED, frame(META, PURGED, &bytes));
        }
        rocks.write(operation, batch)
    }

    fn truncate_from(&self, index: u64) -> Result<(), EngineError> {
        self.cut("truncate the log", index, u64::MAX, None)?;
        let before = match index.checked_sub(1) {
            None => None,
            Some(before) => self.entries(before, index, usize::MAX)?.pop().map(|entry| entry.log_id),
        };
        let mut head = self.inner.head.lock();
        while head.recent.back().is_some_and(|(entry, _)| entry.log_id.index >= index) {
            head.recent_bytes -= head.recent.pop_back().map_or(0, |(_, bytes)| bytes);
        }
        head.last = before.or(head.purged);
        Ok(())
    }

    fn purge_to(&self, log_id: LogId) -> Result<(), EngineError> {
        self.cut("purge the log", 0, log_id.index + 1, Some(log_id))?;
        let mut head = self.inner.head.lock();
        while head.recent.front().is_some_and(|(entry, _)| entry.log_id.index <= log_id.index) {
            head.recent_bytes -= head.recent.pop_front().map_or(0, |(_, bytes)| bytes);
        }
        head.purged = Some(log_id);
        head.last = head.last.max(Some(log_id));
        drop(head);
        self.inner.grown.store(0, Ordering::Relaxed);
        Ok(())
    }
}

impl Head {
    fn extend(&mut self, entries: Vec<(Entry, usize)>) {
        for (entry, bytes) in entries {
            self.last = Some(entry.log_id);
            self.recent.push_back((entry, bytes));
            self.recent_bytes += bytes;
        }
        while self.recent_bytes > LOG_CACHE_BYTES && self.recent.len() > 1 {
            self.recent_bytes -= self.recent.pop_front().map_or(0, |(_, bytes)| bytes);
        }
    }

    /// The entries, if all of them are here.
    fn cached(&self, start: u64, end: u64) -> Option<Vec<Entry>> {
        let first = self.recent.front()?.0.log_id.index;
        let skip = usize::try_from(start.checked_sub(first)?).ok()?;
        let end = end.min(self.last?.index + 1);
        let take = usize::try_from(end.checked_sub(start)?).ok()?;
        Some(self.recent.iter().skip(skip).take(take).map(|(entry, _)| entry.clone()).collect())
    }
}

/// Makes durable what was written, for all who wait at once. Ends with the last [`LogStore`].
fn sync_loop(rocks: &Rocks, metrics: &Metrics, queue: &Receiver<Waiter>) {
    while let Ok(first) = queue.recv() {
        let mut waiters = vec![first];
        waiters.extend(queue.try_iter());
        let began = Instant::now();
        let synced = rocks.sync();
        metrics.synced(began.elapsed());
        for waiter in waiters {
            let synced = synced.clone();
            match waiter {
                Waiter::Append(callback) => callback.log_io_completed(synced.map_err(std::io::Error::other)),
                // Whoever asked may have gone; then nobody needs to know.
                Waiter::Vote(done) => drop(done.send(synced)),
            }
        }
    }
}

fn encode<T: serde::Serialize>(value: &T, what: &'static str) -> Result<Vec<u8>, EngineError> {
    let failed = |source| EngineError::Io { operation: what, source: Arc::new(source) };
    postcard::to_extend(value, vec![FORMAT]).map_err(failed)
}

fn decode<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, EngineError> {
    match bytes.split_first() {
        Some((&FORMAT, rest)) => postcard::from_bytes(rest).map_err(|error| corrupt(what, error)),
        Some((&found, _)) => Err(EngineError::Format { found: found.into(), known: FORMAT.into() }),
        None => Err(corrupt(what, "empty")),
    }
}

fn entry_of(key: &[u8], framed: &[u8]) -> Result<Entry, EngineError> {
    let entry: Entry = decode(unframe(LOG, key, framed)?, "log entry")?;
    if entry.log_id.index.to_be_bytes() == key {
        Ok(entry)
    } else {
        Err(corrupt(format!("log entry {}", entry.log_id.index), "stored at another index"))
    }
}

fn any(error: EngineError) -> AnyError {
    AnyError::new(&error)
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(end) => end.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        self.entries(start, end, usize::MAX).map_err(|error| StorageIOError::read_logs(any(error)).into())
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, StorageError> {
        self.entries(start, end, MAX_BATCH_BYTES).map_err(|error| StorageIOError::read_logs(any(error)).into())
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError> {
        let head = self.inner.head.lock();
        Ok(LogState { last_purged_log_id: head.purged, last_log_id: head.last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<u64>) -> Result<(), StorageError> {
        let saved = async {
            let mut batch = WriteBatch::default();
            let bytes = encode(vote, "vote")?;
            batch.put_cf(self.inner.rocks.family(META)?, VOTE, frame(META, VOTE, &bytes));
            self.write_durably("save the vote", batch).await
        };
        saved.await.map_err(|error| StorageIOError::write_vote(any(error)).into())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<u64>>, StorageError> {
        let vote = self.inner.rocks.get(META, VOTE);
        let vote = vote.and_then(|bytes| bytes.map(|bytes| decode(&bytes, "vote")).transpose());
        vote.map_err(|error| StorageIOError::read_vote(any(error)).into())
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<TypeConfig>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.append_all(entries.into_iter().collect()).map_err(|error| StorageIOError::write_logs(any(error)))?;
        if let Err(Waiter::Append(callback)) = self.sync(Waiter::Append(callback)) {
            callback.log_io_completed(Err(std::io::Error::other(SYNC_ENDED)));
        }
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId) -> Result<(), StorageError> {
        self.truncate_from(log_id.index).map_err(|error| StorageIOError::write_logs(any(error)).into())
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), StorageError> {
        self.purge_to(log_id).map_err(|error| StorageIOError::write_logs(any(error)).into())
    }
}
