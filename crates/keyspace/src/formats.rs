//! The bytes of commands, replies and records, as they were when format 1 was made (`formats.txt`).

use bytes::Bytes;

use crate::codec::{self, State, Swept};
use crate::testing::{assert_recorded, record};
use crate::{
    Alarm, AlarmKind, Command, Compare, Delete, EventKind, KeyRange, KeyValue, KvHash, LeaseGranted, Op, OpResponse,
    Operand, Projection, Put, RangeRequest, RangeResponse, Refusal, Relation, Reply, RevisionFilter, SortOrder,
    SortTarget, Txn, TxnResponse,
};

const KEY: Bytes = Bytes::from_static(b"k");
const ALARM: Alarm = Alarm { member: 3, kind: AlarmKind::NoSpace };

fn ranges() -> [KeyRange; 3] {
    [KeyRange::Key(KEY), KeyRange::Span { start: KEY, end: Bytes::from_static(b"l") }, KeyRange::From(KEY)]
}

fn compares() -> Vec<Compare> {
    let relations = [Relation::Equal, Relation::NotEqual, Relation::Greater, Relation::Less, Relation::Equal];
    let operands =
        [Operand::Version(1), Operand::Create(2), Operand::Mod(300), Operand::Value(KEY), Operand::Lease(-1)];
    let one = |(relation, operand)| Compare { range: KeyRange::Key(KEY), relation, operand };
    relations.into_iter().zip(operands).map(one).collect()
}

fn range_requests() -> Vec<RangeRequest> {
    let filter = RevisionFilter { min_mod: 1, max_mod: 2, min_create: 3, max_create: 4 };
    let targets =
        [SortTarget::Key, SortTarget::Version, SortTarget::Create, SortTarget::Mod, SortTarget::Value].into_iter();
    let orders = [SortOrder::Ascending, SortOrder::Descending].into_iter().cycle();
    let projections = [Projection::Full, Projection::KeysOnly, Projection::CountOnly].into_iter().cycle();
    let one = |((target, order), projection)| RangeRequest {
        revision: 5,
        limit: 6,
        target,
        order,
        projection,
        filter,
        skip_count: true,
        serializable: false,
        ..RangeRequest::key(KEY)
    };
    targets.zip(orders).zip(projections).map(one).collect()
}

fn ops() -> Vec<Op> {
    let put = Put { key: KEY, value: Bytes::from_static(b"v"), lease: 7, prev: true, ..Put::default() };
    let deletes = ranges().map(|range| Op::Delete(Delete { range, prev: false }));
    let nested = Txn { compares: compares(), success: vec![Op::Put(put.clone())], failure: vec![] };
    let mut ops = vec![Op::Put(put), Op::Txn(nested)];
    ops.extend(deletes);
    ops.extend(range_requests().into_iter().map(Op::Range));
    ops
}

/// Each variant in its order.
fn commands() -> Vec<Command> {
    vec![
        Command::Txn(Txn { compares: compares(), success: ops(), failure: vec![Op::get("k")] }),
        Command::Compact { revision: 1000 },
        Command::LeaseGrant { id: 1, ttl_seconds: 60 },
        Command::LeaseKeepAlive { id: 1 },
        Command::LeaseRevoke { id: 1 },
        Command::Tick { now_ms: 123_456 },
        Command::AlarmSet(ALARM),
        Command::AlarmClear(ALARM),
        Command::CheckHash { hash: KvHash { hash: 1, revision: 2, compact_revision: 3 } },
        Command::RecordRemoval { member: 3, key: KEY, value: KEY },
    ]
}

fn kv() -> KeyValue {
    KeyValue { key: KEY, value: KEY, create_revision: 1, mod_revision: 2, version: 3, lease: 4 }
}

/// Each variant in its order.
fn replies() -> Vec<Reply> {
    let range = RangeResponse { revision: 2, kvs: vec![kv()], more: true, count: 9 };
    let responses = vec![
        OpResponse::Put { prev: Some(kv()) },
        OpResponse::Delete { deleted: 1, prev: vec![kv()] },
        OpResponse::Range(range),
        OpResponse::Txn(TxnResponse::default()),
    ];
    vec![
        Reply::Txn(TxnResponse { succeeded: true, revision: 2, responses }),
        Reply::Compacted { revision: 2 },
        Reply::Lease(LeaseGranted { id: 1, ttl_seconds: 60, revision: 2 }),
        Reply::Revoked { revision: 2 },
        Reply::Ticked { expired: 1, more: true },
        Reply::Alarms(AlarmKind::ALL.map(|kind| Alarm { member: 3, kind }).to_vec()),
        Reply::HashTaken,
    ]
}

/// Each variant in its order.
fn refusals() -> Vec<Refusal> {
    vec![
        Refusal::Compacted { requested: 1, compacted: 2 },
        Refusal::FutureRevision { requested: 2, current: 1 },
        Refusal::LeaseNotFound { id: 1 },
        Refusal::LeaseExists { id: 1 },
        Refusal::LeaseOutOfBounds { id: 1, ttl_seconds: 2 },
        Refusal::KeyNotFound { key: KEY },
        Refusal::Contradiction { key: KEY },
        Refusal::DuplicateKey { key: KEY },
        Refusal::EmptyKey,
        Refusal::KeyTooLong { bytes: 2, limit: 1 },
        Refusal::RequestTooLarge { bytes: 2, limit: 1 },
        Refusal::TooManyOperations { count: 2, limit: 1 },
        Refusal::TooDeep { limit: 1 },
        Refusal::NoSpace { member: 3 },
        Refusal::Corrupt { member: 3 },
        Refusal::TooManyWatchers { limit: 1 },
    ]
}

#[test]
fn stored_and_sent_bytes_do_not_change() {
    let mut now = String::new();
    record(&mut now, "command", &commands());
    record(&mut now, "range", &ranges());
    record(&mut now, "reply", &replies());
    record(&mut now, "refusal", &refusals());
    record(
        &mut now,
        "state",
        &[State { format: 1, revision: 2, compact_revision: 1, clock_ms: 4, last_lease: 5, leases: 6 }],
    );
    record(&mut now, "swept", &[Swept { revision: 1, next: codec::Position { main: 2, sub: 3 } }]);
    record(&mut now, "lease", &[codec::Lease { ttl_seconds: 60, expires_ms: 1000 }]);
    record(&mut now, "alarms", &[vec![ALARM]]);
    let encoded = [
        codec::encode_current(&kv()),
        codec::encode_change(EventKind::Put, &kv()),
        codec::encode_change(EventKind::Delete, &kv()),
    ];
    for (name, bytes) in ["current", "put", "delete"].into_iter().zip(encoded) {
        let hex: String = bytes.expect("encodes").iter().map(|byte| format!("{byte:02x}")).collect();
        now.push_str(&format!("{name} {hex}\n"));
    }
    assert_recorded(include_str!("formats.txt"), &now);
}
