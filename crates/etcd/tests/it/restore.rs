//! A snapshot that etcdctl saves from the server, restored by etcdctl, is a working etcd with the same content.

use std::path::Path;

use keyspace::testing::events_until;
use keyspace::{Compare, KeyRange, Keyspace, KeyspaceExt, Op, Put, RangeRequest, Txn, WatchEvent, WatchRequest};
use prometheus_client::registry::Registry;
use replica::{Config, Replica};

use crate::harness::{Etcd, backend, server};

async fn etcdctl(words: &[&str]) -> String {
    let mut command = tokio::process::Command::new("etcdctl");
    let done = command.env("ETCDCTL_API", "3").args(words).output().await.expect("Debian's etcd-client is installed");
    assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).into_owned()
}

/// Versions, deletes, a lease, history on both sides of a compaction, and more keys than one page holds.
async fn fill(keyspace: &dyn Keyspace) {
    for n in 0..300 {
        keyspace.put(format!("many/{n:04}"), vec![b'v'; n * 7 % 900]).await.expect("put");
    }
    keyspace.put("large", vec![b'x'; 100_000]).await.expect("put");
    for n in 0..5 {
        keyspace.put("often", format!("{n}")).await.expect("put");
    }
    keyspace.delete("many/0007").await.expect("delete");
    keyspace.compact(keyspace.put("middle", "").await.expect("put")).await.expect("compact");
    keyspace.delete("often").await.expect("delete");
    keyspace.put("often", "again").await.expect("put");
    let lease = keyspace.lease_grant(4711, 5_000).await.expect("grant").id;
    let put = |key: &'static str| Op::Put(Put { key: key.into(), value: "leased".into(), lease, ..Put::default() });
    let txn = Txn::when([Compare::absent("l/1")]).then([put("l/1"), put("l/2"), Op::delete("many/0008")]);
    assert!(keyspace.txn(txn).await.expect("txn").succeeded);
}

async fn history(keyspace: &dyn Keyspace, from: u64, newest: u64) -> Vec<WatchEvent> {
    let request = WatchRequest::new(KeyRange::all(), from).with_prev();
    events_until(&mut keyspace.watch(request).await.expect("watch"), newest).await
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_goes_on_from_a_snapshot_of_the_face() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let config = Config { keep_revisions: 0, ..Config::new(dir.path().join("keyspace")) };
    let replica = Replica::open(config, &mut Registry::default()).await.expect("a replica");
    fill(&*replica).await;
    let (address, stop) = server(replica.clone()).await;
    etcdctl(&["--endpoints", &address.to_string(), "snapshot", "save", &path("saved.db")]).await;
    let status = etcdctl(&["snapshot", "status", &path("saved.db"), "-w", "json"]).await;
    let before = replica.status().await.expect("status");
    assert!(status.contains(&format!("\"revision\":{},", before.revision)), "{status}");
    etcdctl(&["snapshot", "restore", &path("saved.db"), "--data-dir", &path("data")]).await;

    let etcd = Etcd::start_in(Path::new(&path("data")));
    let restored = backend(etcd.address()).await;
    let all = || RangeRequest::new(KeyRange::all());
    let (ours, theirs) = (replica.range(all()).await.expect("range"), restored.range(all()).await.expect("range"));
    assert_eq!(ours, theirs, "keys, values, revisions, leases");
    assert_eq!(ours.kvs.len(), 303);
    let from = before.compact_revision + 1;
    let newest = before.revision;
    assert_eq!(history(&*replica, from, newest).await, history(&*restored, from, newest).await);
    let early = restored.range(all().at(before.compact_revision - 1)).await.expect_err("compacted there too");
    assert_eq!(early.compacted(), Some(before.compact_revision));
    let lease = restored.lease_time_to_live(4711).await.expect("the lease is there");
    assert_eq!((lease.granted_ttl_seconds, lease.keys.len()), (5_000, 2));
    let next = restored.put("after", "restore").await.expect("it takes writes");
    assert_eq!(next, before.revision + 1);
    drop(stop);
    replica.shutdown().await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_with_a_flipped_byte_is_refused_by_etcdctl() {
    let dir = tempfile::tempdir().expect("a folder");
    let (saved, data) = (dir.path().join("saved.db"), dir.path().join("data"));
    let keyspace = std::sync::Arc::new(keyspace::MemoryKeyspace::new());
    keyspace.put("k", "v").await.expect("put");
    let (address, _stop) = server(keyspace).await;
    etcdctl(&["--endpoints", &address.to_string(), "snapshot", "save", &saved.display().to_string()]).await;
    let mut bytes = std::fs::read(&saved).expect("a file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&saved, bytes).expect("written");
    let mut restore = tokio::process::Command::new("etcdctl");
    restore.env("ETCDCTL_API", "3").arg("snapshot").arg("restore").arg(&saved).arg("--data-dir").arg(&data);
    let done = restore.output().await.expect("etcdctl runs");
    assert!(!done.status.success(), "a damaged snapshot was restored");
}
