//! The other direction: what the keyspace asks of an etcd cluster, and what that answers.

use bytes::Bytes;
use keyspace::{
    Compare, EventKind, KeyRange, KeyValue, Op, OpResponse, Operand, Projection, RangeRequest, RangeResponse, Relation,
    Revision, SortOrder, SortTarget, Txn, TxnResponse, WatchEvent,
};

use super::{signed, unsigned};
use crate::wire::kv;

/// A range that is empty in etcd's reading too.
const EMPTY: (Bytes, Bytes) = (Bytes::from_static(b"a"), Bytes::from_static(b"a"));

/// Key and end of a range. No key is empty, so that all keys are those from `\0` on.
fn key_and_end(range: &KeyRange) -> (Bytes, Bytes) {
    let from = |start: &Bytes| if start.is_empty() { Bytes::from_static(b"\0") } else { start.clone() };
    match range {
        KeyRange::Key(key) => (key.clone(), Bytes::new()),
        range if range.is_empty() => EMPTY,
        // Nothing lies between "" and "\0", and this end would mean that there is none.
        KeyRange::Span { end, .. } if end == &b"\0"[..] => EMPTY,
        KeyRange::Span { start, end } => (from(start), end.clone()),
        KeyRange::From(start) => (from(start), Bytes::from_static(b"\0")),
    }
}

/// A range.
pub(crate) fn to_range(request: &RangeRequest) -> kv::RangeRequest {
    let (key, range_end) = key_and_end(&request.range);
    let target = match request.target {
        SortTarget::Key => kv::SortTarget::Key,
        SortTarget::Version => kv::SortTarget::Version,
        SortTarget::Create => kv::SortTarget::Create,
        SortTarget::Mod => kv::SortTarget::Mod,
        SortTarget::Value => kv::SortTarget::Value,
    };
    let order = match (request.order, request.target) {
        // This is how etcd reads keys anyway.
        (SortOrder::Ascending, SortTarget::Key) => kv::SortOrder::None,
        (SortOrder::Ascending, _) => kv::SortOrder::Ascend,
        (SortOrder::Descending, _) => kv::SortOrder::Descend,
    };
    kv::RangeRequest {
        key,
        range_end,
        limit: signed(request.limit),
        revision: signed(request.revision),
        sort_order: order as i32,
        sort_target: target as i32,
        serializable: request.serializable,
        keys_only: request.projection == Projection::KeysOnly,
        count_only: request.projection == Projection::CountOnly,
        min_mod_revision: signed(request.filter.min_mod),
        max_mod_revision: signed(request.filter.max_mod),
        min_create_revision: signed(request.filter.min_create),
        max_create_revision: signed(request.filter.max_create),
    }
}

/// The answer to a range.
pub(crate) fn from_range(request: &RangeRequest, answer: kv::RangeResponse) -> RangeResponse {
    let kvs: Vec<KeyValue> = answer.kvs.into_iter().map(from_key_value).collect();
    let counted = request.projection == Projection::CountOnly || !request.skip_count;
    RangeResponse {
        revision: answer.header.map_or(0, |header| unsigned(header.revision)),
        count: if counted { unsigned(answer.count) } else { kvs.len() as u64 },
        kvs,
        more: answer.more,
    }
}

/// A key with its value.
pub(crate) fn from_key_value(kv: kv::KeyValue) -> KeyValue {
    KeyValue {
        key: kv.key,
        value: kv.value,
        create_revision: unsigned(kv.create_revision),
        mod_revision: unsigned(kv.mod_revision),
        version: unsigned(kv.version),
        lease: kv.lease,
    }
}

/// An event; nothing if it has no key.
pub(crate) fn from_event(event: kv::Event) -> Option<WatchEvent> {
    let kind = if event.kind == kv::EventType::Delete as i32 { EventKind::Delete } else { EventKind::Put };
    Some(WatchEvent { kind, kv: from_key_value(event.kv?), prev: event.prev_kv.map(from_key_value) })
}

/// A transaction.
pub(crate) fn to_txn(txn: &Txn) -> kv::TxnRequest {
    kv::TxnRequest {
        compare: txn.compares.iter().map(to_compare).collect(),
        success: txn.success.iter().map(to_op).collect(),
        failure: txn.failure.iter().map(to_op).collect(),
    }
}

fn to_op(op: &Op) -> kv::RequestOp {
    let request = match op {
        Op::Put(put) => kv::Request::Put(kv::PutRequest {
            key: put.key.clone(),
            value: put.value.clone(),
            lease: put.lease,
            prev_kv: put.prev,
            ignore_value: put.ignore_value,
            ignore_lease: put.ignore_lease,
        }),
        Op::Delete(delete) => {
            let (key, range_end) = key_and_end(&delete.range);
            kv::Request::DeleteRange(kv::DeleteRangeRequest { key, range_end, prev_kv: delete.prev })
        }
        Op::Range(range) => kv::Request::Range(to_range(range)),
        Op::Txn(inner) => kv::Request::Txn(to_txn(inner)),
    };
    kv::RequestOp { request: Some(request) }
}

