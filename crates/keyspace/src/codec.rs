//! How records look in the tables. This is the disk format, version [`FORMAT`].

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{EngineError, EventKind, KeyRange, KeyValue, LeaseId, Revision};

/// Version of everything in this module.
pub(crate) const FORMAT: u32 = 1;

/// Meta key of [`State`].
pub(crate) const STATE_KEY: &[u8] = b"state";
/// Meta key of the owner's stamp.
pub(crate) const STAMP_KEY: &[u8] = b"stamp";
/// Meta key of [`Swept`].
pub(crate) const SWEPT_KEY: &[u8] = b"swept";

/// Meta key of the alarms that are on.
pub(crate) const ALARMS_KEY: &[u8] = b"alarms";

/// The scalars of the state machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) format: u32,
    pub(crate) revision: Revision,
    pub(crate) compact_revision: Revision,
    pub(crate) clock_ms: u64,
    pub(crate) last_lease: LeaseId,
    pub(crate) leases: u64,
}

impl Default for State {
    fn default() -> Self {
        State { format: FORMAT, revision: 1, compact_revision: 0, clock_ms: 0, last_lease: 0, leases: 0 }
    }
}

/// How far the sweep behind compactions has come on this member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Swept {
    /// Compaction that has been carried out whole.
    pub(crate) revision: Revision,
    /// Where to go on: next record to look at.
    pub(crate) next: Position,
}

/// Place of a change: revision, and number within it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Position {
    pub(crate) main: Revision,
    pub(crate) sub: u32,
}

impl Position {
    pub(crate) fn start_of(main: Revision) -> Self {
        Position { main, sub: 0 }
    }

    pub(crate) fn encode(self) -> [u8; 12] {
        let mut out = [0; 12];
        out[..8].copy_from_slice(&self.main.to_be_bytes());
        out[8..].copy_from_slice(&self.sub.to_be_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, EngineError> {
        let bad = || corrupt("revision key", format!("{} bytes instead of 12", bytes.len()));
        let (main, sub) = bytes.split_first_chunk::<8>().ok_or_else(bad)?;
        let sub: [u8; 4] = sub.try_into().map_err(|_| bad())?;
        Ok(Position { main: u64::from_be_bytes(*main), sub: u32::from_be_bytes(sub) })
    }
}

/// A version of a key without the key.
#[derive(Serialize, Deserialize)]
struct Body<'a> {
    create: Revision,
    modified: Revision,
    version: u64,
    lease: LeaseId,
    #[serde(borrow)]
    value: &'a [u8],
}

/// A change as it is in [`Table::Revisions`](crate::engine::Table::Revisions).
#[derive(Serialize, Deserialize)]
struct Record<'a> {
    delete: bool,
    #[serde(borrow)]
    key: &'a [u8],
    #[serde(borrow)]
    body: Body<'a>,
}

impl<'a> Body<'a> {
    fn of(kv: &'a KeyValue) -> Self {
        let KeyValue { key: _, value, create_revision, mod_revision, version, lease } = kv;
        Body { create: *create_revision, modified: *mod_revision, version: *version, lease: *lease, value }
    }

    fn into_kv(self, key: &[u8], with_value: bool) -> KeyValue {
        KeyValue {
            key: Bytes::copy_from_slice(key),
            value: if with_value { Bytes::copy_from_slice(self.value) } else { Bytes::new() },
            create_revision: self.create,
            mod_revision: self.modified,
            version: self.version,
            lease: self.lease,
        }
    }
}

pub(crate) fn encode_current(kv: &KeyValue) -> Result<Bytes, EngineError> {
    encode(&Body::of(kv), "current version")
}

pub(crate) fn decode_current(key: &[u8], bytes: &[u8], with_value: bool) -> Result<KeyValue, EngineError> {
    let body: Body<'_> =
        postcard::from_bytes(bytes).map_err(|error| corrupt(format!("value of key {}", key.escape_ascii()), error))?;
    Ok(body.into_kv(key, with_value))
}

pub(crate) fn encode_change(kind: EventKind, kv: &KeyValue) -> Result<Bytes, EngineError> {
    encode(&Record { delete: kind == EventKind::Delete, key: &kv.key, body: Body::of(kv) }, "change")
}

/// The key of a change, without copying anything.
pub(crate) fn change_key(at: Position, bytes: &[u8]) -> Result<(EventKind, &[u8]), EngineError> {
    let record = parse_change(at, bytes)?;
    Ok((kind_of(&record), record.key))
}

pub(crate) fn decode_change(
    at: Position,
    bytes: &[u8],
    with_value: bool,
) -> Result<(EventKind, KeyValue), EngineError> {
    let record = parse_change(at, bytes)?;
    let kind = kind_of(&record);
    Ok((kind, record.body.into_kv(record.key, with_value)))
}

fn kind_of(record: &Record<'_>) -> EventKind {
    if record.delete { EventKind::Delete } else { EventKind::Put }
}

fn parse_change(at: Position, bytes: &[u8]) -> Result<Record<'_>, EngineError> {
    postcard::from_bytes(bytes).map_err(|error| corrupt(format!("change {} at revision {}", at.sub, at.main), error))
}

/// A lease as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lease {
    pub(crate) ttl_seconds: i64,
    pub(crate) expires_ms: u64,
}

/// Lease ids are positive, so their bytes sort like them.
pub(crate) fn lease_key(id: LeaseId) -> [u8; 8] {
    id.to_be_bytes()
}

