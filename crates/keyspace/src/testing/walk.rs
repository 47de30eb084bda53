//! Random histories: every answer is compared with the model's.

use bytes::Bytes;

use super::{Model, Random, Subject, events_until, next};
use crate::{
    Compare, Delete, Error, EventKind, KeyRange, Op, Operand, Projection, Put, RangeRequest, Refusal, Relation,
    Revision, RevisionFilter, SortOrder, SortTarget, Txn, WatchEvent, WatchRequest, check,
};

/// Keys that sort in interesting ways.
const KEYS: [&[u8]; 9] = [b"\0", b"a", b"a\0", b"a\0\xff", b"a/b", b"a/c", b"b", b"b\xff", b"\xff\xff"];

/// What takes the place of the first of them where clients of etcd are let in: keys that begin with a zero byte are
/// reserved there.
const NOT_RESERVED: &[u8] = b"\x01";

/// What a subject cannot do.
#[derive(Clone, Copy, Default)]
struct Spare {
    /// Keeping a delete at the revision it is compacted at.
    deletes: bool,
    /// Keys that begin with a zero byte.
    reserved: bool,
}

/// Walks `steps` random steps from `seed` on an empty keyspace. Panics, naming the step, where it differs from the
/// model.
pub async fn against_model(subject: Subject, seed: u64, steps: u64) {
    run(subject, seed, steps, Spare::default()).await;
}

/// As [`against_model`], but never compacts at a revision with a delete: etcd before 3.6 drops that delete, which a
/// watch from just there should see.
pub async fn against_model_sparing_deletes(subject: Subject, seed: u64, steps: u64) {
    run(subject, seed, steps, Spare { deletes: true, ..Spare::default() }).await;
}

/// As [`against_model`], but without keys that begin with a zero byte, which a server of etcd's protocol keeps for itself.
pub async fn against_model_sparing_reserved(subject: Subject, seed: u64, steps: u64) {
    run(subject, seed, steps, Spare { reserved: true, ..Spare::default() }).await;
}

async fn run(subject: Subject, seed: u64, steps: u64, spare: Spare) {
    let mut walk = Walk { random: Random::new(seed), model: Model::default(), spare };
    let request = WatchRequest::new(KeyRange::all(), 2).with_prev();
    let mut live = subject.watch(request).await.expect("nothing is compacted yet");
    let mut seen = Vec::new();
    for step in 0..steps {
        let before = walk.model.revision();
        walk.step(&subject, &format!("seed {seed} step {step}")).await;
        if walk.model.revision() > before {
            seen.extend(events_until(&mut live, walk.model.revision()).await);
        }
    }
    assert_eq!(seen, walk.model.events, "seed {seed}: a live watch saw other events than were made");
    let status = subject.status().await.expect("status");
    assert_eq!(status.revision, walk.model.revision(), "seed {seed}");
    assert_eq!(status.leases, walk.model.leases.len() as u64, "seed {seed}");
}

struct Walk {
    random: Random,
    model: Model,
    spare: Spare,
}

impl Walk {
    async fn step(&mut self, subject: &Subject, at: &str) {
        match self.random.below(32) {
            0 => self.compact(subject, at).await,
            1 => self.grant(subject, at).await,
            2 => self.revoke(subject, at).await,
            3 => self.watch(subject, at).await,
            4..10 => {
                let request = self.range();
                let answer = subject.range(request.clone()).await;
                let expected = self.model.range(&request);
                assert_eq!(refusable(answer), expected, "{at}: {request:?}");
            }
            _ => {
                let txn = self.txn(2);
                if let Err(refusal) = check::txn(&txn) {
                    let answer = refusable(subject.txn(txn.clone()).await);
                    assert_eq!(answer, Err(refusal), "{at}: {txn:?}");
                    return;
                }
                let answer = refusable(subject.txn(txn.clone()).await);
                // The model meets refusals in its own order; that both refuse is what counts.
                let expected = self.model.txn(&txn);
                assert!(
                    answer == expected || (answer.is_err() && expected.is_err()),
                    "{at}: {txn:?}\n{answer:?}\n{expected:?}"
                );
            }
        }
    }

    async fn compact(&mut self, subject: &Subject, at: &str) {
        let (compacted, newest) = (self.model.compacted, self.model.revision());
        let revision = compacted + self.random.below(newest - compacted.min(newest) + 2);
        let deletes = |event: &WatchEvent| event.kind == EventKind::Delete && event.kv.mod_revision == revision;
        if self.spare.deletes && self.model.events.iter().any(deletes) {
            return;
        }
        let expected = if revision > newest {
            Err(Refusal::FutureRevision { requested: revision, current: newest })
        } else if revision <= compacted {
            Err(Refusal::Compacted { requested: revision, compacted })
        } else {
            self.model.compacted = revision;
            Ok(newest)
        };
        assert_eq!(refusable(subject.compact(revision).await), expected, "{at}: compact {revision}");
    }

    async fn grant(&mut self, subject: &Subject, at: &str) {
        let id = self.random.below(6) as i64;
        let answer = refusable(subject.lease_grant(id, 100_000).await);
        if self.model.leases.contains(&id) {
            assert_eq!(answer.map(|granted| granted.id), Err(Refusal::LeaseExists { id }), "{at}");
        } else {
            let granted = answer.expect("the lease is granted");
            assert!(id == 0 || granted.id == id, "{at}: {granted:?}");
            assert!(!self.model.leases.contains(&granted.id), "{at}: {granted:?} was given out twice");
            self.model.leases.push(granted.id);
        }
    }

