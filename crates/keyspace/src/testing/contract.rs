//! One function for each promise of a [`Keyspace`](crate::Keyspace). Each wants an empty keyspace of its own.
//!
//! [`promises`](crate::promises) and [`own_promises`](crate::own_promises) name them, so that a new promise is tested
//! on every engine.

use std::time::Duration;

use futures::StreamExt;

use super::{PATIENCE, Subject, events_until, next};
use crate::limits::{CATCH_UP_RECORDS, MAX_REQUEST_BYTES, WATCH_QUEUE_BYTES, WATCH_QUEUE_REVISIONS};
use crate::{
    Alarm, AlarmKind, Compare, Error, EventKind, KeyRange, KeyspaceExt, Op, Put, RangeRequest, Refusal, Txn,
    WatchKinds, WatchRequest,
};

/// Calls the macro with the names of the promises that every [`Keyspace`](crate::Keyspace) makes.
#[macro_export]
macro_rules! promises {
    ($call:ident) => {
        $call!(
            one_swap_wins,
            writers_get_distinct_revisions,
            slow_watcher_catches_up,
            catch_up_keeps_revisions_whole,
            compacted_watches_end,
            watches_select,
            progress_marks,
            marks_on_request,
            leases_expire,
            keep_alive_keeps,
            refusals,
            pages_are_consistent,
        );
    };
}

/// Calls the macro with the names of the promises of a keyspace that owns its state: one that another service keeps is
/// administered there.
#[macro_export]
macro_rules! own_promises {
    ($call:ident) => {
        $call!(alarms_refuse, hashes_tell_differences, snapshots_are_whole);
    };
}

/// Of concurrent compare-and-swaps on one revision exactly one wins (KS-04).
pub async fn one_swap_wins(subject: Subject) {
    let revision = subject.put("k", "0").await.expect("put");
    let swaps = (0..16).map(|n| {
        let txn = Txn::when([Compare::unchanged("k", revision)]).then([Op::put("k", format!("{n}"))]);
        subject.txn(txn.otherwise([Op::get("k")]))
    });
    let answers = futures::future::join_all(swaps).await;
    let won = answers.into_iter().filter(|answer| answer.as_ref().is_ok_and(|answer| answer.succeeded)).count();
    assert_eq!(won, 1);
    assert_eq!(subject.get("k").await.expect("get").expect("there").version, 2);
}

/// Concurrent writers each get a revision of their own, and a watch sees them all in order.
pub async fn writers_get_distinct_revisions(subject: Subject) {
    let mut watch = subject.watch(WatchRequest::new(KeyRange::prefix("w/"), 0)).await.expect("watch");
    let puts = (0..200).map(|n| subject.put(format!("w/{n}"), "x"));
    let mut made: Vec<u64> = Vec::new();
    for answer in futures::future::join_all(puts).await {
        made.push(answer.expect("put"));
    }
    made.sort_unstable();
    assert!(made.windows(2).all(|pair| pair[0] + 1 == pair[1]), "revisions have gaps or repeat: {made:?}");
    let seen = events_until(&mut watch, made[199]).await;
    assert_eq!(seen.iter().map(|event| event.kv.mod_revision).collect::<Vec<_>>(), made);
    assert!(seen.iter().all(crate::WatchEvent::is_create));
}

/// A watcher that does not read holds no write up, and later gets everything from history.
pub async fn slow_watcher_catches_up(subject: Subject) {
    let mut slow = subject.watch(WatchRequest::new(KeyRange::all(), 0).with_prev()).await.expect("watch");
    let value = vec![b'x'; 3 * WATCH_QUEUE_BYTES / WATCH_QUEUE_REVISIONS];
    let writes = 2 * WATCH_QUEUE_REVISIONS as u64;
    let mut newest = 0;
    for n in 0..writes {
        newest = subject.put(format!("k{}", n % 7), value.clone()).await.expect("put");
    }
    let events = events_until(&mut slow, newest).await;
    let revisions: Vec<u64> = events.iter().map(|event| event.kv.mod_revision).collect();
    assert_eq!(revisions, (newest - writes + 1..=newest).collect::<Vec<_>>());
    assert!(events.iter().skip(7).all(|event| event.prev.is_some()));
    let live = subject.put("after", "x").await.expect("put");
    assert_eq!(events_until(&mut slow, live).await.len(), 1);
}

