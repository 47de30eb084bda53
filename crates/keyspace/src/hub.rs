//! Watchers: who follows which keys, and how each of them gets every revision once, in order, without gaps.
//!
//! ```text
//!  publish(changes) ──► index by key, prefix, range ──► queue of each matching live watcher (bounded)
//!                                                          │ full: cut off, "behind from revision r"
//!  WatchStream ◄── queue, then history from r (in bounded steps) until it meets the head: live again
//! ```
//!
//! A write never waits for a watcher: publishing only appends to bounded queues of shared changes.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use crate::limits::{MAX_WATCHERS, WATCH_QUEUE_BYTES, WATCH_QUEUE_REVISIONS};
use crate::read::{Change, Changes};
use crate::{
    Error, EventKind, KeyRange, Marker, Refusal, Revision, WatchBatch, WatchEvent, WatchKinds, WatchRequest,
    WatchStream, prefix_end,
};

/// Where watchers that are behind read what they missed: [`read::changes`](crate::read::changes) on the engine.
pub trait History: Send + Sync + 'static {
    /// Changes of `range` from revision `from` on.
    fn changes(&self, from: Revision, range: KeyRange, prev: bool) -> BoxFuture<'_, Result<Changes, Error>>;
}

/// The watchers of one keyspace.
#[derive(Debug)]
pub struct Hub {
    index: RwLock<Index>,
    /// Newest revision whose publishing has begun.
    head: AtomicU64,
    /// Newest revision whose publishing has ended.
    settled: AtomicU64,
    publishing: Mutex<()>,
    closed: AtomicBool,
}

/// Counts for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HubStats {
    /// Watchers there are.
    pub watchers: u64,
    /// Of them, those reading history because they were cut off or began in the past.
    pub behind: u64,
    /// Revisions waiting in queues.
    pub waiting: u64,
    /// Revisions that the watcher furthest back has yet to be told of.
    pub lag: u64,
}

#[derive(Debug, Default)]
struct Index {
    next_id: u64,
    count: usize,
    keys: HashMap<Bytes, Group>,
    prefixes: HashMap<Bytes, Group>,
    /// Lengths of the prefixes, with the number of prefixes of each.
    lengths: BTreeMap<usize, usize>,
    ranges: HashMap<KeyRange, Group>,
}

type Group = HashMap<u64, Arc<Watcher>>;

#[derive(Debug)]
struct Watcher {
    request: WatchRequest,
    queue: Mutex<Queue>,
    ready: Notify,
    /// Whether somebody asked for a progress mark.
    mark_wanted: AtomicBool,
}

#[derive(Debug)]
struct Queue {
    mode: Mode,
    /// First revision not yet put into the queue or read from history.
    next: Revision,
    waiting: VecDeque<Arc<Change>>,
    bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// New revisions go to the queue.
    Live,
    /// The queue ended before `next`; what follows is in history.
    Behind,
    /// What the watcher was told of is no history of this keyspace any more.
    Lost,
}

impl Hub {
    /// A hub of a keyspace whose newest revision is `head`.
    pub fn new(head: Revision) -> Self {
        Hub {
            index: RwLock::default(),
            head: AtomicU64::new(head),
            settled: AtomicU64::new(head),
            publishing: Mutex::new(()),
            closed: AtomicBool::new(false),
        }
    }

    /// Tells watchers of new revisions, which must be in order and readable from history already.
    pub fn publish(&self, changes: &[Arc<Change>]) {
        let Some(last) = changes.last() else { return };
        let _one_at_a_time = self.publishing.lock();
        // Before any queue is touched: a watcher that meets the head from behind must not pass by these.
        self.head.store(last.revision, Ordering::SeqCst);
        {
            let index = self.index.read();
            for change in changes {
                for event in &change.events {
                    index.matching(&event.kv.key, |watcher| watcher.push(change));
                }
            }
        }
        self.settled.store(last.revision, Ordering::SeqCst);
    }

    /// The state was replaced as a whole, by one at revision `head`: every watcher goes on from history.
    pub fn reset(&self, head: Revision) {
        let _one_at_a_time = self.publishing.lock();
        self.head.store(head, Ordering::SeqCst);
        self.index.read().each(|watcher| {
            let mut queue = watcher.queue.lock();
            if queue.mode == Mode::Live {
                queue.mode = Mode::Behind;
            }
            watcher.ready.notify_one();
        });
        self.settled.store(head, Ordering::SeqCst);
    }

