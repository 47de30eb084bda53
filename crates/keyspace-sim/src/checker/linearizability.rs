//! Is a history of one key linearizable? Decided from the outside: only values, not revisions, are looked at.
//!
//! The search is that of Wing and Gong with the memory of Lowe ("Testing for linearizability", 2017): take any request
//! that may be next, remember which sets of requests led to which value, and step back when a request should have been
//! over but cannot be placed. A request with an unknown outcome may be placed anywhere after it was asked, or nowhere.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use bytes::Bytes;

use crate::history::{Operation, Request, Response, Time};

/// A value, as a number; 0 is "not there".
type Value = u32;

/// One request on one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Write(Value),
    Read(Value),
    /// Found `expected` and wrote.
    Swap {
        expected: Value,
        value: Value,
    },
    /// Found something else than `expected`, namely this.
    Miss {
        expected: Value,
        found: Value,
    },
    /// Outcome unknown: wrote if it found `expected`.
    MaybeSwap {
        expected: Value,
        value: Value,
    },
}

impl Step {
    /// The value after, if this step is possible at `now`.
    fn from(self, now: Value) -> Option<Value> {
        match self {
            Step::Write(value) => Some(value),
            Step::Read(found) => (found == now).then_some(now),
            Step::Swap { expected, value } => (expected == now).then_some(value),
            Step::Miss { expected, found } => (found == now && expected != now).then_some(now),
            Step::MaybeSwap { expected, value } => Some(if expected == now { value } else { now }),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Call {
    step: Step,
    invoked: Time,
    returned: Option<Time>,
}

/// A key whose history is not linearizable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotLinearizable {
    /// The key.
    pub key: Bytes,
    /// Most requests on it that could be put in order.
    pub placed: usize,
    /// Requests on it.
    pub requests: usize,
}

impl std::fmt::Display for NotLinearizable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let NotLinearizable { key, placed, requests } = self;
        write!(f, "key {}: no order of its {requests} requests explains the answers; ", key.escape_ascii())?;
        write!(f, "the longest explains {placed}")
    }
}

/// Judges each key on its own; the first one found wrong is told. Requests on several keys count for each of them.
pub fn check(history: &[Operation]) -> Result<(), NotLinearizable> {
    for (key, calls) in calls_by_key(history) {
        let requests = calls.len();
        search(calls).map_err(|placed| NotLinearizable { key, placed, requests })?;
    }
    Ok(())
}

/// Numbers for values.
#[derive(Default)]
struct Values(HashMap<Bytes, Value>);

impl Values {
    fn number(&mut self, value: &Bytes) -> Value {
        let next = self.0.len() as Value + 1;
        *self.0.entry(value.clone()).or_insert(next)
    }

    fn of(&mut self, value: Option<&Bytes>) -> Value {
        value.map_or(0, |value| self.number(value))
    }
}

fn calls_by_key(history: &[Operation]) -> BTreeMap<Bytes, Vec<Call>> {
    let mut values = Values::default();
    let mut calls: BTreeMap<Bytes, Vec<Call>> = BTreeMap::new();
    let keys: BTreeSet<Bytes> = history.iter().flat_map(|operation| written_keys(&operation.request)).collect();
    for operation in history.iter().filter(|operation| operation.may_have_happened()) {
        let (returned, response) = operation.done().unzip();
        for (key, step) in steps(&operation.request, response, &keys, &mut values) {
            calls.entry(key).or_default().push(Call { step, invoked: operation.invoked, returned });
        }
    }
    calls
}

fn written_keys(request: &Request) -> Vec<Bytes> {
    match request {
        Request::Put { writes, .. } => writes.iter().map(|(key, _)| key.clone()).collect(),
        Request::Delete { key } | Request::Swap { key, .. } => vec![key.clone()],
        Request::Read { .. } => Vec::new(),
    }
}