/// Reading history in steps splits no revision, even when a step's bound falls into one.
pub async fn catch_up_keeps_revisions_whole(subject: Subject) {
    let (size, first) = (70, subject.status().await.expect("status").revision + 1);
    let mut newest = 0;
    for n in 0..(3 * CATCH_UP_RECORDS / size) {
        let puts: Vec<Op> = (0..size).map(|key| Op::put(format!("{key}"), format!("{n}"))).collect();
        newest = subject.txn(Txn::run(puts)).await.expect("txn").revision;
    }
    let mut watch = subject.watch(WatchRequest::new(KeyRange::all(), first)).await.expect("watch");
    let (mut delivered, mut batches) = (first - 1, 0);
    while delivered < newest {
        let batch = next(&mut watch).await.expect("history is kept");
        for revision in batch.events.chunks(size) {
            delivered += 1;
            assert_eq!(revision.len(), size);
            assert!(revision.iter().all(|event| event.kv.mod_revision == delivered), "revision {delivered} was split");
        }
        assert_eq!(batch.revision, delivered);
        batches += 1;
    }
    assert!(batches > 1, "one step read it all");
}

/// A watcher that falls behind a compaction is told so, and a watch from before it is refused.
pub async fn compacted_watches_end(subject: Subject) {
    let mut slow = subject.watch(WatchRequest::new(KeyRange::all(), 0)).await.expect("watch");
    let mut newest = 0;
    for _ in 0..WATCH_QUEUE_REVISIONS + 10 {
        newest = subject.put("k", "x").await.expect("put");
    }
    subject.compact(newest).await.expect("compact");
    let first = next(&mut slow).await.expect("what was queued is still delivered");
    assert_eq!(first.events.len(), WATCH_QUEUE_REVISIONS);
    let error = next(&mut slow).await.expect_err("the rest is gone");
    assert_eq!(error.compacted(), Some(newest));
    assert!(slow.next().await.is_none(), "nothing follows an error");
    let early = subject.watch(WatchRequest::new(KeyRange::all(), newest - 1)).await;
    assert_eq!(early.expect_err("compacted").compacted(), Some(newest));
    let mut exact = subject.watch(WatchRequest::new(KeyRange::all(), newest)).await.expect("watch from the compaction");
    assert_eq!(events_until(&mut exact, newest).await.len(), 1);
}

/// Watches by key, prefix and range deliver what they should, filters included; a future revision waits.
pub async fn watches_select(subject: Subject) {
    let later = subject.status().await.expect("status").revision + 3;
    let ranges = [
        KeyRange::key("b"),
        KeyRange::prefix("b"),
        KeyRange::span("a", "b"),
        KeyRange::From("b".into()),
        KeyRange::all(),
    ];
    let mut watches = Vec::new();
    for range in &ranges {
        watches.push(subject.watch(WatchRequest::new(range.clone(), 0)).await.expect("watch"));
    }
    let mut deletes = WatchRequest::new(KeyRange::all(), 0);
    deletes.kinds = WatchKinds::Deletes;
    let mut deletes = subject.watch(deletes).await.expect("watch");
    let mut future = subject.watch(WatchRequest::new(KeyRange::all(), later)).await.expect("watch");
    let ops = ["a", "b", "bb", "c"].map(|key| Op::put(key, "1"));
    subject.txn(Txn::run(ops)).await.expect("txn");
    subject.put("b", "2").await.expect("put");
    let last = subject.txn(Txn::run([Op::delete("a"), Op::delete("b"), Op::delete("bb"), Op::delete("c")])).await;
    let last = last.expect("txn").revision;
    assert_eq!(last, later);
    let counts = [3, 5, 2, 7, 9];
    for ((range, watch), count) in ranges.iter().zip(&mut watches).zip(counts) {
        assert_eq!(events_until(watch, last).await.len(), count, "{range:?}");
    }
    let deleted = events_until(&mut deletes, last).await;
    assert!(deleted.len() == 4 && deleted.iter().all(|event| event.kind == EventKind::Delete));
    let late = next(&mut future).await.expect("watch");
    assert_eq!((late.revision, late.events.len()), (last, 4), "a revision is delivered whole");
}

