//! Do the revisions explain a history? The keyspace claims an order of all that happened; here it is held to it.
//!
//! Each answer names a revision. Writes are put where their revision is, reads behind it. That order must agree with
//! time, each answer must be what this order gives, and every revision that was committed must be the work of exactly
//! one request. If so the history is linearizable, over all keys together: the order proves it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use keyspace::{EventKind, KeyValue, LeaseId, Revision, WatchEvent};

use crate::history::{Operation, Outcome, Request, Response, Time, Truth};

/// How the history and the revisions disagree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disagreement {
    /// A revision between the first and the last is not there.
    MissingRevision(Revision),
    /// A write was acknowledged, and its revision holds something else, or is not there.
    Lost(Box<Operation>),
    /// Two requests claim one revision.
    Shared(Revision, Box<Operation>),
    /// A revision that no request made.
    Unexplained(Revision, Vec<WatchEvent>),
    /// An answer is not what was there at its revision.
    Wrong(Box<Operation>, Vec<KeyValue>),
    /// An answer is of before something that was already over when it was asked.
    Stale(Box<Operation>, Revision),
}

impl std::fmt::Display for Disagreement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Disagreement::MissingRevision(revision) => write!(f, "there is no revision {revision}"),
            Disagreement::Lost(operation) => write!(f, "an acknowledged write is lost: {operation:?}"),
            Disagreement::Shared(revision, operation) => {
                write!(f, "revision {revision} is claimed by another request and by {operation:?}")
            }
            Disagreement::Unexplained(revision, events) => {
                write!(f, "nobody asked for what was done at revision {revision}: {events:?}")
            }
            Disagreement::Wrong(operation, there) => write!(f, "there was {there:?}, and the answer is {operation:?}"),
            Disagreement::Stale(operation, revision) => {
                write!(f, "revision {revision} was over before this was asked: {operation:?}")
            }
        }
    }
}

/// Holds the keyspace to its order. `truth` must begin with the first revision there was.
pub fn check(history: &[Operation], truth: &Truth) -> Result<(), Disagreement> {
    without_gaps(truth)?;
    let states = States::new(truth);
    let mut claimed: HashMap<Revision, &Operation> = HashMap::new();
    for operation in history {
        let Some((_, response)) = operation.done() else { continue };
        if response.wrote() {
            let revision = response.revision();
            if !truth.get(&revision).is_some_and(|events| made(&operation.request, events)) {
                return Err(Disagreement::Lost(Box::new(operation.clone())));
            }
            if claimed.insert(revision, operation).is_some() {
                return Err(Disagreement::Shared(revision, Box::new(operation.clone())));
            }
        }
        answered_right(operation, response, &states)?;
    }
    explained(history, truth, &claimed)?;
    in_time(history, &claimed)
}

fn without_gaps(truth: &Truth) -> Result<(), Disagreement> {
    let first = truth.keys().next().copied().unwrap_or(0);
    let missing = truth.keys().zip(first..).find(|(found, wanted)| **found != *wanted);
    missing.map_or(Ok(()), |(_, wanted)| Err(Disagreement::MissingRevision(wanted)))
}

/// Whether a request has these events.
fn made(request: &Request, events: &[WatchEvent]) -> bool {
    let put = |event: &WatchEvent, key: &Bytes, value: &Bytes| {
        event.kind == EventKind::Put && event.kv.key == key && event.kv.value == value
    };
    match (request, events) {
        (Request::Put { writes, lease }, events) => {
            let same = |(key, value)| events.iter().any(|event| put(event, key, value) && event.kv.lease == *lease);
            writes.len() == events.len() && writes.iter().map(|(key, value)| (key, value)).all(same)
        }
        (Request::Swap { key, value, .. }, [event]) => put(event, key, value),
        (Request::Delete { key }, [event]) => event.kind == EventKind::Delete && event.kv.key == key,
        _ => false,
    }
}

/// All versions of all keys.
struct States(BTreeMap<Bytes, Vec<(Revision, Option<KeyValue>)>>);

impl States {
    fn new(truth: &Truth) -> Self {
        let mut keys: BTreeMap<Bytes, Vec<(Revision, Option<KeyValue>)>> = BTreeMap::new();
        for (revision, events) in truth {
            for event in events.iter() {
                let kv = (event.kind == EventKind::Put).then(|| event.kv.clone());
                keys.entry(event.kv.key.clone()).or_default().push((*revision, kv));
            }
        }
        States(keys)
    }

