//! A queue of keys: each at most once waiting, never twice at work, and later again after a failure.
//!
//! After client-go's workqueue: adding a key that is being worked on makes it run once more
//! afterwards; the time a key waits after failures doubles.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use api::ObjectKey;
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

/// Wait after the first failure; it doubles with each one.
pub const BACKOFF: Duration = Duration::from_millis(100);
/// Longest wait after failures.
pub const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// A queue of keys with delays and back-off.
#[derive(Debug, Default)]
pub struct WorkQueue {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<ObjectKey>,
    /// The keys in `ready`, to find one quickly.
    queued: BTreeSet<ObjectKey>,
    waiting: BTreeMap<ObjectKey, Instant>,
    working: BTreeSet<ObjectKey>,
    again: BTreeSet<ObjectKey>,
    failures: BTreeMap<ObjectKey, u32>,
}

impl State {
    fn add(&mut self, key: ObjectKey) {
        self.waiting.remove(&key);
        if self.working.contains(&key) {
            self.again.insert(key);
        } else if self.queued.insert(key.clone()) {
            self.ready.push_back(key);
        }
    }

    /// Moves what is due to the ready ones; returns when the next one is.
    fn promote(&mut self, now: Instant) -> Option<Instant> {
        let due: Vec<_> = self.waiting.iter().filter(|(_, at)| **at <= now).map(|(key, _)| key.clone()).collect();
        due.into_iter().for_each(|key| self.add(key));
        self.waiting.values().min().copied()
    }
}

impl WorkQueue {
    /// Wants a key to be worked on now.
    pub fn add(&self, key: ObjectKey) {
        self.state.lock().add(key);
        self.changed.notify_waiters();
    }

    /// Wants a key to be worked on after a while, or earlier if somebody asks for that.
    pub fn add_after(&self, key: ObjectKey, delay: Duration) {
        let at = Instant::now() + delay;
        let mut state = self.state.lock();
        if !state.queued.contains(&key) && !state.again.contains(&key) {
            let earliest = state.waiting.entry(key).or_insert(at);
            *earliest = at.min(*earliest);
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Wants a key to be worked on again after a failure; returns the wait.
    pub fn add_failed(&self, key: ObjectKey) -> Duration {
        let delay = {
            let mut state = self.state.lock();
            let failures = state.failures.entry(key.clone()).or_default();
            let delay = BACKOFF.saturating_mul(2_u32.saturating_pow(*failures)).min(BACKOFF_MAX);
            *failures = failures.saturating_add(1);
            delay
        };
        self.add_after(key, delay);
        delay
    }

    /// Forgets the failures of a key.
    pub fn forget(&self, key: &ObjectKey) {
        self.state.lock().failures.remove(key);
    }

    /// The next key to work on. The caller must call [`WorkQueue::done`] for it.
    pub async fn next(&self) -> ObjectKey {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let next_due = {
                let mut state = self.state.lock();
                let next_due = state.promote(Instant::now());
                if let Some(key) = state.ready.pop_front() {
                    state.queued.remove(&key);
                    state.working.insert(key.clone());
                    return key;
                }
                next_due
            };
            match next_due {
                None => changed.await,
                Some(at) => tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep_until(at) => {}
                },
            }
        }
    }

    /// Says that work on a key ended.
    pub fn done(&self, key: &ObjectKey) {
        let mut state = self.state.lock();
        state.working.remove(key);
        if state.again.remove(key) {
            state.add(key.clone());
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Keys that are ready, and not yet at work.
    pub fn depth(&self) -> usize {
        self.state.lock().ready.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ObjectKey {
        ObjectKey::cluster(name)
    }

    async fn idle(queue: &WorkQueue) -> bool {
        tokio::time::timeout(Duration::from_millis(1), queue.next()).await.is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_waits_once_and_works_once_at_a_time() {
        let queue = WorkQueue::default();
        queue.add(key("a"));
        queue.add(key("a"));
        assert_eq!(queue.next().await, key("a"));
        queue.add(key("a"));
        assert!(idle(&queue).await, "a key at work is not handed out again");
        queue.done(&key("a"));
        assert_eq!(queue.next().await, key("a"), "it runs once more for the change that came in between");
        queue.done(&key("a"));
        assert!(idle(&queue).await);
    }

    #[tokio::test(start_paused = true)]
    async fn delays_are_kept_and_the_earliest_counts() {
        let queue = WorkQueue::default();
        let start = Instant::now();
        queue.add_after(key("a"), Duration::from_secs(10));
        queue.add_after(key("a"), Duration::from_secs(5));
        queue.add_after(key("a"), Duration::from_secs(20));
        queue.next().await;
        assert_eq!(start.elapsed().as_secs(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_double_the_wait_up_to_the_limit_and_success_forgets_them() {
        let queue = WorkQueue::default();
        let waits: Vec<_> = (0..12).map(|_| queue.add_failed(key("a"))).collect();
        assert_eq!(waits[..3], [BACKOFF, BACKOFF * 2, BACKOFF * 4]);
        assert_eq!(waits[11], BACKOFF_MAX);
        queue.forget(&key("a"));
        assert_eq!(queue.add_failed(key("a")), BACKOFF);
    }
}
