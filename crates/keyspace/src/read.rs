//! Reading a view: ranges now and at earlier revisions, and the history of changes.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;

use crate::codec::{self, Position, State};
use crate::engine::{Direction, Table, View};
use crate::limits::{CATCH_UP_BYTES, CATCH_UP_RECORDS};
use crate::{
    Alarm, EngineError, Error, EventKind, KeyRange, KeyValue, LeaseId, LeaseInfo, Projection, RangeRequest,
    RangeResponse, Refusal, Revision, SortOrder, SortTarget, WatchEvent, alarm,
};

/// All changes made at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The revision.
    pub revision: Revision,
    /// Its events, in order; previous versions included where known.
    pub events: Vec<WatchEvent>,
}

impl Change {
    /// Bytes it holds on to.
    pub fn size(&self) -> usize {
        self.events.iter().map(WatchEvent::size).sum()
    }
}

/// A piece of history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// Revisions with matching events, in order.
    pub changes: Vec<Arc<Change>>,
    /// Everything up to and including this revision has been looked at.
    pub through: Revision,
}

/// Reads `request` from a view.
pub fn range(view: &impl View, request: &RangeRequest) -> Result<RangeResponse, Error> {
    let state = state(view)?;
    check_revision(&state, request.revision)?;
    Ok(range_checked(view, state.revision, request)?)
}

/// Newest revision and the oldest that can be read.
pub fn revisions(view: &impl View) -> Result<(Revision, Revision), EngineError> {
    let state = state(view)?;
    Ok((state.revision, state.compact_revision))
}

/// The stamp last written with [`Machine::apply_all`](crate::Machine::apply_all).
pub fn stamp(view: &impl View) -> Result<Option<Bytes>, EngineError> {
    view.get(Table::Meta, codec::STAMP_KEY)
}

/// Alarms that are on, in order.
pub fn alarms(view: &impl View) -> Result<Vec<Alarm>, EngineError> {
    alarm::read(view)
}

/// Cluster time as of the last tick, milliseconds.
pub fn clock_ms(view: &impl View) -> Result<u64, EngineError> {
    Ok(state(view)?.clock_ms)
}

/// Number of leases.
pub fn lease_count(view: &impl View) -> Result<u64, EngineError> {
    Ok(state(view)?.leases)
}

/// Cluster time at which the next lease is due, if there is a lease.
pub fn next_expiry_ms(view: &impl View) -> Result<Option<u64>, EngineError> {
    let mut next = None;
    view.scan(Table::Expiries, &[], None, Direction::Forward, &mut |key, _| {
        next = Some(codec::decode_expiry(key)?.0);
        Ok(ControlFlow::Break(()))
    })?;
    Ok(next)
}

/// What is known of a lease at cluster time `now_ms`.
pub fn lease(view: &impl View, id: LeaseId, now_ms: u64) -> Result<LeaseInfo, Error> {
    let Some(bytes) = view.get(Table::Leases, &codec::lease_key(id))? else {
        return Err(Refusal::LeaseNotFound { id }.into());
    };
    let lease: codec::Lease = codec::decode(&bytes, "lease")?;
    Ok(LeaseInfo {
        id,
        granted_ttl_seconds: lease.ttl_seconds,
        remaining_ms: lease.expires_ms.saturating_sub(now_ms),
        keys: lease_keys(view, id)?,
        revision: state(view)?.revision,
    })
}

