//! Checks that need no state: bounds and duplicates. They run before a request is proposed.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::limits::{MAX_KEY_BYTES, MAX_LEASE_TTL_SECONDS, MAX_REQUEST_BYTES, MAX_TXN_DEPTH, MAX_TXN_OPS};
use crate::{Command, KeyRange, Op, Put, RangeRequest, Refusal, Txn};

/// Whether a command is well formed.
pub fn command(command: &Command) -> Result<(), Refusal> {
    match command {
        Command::Txn(request) => txn(request),
        Command::LeaseGrant { id, ttl_seconds } => {
            if *id < 0 || !(1..=MAX_LEASE_TTL_SECONDS).contains(ttl_seconds) {
                return Err(Refusal::LeaseOutOfBounds { id: *id, ttl_seconds: *ttl_seconds });
            }
            Ok(())
        }
        Command::RecordRemoval { key, .. } => self::key(key),
        Command::Compact { .. }
        | Command::LeaseKeepAlive { .. }
        | Command::LeaseRevoke { .. }
        | Command::Tick { .. }
        | Command::AlarmSet(_)
        | Command::AlarmClear(_)
        | Command::CheckHash { .. } => Ok(()),
    }
}

/// Whether a range request is well formed.
pub fn range(request: &RangeRequest) -> Result<(), Refusal> {
    key_range(&request.range)
}

/// Whether a transaction is well formed.
pub fn txn(request: &Txn) -> Result<(), Refusal> {
    // Depth first: what follows recurses as deep as the request does.
    shape(request, 1)?;
    let bytes = request.size();
    if bytes > MAX_REQUEST_BYTES {
        return Err(Refusal::RequestTooLarge { bytes, limit: MAX_REQUEST_BYTES });
    }
    branch(&request.success)?;
    branch(&request.failure)?;
    Ok(())
}

fn shape(request: &Txn, depth: usize) -> Result<(), Refusal> {
    if depth > MAX_TXN_DEPTH {
        return Err(Refusal::TooDeep { limit: MAX_TXN_DEPTH });
    }
    let count = request.compares.len().max(request.success.len()).max(request.failure.len());
    if count > MAX_TXN_OPS {
        return Err(Refusal::TooManyOperations { count, limit: MAX_TXN_OPS });
    }
    request.compares.iter().try_for_each(|compare| key_range(&compare.range))?;
    request.success.iter().chain(&request.failure).try_for_each(|op| match op {
        Op::Put(put) => self::put(put),
        Op::Delete(delete) => key_range(&delete.range),
        Op::Range(range) => key_range(&range.range),
        Op::Txn(inner) => shape(inner, depth + 1),
    })
}

fn put(put: &Put) -> Result<(), Refusal> {
    key(&put.key)?;
    if (put.ignore_value && !put.value.is_empty()) || (put.ignore_lease && put.lease != 0) {
        return Err(Refusal::Contradiction { key: put.key.clone() });
    }
    Ok(())
}

/// Whether a set of keys is well formed: a single key must be named; an open range may begin with "".
pub fn key_range(range: &KeyRange) -> Result<(), Refusal> {
    match range {
        KeyRange::Key(only) => key(only),
        KeyRange::Span { start, end } => long_key(start).and_then(|()| long_key(end)),
        KeyRange::From(start) => long_key(start),
    }
}

fn key(key: &[u8]) -> Result<(), Refusal> {
    if key.is_empty() {
        return Err(Refusal::EmptyKey);
    }
    long_key(key)
}

fn long_key(key: &[u8]) -> Result<(), Refusal> {
    if key.len() > MAX_KEY_BYTES {
        return Err(Refusal::KeyTooLong { bytes: key.len(), limit: MAX_KEY_BYTES });
    }
    Ok(())
}

/// What a list of operations may write.
#[derive(Default)]
struct Writes<'t> {
    puts: BTreeSet<&'t Bytes>,
    deletes: Vec<&'t KeyRange>,
}

impl<'t> Writes<'t> {
    fn put(&mut self, key: &'t Bytes) -> Result<(), Refusal> {
        if self.deletes.iter().any(|range| range.contains(key)) || !self.puts.insert(key) {
            return Err(Refusal::DuplicateKey { key: key.clone() });
        }
        Ok(())
    }
}