    /// The keyspace has another history now, whose newest revision is `head`: revisions that watchers know, or wait for, mean
    /// something else in it. All watches end as if what they follow had been compacted, so that whoever follows reads anew.
    pub fn forget(&self, head: Revision) {
        let _one_at_a_time = self.publishing.lock();
        self.head.store(head, Ordering::SeqCst);
        self.index.read().each(|watcher| {
            let mut queue = watcher.queue.lock();
            queue.mode = Mode::Lost;
            queue.waiting.clear();
            watcher.ready.notify_one();
        });
        self.settled.store(head, Ordering::SeqCst);
    }

    /// Ends all watches, after what is waiting for them, with [`Error::Closed`].
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.index.read().each(|watcher| watcher.ready.notify_one());
    }

    /// Counts for metrics.
    pub fn stats(&self) -> HubStats {
        let mut stats = HubStats::default();
        let head = self.head.load(Ordering::SeqCst);
        self.index.read().each(|watcher| {
            let queue = watcher.queue.lock();
            stats.watchers += 1;
            stats.behind += u64::from(queue.mode == Mode::Behind);
            stats.waiting += queue.waiting.len() as u64;
            // What is behind the queue, or in it. A live watch of other keys lags by nothing.
            let unread = if queue.mode == Mode::Behind { (head + 1).saturating_sub(queue.next) } else { 0 };
            stats.lag = stats.lag.max(unread + queue.waiting.len() as u64);
        });
        stats
    }

    /// Begins a watch. `newest` and `compacted` are the revisions of the keyspace as just read, after every write that
    /// was acknowledged before the call.
    pub fn watch(
        self: &Arc<Self>,
        history: Arc<dyn History>,
        request: WatchRequest,
        newest: Revision,
        compacted: Revision,
    ) -> Result<WatchStream, Error> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(Error::Closed);
        }
        if request.from_revision != 0 && request.from_revision < compacted {
            return Err(Refusal::Compacted { requested: request.from_revision, compacted }.into());
        }
        let next = if request.from_revision == 0 { newest + 1 } else { request.from_revision };
        let mut index = self.index.write();
        if index.count >= MAX_WATCHERS {
            return Err(Refusal::TooManyWatchers { limit: MAX_WATCHERS }.into());
        }
        // Nothing is being published while the index is locked for writing.
        let live = next > self.head.load(Ordering::SeqCst);
        let mode = if live { Mode::Live } else { Mode::Behind };
        let marks = request.progress;
        let queue = Mutex::new(Queue { mode, next, waiting: VecDeque::new(), bytes: 0 });
        let watcher = Arc::new(Watcher { request, queue, ready: Notify::new(), mark_wanted: AtomicBool::new(false) });
        let id = index.insert(watcher.clone());
        drop(index);
        let asked = watcher.clone();
        let marker = Marker::new(move || {
            asked.mark_wanted.store(true, Ordering::SeqCst);
            asked.ready.notify_one();
        });
        let follower = Follower {
            hub: self.clone(),
            history,
            watcher,
            id,
            delivered: newest.min(next - 1),
            mark_due: marks.is_some(),
            ended: false,
        };
        let stream = futures::stream::unfold(follower, |mut follower| async move {
            let item = follower.next().await?;
            Some((item, follower))
        });
        Ok(WatchStream::new(newest, marker, stream))
    }
}

impl Watcher {
    fn push(&self, change: &Arc<Change>) {
        let mut queue = self.queue.lock();
        if queue.mode != Mode::Live || change.revision < queue.next {
            // Behind or lost, or this revision is in the queue already, or is before the watch began.
            return;
        }
        let size = change.size();
        if queue.waiting.len() >= WATCH_QUEUE_REVISIONS || queue.bytes + size > WATCH_QUEUE_BYTES {
            queue.mode = Mode::Behind;
            queue.next = change.revision;
        } else {
            queue.waiting.push_back(change.clone());
            queue.bytes += size;
            queue.next = change.revision + 1;
        }
        self.ready.notify_one();
    }
}

impl Index {
    fn insert(&mut self, watcher: Arc<Watcher>) -> u64 {
        self.next_id += 1;
        self.count += 1;
        let id = self.next_id;
        let range = &watcher.request.range;
        let group = match (range, prefix_of(range)) {
            (KeyRange::Key(key), _) => self.keys.entry(key.clone()).or_default(),
            (_, Some(prefix)) => {
                if !self.prefixes.contains_key(&prefix) {
                    *self.lengths.entry(prefix.len()).or_default() += 1;
                }
                self.prefixes.entry(prefix).or_default()
            }
            (range, None) => self.ranges.entry(range.clone()).or_default(),
        };
        group.insert(id, watcher);
        id
    }