/// What a request did to each of its keys.
fn steps(
    request: &Request,
    response: Option<&Response>,
    keys: &BTreeSet<Bytes>,
    values: &mut Values,
) -> Vec<(Bytes, Step)> {
    match (request, response) {
        (Request::Put { writes, .. }, _) => {
            writes.iter().map(|(key, value)| (key.clone(), Step::Write(values.number(value)))).collect()
        }
        (Request::Delete { key }, Some(Response::Deleted { prev, .. })) => {
            let found = values.of(prev.as_ref().map(|kv| &kv.value));
            vec![(key.clone(), Step::Swap { expected: found, value: 0 })]
        }
        (Request::Delete { key }, _) => vec![(key.clone(), Step::Write(0))],
        (Request::Swap { key, expected, value }, response) => {
            let (expected, value) = (values.of(expected.as_ref()), values.number(value));
            let step = match response {
                Some(Response::NotSwapped { found, .. }) => {
                    Step::Miss { expected, found: values.of(found.as_ref().map(|kv| &kv.value)) }
                }
                Some(_) => Step::Swap { expected, value },
                None => Step::MaybeSwap { expected, value },
            };
            vec![(key.clone(), step)]
        }
        (Request::Read { key, prefix, serializable: false }, Some(Response::Read { kvs, .. })) => {
            let meant = |candidate: &&Bytes| if *prefix { candidate.starts_with(key) } else { *candidate == key };
            let found: HashMap<&Bytes, &Bytes> = kvs.iter().map(|kv| (&kv.key, &kv.value)).collect();
            let read = |key: &Bytes| (key.clone(), Step::Read(values.of(found.get(key).copied())));
            keys.iter().filter(meant).map(read).collect()
        }
        // Nobody was told anything, or only something of the past.
        (Request::Read { .. }, _) => Vec::new(),
    }
}

const NONE: usize = usize::MAX;

/// The calls and returns in order of time, as a list that entries are taken out of and put back into.
struct Timeline {
    /// Which call, and whether this is its return.
    entries: Vec<(usize, bool)>,
    next: Vec<usize>,
    prev: Vec<usize>,
    return_of: Vec<usize>,
    first: usize,
}

impl Timeline {
    fn new(calls: &[Call]) -> Self {
        let invocations = calls.iter().enumerate().map(|(call, at)| (at.invoked, false, call));
        let returns = calls.iter().enumerate().filter_map(|(call, at)| Some((at.returned?, true, call)));
        let mut times: Vec<(Time, bool, usize)> = invocations.chain(returns).collect();
        // At one time, whatever is asked comes before whatever is answered: they overlap.
        times.sort_unstable();
        let count = times.len();
        let mut return_of = vec![NONE; calls.len()];
        for (entry, (_, returns, call)) in times.iter().enumerate() {
            if *returns {
                return_of[*call] = entry;
            }
        }
        Timeline {
            entries: times.into_iter().map(|(_, returns, call)| (call, returns)).collect(),
            next: (1..=count).map(|entry| if entry == count { NONE } else { entry }).collect(),
            prev: (0..count).map(|entry| entry.checked_sub(1).unwrap_or(NONE)).collect(),
            return_of,
            first: if count == 0 { NONE } else { 0 },
        }
    }

    fn unlink(&mut self, entry: usize) {
        let (before, after) = (self.prev[entry], self.next[entry]);
        if before == NONE {
            self.first = after
        } else {
            self.next[before] = after
        }
        if after != NONE {
            self.prev[after] = before;
        }
    }

    /// Undoes the newest [`Timeline::unlink`] not yet undone.
    fn relink(&mut self, entry: usize) {
        let (before, after) = (self.prev[entry], self.next[entry]);
        if before == NONE {
            self.first = entry
        } else {
            self.next[before] = entry
        }
        if after != NONE {
            self.prev[after] = entry;
        }
    }

    fn lift(&mut self, entry: usize) {
        self.unlink(entry);
        let returned = self.return_of[self.entries[entry].0];
        if returned != NONE {
            self.unlink(returned);
        }
    }

    fn drop_back(&mut self, entry: usize) {
        let returned = self.return_of[self.entries[entry].0];
        if returned != NONE {
            self.relink(returned);
        }
        self.relink(entry);
    }
}

/// Finds an order of the calls, or says how many could be placed at most.
fn search(calls: Vec<Call>) -> Result<(), usize> {
    let calls = without_unseen(calls);
    let mut timeline = Timeline::new(&calls);
    let mut placed = vec![0u64; calls.len().div_ceil(64)];
    let mut seen: HashSet<(Vec<u64>, Value)> = HashSet::new();
    let mut path: Vec<(usize, Value)> = Vec::new();
    let (mut value, mut at, mut most) = (0, timeline.first, 0);
    while at != NONE {
        let (call, returns) = timeline.entries[at];
        if returns {
            // This one is over and has not been placed: something before it was placed wrongly.
            let Some((entry, before)) = path.pop() else { return Err(most) };
            let call = timeline.entries[entry].0;
            placed[call / 64] &= !(1 << (call % 64));
            timeline.drop_back(entry);
            value = before;
            at = timeline.next[entry];
            continue;
        }
        let after = calls[call].step.from(value);
        let fresh = after.filter(|after| {
            placed[call / 64] |= 1 << (call % 64);
            let fresh = seen.insert((placed.clone(), *after));
            if !fresh {
                placed[call / 64] &= !(1 << (call % 64));
            }
            fresh
        });
        at = match fresh {
            Some(after) => {
                path.push((at, value));
                most = most.max(path.len());
                value = after;
                timeline.lift(at);
                timeline.first
            }
            None => timeline.next[at],
        };
    }
    // Whatever is left was never answered, and need not have happened.
    Ok(())
}

