//! What the keyspace answers, as a client understands it.

use keyspace::{EventKind, KeyValue, OpResponse, RangeResponse, Revision, TxnResponse, WatchEvent};

use super::signed;
use crate::wire::kv;

/// A key with its value.
pub(crate) fn key_value(kv: KeyValue) -> kv::KeyValue {
    kv::KeyValue {
        key: kv.key,
        create_revision: signed(kv.create_revision),
        mod_revision: signed(kv.mod_revision),
        version: signed(kv.version),
        value: kv.value,
        lease: kv.lease,
    }
}

/// An event of a watch.
pub(crate) fn event(event: WatchEvent) -> kv::Event {
    let kind = match event.kind {
        EventKind::Put => kv::EventType::Put,
        EventKind::Delete => kv::EventType::Delete,
    };
    kv::Event { kind: kind as i32, kv: Some(key_value(event.kv)), prev_kv: event.prev.map(key_value) }
}

/// The answer to a range.
pub(crate) fn range_response(header: kv::ResponseHeader, answer: RangeResponse) -> kv::RangeResponse {
    kv::RangeResponse {
        header: Some(header),
        kvs: answer.kvs.into_iter().map(key_value).collect(),
        more: answer.more,
        count: signed(answer.count),
    }
}

/// The answer to a transaction. Answers within have a header with nothing but a revision: the one the operation saw
/// or made.
pub(crate) fn txn_response(header: kv::ResponseHeader, answer: TxnResponse) -> kv::TxnResponse {
    let made = writes(&answer);
    let mut progress = Progress { before: answer.revision - u64::from(made), written: false };
    kv::TxnResponse {
        header: Some(header),
        succeeded: answer.succeeded,
        responses: answer.responses.into_iter().map(|answer| progress.response_op(answer)).collect(),
    }
}

/// Whether it made a revision.
fn writes(answer: &TxnResponse) -> bool {
    answer.responses.iter().any(|response| match response {
        OpResponse::Put { .. } => true,
        OpResponse::Delete { deleted, .. } => *deleted > 0,
        OpResponse::Range(_) => false,
        OpResponse::Txn(inner) => writes(inner),
    })
}

/// How far a transaction has come.
struct Progress {
    before: Revision,
    written: bool,
}

impl Progress {
    fn header(&self) -> Option<kv::ResponseHeader> {
        let revision = signed(self.before + u64::from(self.written));
        Some(kv::ResponseHeader { revision, ..Default::default() })
    }

    fn response_op(&mut self, answer: OpResponse) -> kv::ResponseOp {
        let response = match answer {
            OpResponse::Put { prev } => {
                self.written = true;
                kv::Response::Put(kv::PutResponse { header: self.header(), prev_kv: prev.map(key_value) })
            }
            OpResponse::Delete { deleted, prev } => {
                self.written |= deleted > 0;
                kv::Response::DeleteRange(kv::DeleteRangeResponse {
                    header: self.header(),
                    deleted: signed(deleted),
                    prev_kvs: prev.into_iter().map(key_value).collect(),
                })
            }
            OpResponse::Range(answer) => kv::Response::Range(range_response(self.header().unwrap_or_default(), answer)),
            OpResponse::Txn(inner) => kv::Response::Txn(kv::TxnResponse {
                header: Some(kv::ResponseHeader::default()),
                succeeded: inner.succeeded,
                responses: inner.responses.into_iter().map(|answer| self.response_op(answer)).collect(),
            }),
        };
        kv::ResponseOp { response: Some(response) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revisions(answer: TxnResponse) -> Vec<i64> {
        let converted = txn_response(kv::ResponseHeader::default(), answer);
        let revision = |response: &kv::ResponseOp| match response.response.as_ref().expect("an answer") {
            kv::Response::Put(answer) => answer.header.as_ref().expect("a header").revision,
            kv::Response::Range(answer) => answer.header.as_ref().expect("a header").revision,
            kv::Response::DeleteRange(answer) => answer.header.as_ref().expect("a header").revision,
            kv::Response::Txn(answer) => answer.header.as_ref().expect("a header").revision,
        };
        converted.responses.iter().map(revision).collect()
    }

    #[test]
    fn operations_tell_the_revision_they_saw() {
        let none = || OpResponse::Delete { deleted: 0, prev: Vec::new() };
        let read = || OpResponse::Range(RangeResponse::default());
        let of = |responses: Vec<OpResponse>| TxnResponse { succeeded: true, revision: 9, responses };
        assert_eq!(revisions(of(vec![read(), none()])), [9, 9]);
        let inner = OpResponse::Txn(of(vec![OpResponse::Put { prev: None }]));
        assert_eq!(revisions(of(vec![read(), none(), inner, read()])), [8, 8, 0, 9]);
    }
}