/// Progress marks come after history and then while nothing happens, and name what has been delivered.
pub async fn progress_marks(subject: Subject) {
    let revision = subject.put("other", "x").await.expect("put");
    let request = WatchRequest::new(KeyRange::key("k"), 0).with_progress(Duration::from_millis(20));
    let mut watch = subject.watch(request).await.expect("watch");
    let mark = next(&mut watch).await.expect("mark");
    assert!(mark.is_progress());
    assert_eq!(mark.revision, revision);
    let newer = subject.put("other", "y").await.expect("put");
    let reached = async { while next(&mut watch).await.expect("mark").revision < newer {} };
    tokio::time::timeout(PATIENCE, reached).await.expect("marks keep coming, and reach what others wrote");
    // A watch that begins in the future is told of nothing before: whoever took up a mark would resume too early.
    let begins = newer + 3;
    let future = WatchRequest::new(KeyRange::key("k"), begins).with_progress(Duration::from_millis(20));
    let mut watch = subject.watch(future).await.expect("watch");
    let writes = async {
        for n in 0..4 {
            subject.put("other", format!("{n}")).await.expect("put");
        }
    };
    let (mark, ()) = tokio::join!(next(&mut watch), writes);
    let mark = mark.expect("mark");
    assert!(mark.is_progress() && mark.revision + 1 >= begins, "{mark:?} of a watch from {begins}");
}

/// A mark that is asked for names at least what was acknowledged before, and comes after it.
pub async fn marks_on_request(subject: Subject) {
    let request = WatchRequest::new(KeyRange::prefix("k"), 0);
    let (mut busy, mut quiet) =
        (subject.watch(request.clone()).await.expect("watch"), subject.watch(request).await.expect("watch"));
    let mut newest = 0;
    for n in 0..5 {
        subject.put(format!("k{n}"), "x").await.expect("put");
        newest = subject.put("other", "x").await.expect("put");
        quiet.marker().request();
    }
    busy.marker().request();
    for watch in [&mut busy, &mut quiet] {
        let (mut events, mut reached) = (0, 0);
        while reached < newest {
            let batch = next(watch).await.expect("watch");
            events += batch.events.len();
            reached = batch.revision;
        }
        assert_eq!(events, 5);
    }
}

/// A key on a lease goes when the lease ends, with a delete event, without anybody reading (KS-03).
pub async fn leases_expire(subject: Subject) {
    let lease = subject.lease_grant(0, 1).await.expect("grant");
    let kept = subject.lease_grant(0, 10_000).await.expect("grant");
    let on = |key: &'static str, lease| Op::Put(Put { key: key.into(), value: "x".into(), lease, ..Put::default() });
    subject.txn(Txn::run([on("a", lease.id), on("b", lease.id), on("c", kept.id)])).await.expect("txn");
    let mut watch = subject.watch(WatchRequest::new(KeyRange::all(), 0).with_prev()).await.expect("watch");
    let batch = next(&mut watch).await.expect("the keys go");
    assert_eq!(batch.events.len(), 2, "both keys go at one revision");
    assert!(batch.events.iter().all(|event| event.kind == EventKind::Delete && event.prev.is_some()));
    assert!(subject.get("a").await.expect("get").is_none());
    assert!(subject.get("c").await.expect("get").is_some());
    let gone = subject.lease_time_to_live(lease.id).await.expect_err("expired");
    assert!(matches!(gone, Error::Refused(Refusal::LeaseNotFound { id }) if id == lease.id));
    let late = subject.lease_keep_alive(lease.id).await.expect_err("expired");
    assert!(matches!(late, Error::Refused(Refusal::LeaseNotFound { .. })));
    let info = subject.lease_time_to_live(kept.id).await.expect("there");
    assert!(info.remaining_ms <= 10_000_000 && info.remaining_ms > 9_000_000, "{info:?}");
    assert_eq!(info.keys, ["c"]);
    assert_eq!(subject.leases().await.expect("leases"), [kept.id]);
}

/// A lease that is kept alive does not end.
pub async fn keep_alive_keeps(subject: Subject) {
    let lease = subject.lease_grant(7, 2).await.expect("grant");
    let short = subject.lease_grant(8, 3).await.expect("grant");
    let on = |key: &'static str, lease| Op::Put(Put { key: key.into(), value: "x".into(), lease, ..Put::default() });
    subject.txn(Txn::run([on("kept", lease.id), on("lost", short.id)])).await.expect("txn");
    let mut watch = subject.watch(WatchRequest::new(KeyRange::key("lost"), 0)).await.expect("watch");
    let lost = next(&mut watch);
    tokio::pin!(lost);
    loop {
        tokio::select! {
            _ = &mut lost => break,
            () = tokio::time::sleep(Duration::from_millis(300)) => {
                subject.lease_keep_alive(lease.id).await.expect("still there");
            }
        }
    }
    assert!(subject.get("kept").await.expect("get").is_some());
}