    fn remove(&mut self, id: u64, range: &KeyRange) {
        self.count -= 1;
        match (range, prefix_of(range)) {
            (KeyRange::Key(key), _) => {
                remove_from(&mut self.keys, key, id);
            }
            (_, Some(prefix)) => {
                if remove_from(&mut self.prefixes, &prefix, id)
                    && let Some(count) = self.lengths.get_mut(&prefix.len())
                {
                    *count -= 1;
                    if *count == 0 {
                        self.lengths.remove(&prefix.len());
                    }
                }
            }
            (range, None) => {
                remove_from(&mut self.ranges, range, id);
            }
        }
    }

    /// Visits the watchers that follow `key`: by one look-up for the key and one for each length of prefix, plus the
    /// ranges that are neither.
    fn matching(&self, key: &[u8], mut visit: impl FnMut(&Watcher)) {
        let exact = self.keys.get(key);
        let lengths = self.lengths.keys().take_while(|length| **length <= key.len());
        let prefixes = lengths.filter_map(|length| self.prefixes.get(&key[..*length]));
        let ranges = self.ranges.iter().filter(|(range, _)| range.contains(key)).map(|(_, group)| group);
        for group in exact.into_iter().chain(prefixes).chain(ranges) {
            group.values().for_each(|watcher| visit(watcher));
        }
    }

    fn each(&self, mut visit: impl FnMut(&Watcher)) {
        let groups = self.keys.values().chain(self.prefixes.values()).chain(self.ranges.values());
        groups.flat_map(HashMap::values).for_each(|watcher| visit(watcher));
    }
}

/// Removes a watcher; answers whether its group is gone with it.
fn remove_from<K: std::hash::Hash + Eq>(groups: &mut HashMap<K, Group>, key: &K, id: u64) -> bool {
    let Some(group) = groups.get_mut(key) else { return false };
    group.remove(&id);
    group.is_empty() && groups.remove(key).is_some()
}

/// The prefix a range stands for, if it stands for one.
fn prefix_of(range: &KeyRange) -> Option<Bytes> {
    match range {
        KeyRange::Key(_) => None,
        KeyRange::Span { start, end } => prefix_end(start).filter(|after| after == end).map(|_| start.clone()),
        KeyRange::From(start) => start.is_empty().then(|| start.clone()),
    }
}

/// The reading end of a watch. Dropping it removes the watcher.
struct Follower {
    hub: Arc<Hub>,
    history: Arc<dyn History>,
    watcher: Arc<Watcher>,
    id: u64,
    /// Newest revision said to be delivered.
    delivered: Revision,
    /// Whether a progress mark is due as soon as the watch is live.
    mark_due: bool,
    ended: bool,
}

/// What a follower finds when it looks at its queue.
enum Look {
    Taken(Vec<Arc<Change>>),
    CatchUp(Revision),
    Lost(Revision),
    Idle,
}

impl Follower {
    async fn next(&mut self) -> Option<Result<WatchBatch, Error>> {
        if self.ended {
            return None;
        }
        loop {
            match self.look() {
                Look::Taken(changes) => {
                    if let Some(batch) = self.batch(&changes, None) {
                        return Some(Ok(batch));
                    }
                }
                Look::CatchUp(from) => match self.catch_up(from).await {
                    Ok(None) => {}
                    Ok(Some(batch)) => return Some(Ok(batch)),
                    Err(error) => {
                        self.ended = true;
                        return Some(Err(error));
                    }
                },
                Look::Lost(requested) => {
                    self.ended = true;
                    let compacted = self.hub.head.load(Ordering::SeqCst);
                    return Some(Err(Refusal::Compacted { requested, compacted }.into()));
                }
                Look::Idle if self.hub.closed.load(Ordering::SeqCst) => {
                    self.ended = true;
                    return Some(Err(Error::Closed));
                }
                Look::Idle if self.mark_due && self.has_begun() => return Some(Ok(self.mark())),
                Look::Idle if self.watcher.mark_wanted.swap(false, Ordering::SeqCst) => {
                    if self.settle() {
                        return Some(Ok(self.mark()));
                    }
                    // Something came meanwhile; it goes first.
                    self.watcher.mark_wanted.store(true, Ordering::SeqCst);
                }
                Look::Idle => self.wait().await,
            }
        }
    }

    fn look(&self) -> Look {
        let mut queue = self.watcher.queue.lock();
        if !queue.waiting.is_empty() {
            queue.bytes = 0;
            return Look::Taken(queue.waiting.drain(..).collect());
        }
        if queue.mode == Mode::Lost {
            return Look::Lost(queue.next);
        }
        if queue.mode == Mode::Behind {
            if queue.next <= self.hub.head.load(Ordering::SeqCst) {
                return Look::CatchUp(queue.next);
            }
            queue.mode = Mode::Live;
        }
        Look::Idle
    }