/// Refuses lists that put a key twice, or put and delete it (etcd's rule). Of the two branches of a transaction
/// within only one runs, so those may both write a key.
fn branch(ops: &[Op]) -> Result<Writes<'_>, Refusal> {
    let mut writes = Writes::default();
    writes.deletes.extend(ops.iter().filter_map(|op| match op {
        Op::Delete(delete) => Some(&delete.range),
        _ => None,
    }));
    for op in ops {
        let Op::Txn(inner) = op else { continue };
        let (success, failure) = (branch(&inner.success)?, branch(&inner.failure)?);
        for key in success.puts.union(&failure.puts) {
            writes.put(key)?;
        }
        writes.deletes.extend(success.deletes);
        writes.deletes.extend(failure.deletes);
    }
    for op in ops {
        if let Op::Put(put) = op {
            writes.put(&put.key)?;
        }
    }
    Ok(writes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Compare, Delete};

    fn delete(range: KeyRange) -> Op {
        Op::Delete(Delete { range, prev: false })
    }

    #[test]
    fn bounds_and_duplicates_are_refused_by_name() {
        let nested = |depth: usize| (1..depth).fold(Txn::run([Op::get("a")]), |inner, _| Txn::run([Op::Txn(inner)]));
        let long = Bytes::from(vec![b'k'; MAX_KEY_BYTES + 1]);
        let dup = || Err(Refusal::DuplicateKey { key: "a".into() });
        let inner = |then: Vec<Op>, or: Vec<Op>| Op::Txn(Txn::run(then).otherwise(or));
        let cases: Vec<(Txn, Result<(), Refusal>)> = vec![
            (Txn::default(), Ok(())),
            (Txn::run([Op::put("", "x")]), Err(Refusal::EmptyKey)),
            (Txn::run([Op::get("")]), Err(Refusal::EmptyKey)),
            (Txn::when([Compare::absent("")]), Err(Refusal::EmptyKey)),
            (Txn::run([Op::Range(RangeRequest::prefix(""))]), Ok(())),
            (
                Txn::run([Op::put(long.clone(), "x")]),
                Err(Refusal::KeyTooLong { bytes: MAX_KEY_BYTES + 1, limit: MAX_KEY_BYTES }),
            ),
            (
                Txn::run([Op::put("a", vec![0; MAX_REQUEST_BYTES])]),
                Err(Refusal::RequestTooLarge { bytes: MAX_REQUEST_BYTES + 17, limit: MAX_REQUEST_BYTES }),
            ),
            (Txn::run(vec![Op::get("a"); MAX_TXN_OPS]), Ok(())),
            (
                Txn::run([]).otherwise(vec![Op::get("a"); MAX_TXN_OPS + 1]),
                Err(Refusal::TooManyOperations { count: MAX_TXN_OPS + 1, limit: MAX_TXN_OPS }),
            ),
            (nested(MAX_TXN_DEPTH), Ok(())),
            (nested(MAX_TXN_DEPTH + 1), Err(Refusal::TooDeep { limit: MAX_TXN_DEPTH })),
            (Txn::run([Op::put("a", "1"), Op::put("a", "2")]), dup()),
            (Txn::run([Op::put("a", "1"), delete(KeyRange::all())]), dup()),
            (Txn::run([Op::put("b", "1"), delete(KeyRange::span("a", "b"))]), Ok(())),
            (Txn::run([delete(KeyRange::all()), delete(KeyRange::all())]), Ok(())),
            (Txn::run([Op::put("a", "1")]).otherwise([Op::put("a", "2")]), Ok(())),
            (Txn::run([inner(vec![Op::put("a", "1")], vec![Op::put("a", "2")])]), Ok(())),
            (Txn::run([inner(vec![Op::put("a", "1")], vec![]), Op::put("a", "2")]), dup()),
            (Txn::run([inner(vec![], vec![delete(KeyRange::prefix("a"))]), Op::put("a", "2")]), dup()),
            (Txn::run([inner(vec![Op::put("a", "1")], vec![]), delete(KeyRange::prefix("a"))]), dup()),
            (
                Txn::run([Op::Put(Put { key: "a".into(), value: "x".into(), ignore_value: true, ..Put::default() })]),
                Err(Refusal::Contradiction { key: "a".into() }),
            ),
        ];
        for (request, expected) in cases {
            assert_eq!(txn(&request), expected, "{request:?}");
        }
    }
}