/// Bad requests are refused with the reason, and change nothing.
pub async fn refusals(subject: Subject) {
    let revision = subject.put("k", "x").await.expect("put");
    let refused = |error: Error| match error {
        Error::Refused(refusal) => refusal,
        other => panic!("not a refusal: {other}"),
    };
    let large = subject.put("k", vec![0; MAX_REQUEST_BYTES + 1]).await.expect_err("too large");
    assert!(matches!(refused(large), Refusal::RequestTooLarge { limit: MAX_REQUEST_BYTES, .. }));
    let twice = subject.txn(Txn::run([Op::put("k", "1"), Op::put("k", "2")])).await.expect_err("twice");
    assert_eq!(refused(twice), Refusal::DuplicateKey { key: "k".into() });
    let leaseless = Put { key: "new".into(), lease: 99, ..Put::default() };
    let lease = subject.txn(Txn::run([Op::put("a", "1"), Op::Put(leaseless)])).await.expect_err("no such lease");
    assert_eq!(refused(lease), Refusal::LeaseNotFound { id: 99 });
    let future = subject.range(RangeRequest::key("k").at(revision + 1)).await.expect_err("future");
    assert_eq!(refused(future), Refusal::FutureRevision { requested: revision + 1, current: revision });
    let empty = subject.watch(WatchRequest::new(KeyRange::key(""), 0)).await.expect_err("empty key");
    assert_eq!(refused(empty), Refusal::EmptyKey);
    let ttl = subject.lease_grant(0, 0).await.expect_err("ttl");
    assert_eq!(refused(ttl), Refusal::LeaseOutOfBounds { id: 0, ttl_seconds: 0 });
    assert_eq!(subject.status().await.expect("status").revision, revision);
    assert!(subject.get("a").await.expect("get").is_none());
}

/// Reading page by page at one revision gives one consistent list, whatever is written meanwhile.
pub async fn pages_are_consistent(subject: Subject) {
    for n in 0..25 {
        subject.put(format!("p/{n:02}"), "x").await.expect("put");
    }
    let at = subject.status().await.expect("status").revision;
    let end = crate::prefix_end(b"p/").expect("a prefix with an end");
    let (mut start, mut keys) = (bytes::Bytes::from_static(b"p/"), Vec::new());
    loop {
        let mut request = RangeRequest::new(KeyRange::span(start.clone(), end.clone())).at(at).limit(4);
        request.skip_count = true;
        let page = subject.range(request).await.expect("page");
        keys.extend(page.kvs.iter().map(|kv| kv.key.clone()));
        subject.txn(Txn::run([Op::delete(keys[keys.len() - 1].clone()), Op::put("p/zz", "late")])).await.expect("txn");
        if !page.more {
            break;
        }
        start = [&keys[keys.len() - 1][..], b"\0"].concat().into();
    }
    assert_eq!(keys, (0..25).map(|n| bytes::Bytes::from(format!("p/{n:02}"))).collect::<Vec<_>>());
}

/// A full keyspace refuses what would grow it and nothing else; a corrupt one every write. Both can be cleared.
pub async fn alarms_refuse(subject: Subject) {
    let lease = subject.lease_grant(0, 1_000).await.expect("grant");
    subject.txn(Txn::run([Op::put("a", "1"), Op::put("b", "1")])).await.expect("txn");
    let full = Alarm { member: 3, kind: AlarmKind::NoSpace };
    assert_eq!(subject.alarm_set(full).await.expect("set"), [full]);
    assert_eq!(subject.alarm_set(full).await.expect("set again"), [full]);
    assert_eq!(subject.status().await.expect("status").alarms, [full]);
    let no_space = |error: Error| assert!(matches!(error, Error::Refused(Refusal::NoSpace { member: 3 })), "{error}");
    no_space(subject.put("c", "1").await.expect_err("no room"));
    no_space(subject.put("a", vec![7; 1_000]).await.expect_err("no room"));
    subject.put("a", "2").await.expect("it is replaced by what is no larger");
    let either = Txn::when([Compare::absent("a")]).then([Op::put("c", "1")]).otherwise([Op::delete("a")]);
    no_space(subject.txn(either).await.expect_err("it could have put"));
    no_space(subject.lease_grant(0, 5).await.map(drop).expect_err("no room"));
    assert!(subject.get("a").await.expect("reads go on").is_some());
    subject.lease_keep_alive(lease.id).await.expect("leases are kept");
    subject.delete("a").await.expect("deletes make room");
    let newest = subject.status().await.expect("status").revision;
    subject.compact(newest).await.expect("compactions make room");
    subject.defragment().await.expect("gives room back");
    assert_eq!(subject.alarm_clear(full).await.expect("clear"), []);
    subject.put("a", "2").await.expect("there is room");

    let corrupt = Alarm { member: 2, kind: AlarmKind::Corrupt };
    subject.alarm_set(corrupt).await.expect("set");
    let refused = subject.delete("a").await.expect_err("nothing is written");
    assert!(matches!(refused, Error::Refused(Refusal::Corrupt { member: 2 })), "{refused}");
    assert!(subject.get("a").await.expect("reads go on").is_some());
    subject.lease_keep_alive(lease.id).await.expect("leases are kept");
    assert_eq!(subject.alarms().await.expect("alarms"), [corrupt]);
    subject.alarm_clear(corrupt).await.expect("clear");
    subject.delete("a").await.expect("writes go on");
}