/// All leases, in order of id.
pub fn leases(view: &impl View) -> Result<Vec<LeaseId>, EngineError> {
    let mut found = Vec::new();
    view.scan(Table::Leases, &[], None, Direction::Forward, &mut |key, _| {
        found.push(codec::decode_lease_key(key)?);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
}

/// Keys on a lease, in order.
pub(crate) fn lease_keys(view: &impl View, id: LeaseId) -> Result<Vec<Bytes>, EngineError> {
    let mut keys = Vec::new();
    let (lower, upper) = (codec::lease_key(id), id.checked_add(1).map(codec::lease_key));
    let upper = upper.as_ref().map(<[u8; 8]>::as_slice);
    view.scan(Table::LeaseKeys, &lower, upper, Direction::Forward, &mut |key, _| {
        keys.push(Bytes::copy_from_slice(key.get(lower.len()..).unwrap_or_default()));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(keys)
}

pub(crate) fn state(view: &impl View) -> Result<State, EngineError> {
    match view.get(Table::Meta, codec::STATE_KEY)? {
        None => Ok(State::default()),
        Some(bytes) => codec::decode(&bytes, "keyspace state"),
    }
}

/// Whether `revision` (0: newest) can be read.
pub(crate) fn check_revision(state: &State, revision: Revision) -> Result<(), Refusal> {
    if revision > state.revision {
        return Err(Refusal::FutureRevision { requested: revision, current: state.revision });
    }
    if revision != 0 && revision < state.compact_revision {
        return Err(Refusal::Compacted { requested: revision, compacted: state.compact_revision });
    }
    Ok(())
}

/// The answer to a range whose revision has been checked; `newest` goes into the answer.
pub(crate) fn range_checked(
    view: &impl View,
    newest: Revision,
    request: &RangeRequest,
) -> Result<RangeResponse, EngineError> {
    let mut answer = Collected::new(request);
    let historic = request.revision != 0 && request.revision != newest;
    if request.range.is_empty() {
        // Nothing can match.
    } else if historic {
        historic_range(view, request, &mut answer)?;
    } else if let KeyRange::Key(key) = &request.range {
        if let Some(bytes) = view.get(Table::Current, key)? {
            let _ = answer.take(|with_value| codec::decode_current(key, &bytes, with_value))?;
        }
    } else {
        let (lower, upper) = current_bounds(&request.range);
        view.scan(Table::Current, lower, upper, answer.direction, &mut |key, bytes| {
            answer.take(|with_value| codec::decode_current(key, bytes, with_value))
        })?;
    }
    Ok(answer.finish(newest))
}

pub(crate) fn current_bounds(range: &KeyRange) -> (&[u8], Option<&[u8]>) {
    match range {
        KeyRange::Span { start, end } => (start, Some(end)),
        KeyRange::Key(start) | KeyRange::From(start) => (start, None),
    }
}

/// Finds for each key of the range its newest version at or before the requested revision.
fn historic_range(view: &impl View, request: &RangeRequest, answer: &mut Collected<'_>) -> Result<(), EngineError> {
    let (lower, upper) = codec::history_bounds(&request.range);
    let direction = answer.direction;
    let mut prefix: Vec<u8> = Vec::new();
    // Forward: the best version of `prefix` so far. Reverse: whether `prefix` has been decided.
    let mut best: Option<(Position, bool)> = None;
    let mut decided = false;
    let fetch = |at: Position, answer: &mut Collected<'_>| {
        let bytes = view.get(Table::Revisions, &at.encode())?;
        let bytes = bytes.ok_or_else(|| codec::corrupt(format!("revision {}", at.main), "missing from history"))?;
        answer.take(|with_value| Ok(codec::decode_change(at, &bytes, with_value)?.1))
    };
    view.scan(Table::History, &lower, upper.as_deref(), direction, &mut |key, kind| {
        let (of, at) = codec::split_history(key)?;
        if prefix != of {
            if let Some((at, true)) = best.take()
                && fetch(at, answer)?.is_break()
            {
                return Ok(ControlFlow::Break(()));
            }
            prefix = of.to_vec();
            decided = false;
        }
        if at.main > request.revision {
            return Ok(ControlFlow::Continue(()));
        }
        let live = kind.first() == Some(&HISTORY_PUT);
        if direction == Direction::Forward {
            best = Some((at, live));
        } else if !decided {
            decided = true;
            if live {
                return fetch(at, answer);
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    if let Some((at, true)) = best {
        let _ = fetch(at, answer)?;
    }
    Ok(())
}

/// Value of a history record whose version is a put.
pub(crate) const HISTORY_PUT: u8 = 1;
/// Value of a history record whose version is a delete.
pub(crate) const HISTORY_DELETE: u8 = 0;

/// Matches of a range, as far as they are wanted.
struct Collected<'r> {
    request: &'r RangeRequest,
    direction: Direction,
    /// Whether the scan's order is the answer's order, so that what is beyond the limit need not be kept.
    in_order: bool,
    kvs: Vec<KeyValue>,
    more: bool,
    count: u64,
}

impl<'r> Collected<'r> {
    fn new(request: &'r RangeRequest) -> Self {
        let by_key = request.target == SortTarget::Key;
        let reverse = by_key && request.order == SortOrder::Descending;
        let direction = if reverse { Direction::Reverse } else { Direction::Forward };
        Collected { request, direction, in_order: by_key, kvs: Vec::new(), more: false, count: 0 }
    }

    /// Takes the next match; `decode` is told whether the value is wanted.
    fn take(
        &mut self,
        decode: impl FnOnce(bool) -> Result<KeyValue, EngineError>,
    ) -> Result<ControlFlow<()>, EngineError> {
        self.count += 1;
        if self.request.projection == Projection::CountOnly {
            return Ok(ControlFlow::Continue(()));
        }
        let full = self.in_order && self.request.limit != 0 && self.kvs.len() as u64 >= self.request.limit;
        let filter = &self.request.filter;
        if full && (self.more || filter.is_open()) {
            self.more = true;
        } else {
            let with_value = self.request.projection == Projection::Full || self.request.target == SortTarget::Value;
            let kv = decode(with_value)?;
            if filter.passes(&kv) {
                if full {
                    self.more = true;
                } else {
                    self.kvs.push(kv);
                }
            }
        }
        let enough = self.request.skip_count && self.more;
        Ok(if enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    fn finish(mut self, revision: Revision) -> RangeResponse {
        let descending = self.request.order == SortOrder::Descending;
        match self.request.target {
            SortTarget::Key => {}
            SortTarget::Version => sort_by(&mut self.kvs, descending, |kv| kv.version),
            SortTarget::Create => sort_by(&mut self.kvs, descending, |kv| kv.create_revision),
            SortTarget::Mod => sort_by(&mut self.kvs, descending, |kv| kv.mod_revision),
            SortTarget::Value => sort_by(&mut self.kvs, descending, |kv| kv.value.clone()),
        }
        let limit = usize::try_from(self.request.limit).unwrap_or(usize::MAX);
        if limit != 0 && self.kvs.len() > limit {
            self.kvs.truncate(limit);
            self.more = true;
        }
        if self.request.projection == Projection::KeysOnly {
            self.kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
        }
        let counted = self.request.projection == Projection::CountOnly || !self.request.skip_count;
        let count = if counted { self.count } else { self.kvs.len() as u64 };
        RangeResponse { revision, kvs: self.kvs, more: self.more, count }
    }
}

fn sort_by<K: Ord>(kvs: &mut [KeyValue], descending: bool, key: impl Fn(&KeyValue) -> K) {
    kvs.sort_by(|a, b| {
        let order = key(a).cmp(&key(b));
        if descending { order.reverse() } else { order }
    });
}

/// Reads changes of `range` from revision `from` on, at most about the catch-up limits; never part of a revision.
/// `prev` asks for previous versions.
pub fn changes(view: &impl View, from: Revision, range: &KeyRange, prev: bool) -> Result<Changes, Error> {
    let state = state(view)?;
    if from < state.compact_revision {
        return Err(Refusal::Compacted { requested: from, compacted: state.compact_revision }.into());
    }
    let mut by_revision: BTreeMap<Revision, Vec<WatchEvent>> = BTreeMap::new();
    let (mut records, mut bytes) = (0, 0);
    let mut last = 0;
    let mut through = state.revision;
    let lower = Position::start_of(from).encode();
    view.scan(Table::Revisions, &lower, None, Direction::Forward, &mut |key, record| {
        let at = Position::decode(key)?;
        if at.main != last && (records >= CATCH_UP_RECORDS || bytes >= CATCH_UP_BYTES) {
            through = last;
            return Ok(ControlFlow::Break(()));
        }
        last = at.main;
        records += 1;
        bytes += record.len();
        if range.contains(codec::change_key(at, record)?.1) {
            let (kind, kv) = codec::decode_change(at, record, true)?;
            let prev = if prev && at.main > state.compact_revision { version_before(view, &kv.key, at)? } else { None };
            by_revision.entry(at.main).or_default().push(WatchEvent { kind, kv, prev });
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let changes = by_revision.into_iter().map(|(revision, events)| Arc::new(Change { revision, events })).collect();
    Ok(Changes { changes, through: through.max(from.saturating_sub(1)) })
}

/// Position and kind of the newest version of `key` before `at`.
pub(crate) fn position_before(
    view: &impl View,
    key: &[u8],
    at: Position,
) -> Result<Option<(Position, EventKind)>, EngineError> {
    let mut found = None;
    let (lower, upper) = (codec::history_prefix(key), codec::history_key(key, at));
    view.scan(Table::History, &lower, Some(&upper), Direction::Reverse, &mut |key, kind| {
        let kind = if kind.first() == Some(&HISTORY_PUT) { EventKind::Put } else { EventKind::Delete };
        found = Some((codec::split_history(key)?.1, kind));
        Ok(ControlFlow::Break(()))
    })?;
    Ok(found)
}

fn version_before(view: &impl View, key: &[u8], at: Position) -> Result<Option<KeyValue>, EngineError> {
    let Some((before, EventKind::Put)) = position_before(view, key, at)? else {
        return Ok(None);
    };
    let record = view.get(Table::Revisions, &before.encode())?;
    record.map(|record| Ok(codec::decode_change(before, &record, true)?.1)).transpose()
}
