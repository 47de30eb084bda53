//! Raft's log and vote on disk.
//!
//! Appending writes the entries without waiting for the disk, then asks it to call back once all that was written so
//! far is durable. Applying goes on meanwhile.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::ops::{Bound, ControlFlow, RangeBounds};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use keyspace::{Direction, EngineError};
use openraft::storage::{LogFlushed, LogState, RaftLogStorage};
use openraft::{AnyError, EntryPayload, OptionalSend, RaftLogReader, StorageIOError, Vote};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;

use crate::config::{LOG_CACHE_BYTES, MAX_BATCH_BYTES};
use crate::disk::Family;
use crate::store::{Batch, Store, corrupt, once_there_is_room};
use crate::types::{Entry, LogId, StorageError, TypeConfig};

/// Version of the encoding of entries and of the meta records here.
const FORMAT: u8 = 1;
const VOTE: &[u8] = b"vote";
pub(crate) const PURGED: &[u8] = b"purged";

/// The log of one replica. Clones are readers of the same log.
#[derive(Clone, Debug)]
pub struct LogStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Arc<Store>,
    head: Mutex<Head>,
    /// Bytes appended since the log was last cut.
    grown: AtomicU64,
    /// Told when `grown` passes `grown_limit`.
    pressure: Arc<Notify>,
    grown_limit: AtomicU64,
    /// The member that leads as the only voter; 0 when there may be others.
    of_one: AtomicU64,
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

impl LogStore {
    /// The log in `store`. `pressure` is told when the log should be cut (see [`LogStore::cut_after`]).
    pub(crate) fn open(store: Arc<Store>, pressure: Arc<Notify>) -> Result<Self, EngineError> {
        let purged = store.get(Family::Meta, PURGED)?.map(|bytes| decode(&bytes, "purged log id")).transpose()?;
        let mut last = purged;
        store.scan(Family::Log, &[], None, Direction::Reverse, &mut |key, bytes| {
            last = Some(entry_of(key, bytes)?.log_id);
            Ok(ControlFlow::Break(()))
        })?;
        let grown = store.disk().size_bytes(Family::Log)?;
        let inner = Inner {
            store,
            head: Mutex::new(Head { purged, last, ..Head::default() }),
            grown: AtomicU64::new(grown),
            pressure,
            grown_limit: AtomicU64::new(u64::MAX),
            of_one: AtomicU64::new(0),
        };
        Ok(LogStore { inner: Arc::new(inner) })
    }

    /// A leader that starts anew leads no more until it is elected again. Raft would have it lead on in the same term; but
    /// it knows no longer what was committed, and its log may lack the newest entries: others made them durable and a
    /// crash took them here. It would answer reads from the past, and write other entries in their place.
    pub(crate) fn step_down(&self, member: u64) -> Result<(), EngineError> {
        let Some(bytes) = self.inner.store.get(Family::Meta, VOTE)? else { return Ok(()) };
        let mut vote: Vote<u64> = decode(&bytes, "vote")?;
        if !vote.committed || vote.leader_id.node_id != member {
            return Ok(());
        }
        vote.committed = false;
        let mut batch = Batch::default();
        batch.put(Family::Meta, VOTE, &encode(&vote, "vote")?);
        self.inner.store.write("step down", batch)
    }

    /// Asks for pressure to be told once this many bytes were appended since the log was last cut.
    pub(crate) fn cut_after(&self, bytes: u64) {
        self.inner.grown_limit.store(bytes, Ordering::Relaxed);
    }

    /// Bytes appended since the log was last cut.
    pub(crate) fn grown(&self) -> u64 {
        self.inner.grown.load(Ordering::Relaxed)
    }

    /// Says that `member` leads as the only voter. It ends as soon as a membership with other voters, or a vote for
    /// another member, is written here: without either nobody else can lead.
    pub(crate) fn begin_of_one(&self, member: u64) {
        self.inner.of_one.store(member, Ordering::SeqCst);
    }

    /// Whether what [`LogStore::begin_of_one`] said is still so.
    pub(crate) fn is_of_one(&self) -> bool {
        self.inner.of_one.load(Ordering::SeqCst) != 0
    }

    fn end_of_one_unless(&self, still: impl Fn(u64) -> bool) {
        let member = self.inner.of_one.load(Ordering::SeqCst);
        if member != 0 && !still(member) {
            self.inner.of_one.store(0, Ordering::SeqCst);
        }
    }

    fn append_all(&self, entries: &[Entry]) -> Result<(), EngineError> {
        let mut batch = Batch::default();
        let mut sized = Vec::with_capacity(entries.len());
        for entry in entries {
            if let EntryPayload::Membership(membership) = &entry.payload {
                self.end_of_one_unless(|member| membership.voter_ids().eq([member]));
            }
            let key = entry.log_id.index.to_be_bytes();
            let bytes = encode(entry, "log entry")?;
            sized.push((entry.clone(), bytes.len()));
            batch.put(Family::Log, key, &bytes);
        }
        self.inner.store.write("append to the log", batch)?;
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
        let (mut entries, mut bytes) = (Vec::new(), 0);
        let (lower, upper) = (start.to_be_bytes(), end.to_be_bytes());
        self.inner.store.scan(Family::Log, &lower, Some(&upper), Direction::Forward, &mut |key, value| {
            entries.push(entry_of(key, value)?);
            bytes += value.len();
            Ok(if bytes >= most_bytes { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(entries)
    }

    fn cut(&self, operation: &'static str, from: u64, to: u64, purged: Option<LogId>) -> Result<(), EngineError> {
        let mut batch = Batch::default();
        batch.delete_range(Family::Log, from.to_be_bytes(), to.to_be_bytes());
        if let Some(purged) = &purged {
            batch.put(Family::Meta, PURGED, &encode(purged, "purged log id")?);
        }
        self.inner.store.write(operation, batch)
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

pub(crate) fn encode<T: serde::Serialize>(value: &T, what: &'static str) -> Result<Vec<u8>, EngineError> {
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

pub(crate) fn entry_of(key: &[u8], bytes: &[u8]) -> Result<Entry, EngineError> {
    let entry: Entry = decode(bytes, "log entry")?;
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
        self.end_of_one_unless(|member| vote.leader_id.voted_for() == Some(member));
        let saved = async {
            let mut batch = Batch::default();
            batch.put(Family::Meta, VOTE, &encode(vote, "vote")?);
            self.inner.store.write("save the vote", batch)?;
            self.inner.store.synced().await
        };
        saved.await.map_err(|error| StorageIOError::write_vote(any(error)).into())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<u64>>, StorageError> {
        let vote = self.inner.store.get(Family::Meta, VOTE);
        let vote = vote.and_then(|bytes| bytes.map(|bytes| decode(&bytes, "vote")).transpose());
        vote.map_err(|error| StorageIOError::read_vote(any(error)).into())
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<TypeConfig>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let appended = once_there_is_room(|| self.append_all(&entries)).await;
        appended.map_err(|error| StorageIOError::write_logs(any(error)))?;
        self.inner.store.sync_then(Box::new(move |synced| {
            callback.log_io_completed(synced.map_err(std::io::Error::other));
        }));
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId) -> Result<(), StorageError> {
        let truncated = once_there_is_room(|| self.truncate_from(log_id.index)).await;
        truncated.map_err(|error| StorageIOError::write_logs(any(error)).into())
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), StorageError> {
        let purged = once_there_is_room(|| self.purge_to(log_id)).await;
        purged.map_err(|error| StorageIOError::write_logs(any(error)).into())
    }
}
