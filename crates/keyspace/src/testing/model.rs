//! The keyspace as a child would write it: a full copy of the map for each revision.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{
    Compare, EventKind, KeyRange, KeyValue, LeaseId, Op, OpResponse, Operand, Projection, Put, RangeRequest,
    RangeResponse, Refusal, Relation, Revision, SortOrder, SortTarget, Txn, TxnResponse, WatchEvent,
};

type Map = BTreeMap<Bytes, KeyValue>;

/// A model keyspace.
#[derive(Clone, Debug)]
pub struct Model {
    /// All maps there were, from revision 1 on.
    states: Vec<Map>,
    /// All events there were.
    pub events: Vec<WatchEvent>,
    /// Oldest readable revision.
    pub compacted: Revision,
    /// Leases there are.
    pub leases: Vec<LeaseId>,
}

impl Default for Model {
    fn default() -> Self {
        Model { states: vec![Map::new()], events: Vec::new(), compacted: 0, leases: Vec::new() }
    }
}

impl Model {
    /// Newest revision.
    pub fn revision(&self) -> Revision {
        self.states.len() as Revision
    }

    fn newest(&self) -> &Map {
        self.states.last().expect("revision 1 is there from the beginning")
    }

    /// Keys on a lease.
    pub fn keys_on(&self, lease: LeaseId) -> Vec<Bytes> {
        self.newest().values().filter(|kv| kv.lease == lease).map(|kv| kv.key.clone()).collect()
    }

    /// What a range must answer.
    pub fn range(&self, request: &RangeRequest) -> Result<RangeResponse, Refusal> {
        let current = self.revision();
        if request.revision > current {
            return Err(Refusal::FutureRevision { requested: request.revision, current });
        }
        if request.revision != 0 && request.revision < self.compacted {
            return Err(Refusal::Compacted { requested: request.revision, compacted: self.compacted });
        }
        let at = if request.revision == 0 { current } else { request.revision };
        Ok(read(&self.states[at as usize - 1], request, current))
    }

    /// Runs a transaction; the caller made sure that it writes no key twice.
    pub fn txn(&mut self, txn: &Txn) -> Result<TxnResponse, Refusal> {
        let before = self.newest().clone();
        let mut scratch = Scratch { map: before.clone(), revision: self.revision(), events: Vec::new() };
        let mut response = scratch.txn(self, &before, txn)?;
        self.commit(scratch);
        response.revision = self.revision();
        Ok(response)
    }

    /// Ends a lease.
    pub fn revoke(&mut self, lease: LeaseId) {
        let mut scratch = Scratch { map: self.newest().clone(), revision: self.revision(), events: Vec::new() };
        for key in self.keys_on(lease) {
            scratch.delete(&key);
        }
        self.leases.retain(|id| *id != lease);
        self.commit(scratch);
    }

    fn commit(&mut self, scratch: Scratch) {
        if !scratch.events.is_empty() {
            self.states.push(scratch.map);
            self.events.extend(scratch.events);
        }
    }

    /// Events a watch of `range` from `from` on must deliver up to now.
    pub fn history(&self, range: &KeyRange, from: Revision, prev: bool) -> Vec<WatchEvent> {
        let wanted = |event: &&WatchEvent| event.kv.mod_revision >= from && range.contains(&event.kv.key);
        let strip = |event: &WatchEvent| WatchEvent {
            prev: event.prev.clone().filter(|_| prev && event.kv.mod_revision > self.compacted),
            ..event.clone()
        };
        self.events.iter().filter(wanted).map(strip).collect()
    }
}

fn read(map: &Map, request: &RangeRequest, revision: Revision) -> RangeResponse {
    let all: Vec<&KeyValue> = map.values().filter(|kv| request.range.contains(&kv.key)).collect();
    let count = all.len() as u64;
    if request.projection == Projection::CountOnly {
        return RangeResponse { revision, kvs: Vec::new(), more: false, count };
    }
    let mut kvs: Vec<KeyValue> = all.into_iter().filter(|kv| request.filter.passes(kv)).cloned().collect();
    kvs.sort_by(|a, b| {
        let order = match request.target {
            SortTarget::Key => a.key.cmp(&b.key),
            SortTarget::Version => a.version.cmp(&b.version),
            SortTarget::Create => a.create_revision.cmp(&b.create_revision),
            SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
            SortTarget::Value => a.value.cmp(&b.value),
        };
        if request.order == SortOrder::Descending { order.reverse() } else { order }
    });
    let more = request.limit != 0 && kvs.len() as u64 > request.limit;
    if more {
        kvs.truncate(request.limit as usize);
    }
    if request.projection == Projection::KeysOnly {
        kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
    }
    let count = if request.skip_count { kvs.len() as u64 } else { count };
    RangeResponse { revision, kvs, more, count }
}