fn to_compare(compare: &Compare) -> kv::Compare {
    let (key, range_end) = key_and_end(&compare.range);
    let result = match compare.relation {
        Relation::Equal => kv::CompareResult::Equal,
        Relation::NotEqual => kv::CompareResult::NotEqual,
        Relation::Greater => kv::CompareResult::Greater,
        Relation::Less => kv::CompareResult::Less,
    };
    let (target, operand) = match &compare.operand {
        Operand::Version(number) => (kv::CompareTarget::Version, kv::Operand::Version(signed(*number))),
        Operand::Create(number) => (kv::CompareTarget::Create, kv::Operand::Create(signed(*number))),
        Operand::Mod(number) => (kv::CompareTarget::Mod, kv::Operand::Mod(signed(*number))),
        Operand::Value(value) => (kv::CompareTarget::Value, kv::Operand::Value(value.clone())),
        Operand::Lease(lease) => (kv::CompareTarget::Lease, kv::Operand::Lease(*lease)),
    };
    kv::Compare { result: result as i32, target: target as i32, key, operand: Some(operand), range_end }
}

/// The answer to a transaction; nothing if it is not one to this transaction.
pub(crate) fn from_txn(txn: &Txn, answer: kv::TxnResponse) -> Option<TxnResponse> {
    let revision = answer.header.as_ref().map_or(0, |header| unsigned(header.revision));
    let mut run = Run { written: false, before: revision - u64::from(wrote(&answer)) };
    let mut converted = run.txn(txn, answer)?;
    converted.revision = revision;
    Some(converted)
}

/// Whether it made a revision.
fn wrote(answer: &kv::TxnResponse) -> bool {
    answer.responses.iter().any(|response| match &response.response {
        Some(kv::Response::Put(_)) => true,
        Some(kv::Response::DeleteRange(deleted)) => deleted.deleted > 0,
        Some(kv::Response::Txn(inner)) => wrote(inner),
        Some(kv::Response::Range(_)) | None => false,
    })
}

/// A transaction being followed operation by operation, for the revision each one saw.
struct Run {
    before: Revision,
    written: bool,
}

impl Run {
    fn txn(&mut self, txn: &Txn, answer: kv::TxnResponse) -> Option<TxnResponse> {
        let ops = if answer.succeeded { &txn.success } else { &txn.failure };
        if ops.len() != answer.responses.len() {
            return None;
        }
        let responses = ops.iter().zip(answer.responses).map(|(op, response)| self.op(op, response.response?));
        let responses = responses.collect::<Option<Vec<_>>>()?;
        Some(TxnResponse { succeeded: answer.succeeded, revision: self.revision(), responses })
    }

    fn revision(&self) -> Revision {
        self.before + u64::from(self.written)
    }

    fn op(&mut self, op: &Op, response: kv::Response) -> Option<OpResponse> {
        Some(match (op, response) {
            (Op::Put(_), kv::Response::Put(answer)) => {
                self.written = true;
                OpResponse::Put { prev: answer.prev_kv.map(from_key_value) }
            }
            (Op::Delete(_), kv::Response::DeleteRange(answer)) => {
                self.written |= answer.deleted > 0;
                let prev = answer.prev_kvs.into_iter().map(from_key_value).collect();
                OpResponse::Delete { deleted: unsigned(answer.deleted), prev }
            }
            (Op::Range(request), kv::Response::Range(answer)) => {
                OpResponse::Range(RangeResponse { revision: self.revision(), ..from_range(request, answer) })
            }
            (Op::Txn(inner), kv::Response::Txn(answer)) => OpResponse::Txn(self.txn(inner, answer)?),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_mean_the_same_to_etcd() {
        let of = |range: KeyRange| key_and_end(&range);
        let pair = |key: &'static str, end: &'static str| (Bytes::from(key), Bytes::from(end));
        assert_eq!(of(KeyRange::all()), pair("\0", "\0"));
        assert_eq!(of(KeyRange::key("k")), pair("k", ""));
        assert_eq!(of(KeyRange::span("", "b")), pair("\0", "b"));
        assert_eq!(of(KeyRange::span("", "\0")), EMPTY);
        assert_eq!(of(KeyRange::span("b", "a")), EMPTY);
        assert_eq!(of(KeyRange::From("b".into())), pair("b", "\0"));
    }
}