/// Leaves out writes of unknown outcome whose value nobody ever found: if they happened, another write hid them, and
/// they explain nothing.
fn without_unseen(calls: Vec<Call>) -> Vec<Call> {
    let found: HashSet<Value> = calls
        .iter()
        .filter_map(|call| match call.step {
            Step::Read(found) | Step::Miss { found, .. } => Some(found),
            Step::Swap { expected, .. } | Step::MaybeSwap { expected, .. } => Some(expected),
            Step::Write(_) => None,
        })
        .collect();
    let explains = |call: &Call| match call.step {
        Step::Write(value) | Step::MaybeSwap { value, .. } => call.returned.is_some() || found.contains(&value),
        Step::Read(_) | Step::Swap { .. } | Step::Miss { .. } => true,
    };
    calls.into_iter().filter(explains).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn call(step: Step, invoked: Time, returned: impl Into<Option<Time>>) -> Call {
        Call { step, invoked, returned: returned.into() }
    }

    /// All orders, one after the other.
    fn by_force(calls: &[Call], left: &mut Vec<usize>, value: Value) -> bool {
        if left.iter().all(|call| calls[*call].returned.is_none()) {
            return true;
        }
        (0..left.len()).any(|position| {
            let candidate = left[position];
            let too_late =
                left.iter().any(|other| calls[*other].returned.is_some_and(|end| end < calls[candidate].invoked));
            let Some(after) = calls[candidate].step.from(value).filter(|_| !too_late) else { return false };
            left.remove(position);
            let found = by_force(calls, left, after);
            left.insert(position, candidate);
            found
        })
    }

    fn step() -> impl Strategy<Value = Step> {
        let value = || 0..4u32;
        prop_oneof![
            value().prop_map(Step::Write),
            value().prop_map(Step::Read),
            (value(), value()).prop_map(|(expected, value)| Step::Swap { expected, value }),
            (value(), value()).prop_map(|(expected, found)| Step::Miss { expected, found }),
        ]
    }

    fn any_call() -> impl Strategy<Value = Call> {
        (step(), 0..20u64, 0..8u64, 0..6u8).prop_map(|(step, invoked, length, fate)| match (step, fate) {
            (Step::Write(_), 0) => call(step, invoked, None),
            (Step::Swap { expected, value }, 0) => call(Step::MaybeSwap { expected, value }, invoked, None),
            _ => call(step, invoked, invoked + length),
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn agrees_with_trying_all_orders(calls in proptest::collection::vec(any_call(), 0..7)) {
            let possible = by_force(&calls, &mut (0..calls.len()).collect(), 0);
            prop_assert_eq!(search(calls.clone()).is_ok(), possible, "{:?}", calls);
        }
    }

    #[test]
    fn a_stale_read_is_found() {
        let history = [call(Step::Write(1), 0, 1), call(Step::Write(2), 2, 3), call(Step::Read(1), 4, 5)];
        assert_eq!(search(history.to_vec()), Err(2));
        let overlapping = [call(Step::Write(1), 0, 1), call(Step::Write(2), 2, 5), call(Step::Read(1), 3, 4)];
        assert_eq!(search(overlapping.to_vec()), Ok(()));
    }

    #[test]
    fn an_unknown_write_may_happen_late_or_never() {
        let late = [
            call(Step::Write(1), 0, None),
            call(Step::Read(0), 1, 2),
            call(Step::Read(1), 3, 4),
            call(Step::Read(1), 5, 6),
        ];
        assert_eq!(search(late.to_vec()), Ok(()));
        let back = [call(Step::Write(1), 0, None), call(Step::Read(1), 1, 2), call(Step::Read(0), 3, 4)];
        assert!(search(back.to_vec()).is_err());
    }

    #[test]
    fn a_long_history_takes_no_time() {
        let mut calls = Vec::new();
        for n in 0..20_000u64 {
            // Eight writers at once, and a reader that sees one of them.
            calls.push(call(Step::Write(n as Value + 1), 10 * n, 10 * n + 79));
            calls.push(call(Step::Read(n as Value + 1), 10 * n + 1, 10 * n + 9));
        }
        assert_eq!(search(calls), Ok(()));
    }
}
