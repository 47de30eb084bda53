//! Snapshots as files: saved from a running and from a stopped member, restored onto one and three.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::StreamExt;
use keyspace::snapshot::{self, Options, SnapshotError};
use keyspace::{Keyspace, KeyspaceExt, LeaseInfo, Op, Put, RangeRequest, Txn};
use prometheus_client::registry::Registry;
use replica::{Config, Error, Replica, Restore};
use tempfile::TempDir;

async fn open(dir: &Path) -> Arc<Replica> {
    Replica::open(Config::new(dir), &mut Registry::default()).await.expect("opens")
}

async fn close(replica: Arc<Replica>) {
    let closed = replica.closed();
    replica.shutdown().await.expect("ends");
    drop(replica);
    closed.await;
}

/// Keys, history and leases.
async fn fill(replica: &Replica) {
    let lease = replica.lease_grant(7, 1_000).await.expect("grant");
    for n in 0..600 {
        let put = Put { key: format!("k/{:03}", n % 200).into(), value: vec![n as u8; 700].into(), ..Put::default() };
        let lease = if n % 5 == 0 { lease.id } else { 0 };
        replica.txn(Txn::run([Op::Put(Put { lease, ..put })])).await.expect("put");
    }
    replica.delete("k/003").await.expect("delete");
    replica.compact(300).await.expect("compact");
}

/// What must be the same after a restore.
async fn content(replica: &Replica) -> (Vec<keyspace::KeyValue>, Vec<keyspace::KeyValue>, LeaseInfo, u64) {
    let now = replica.range(here(RangeRequest::prefix(""))).await.expect("range");
    let past = replica.range(here(RangeRequest::prefix("").at(400))).await.expect("range");
    let lease = replica.lease_time_to_live(7).await.expect("lease");
    (now.kvs, past.kvs, LeaseInfo { remaining_ms: 0, ..lease }, now.revision)
}

/// Also of a member that has no leader.
fn here(request: RangeRequest) -> RangeRequest {
    RangeRequest { serializable: true, ..request }
}

async fn stream_to(replica: &Replica, file: &Path) {
    let mut bytes = Vec::new();
    let mut stream = replica.snapshot().await.expect("begins");
    while let Some(piece) = stream.next().await {
        bytes.extend_from_slice(&piece.expect("goes on"));
    }
    std::fs::write(file, bytes).expect("writes");
}

/// The snapshot of a stopped member.
async fn saved(dir: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut sink = |piece: bytes::Bytes| {
        bytes.extend_from_slice(&piece);
        Ok(())
    };
    replica::save(dir, &mut sink).await.expect("saves");
    bytes
}

fn plan(file: &Path, node_id: u64, members: &[(u64, &str)]) -> Restore {
    let members: BTreeMap<u64, String> = members.iter().map(|(id, address)| (*id, (*address).to_owned())).collect();
    Restore { snapshot: file.to_owned(), node_id, members, options: Options::default() }
}