    async fn catch_up(&mut self, from: Revision) -> Result<Option<WatchBatch>, Error> {
        let request = &self.watcher.request;
        let found = self.history.changes(from, request.range.clone(), request.prev).await?;
        {
            let mut queue = self.watcher.queue.lock();
            queue.next = queue.next.max(found.through + 1);
        }
        Ok(self.batch(&found.changes, Some(found.through)))
    }

    /// The watch's own events of `changes`; nothing if there are none.
    fn batch(&mut self, changes: &[Arc<Change>], through: Option<Revision>) -> Option<WatchBatch> {
        let request = &self.watcher.request;
        let wanted = |event: &&WatchEvent| {
            let kind = match request.kinds {
                WatchKinds::All => true,
                WatchKinds::Puts => event.kind == EventKind::Put,
                WatchKinds::Deletes => event.kind == EventKind::Delete,
            };
            kind && request.range.contains(&event.kv.key)
        };
        let events: Vec<WatchEvent> = changes
            .iter()
            .flat_map(|change| change.events.iter().filter(wanted))
            .map(|event| WatchEvent {
                kind: event.kind,
                kv: event.kv.clone(),
                prev: if request.prev { event.prev.clone() } else { None },
            })
            .collect();
        let last = through.or(changes.last().map(|change| change.revision))?;
        self.delivered = self.delivered.max(last);
        (!events.is_empty()).then_some(WatchBatch { revision: self.delivered, events })
    }

    /// Whether the keyspace has come to where the watch begins. Before that a mark would be of a revision that the client
    /// did not ask for, and would have it resume too early.
    fn has_begun(&self) -> bool {
        self.delivered + 1 >= self.watcher.request.from_revision
    }

    /// How far the watch has come. Called when nothing waits.
    fn mark(&mut self) -> WatchBatch {
        self.mark_due = false;
        WatchBatch { revision: self.delivered, events: Vec::new() }
    }

    /// Waits for something to happen, or for the next progress mark.
    async fn wait(&mut self) {
        let ready = self.watcher.ready.notified();
        match self.watcher.request.progress {
            None => ready.await,
            Some(every) => {
                let every = every.max(MIN_PROGRESS);
                if tokio::time::timeout(every, ready).await.is_err() {
                    self.settle();
                    self.mark_due = true;
                }
            }
        }
    }

    /// Takes note that a live watch with nothing waiting has seen all that was published; whether it is one.
    fn settle(&mut self) -> bool {
        // Read before looking at the queue: what was published up to here has been put into it.
        let settled = self.hub.settled.load(Ordering::SeqCst);
        let queue = self.watcher.queue.lock();
        let idle = queue.mode == Mode::Live && queue.waiting.is_empty();
        if idle {
            self.delivered = self.delivered.max(settled);
        }
        idle
    }
}

/// Shortest time between progress marks.
const MIN_PROGRESS: Duration = Duration::from_millis(10);

impl Drop for Follower {
    fn drop(&mut self) {
        self.hub.index.write().remove(self.id, &self.watcher.request.range);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use futures::future::ready;

    use super::*;
    use crate::testing::next;

    /// A keyspace without history.
    struct Nothing;

    impl History for Nothing {
        fn changes(&self, _: Revision, _: KeyRange, _: bool) -> BoxFuture<'_, Result<Changes, Error>> {
            ready(Err(Error::Closed)).boxed()
        }
    }

    /// Where revisions went back nobody waits for those that were: each watch ends, and says that there is more to read.
    #[tokio::test]
    async fn another_history_ends_every_watch() {
        let hub = Arc::new(Hub::new(100));
        let watch = |from, newest| {
            let request = WatchRequest::new(KeyRange::all(), from);
            hub.watch(Arc::new(Nothing), request, newest, 0).expect("watch")
        };
        let (mut live, mut future) = (watch(0, 100), watch(200, 100));
        hub.forget(40);
        for watch in [&mut live, &mut future] {
            assert_eq!(next(watch).await.expect_err("ended").compacted(), Some(40));
        }
        let mut later = watch(0, 40);
        let kv = crate::KeyValue { key: "k".into(), mod_revision: 41, ..Default::default() };
        let event = WatchEvent { kind: EventKind::Put, kv, prev: None };
        hub.publish(&[Arc::new(Change { revision: 41, events: vec![event] })]);
        assert_eq!(next(&mut later).await.expect("goes on").revision, 41);
    }
}