/// The hash is of what can be read: it differs when that does, and not with how the keyspace came to be.
pub async fn hashes_tell_differences(subject: Subject) {
    for n in 0..30 {
        subject.put(format!("k{}", n % 7), format!("{n}")).await.expect("put");
    }
    subject.delete("k3").await.expect("delete");
    let newest = subject.status().await.expect("status").revision;
    let hash = subject.hash_kv(0).await.expect("hash");
    assert_eq!((hash.revision, hash.compact_revision), (newest, 0));
    let earlier = subject.hash_kv(newest - 1).await.expect("hash");
    assert_ne!(earlier.hash, hash.hash);
    subject.put("k1", "more").await.expect("put");
    assert_eq!(subject.hash_kv(newest).await.expect("hash"), hash, "what came later does not matter");
    assert_ne!(subject.hash_kv(0).await.expect("hash").hash, hash.hash);
    subject.compact(newest - 5).await.expect("compact");
    let compacted = subject.hash_kv(newest).await.expect("hash");
    assert_eq!(compacted.compact_revision, newest - 5);
    assert_ne!(compacted.hash, hash.hash, "history is part of it");
    assert_eq!(subject.hash_kv(newest).await.expect("hash"), compacted);
    let old = subject.hash_kv(newest - 6).await.expect_err("compacted");
    assert_eq!(old.compacted(), Some(newest - 5));
    let future = subject.hash_kv(newest + 9).await.expect_err("not yet made");
    assert!(matches!(future, Error::Refused(Refusal::FutureRevision { .. })));
}

/// A snapshot is of one revision, checks out, and loads into what it was taken of.
pub async fn snapshots_are_whole(subject: Subject) {
    let lease = subject.lease_grant(0, 1_000).await.expect("grant");
    for n in 0..50 {
        let put = Put { key: format!("k{}", n % 9).into(), value: vec![7; 30_000].into(), ..Put::default() };
        let lease = if n % 3 == 0 { lease.id } else { 0 };
        subject.txn(Txn::run([Op::Put(Put { lease, ..put })])).await.expect("put");
    }
    subject.compact(20).await.expect("compact");
    let revision = subject.status().await.expect("status").revision;
    let all = subject.range(RangeRequest::prefix("")).await.expect("range").kvs;
    let hash = subject.hash_kv(revision).await.expect("hash");
    let mut stream = subject.snapshot().await.expect("begins");
    subject.put("late", "x").await.expect("writes go on");
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next().await {
        bytes.extend_from_slice(&piece.expect("goes on"));
    }
    let summary = crate::snapshot::verify(&bytes[..]).expect("checks out");
    let engine = std::sync::Arc::new(crate::MemoryEngine::default());
    crate::snapshot::load(&bytes[..], &*engine, crate::snapshot::Options::default(), None).expect("loads");
    let mut machine = crate::Machine::open(engine.clone()).expect("opens");
    while machine.sweep().expect("sweeps") {}
    let view = crate::Engine::view(&*engine);
    assert!(summary.header.revision >= revision && summary.header.revision <= revision + 1);
    let request = RangeRequest::prefix("").at(revision);
    assert_eq!(crate::read::range(&view, &request).expect("reads").kvs, all);
    assert_eq!(crate::hash_kv(&view, revision).expect("hashes"), Some(hash));
    assert_eq!(crate::read::leases(&view).expect("reads"), [lease.id]);
}