fn names(dir: &Path) -> Vec<PathBuf> {
    let mut names: Vec<_> = std::fs::read_dir(dir).expect("lists").map(|entry| entry.expect("lists").path()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_saved_is_what_is_restored() {
    let temp = TempDir::new().expect("a directory");
    let (first, second) = (temp.path().join("first"), temp.path().join("second"));
    let (running, stopped) = (temp.path().join("running.snapshot"), temp.path().join("stopped.snapshot"));
    let replica = open(&first).await;
    fill(&replica).await;
    let wanted = content(&replica).await;
    let hash = replica.hash_kv(0).await.expect("hash");
    stream_to(&replica, &running).await;
    close(replica).await;
    std::fs::write(&stopped, saved(&first).await).expect("writes");
    let summaries =
        [&running, &stopped].map(|file| snapshot::verify(std::fs::File::open(file).expect("opens")).expect("verifies"));
    assert_eq!(summaries[0].counts, summaries[1].counts);
    assert_eq!((summaries[0].counts.keys, summaries[0].header.revision), (199, wanted.3));

    let restored = plan(&running, 1, &[]).run(&second).expect("restores");
    assert_eq!(restored, summaries[0]);
    let replica = open(&second).await;
    assert_eq!(content(&replica).await, wanted);
    assert_eq!(replica.hash_kv(0).await.expect("hash"), hash);
    let mut again = Vec::new();
    let mut stream = replica.snapshot().await.expect("begins");
    while let Some(piece) = stream.next().await {
        again.extend_from_slice(&piece.expect("goes on"));
    }
    let again = snapshot::status(&again[..]).expect("reads");
    assert_ne!(again.header.origin.cluster_id, 0, "it is a cluster of its own");
    assert_ne!(again.header.origin.cluster_id, summaries[0].header.origin.cluster_id);
    assert_eq!(replica.put("next", "x").await.expect("writes go on"), wanted.3 + 1);
    close(replica).await;
    close(open(&second).await).await;

    let twice = plan(&running, 1, &[]).run(&second);
    assert!(matches!(twice, Err(Error::Occupied { .. })), "{twice:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_members_are_made_from_one_file() {
    let temp = TempDir::new().expect("a directory");
    let (first, file) = (temp.path().join("first"), temp.path().join("snapshot"));
    let replica = open(&first).await;
    fill(&replica).await;
    let (wanted, past, _, revision) = content(&replica).await;
    stream_to(&replica, &file).await;
    close(replica).await;
    let members = [(1, "127.0.0.1:1"), (2, "127.0.0.1:2"), (3, "127.0.0.1:3")];
    let mut clusters = Vec::new();
    for (id, _) in members {
        let dir = temp.path().join(format!("member{id}"));
        plan(&file, id, &members).run(&dir).expect("restores");
        let replica = Replica::open(Config { node_id: id, ..Config::new(&dir) }, &mut Registry::default()).await;
        let replica = replica.expect("opens");
        let now = replica.range(here(RangeRequest::prefix(""))).await.expect("range");
        assert_eq!((now.kvs, now.revision), (wanted.clone(), revision));
        assert_eq!(replica.range(here(RangeRequest::prefix("").at(400))).await.expect("range").kvs, past);
        let status = replica.status().await.expect("status");
        assert_eq!((status.node_id, status.voters, status.leases), (id, vec![1, 2, 3], 1));
        close(replica).await;
        clusters.push(snapshot::status(&saved(&dir).await[..]).expect("reads").header.origin.cluster_id);
    }
    assert_eq!(clusters, [clusters[0]; 3]);
    let stranger = plan(&file, 4, &members).run(&temp.path().join("member4"));
    assert!(matches!(stranger, Err(Error::NotAMember { node_id: 4 })), "{stranger:?}");
}

/// A file that was changed is refused before anything is touched.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_file_is_refused() {
    let temp = TempDir::new().expect("a directory");
    let (first, file) = (temp.path().join("first"), temp.path().join("snapshot"));
    let replica = open(&first).await;
    fill(&replica).await;
    stream_to(&replica, &file).await;
    close(replica).await;
    let sound = std::fs::read(&file).expect("reads");
    let before = names(temp.path());
    for offset in [0, 9, 40, sound.len() / 2, sound.len() - 33, sound.len() - 1] {
        let mut changed = sound.clone();
        changed[offset] ^= 0x20;
        std::fs::write(&file, changed).expect("writes");
        let refused = plan(&file, 1, &[]).run(&temp.path().join("second"));
        assert!(matches!(refused, Err(Error::Snapshot { .. })), "byte {offset}: {refused:?}");
        assert_eq!(names(temp.path()), before, "nothing was made");
    }
    std::fs::write(&file, &sound[..sound.len() - 32]).expect("writes");
    let refused = plan(&file, 1, &[]).run(&temp.path().join("second"));
    assert!(matches!(refused, Err(Error::Snapshot { source: SnapshotError::Damaged { .. }, .. })), "{refused:?}");
}
