//! Debian's etcdctl, every subcommand: its output here and on a real etcd is the same.

use std::net::SocketAddr;

use prometheus_client::registry::Registry;
use replica::{Config, Replica};

use crate::harness::server;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/etcdctl-compare");

async fn compare(address: SocketAddr) {
    let done = tokio::process::Command::new(SCRIPT).arg(address.to_string()).output().await.expect("python3 runs it");
    let output = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{output}\n{}", String::from_utf8_lossy(&done.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_as_etcd_does() {
    let dir = tempfile::tempdir().expect("a folder");
    let config = Config { keep_revisions: 0, ..Config::new(dir.path().join("keyspace")) };
    let replica = Replica::open(config, &mut Registry::default()).await.expect("a replica");
    let (address, stop) = server(replica.clone()).await;
    compare(address).await;
    drop(stop);
    replica.shutdown().await.expect("it ends");
}