    fn at(versions: &[(Revision, Option<KeyValue>)], revision: Revision) -> Option<&KeyValue> {
        let after = versions.partition_point(|(made, _)| *made <= revision);
        versions[..after].last().and_then(|(_, kv)| kv.as_ref())
    }

    fn get(&self, key: &Bytes, revision: Revision) -> Option<&KeyValue> {
        self.0.get(key).and_then(|versions| Self::at(versions, revision))
    }

    fn prefix<'s>(&'s self, prefix: &'s Bytes, revision: Revision) -> impl Iterator<Item = &'s KeyValue> {
        let keys = self.0.range(prefix.clone()..).take_while(move |(key, _)| key.starts_with(prefix));
        keys.filter_map(move |(_, versions)| Self::at(versions, revision))
    }
}

fn answered_right(operation: &Operation, response: &Response, states: &States) -> Result<(), Disagreement> {
    let wrong = |there: Vec<KeyValue>| Err(Disagreement::Wrong(Box::new(operation.clone()), there));
    match (&operation.request, response) {
        (Request::Read { key, prefix, .. }, Response::Read { revision, kvs }) => {
            let there: Vec<KeyValue> = if *prefix {
                states.prefix(key, *revision).cloned().collect()
            } else {
                states.get(key, *revision).cloned().into_iter().collect()
            };
            if there == *kvs { Ok(()) } else { wrong(there) }
        }
        (Request::Swap { key, expected, .. }, Response::Swapped { revision }) => {
            let before = states.get(key, revision - 1);
            if before.map(|kv| &kv.value) == expected.as_ref() {
                Ok(())
            } else {
                wrong(before.cloned().into_iter().collect())
            }
        }
        (Request::Swap { key, expected, .. }, Response::NotSwapped { revision, found }) => {
            let there = states.get(key, *revision);
            let right = there == found.as_ref() && there.map(|kv| &kv.value) != expected.as_ref();
            if right { Ok(()) } else { wrong(there.cloned().into_iter().collect()) }
        }
        (Request::Delete { key }, Response::Deleted { revision, prev }) => {
            let before = states.get(key, if prev.is_some() { revision - 1 } else { *revision });
            if before == prev.as_ref() { Ok(()) } else { wrong(before.cloned().into_iter().collect()) }
        }
        (Request::Put { .. }, Response::Put { .. }) => Ok(()),
        _ => wrong(Vec::new()),
    }
}

/// Every revision is claimed, or made by a request of unknown outcome (each at most once), or the end of a lease.
fn explained(
    history: &[Operation],
    truth: &Truth,
    claimed: &HashMap<Revision, &Operation>,
) -> Result<(), Disagreement> {
    let mut unknown: Vec<&Operation> =
        history.iter().filter(|operation| operation.outcome == Outcome::Unknown).collect();
    for (revision, events) in truth {
        if claimed.contains_key(revision) {
            continue;
        }
        if let Some(position) = unknown.iter().position(|operation| made(&operation.request, events)) {
            unknown.remove(position);
        } else if !ended_lease(events) {
            return Err(Disagreement::Unexplained(*revision, events.to_vec()));
        }
    }
    Ok(())
}

fn ended_lease(events: &Arc<[WatchEvent]>) -> bool {
    let lease_of = |event: &WatchEvent| -> Option<LeaseId> {
        let lease = event.prev.as_ref().map_or(0, |prev| prev.lease);
        (event.kind == EventKind::Delete && lease != 0).then_some(lease)
    };
    let first = events.first().and_then(lease_of);
    first.is_some() && events.iter().all(|event| lease_of(event) == first)
}

