//! What clients note down, for the judges. It outlives the members they talk to.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use keyspace::{Error, KeyRange, LeaseId, Revision, WatchBatch};
use keyspace_sim::checker::watch::Followed;
use keyspace_sim::history::{Operation, Outcome, Request, Response, Time};
use parking_lot::Mutex;

use crate::trace::Trace;

/// The notes of all clients. Clones are the same ones.
#[derive(Clone)]
pub struct Notes {
    inner: Arc<Mutex<Inner>>,
    trace: Trace,
}

#[derive(Default)]
struct Inner {
    time: Time,
    values: u64,
    operations: Vec<Operation>,
    /// For each key a value somebody saw.
    last: HashMap<Bytes, Bytes>,
    leases: BTreeMap<LeaseId, Lease>,
    watchers: BTreeMap<usize, Vec<Followed>>,
    stopped: bool,
}

/// What is known of a lease.
#[derive(Clone, Copy, Debug)]
pub struct Lease {
    /// Time to live, milliseconds.
    pub ttl_ms: u64,
    /// When its last renewal was asked for, milliseconds: it cannot end before its time to live after that.
    pub alive_ms: u64,
}

impl Notes {
    /// Empty notes.
    pub fn new(trace: Trace) -> Self {
        Notes { inner: Arc::default(), trace }
    }

    /// Has clients end.
    pub fn stop(&self) {
        self.inner.lock().stopped = true;
    }

    /// Whether clients should end.
    pub fn stopped(&self) -> bool {
        self.inner.lock().stopped
    }

    /// A value nobody else writes.
    pub fn value(&self) -> Bytes {
        let mut inner = self.inner.lock();
        inner.values += 1;
        format!("v{}", inner.values).into()
    }

    /// A value the key had, so that swaps succeed now and then.
    pub fn last_value(&self, key: &Bytes) -> Option<Bytes> {
        self.inner.lock().last.get(key).cloned()
    }

    /// Something is asked; until it is answered, its outcome is unknown.
    pub fn invoke(&self, member: u64, request: &Request) -> usize {
        let mut inner = self.inner.lock();
        inner.time += 1;
        let invoked = inner.time;
        inner.operations.push(Operation { invoked, request: request.clone(), outcome: Outcome::Unknown });
        let number = inner.operations.len() - 1;
        drop(inner);
        self.trace.say(format_args!("client of {member}: #{number} {request:?}"));
        number
    }

    /// It is answered.
    pub fn done(&self, number: usize, response: &Response) {
        let mut inner = self.inner.lock();
        inner.time += 1;
        let at = inner.time;
        inner.note_values(number, response);
        inner.operations[number].outcome = Outcome::Done { at, response: response.clone() };
        drop(inner);
        self.trace.say(format_args!("client: #{number} answered {response:?}"));
    }

    /// It failed.
    pub fn failed(&self, number: usize, refused: bool, error: &Error) {
        if refused {
            self.inner.lock().operations[number].outcome = Outcome::Refused;
        }
        let fate = if refused { "refused" } else { "unknown" };
        self.trace.say(format_args!("client: #{number} {fate}: {error}"));
    }

    /// All requests.
    pub fn operations(&self) -> Vec<Operation> {
        self.inner.lock().operations.clone()
    }

    /// How many requests were answered.
    pub fn answered(&self) -> usize {
        self.inner.lock().operations.iter().filter(|operation| operation.done().is_some()).count()
    }

    /// The time at which a lease is asked for, milliseconds.
    pub fn begin_lease(&self) -> u64 {
        self.trace.now_ms()
    }

    /// A lease was granted or renewed on a request made at `asked_ms`.
    pub fn lease_alive(&self, id: LeaseId, seconds: i64, asked_ms: u64) {
        let lease = Lease { ttl_ms: seconds.unsigned_abs() * 1_000, alive_ms: asked_ms };
        self.inner.lock().leases.insert(id, lease);
        self.trace.say(format_args!("client: lease {id} lives for {seconds} s"));
    }

    /// All leases.
    pub fn leases(&self) -> BTreeMap<LeaseId, Lease> {
        self.inner.lock().leases.clone()
    }

    /// Where a watcher goes on.
    pub fn follow_from(&self, watcher: usize, range: &KeyRange) -> Revision {
        let mut inner = self.inner.lock();
        let begun = || vec![Followed { range: range.clone(), from: 1, through: 0, events: Vec::new() }];
        let streams = inner.watchers.entry(watcher).or_insert_with(begun);
        streams.last().map_or(1, |followed| followed.from.max(followed.through + 1))
    }

    /// A watcher was given something.
    pub fn followed(&self, watcher: usize, batch: WatchBatch) {
        let mut inner = self.inner.lock();
        if let Some(followed) = inner.watchers.get_mut(&watcher).and_then(|streams| streams.last_mut()) {
            followed.through = followed.through.max(batch.revision);
            followed.events.extend(batch.events);
        }
    }

    /// A watcher came too late, and begins anew at the oldest revision there is.
    pub fn follow_anew(&self, watcher: usize, compacted: Revision) {
        let mut inner = self.inner.lock();
        if let Some(streams) = inner.watchers.get_mut(&watcher)
            && let Some(Followed { range, .. }) = streams.last().cloned()
        {
            streams.push(Followed { range, from: compacted, through: 0, events: Vec::new() });
        }
    }

    /// What all watchers were given.
    pub fn watchers(&self) -> Vec<Followed> {
        self.inner.lock().watchers.values().flatten().cloned().collect()
    }

    /// How far the slowest watcher is.
    pub fn slowest(&self) -> Revision {
        let inner = self.inner.lock();
        let newest = inner.watchers.values().filter_map(|streams| streams.last());
        newest.map(|followed| followed.through).min().unwrap_or(0)
    }
}

impl Inner {
    fn note_values(&mut self, number: usize, response: &Response) {
        let seen: Vec<(Bytes, Option<Bytes>)> = match (&self.operations[number].request, response) {
            (Request::Put { writes, .. }, _) => {
                writes.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect()
            }
            (Request::Swap { key, value, .. }, Response::Swapped { .. }) => vec![(key.clone(), Some(value.clone()))],
            (Request::Swap { key, .. }, Response::NotSwapped { found, .. }) => {
                vec![(key.clone(), found.as_ref().map(|kv| kv.value.clone()))]
            }
            (Request::Delete { key }, _) => vec![(key.clone(), None)],
            _ => Vec::new(),
        };
        for (key, value) in seen {
            match value {
                Some(value) => self.last.insert(key, value),
                None => self.last.remove(&key),
            };
        }
    }
}