/// A transaction under way.
struct Scratch {
    map: Map,
    revision: Revision,
    events: Vec<WatchEvent>,
}

impl Scratch {
    fn reading(&self) -> Revision {
        self.revision + u64::from(!self.events.is_empty())
    }

    fn txn(&mut self, model: &Model, before: &Map, txn: &Txn) -> Result<TxnResponse, Refusal> {
        let succeeded = txn.compares.iter().all(|compare| holds(before, compare));
        let branch = if succeeded { &txn.success } else { &txn.failure };
        let mut responses = Vec::new();
        for op in branch {
            responses.push(self.op(model, before, op)?);
        }
        Ok(TxnResponse { succeeded, revision: self.reading(), responses })
    }

    fn op(&mut self, model: &Model, before: &Map, op: &Op) -> Result<OpResponse, Refusal> {
        Ok(match op {
            Op::Put(put) => OpResponse::Put { prev: self.put(model, put)?.filter(|_| put.prev) },
            Op::Delete(delete) => {
                let keys: Vec<Bytes> = self.map.keys().filter(|key| delete.range.contains(key)).cloned().collect();
                let gone: Vec<KeyValue> = keys.iter().filter_map(|key| self.delete(key)).collect();
                OpResponse::Delete { deleted: gone.len() as u64, prev: if delete.prev { gone } else { Vec::new() } }
            }
            Op::Range(range) if range.revision == 0 => OpResponse::Range(read(&self.map, range, self.reading())),
            Op::Range(range) => {
                let mut answer = model.range(range)?;
                answer.revision = self.reading();
                OpResponse::Range(answer)
            }
            Op::Txn(inner) => OpResponse::Txn(self.txn(model, before, inner)?),
        })
    }

    fn put(&mut self, model: &Model, put: &Put) -> Result<Option<KeyValue>, Refusal> {
        let prev = self.map.get(&put.key).cloned();
        if (put.ignore_value || put.ignore_lease) && prev.is_none() {
            return Err(Refusal::KeyNotFound { key: put.key.clone() });
        }
        if put.lease != 0 && !model.leases.contains(&put.lease) {
            return Err(Refusal::LeaseNotFound { id: put.lease });
        }
        let kept = prev.clone().unwrap_or_default();
        let revision = self.revision + 1;
        let kv = KeyValue {
            key: put.key.clone(),
            value: if put.ignore_value { kept.value } else { put.value.clone() },
            create_revision: if prev.is_none() { revision } else { kept.create_revision },
            mod_revision: revision,
            version: kept.version + 1,
            lease: if put.ignore_lease { kept.lease } else { put.lease },
        };
        self.map.insert(put.key.clone(), kv.clone());
        self.events.push(WatchEvent { kind: EventKind::Put, kv, prev: prev.clone() });
        Ok(prev)
    }

    fn delete(&mut self, key: &Bytes) -> Option<KeyValue> {
        let prev = self.map.remove(key)?;
        let kv = KeyValue { key: key.clone(), mod_revision: self.revision + 1, ..KeyValue::default() };
        self.events.push(WatchEvent { kind: EventKind::Delete, kv, prev: Some(prev.clone()) });
        Some(prev)
    }
}

fn holds(map: &Map, compare: &Compare) -> bool {
    let mut found: Vec<KeyValue> = map.values().filter(|kv| compare.range.contains(&kv.key)).cloned().collect();
    if found.is_empty() {
        if matches!(compare.operand, Operand::Value(_)) {
            return false;
        }
        found.push(KeyValue::default());
    }
    found.iter().all(|kv| {
        let order = match &compare.operand {
            Operand::Version(version) => kv.version.cmp(version),
            Operand::Create(revision) => kv.create_revision.cmp(revision),
            Operand::Mod(revision) => kv.mod_revision.cmp(revision),
            Operand::Value(value) => kv.value.cmp(value),
            Operand::Lease(lease) => kv.lease.cmp(lease),
        };
        match compare.relation {
            Relation::Equal => order.is_eq(),
            Relation::NotEqual => order.is_ne(),
            Relation::Greater => order.is_gt(),
            Relation::Less => order.is_lt(),
        }
    })
}
