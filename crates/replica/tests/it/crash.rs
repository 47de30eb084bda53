//! kill -9 under write load, again and again: what was acknowledged is there, and a watch goes on without a gap.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use keyspace::testing::{Random, events_until};
use keyspace::{KeyRange, Keyspace, KeyspaceExt, RangeRequest, WatchRequest};
use prometheus_client::registry::Registry;
use replica::{Config, Replica};
use tempfile::TempDir;

const ROUNDS: u64 = 20;
const WRITERS: u64 = 8;
/// Tells the child its directory and the round.
const CHILD_DIR: &str = "REPLICA_CRASH_DIR";
const CHILD_ROUND: &str = "REPLICA_CRASH_ROUND";

/// The writing process. It ends only by being killed, or when nobody reads what it prints.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by kill_loses_nothing as a process of its own"]
async fn write_until_killed() {
    let dir = std::env::var(CHILD_DIR).expect("run by kill_loses_nothing");
    let round = std::env::var(CHILD_ROUND).expect("run by kill_loses_nothing");
    let replica = Replica::open(Config::new(dir), &mut Registry::default()).await.expect("opens");
    let writers = (0..WRITERS).map(|writer| {
        let (replica, round) = (replica.clone(), round.clone());
        tokio::spawn(async move {
            for n in 0.. {
                let key = format!("{round}/{writer}/{n}");
                let revision = replica.put(key.clone(), vec![b'v'; 200]).await.expect("put");
                let mut out = std::io::stdout().lock();
                if writeln!(out, "acked {key} {revision}").and_then(|()| out.flush()).is_err() {
                    return;
                }
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("a writer does not fail");
    }
}

/// A process that is killed when the test ends, however it ends.
struct Victim(Child);

impl Victim {
    fn start(dir: &Path, round: u64) -> Self {
        let child = Command::new(std::env::current_exe().expect("this program"))
            .args(["crash::write_until_killed", "--exact", "--ignored", "--nocapture"])
            .env(CHILD_DIR, dir)
            .env(CHILD_ROUND, round.to_string())
            .stdout(Stdio::piped())
            .spawn();
        Victim(child.expect("starts"))
    }

    /// Reads acknowledgements until there are `count`, kills, and reads those that came before it died.
    fn kill_after(mut self, count: usize) -> BTreeMap<String, u64> {
        let mut acked = BTreeMap::new();
        let mut lines = BufReader::new(self.0.stdout.take().expect("piped")).lines();
        while acked.len() < count {
            let line = lines.next().expect("the child goes on").expect("reads");
            acked.extend(parse(&line));
        }
        self.0.kill().expect("is killed");
        // The last line may be cut short; then it has not been printed, and nothing is known of it.
        let rest: Vec<String> = lines.map_while(Result::ok).collect();
        let whole = rest.len().saturating_sub(1);
        acked.extend(rest[..whole].iter().filter_map(|line| parse(line)));
        acked
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The harness prints around what the child prints.
fn parse(line: &str) -> Option<(String, u64)> {
    let (key, revision) = line.split_once("acked ")?.1.split_once(' ')?;
    Some((key.to_owned(), revision.parse().ok()?))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_loses_nothing() {
    let temp = TempDir::new().expect("a directory");
    let dir = temp.path().join("keyspace");
    let mut random = Random::new(7);
    let mut acked: BTreeMap<String, u64> = BTreeMap::new();
    let mut watched: Vec<(u64, String)> = Vec::new();
    let mut resume = 2;
    for round in 0..ROUNDS {
        let victim = Victim::start(&dir, round);
        acked.extend(victim.kill_after(1 + random.below(400) as usize));
        let replica = Replica::open(Config::new(&dir), &mut Registry::default()).await.expect("opens after a kill");
        let there: BTreeMap<String, u64> = present(&replica).await;
        for (key, revision) in &acked {
            assert_eq!(there.get(key), Some(revision), "round {round}: acknowledged write of {key}");
        }
        let newest = replica.status().await.expect("status").revision;
        let mut watch = replica.watch(WatchRequest::new(KeyRange::all(), resume)).await.expect("resumes");
        for event in events_until(&mut watch, newest).await {
            watched.push((event.kv.mod_revision, String::from_utf8_lossy(&event.kv.key).into_owned()));
        }
        resume = newest + 1;
        drop(watch);
        let closed = replica.closed();
        replica.shutdown().await.expect("ends");
        drop(replica);
        closed.await;
    }
    let revisions: Vec<u64> = watched.iter().map(|(revision, _)| *revision).collect();
    assert_eq!(revisions, (2..resume).collect::<Vec<_>>(), "a resumed watch has gaps or repeats");
    for (key, revision) in &acked {
        let at = usize::try_from(revision - 2).expect("small");
        assert_eq!(watched[at], (*revision, key.clone()), "a watch saw another write at this revision");
    }
}

async fn present(replica: &Arc<Replica>) -> BTreeMap<String, u64> {
    let all = replica.range(RangeRequest::prefix("")).await.expect("range").kvs;
    all.into_iter().map(|kv| (String::from_utf8_lossy(&kv.key).into_owned(), kv.mod_revision)).collect()
}