pub(crate) fn lease_attachment(id: LeaseId, key: &[u8]) -> Vec<u8> {
    [&lease_key(id)[..], key].concat()
}

pub(crate) fn expiry_key(expires_ms: u64, id: LeaseId) -> Vec<u8> {
    [expires_ms.to_be_bytes(), lease_key(id)].concat()
}

/// Expiry time and lease of a key of [`Table::Expiries`](crate::engine::Table::Expiries).
pub(crate) fn decode_expiry(bytes: &[u8]) -> Result<(u64, LeaseId), EngineError> {
    match bytes.split_first_chunk::<8>() {
        Some((expires, id)) => Ok((u64::from_be_bytes(*expires), decode_lease_key(id)?)),
        None => Err(corrupt("lease expiry", "too short")),
    }
}

pub(crate) fn decode_lease_key(bytes: &[u8]) -> Result<LeaseId, EngineError> {
    let id: [u8; 8] = bytes.try_into().map_err(|_| corrupt("lease id", "not 8 bytes"))?;
    Ok(LeaseId::from_be_bytes(id))
}

/// Key bytes so encoded that `escape(a) < escape(b)` exactly when `a < b` and none is a prefix of another once
/// [`END`] is appended: 0 becomes `00 ff`.
fn escape(key: &[u8], out: &mut Vec<u8>) {
    for byte in key {
        out.push(*byte);
        if *byte == 0 {
            out.push(0xff);
        }
    }
}

const END: [u8; 2] = [0, 1];
const AFTER_END: [u8; 2] = [0, 2];

/// Prefix of all versions of `key` in the history table.
pub(crate) fn history_prefix(key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len() + 16);
    escape(key, &mut out);
    out.extend(END);
    out
}

pub(crate) fn history_key(key: &[u8], at: Position) -> Vec<u8> {
    let mut out = history_prefix(key);
    out.extend(at.encode());
    out
}

/// Bounds of all versions of all keys of `range` in the history table.
pub(crate) fn history_bounds(range: &KeyRange) -> (Vec<u8>, Option<Vec<u8>>) {
    let mut lower = Vec::new();
    escape(range.start(), &mut lower);
    match range {
        KeyRange::Key(_) => {
            let upper = [&lower[..], &AFTER_END].concat();
            lower.extend(END);
            (lower, Some(upper))
        }
        KeyRange::Span { end, .. } => {
            let mut upper = Vec::new();
            escape(end, &mut upper);
            (lower, Some(upper))
        }
        KeyRange::From(_) => (lower, None),
    }
}

/// The key that a prefix of the history table stands for.
pub(crate) fn key_of(prefix: &[u8]) -> Option<Vec<u8>> {
    let escaped = prefix.strip_suffix(&END)?;
    let mut key = Vec::with_capacity(escaped.len());
    let mut bytes = escaped.iter();
    while let Some(byte) = bytes.next() {
        key.push(*byte);
        if *byte == 0 && bytes.next() != Some(&0xff) {
            return None;
        }
    }
    Some(key)
}

/// Splits a key of the history table into the prefix its key has, and the position.
pub(crate) fn split_history(bytes: &[u8]) -> Result<(&[u8], Position), EngineError> {
    let (prefix, at) = bytes.split_last_chunk::<12>().ok_or_else(|| corrupt("history key", "too short"))?;
    Ok((prefix, Position::decode(at)?))
}

pub(crate) fn encode<T: Serialize>(value: &T, what: &'static str) -> Result<Bytes, EngineError> {
    extend(value, Vec::new(), what).map(Bytes::from)
}

/// Appends the encoding of `value`.
pub(crate) fn extend<T: Serialize>(value: &T, bytes: Vec<u8>, what: &'static str) -> Result<Vec<u8>, EngineError> {
    let failed = |source| EngineError::Io { operation: what, source: std::sync::Arc::new(source) };
    postcard::to_extend(value, bytes).map_err(failed)
}

pub(crate) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8], what: &str) -> Result<T, EngineError> {
    postcard::from_bytes(bytes).map_err(|error| corrupt(what, error))
}

pub(crate) fn corrupt(what: impl Into<String>, detail: impl ToString) -> EngineError {
    EngineError::Corrupt { what: what.into(), detail: detail.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn history_keys_sort_by_key_then_revision(
            a in proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(255), any::<u8>()], 0..5),
            b in proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(255), any::<u8>()], 0..5),
            ra in 0u64..4, rb in 0u64..4,
        ) {
            let (pa, pb) = (Position { main: ra, sub: 1 }, Position { main: rb, sub: 1 });
            prop_assert_eq!((&a, pa).cmp(&(&b, pb)), history_key(&a, pa).cmp(&history_key(&b, pb)));
            for range in [KeyRange::key(a.clone()), KeyRange::From(a.clone().into()), KeyRange::prefix(a.clone())] {
                let (lower, upper) = history_bounds(&range);
                let key = history_key(&b, pb);
                let inside = key >= lower && upper.is_none_or(|upper| key < upper);
                prop_assert_eq!(inside, range.contains(&b), "{:?} {:?}", range, b);
            }
            let key = history_key(&a, pa);
            prop_assert_eq!(split_history(&key).expect("well formed"), (&history_prefix(&a)[..], pa));
            prop_assert_eq!(key_of(&history_prefix(&a)), Some(a.clone()));
        }
    }
}