    async fn revoke(&mut self, subject: &Subject, at: &str) {
        let id = 1 + self.random.below(6) as i64;
        let expected = if self.model.leases.contains(&id) {
            let info = refusable(subject.lease_time_to_live(id).await).expect("the lease is there");
            assert_eq!(info.keys, self.model.keys_on(id), "{at}: keys on lease {id}");
            self.model.revoke(id);
            Ok(self.model.revision())
        } else {
            Err(Refusal::LeaseNotFound { id })
        };
        assert_eq!(refusable(subject.lease_revoke(id).await), expected, "{at}: revoke {id}");
    }

    /// A watch from any revision delivers just the history.
    async fn watch(&mut self, subject: &Subject, at: &str) {
        let from = 1 + self.random.below(self.model.revision());
        let range = self.keys();
        let prev = self.random.one_in(2);
        let mut request = WatchRequest::new(range.clone(), from).with_progress(super::PATIENCE);
        request.prev = prev;
        let compacted = self.model.compacted;
        match subject.watch(request).await {
            Err(error) => {
                let expected = Refusal::Compacted { requested: from, compacted };
                assert!(matches!(&error, Error::Refused(refusal) if *refusal == expected), "{at}: {error:?}");
                assert!(from < compacted, "{at}: watch from {from} was refused, compacted is {compacted}");
            }
            Ok(mut stream) => {
                assert!(from >= compacted, "{at}: watch from {from} was not refused, compacted is {compacted}");
                let mut events = Vec::new();
                let mark = loop {
                    let batch = next(&mut stream).await.expect("history is kept");
                    if batch.is_progress() {
                        break batch.revision;
                    }
                    events.extend(batch.events);
                };
                assert_eq!(mark, self.model.revision(), "{at}: progress mark");
                assert_eq!(events, self.model.history(&range, from, prev), "{at}: watch of {range:?} from {from}");
            }
        }
    }

    fn key(&mut self) -> Bytes {
        let key: &'static [u8] = self.random.pick::<&[u8]>(&KEYS);
        Bytes::from_static(if self.spare.reserved && key.starts_with(b"\0") { NOT_RESERVED } else { key })
    }

    fn keys(&mut self) -> KeyRange {
        match self.random.below(6) {
            0 | 1 => KeyRange::Key(self.key()),
            2 => KeyRange::span(self.key(), self.key()),
            3 => KeyRange::From(self.key()),
            4 => KeyRange::prefix(self.key()),
            _ => KeyRange::all(),
        }
    }

    fn revision(&mut self) -> Revision {
        self.random.below(self.model.revision() + 2)
    }

    fn range(&mut self) -> RangeRequest {
        let filter = if self.random.one_in(4) {
            RevisionFilter {
                min_mod: self.revision(),
                max_mod: self.revision(),
                min_create: self.random.below(3),
                max_create: self.revision(),
            }
        } else {
            RevisionFilter::default()
        };
        RangeRequest {
            range: self.keys(),
            revision: if self.random.one_in(2) { 0 } else { self.revision() },
            limit: if self.random.one_in(2) { 0 } else { 1 + self.random.below(4) },
            target: *self.random.pick(&[
                SortTarget::Key,
                SortTarget::Key,
                SortTarget::Version,
                SortTarget::Create,
                SortTarget::Mod,
                SortTarget::Value,
            ]),
            order: *self.random.pick(&[SortOrder::Ascending, SortOrder::Descending]),
            projection: *self.random.pick(&[Projection::Full, Projection::KeysOnly, Projection::CountOnly]),
            filter,
            skip_count: false,
            serializable: self.random.one_in(2),
        }
    }

    fn compare(&mut self) -> Compare {
        let operand = match self.random.below(5) {
            0 => Operand::Version(self.random.below(4)),
            1 => Operand::Create(self.revision()),
            2 => Operand::Mod(self.revision()),
            3 => Operand::Value(self.value()),
            _ => Operand::Lease(self.random.below(4) as i64),
        };
        let relation = *self.random.pick(&[Relation::Equal, Relation::NotEqual, Relation::Greater, Relation::Less]);
        Compare { range: self.keys(), relation, operand }
    }

    fn value(&mut self) -> Bytes {
        Bytes::from(format!("v{}", self.random.below(5)))
    }

    fn op(&mut self, depth: u64) -> Op {
        match self.random.below(if depth > 0 { 9 } else { 8 }) {
            0..5 => {
                let (ignore_value, ignore_lease) = (self.random.one_in(8), self.random.one_in(8));
                let lease = if self.random.one_in(4) { 1 + self.random.below(6) as i64 } else { 0 };
                Op::Put(Put {
                    key: self.key(),
                    value: if ignore_value { Bytes::new() } else { self.value() },
                    lease: if ignore_lease { 0 } else { lease },
                    prev: self.random.one_in(2),
                    ignore_value,
                    ignore_lease,
                })
            }
            5 => Op::Delete(Delete { range: self.keys(), prev: self.random.one_in(2) }),
            6 | 7 => Op::Range(self.range()),
            _ => Op::Txn(self.txn(depth - 1)),
        }
    }

    fn txn(&mut self, depth: u64) -> Txn {
        let (compares, success, failure) = (self.random.below(3), self.random.below(4), self.random.below(3));
        Txn {
            compares: (0..compares).map(|_| self.compare()).collect(),
            success: (0..success).map(|_| self.op(depth)).collect(),
            failure: (0..failure).map(|_| self.op(depth)).collect(),
        }
    }
}

fn refusable<T>(answer: Result<T, Error>) -> Result<T, Refusal> {
    match answer {
        Ok(answer) => Ok(answer),
        Err(Error::Refused(refusal)) => Err(refusal),
        Err(other) => panic!("the keyspace failed: {other}"),
    }
}
