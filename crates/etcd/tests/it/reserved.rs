//! The keyspace's own records are out of reach of etcd's clients.

use std::sync::Arc;

use bytes::Bytes;
use keyspace::testing::events_until;
use keyspace::{Compare, Delete, KeyRange, Keyspace, KeyspaceExt, MemoryKeyspace, Op, RangeRequest, Txn, WatchRequest};

use crate::harness::{backend, server};

const OWN: &[u8] = b"\0nanocloud/members/removed/3";

#[tokio::test(flavor = "multi_thread")]
async fn clients_neither_see_nor_touch_reserved_keys() {
    let below = Arc::new(MemoryKeyspace::new());
    below.put(OWN, "three").await.expect("put");
    below.put("a", "1").await.expect("put");
    let (address, _stop) = server(below.clone()).await;
    let client = backend(address).await;
    let own = || KeyRange::key(OWN);
    let everything = [KeyRange::all(), KeyRange::From(Bytes::from_static(b"\0")), KeyRange::span("\0", "zz")];
    let mut watch = client.watch(WatchRequest::new(KeyRange::all(), 2)).await.expect("watch");
    for range in &everything {
        let found = client.range(RangeRequest::new(range.clone())).await.expect("range");
        assert_eq!((found.count, found.kvs.len()), (1, 1), "{range:?}");
    }
    assert_eq!(client.get(OWN).await.expect("get"), None);
    client.put(OWN, "mine").await.expect_err("refused");
    client.txn(Txn::when([Compare::present(OWN)]).then([Op::put("b", "1")])).await.expect_err("refused");
    client.txn(Txn::when([Compare::absent("x")]).then([Op::put(OWN, "mine")])).await.expect_err("refused");
    for range in everything.into_iter().chain([own(), KeyRange::prefix("\0nanocloud/")]) {
        client.txn(Txn::run([Op::Delete(Delete { range, prev: false })])).await.expect("deletes what it may");
    }
    assert_eq!(client.range(RangeRequest::new(KeyRange::all())).await.expect("range").count, 0);
    assert_eq!(below.get(OWN).await.expect("get").expect("there").value, "three");
    let newest = below.status().await.expect("status").revision;
    let events = events_until(&mut watch, newest).await;
    assert_eq!(events.iter().map(|event| &event.kv.key[..]).collect::<Vec<_>>(), [b"a", b"a"]);
}