/// What was over when something was asked comes before it.
fn in_time(history: &[Operation], claimed: &HashMap<Revision, &Operation>) -> Result<(), Disagreement> {
    let mut returns: Vec<(Time, Revision)> = history
        .iter()
        .filter_map(|operation| operation.done())
        .map(|(at, response)| (at, response.revision()))
        .collect();
    returns.sort_unstable();
    // Newest revision that was over at each return.
    let mut newest = 0;
    for (_, revision) in &mut returns {
        newest = newest.max(*revision);
        *revision = newest;
    }
    for operation in history {
        let Some((_, response)) = operation.done() else { continue };
        if matches!(operation.request, Request::Read { serializable: true, .. }) {
            continue;
        }
        let before = returns.partition_point(|(at, _)| *at < operation.invoked);
        let over = before.checked_sub(1).map_or(0, |last| returns[last].1);
        // A write makes a revision of its own; a read may see one that is over already.
        let behind = if claimed.get(&response.revision()).is_some_and(|by| std::ptr::eq(*by, operation)) {
            response.revision() <= over
        } else {
            response.revision() < over
        };
        if behind {
            return Err(Disagreement::Stale(Box::new(operation.clone()), over));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kv(key: &'static str, value: &'static str, revision: Revision) -> KeyValue {
        KeyValue {
            key: key.into(),
            value: value.into(),
            create_revision: revision,
            mod_revision: revision,
            version: 1,
            lease: 0,
        }
    }

    fn truth(events: &[(EventKind, &'static str, &'static str)]) -> Truth {
        let event = |(revision, (kind, key, value)): (u64, &(EventKind, &'static str, &'static str))| {
            let event = WatchEvent { kind: *kind, kv: kv(key, value, revision), prev: None };
            (revision, Arc::from([event]))
        };
        (2..).zip(events).map(event).collect()
    }

    fn done(invoked: Time, at: Time, request: Request, response: Response) -> Operation {
        Operation { invoked, request, outcome: Outcome::Done { at, response } }
    }

    fn put(invoked: Time, at: Time, value: &'static str, revision: Revision) -> Operation {
        let request = Request::Put { writes: vec![("k".into(), value.into())], lease: 0 };
        done(invoked, at, request, Response::Put { revision })
    }

    fn read(invoked: Time, at: Time, revision: Revision, kvs: Vec<KeyValue>) -> Operation {
        let request = Request::Read { key: "k".into(), prefix: false, serializable: false };
        done(invoked, at, request, Response::Read { revision, kvs })
    }

    fn two_puts() -> Truth {
        truth(&[(EventKind::Put, "k", "a"), (EventKind::Put, "k", "b")])
    }

    #[test]
    fn what_is_right_is_accepted() {
        let history = [put(0, 1, "a", 2), read(2, 3, 2, vec![kv("k", "a", 2)]), put(2, 5, "b", 3)];
        assert_eq!(check(&history, &two_puts()), Ok(()));
    }

    #[test]
    fn a_stale_read_is_found() {
        let history = [put(0, 1, "a", 2), put(2, 3, "b", 3), read(4, 5, 2, vec![kv("k", "a", 2)])];
        assert!(matches!(check(&history, &two_puts()), Err(Disagreement::Stale(_, 3))));
    }

    #[test]
    fn a_wrong_answer_is_found() {
        let history = [put(0, 1, "a", 2), put(2, 3, "b", 3), read(4, 5, 3, vec![kv("k", "a", 2)])];
        assert!(matches!(check(&history, &two_puts()), Err(Disagreement::Wrong(..))));
    }

    #[test]
    fn a_lost_write_is_found() {
        let history = [put(0, 1, "a", 2), put(2, 3, "b", 3), put(4, 5, "c", 4)];
        assert!(matches!(check(&history, &two_puts()), Err(Disagreement::Lost(_))));
        let history = [put(0, 1, "a", 2), put(2, 3, "c", 3)];
        assert!(matches!(check(&history, &two_puts()), Err(Disagreement::Lost(_))));
    }

    #[test]
    fn a_write_done_twice_or_by_nobody_is_found() {
        let twice = truth(&[(EventKind::Put, "k", "a"), (EventKind::Put, "k", "a")]);
        assert!(matches!(check(&[put(0, 1, "a", 2)], &twice), Err(Disagreement::Unexplained(3, _))));
        let unknown = Operation { outcome: Outcome::Unknown, ..put(0, 1, "a", 2) };
        assert!(matches!(check(std::slice::from_ref(&unknown), &twice), Err(Disagreement::Unexplained(3, _))));
        assert_eq!(check(&[unknown], &truth(&[(EventKind::Put, "k", "a")])), Ok(()));
        let refused = Operation { outcome: Outcome::Refused, ..put(0, 1, "a", 2) };
        assert!(check(&[refused], &truth(&[(EventKind::Put, "k", "a")])).is_err());
    }

    #[test]
    fn a_gap_is_found() {
        let mut gap = two_puts();
        let last = gap.remove(&3).expect("there");
        gap.insert(4, last);
        assert_eq!(check(&[], &gap), Err(Disagreement::MissingRevision(3)));
    }
}
