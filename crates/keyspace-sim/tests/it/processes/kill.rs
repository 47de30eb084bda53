//! `kill -9` under write load, again and again.

use std::time::Duration;

use keyspace::KeyRange;
use keyspace::testing::Random;
use keyspace_sim::checker::{linearizability, revisions, watch};
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::clients::{Client, Notes, Watcher, truth};
use super::process::{Place, Process};
use super::setting;

/// Kills, unless `PROOF_KILLS` says otherwise.
const KILLS: u64 = 15;
/// Clients at once.
const CLIENTS: u64 = 8;
/// Most answers before a kill.
const ANSWERS: u64 = 300;

/// Whatever was acknowledged is there, reads were right, and watches go on without a gap.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_loses_nothing() {
    let dir = TempDir::new().expect("a directory");
    let (notes, mut random) = (Notes::new(), Random::new(9));
    let watchers = [Watcher::new(KeyRange::all()), Watcher::new(KeyRange::prefix("k/1"))];
    let kills = setting("PROOF_KILLS", KILLS);
    for round in 0..kills {
        let process = Process::start(&Place::alone(), dir.path());
        let address = process.address;
        let mut tasks = JoinSet::new();
        for client in 0..CLIENTS {
            let notes = notes.clone();
            tasks.spawn(async move {
                let mut client = Client::connect(address, notes, round * CLIENTS + client).await.expect("it serves");
                while client.step().await.is_ok() {}
            });
        }
        for watcher in watchers.clone() {
            // Ends when the process does.
            tasks.spawn(async move { drop(watcher.follow(address, u64::MAX).await) });
        }
        let enough = notes.answered() + 1 + random.below(ANSWERS);
        while notes.answered() < enough {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        process.kill();
        while let Some(ended) = tasks.join_next().await {
            ended.expect("a client does not fail");
        }
    }
    let process = Process::start(&Place::alone(), dir.path());
    let (operations, truth) = (notes.operations(), truth(process.address).await);
    revisions::check(&operations, &truth).unwrap_or_else(|problem| panic!("{problem}"));
    linearizability::check(&operations).unwrap_or_else(|problem| panic!("{problem}"));
    let newest = truth.keys().next_back().copied().expect("something was written");
    for watcher in watchers {
        watcher.follow(process.address, newest).await.expect("it goes on");
        watch::check(&watcher.followed(), &truth).unwrap_or_else(|problem| panic!("{problem}"));
    }
    println!("{kills} kills, {} requests, {} answered, {newest} revisions", operations.len(), notes.answered());
}
