//! The stores against openraft's suite, the replica against the keyspace's contract, and damage of all kinds.

#![expect(clippy::disallowed_methods, reason = "tests start programs and tasks, and end them")]

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keyspace::testing::{against_model, contract, events_until};
use keyspace::{
    Compare, EngineError, Error as KeyspaceError, KeyRange, Keyspace, KeyspaceExt, Op, RangeRequest, Txn, WatchRequest,
};
use openraft::testing::{StoreBuilder, Suite};
use prometheus_client::registry::Registry;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::sync::Notify;

use crate::disk::{AsyncFile, Change, DiskFile, Family};
use crate::log_store::LogStore;
use crate::metrics::Metrics;
use crate::rocks::Rocks;
use crate::state_machine::StateMachine;
use crate::store::{StateEngine, Store};
use crate::types::{StorageError, TypeConfig};
use crate::{Config, Error, Replica};

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, StateMachine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError> {
        let dir = TempDir::new().expect("a directory");
        let rocks = Rocks::open(dir.path(), Metrics::default()).expect("a new database");
        let store = Arc::new(Store::new(Box::new(rocks), dir.path()));
        let engine = Arc::new(StateEngine::new(store.clone()));
        let machine = StateMachine::open(engine, Metrics::default()).expect("an empty state");
        let log = LogStore::open(store, Arc::new(Notify::new())).expect("an empty log");
        Ok((dir, log, machine))
    }
}

#[test]
fn openraft_suite() {
    Suite::test_all(Builder).expect("the stores keep openraft's contract");
}

fn config(dir: &TempDir) -> Config {
    Config::new(dir.path().join("keyspace"))
}

async fn open(config: &Config) -> Arc<Replica> {
    Replica::open(config.clone(), &mut Registry::default()).await.expect("the replica opens")
}

/// Shuts down, and waits until the directory is free.
async fn close(replica: Arc<Replica>) {
    let closed = replica.closed();
    replica.shutdown().await.expect("a clean end");
    drop(replica);
    closed.await;
}

macro_rules! promises {
    ($($name:ident),* $(,)?) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let dir = TempDir::new().expect("a directory");
            let replica = open(&config(&dir)).await;
            contract::$name(replica.clone()).await;
            close(replica).await;
        })*
    };
}

keyspace::promises!(promises);
keyspace::own_promises!(promises);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_histories_agree_with_the_model() {
    for seed in 1_000..1_004 {
        let dir = TempDir::new().expect("a directory");
        let replica = open(&config(&dir)).await;
        against_model(replica.clone(), seed, 400).await;
        close(replica).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_survives_a_restart() {
    let dir = TempDir::new().expect("a directory");
    let replica = open(&config(&dir)).await;
    let lease = replica.lease_grant(0, 1_000).await.expect("grant");
    for n in 0..300 {
        replica.put(format!("k{}", n % 50), format!("{n}")).await.expect("put");
    }
    replica.compact(100).await.expect("compact");
    let before = replica.status().await.expect("status");
    let all = replica.range(RangeRequest::prefix("")).await.expect("range");
    let old = replica.range(RangeRequest::prefix("").at(150)).await.expect("range");
    close(replica).await;

    let replica = open(&config(&dir)).await;
    let after = replica.status().await.expect("status");
    assert_eq!((after.revision, after.compact_revision, after.leases), (before.revision, before.compact_revision, 1));
    assert!(after.term > before.term, "it is elected anew");
    assert_eq!(replica.range(RangeRequest::prefix("")).await.expect("range"), all);
    assert_eq!(replica.range(RangeRequest::prefix("").at(150)).await.expect("range"), old);
    assert_eq!(replica.leases().await.expect("leases"), [lease.id]);
    let mut watch = replica.watch(WatchRequest::new(KeyRange::all(), 100)).await.expect("watch");
    let events = events_until(&mut watch, before.revision).await;
    let revisions: Vec<u64> = events.iter().map(|event| event.kv.mod_revision).collect();
    assert_eq!(revisions, (100..=before.revision).collect::<Vec<_>>());
    drop(watch);
    assert_eq!(replica.put("next", "x").await.expect("put"), before.revision + 1);
    close(replica).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_log_and_a_snapshot_survive_a_restart() {
    let dir = TempDir::new().expect("a directory");
    let replica = open(&config(&dir)).await;
    let entries = crate::config::KEEP_LOG_ENTRIES + 50;
    for n in 0..entries {
        replica.put("k", format!("{n}")).await.expect("put");
    }
    let raft = replica.parts.raft.clone();
    raft.trigger().snapshot().await.expect("raft runs");
    let purged = raft.wait(None).metrics(|metrics| metrics.purged.is_some(), "the log is cut").await;
    assert!(purged.expect("raft runs").purged.expect("cut").index >= 40);
    let files = std::fs::read_dir(dir.path().join("keyspace/snapshots")).expect("lists");
    assert_eq!(files.count(), 0, "the state is not copied");
    let kept = replica.get("k").await.expect("get");
    close(replica).await;

    let replica = open(&config(&dir)).await;
    assert_eq!(replica.get("k").await.expect("get"), kept);
    replica.put("k", "more").await.expect("put");
    close(replica).await;
}

/// An older version copied the state to a file before it cut the log; the log was cut behind that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_snapshot_of_an_older_version_says_where_the_log_was_cut() {
    use openraft::storage::RaftStateMachine;

    let dir = TempDir::new().expect("a directory");
    let replica = open(&config(&dir)).await;
    replica.put("k", "x").await.expect("put");
    let mut machine = replica.parts.machine.clone();
    assert_eq!(machine.noted().expect("reads"), None);
    let mut exported = machine.get_current_snapshot().await.expect("reads").expect("there is a state");
    exported.snapshot.seek(SeekFrom::End(0)).await.expect("is made");
    let files = dir.path().join("keyspace/snapshots");
    std::fs::rename(files.join("exported"), files.join("current")).expect("renames");
    assert_eq!(machine.noted().expect("reads"), Some(exported.meta));
    drop((machine, exported.snapshot));
    close(replica).await;
    close(open(&config(&dir)).await).await;
}

fn async_file(file: File) -> Box<dyn AsyncFile> {
    DiskFile::into_async(Box::new(file))
}

/// A snapshot of one state replaces another, also when that is interrupted; a damaged one is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_replace_the_state() {
    use openraft::storage::RaftStateMachine;

    let (from, to) = (TempDir::new().expect("a directory"), TempDir::new().expect("a directory"));
    let replica = open(&config(&from)).await;
    for n in 0..2_000 {
        replica.put(format!("new/{n}"), vec![7; 300]).await.expect("put");
    }
    let wanted = replica.range(RangeRequest::prefix("")).await.expect("range");
    let exported = replica.parts.machine.clone().get_current_snapshot().await;
    let mut exported = exported.expect("reads").expect("there is a state");
    let mut bytes = Vec::new();
    exported.snapshot.read_to_end(&mut bytes).await.expect("is made");
    exported.snapshot.rewind().await.expect("rewinds");
    close(replica).await;

    let replica = open(&config(&to)).await;
    replica.put("old", "x").await.expect("put");
    let mut machine = replica.parts.machine.clone();
    for damage in [0, 9, bytes.len() / 2, bytes.len() - 1] {
        let mut damaged = bytes.clone();
        damaged[damage] ^= 4;
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(&damaged).expect("writes");
        let refused = machine.install_snapshot(&exported.meta, Box::new(async_file(file))).await;
        refused.expect_err("a damaged snapshot is refused");
        assert!(replica.get("old").await.expect("get").is_some(), "and touches nothing");
    }
    let mut watch = replica.watch(WatchRequest::new(KeyRange::all(), 0)).await.expect("watch");
    let empty = Box::new(async_file(tempfile::tempfile().expect("a file")));
    let file = std::mem::replace(&mut exported.snapshot, empty);
    machine.install_snapshot(&exported.meta, file).await.expect("installs");
    assert_eq!(replica.range(RangeRequest::prefix("")).await.expect("range").kvs, wanted.kvs);
    let events = events_until(&mut watch, wanted.revision).await;
    assert_eq!(events.len() as u64, wanted.revision - 2, "watchers go on from the history in the snapshot");
    let noted = replica.parts.machine.noted().expect("reads").expect("is noted");
    assert_eq!(noted, exported.meta, "up to there the log can be cut");
    drop((machine, watch));
    close(replica).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_is_for_one_process_and_one_member() {
    let dir = TempDir::new().expect("a directory");
    let replica = open(&config(&dir)).await;
    let second = Replica::open(config(&dir), &mut Registry::default()).await;
    assert!(matches!(second, Err(Error::Locked { .. })), "{second:?}");
    close(replica).await;
    let other = Config { node_id: 2, ..config(&dir) };
    let other = Replica::open(other, &mut Registry::default()).await;
    assert!(matches!(other, Err(Error::Identity { found: 1, configured: 2, .. })), "{other:?}");
    let nobody = Replica::open(Config { node_id: 0, ..config(&dir) }, &mut Registry::default()).await;
    assert!(matches!(nobody, Err(Error::NoIdentity)), "{nobody:?}");
    close(open(&config(&dir)).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_shutdown_everything_says_closed() {
    let dir = TempDir::new().expect("a directory");
    let replica = open(&config(&dir)).await;
    let mut watch = replica.watch(WatchRequest::new(KeyRange::all(), 0)).await.expect("watch");
    replica.shutdown().await.expect("a clean end");
    replica.shutdown().await.expect("twice is harmless");
    assert!(matches!(replica.get("k").await, Err(KeyspaceError::Closed)));
    assert!(matches!(replica.put("k", "x").await, Err(KeyspaceError::Closed)));
    assert!(matches!(keyspace::testing::next(&mut watch).await, Err(KeyspaceError::Closed)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_it_frees_the_directory() {
    let dir = TempDir::new().expect("a directory");
    let replica = open(&config(&dir)).await;
    replica.put("k", "x").await.expect("put");
    let closed = replica.closed();
    drop(replica);
    closed.await;
    let replica = open(&config(&dir)).await;
    assert!(replica.get("k").await.expect("get").is_some());
    close(replica).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_move() {
    let dir = TempDir::new().expect("a directory");
    let mut registry = Registry::default();
    let replica = Replica::open(config(&dir), &mut registry).await.expect("opens");
    let watch = replica.watch(WatchRequest::new(KeyRange::all(), 0)).await.expect("watch");
    let puts = (0..50).map(|n| replica.put(format!("k{n}"), "x"));
    futures::future::try_join_all(puts).await.expect("puts");
    let value = |name: &str| -> f64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("encodes");
        let line = text.lines().find(|line| line.starts_with(&format!("nanocloud_keyspace_{name} ")));
        let line = line.unwrap_or_else(|| panic!("no {name} in\n{text}"));
        line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number")
    };
    // Writers are answered a moment before they are counted as done.
    while value("queue_active") > 0.0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(value("queue_wait_seconds_count"), 50.0);
    assert_eq!(value("batch_commands_sum"), 50.0);
    assert!(value("batch_commands_count") < 50.0, "writers at once share log entries");
    assert!(value("log_fsync_seconds_count") >= 1.0);
    assert!(value("apply_seconds_count") >= value("batch_commands_count"));
    assert_eq!((value("queue_depth"), value("queue_active"), value("watchers")), (0.0, 0.0, 1.0));
    drop(watch);
    close(replica).await;
}

/// A record that is not what was written at its place is named and not served; the others are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_record_is_named() {
    let dir = TempDir::new().expect("a directory");
    let replica = open(&config(&dir)).await;
    for key in ["a", "b", "c"] {
        replica.put(key, "right").await.expect("put");
    }
    let disk = replica.parts.store.disk();
    // Table 1 holds the newest versions; give "b" the record of "a".
    let value = disk.get(Family::State, b"\x01a").expect("reads").expect("there").to_vec();
    disk.write("damage", vec![Change::Put { family: Family::State, key: b"\x01b".into(), value }]).expect("writes");
    let error = replica.get("b").await.expect_err("not served");
    let KeyspaceError::Storage(EngineError::Corrupt { what, .. }) = &error else { panic!("{error:?}") };
    assert_eq!(what, "record b of table Current");
    assert!(replica.range(RangeRequest::prefix("")).await.is_err(), "nor in a range");
    let swap = Txn::when([Compare::present("b")]).then([Op::put("c", "wrong")]);
    assert!(
        matches!(replica.txn(swap).await, Err(KeyspaceError::Storage(EngineError::Corrupt { .. }))),
        "nor decided upon"
    );
    assert_eq!(replica.get("a").await.expect("get").expect("there").value, "right");
    close(replica).await;
}

fn files(dir: &Path, suffix: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path());
    let mut found: Vec<PathBuf> = entries.filter(|path| path.to_string_lossy().ends_with(suffix)).collect();
    found.sort();
    found
}

fn flip(path: &Path, offset: u64) {
    let mut file = File::options().read(true).write(true).open(path).expect("opens");
    let mut byte = [0];
    file.seek(SeekFrom::Start(offset)).expect("seeks");
    file.read_exact(&mut byte).expect("reads");
    file.seek(SeekFrom::Start(offset)).expect("seeks");
    file.write_all(&[byte[0] ^ 0x10]).expect("writes");
}

/// A flipped byte in the write-ahead log is noticed at start: acknowledged writes do not silently go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_byte_in_the_log_is_noticed() {
    let dir = TempDir::new().expect("a directory");
    let replica = open(&config(&dir)).await;
    for n in 0..200 {
        replica.put(format!("k{n}"), vec![b'x'; 100]).await.expect("put");
    }
    close(replica).await;
    let wal = files(&dir.path().join("keyspace/db"), ".log").pop().expect("a write-ahead log");
    let length = wal.metadata().expect("metadata").len();
    for part in [1, 2, 3] {
        let offset = length * part / 4;
        flip(&wal, offset);
        let damaged = Replica::open(config(&dir), &mut Registry::default()).await;
        assert!(
            matches!(damaged, Err(Error::Storage { source: EngineError::Corrupt { .. }, .. })),
            "byte {offset} of {length}: {damaged:?}"
        );
        flip(&wal, offset);
    }
    let replica = open(&config(&dir)).await;
    assert!(replica.get("k199").await.expect("get").is_some(), "undamaged again, it opens");
    close(replica).await;
}

/// An end of the write-ahead log that a crash cut short is no damage.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_end_of_the_log_is_fine() {
    let dir = TempDir::new().expect("a directory");
    let replica = open(&config(&dir)).await;
    for n in 0..50 {
        replica.put(format!("k{n}"), "x").await.expect("put");
    }
    close(replica).await;
    let wal = files(&dir.path().join("keyspace/db"), ".log").pop().expect("a write-ahead log");
    let length = wal.metadata().expect("metadata").len();
    File::options().write(true).open(&wal).expect("opens").set_len(length - 3).expect("truncates");
    let replica = open(&config(&dir)).await;
    assert_eq!(replica.range(RangeRequest::prefix("k")).await.expect("range").count, 50, "the log had it all");
    close(replica).await;
}

/// Wherever a byte of a table file flips: what is answered is right, or an error.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_byte_in_a_table_is_never_served() {
    let dir = TempDir::new().expect("a directory");
    let replica = open(&config(&dir)).await;
    for n in 0..300 {
        replica.put(format!("k{n:03}"), format!("value {n} {}", "x".repeat(100))).await.expect("put");
    }
    let right = replica.range(RangeRequest::prefix("k")).await.expect("range").kvs;
    close(replica).await;
    Rocks::open(&dir.path().join("keyspace"), Metrics::default()).expect("opens").flush(Family::State);
    let table = files(&dir.path().join("keyspace/db"), ".sst")
        .into_iter()
        .max_by_key(|path| path.metadata().expect("metadata").len())
        .expect("a table file");
    let length = table.metadata().expect("metadata").len();
    let table = table.strip_prefix(dir.path()).expect("below").to_owned();
    let mut noticed = 0;
    for part in 0..12 {
        let offset = length * part / 12 + 7;
        // A copy for each: opening writes, and may replace the table.
        let copy = TempDir::new().expect("a directory");
        let copied =
            std::process::Command::new("cp").arg("-a").arg(dir.path().join("keyspace")).arg(copy.path()).status();
        assert!(copied.expect("cp").success());
        flip(&copy.path().join(&table), offset);
        match Replica::open(config(&copy), &mut Registry::default()).await {
            Err(error) => {
                // Becoming leader again writes: then Raft meets the record first, and stops.
                assert!(matches!(error, Error::Storage { .. } | Error::Raft { .. }), "{error:?}");
                noticed += 1;
            }
            Ok(replica) => {
                match replica.range(RangeRequest::prefix("k")).await {
                    Ok(answer) => assert_eq!(answer.kvs, right, "byte {offset}: wrong data was served"),
                    Err(error) => {
                        assert!(matches!(error, KeyspaceError::Storage(EngineError::Corrupt { .. })), "{error:?}");
                        noticed += 1;
                    }
                }
                close(replica).await;
            }
        }
    }
    assert!(noticed > 0, "no flip hit what is read");
}

/// What a process that was killed left half written is removed; what others keep there is not.
#[test]
fn leftovers_are_removed_at_the_start() {
    let dir = TempDir::new().expect("a directory");
    let open = || Rocks::open(dir.path(), Metrics::default()).expect("opens");
    drop(open());
    let kept = ["notes", "snapshots/current", "snapshots/exported"];
    let leftovers = ["zz.tmp", "x.partial", "snapshots/zz.tmp", "snapshots/exporting.partial"];
    for name in kept.iter().chain(&leftovers) {
        std::fs::write(dir.path().join(name), "x").expect("writes");
    }
    drop(open());
    let is_there = |name: &&&str| dir.path().join(name).exists();
    assert_eq!(leftovers.iter().filter(is_there).count(), 0);
    assert_eq!(kept.iter().filter(is_there).count(), kept.len());
}

/// A record that cannot be read is an alarm about this member, and what else there is can be read and written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_that_is_met_is_an_alarm_of_the_member() {
    let dir = TempDir::new().expect("a directory");
    let replica = open(&config(&dir)).await;
    for key in ["a", "b"] {
        replica.put(key, "right").await.expect("put");
    }
    let disk = replica.parts.store.disk();
    let value = disk.get(Family::State, b"\x01a").expect("reads").expect("there").to_vec();
    disk.write("damage", vec![Change::Put { family: Family::State, key: b"\x01b".into(), value }]).expect("writes");
    replica.get("b").await.expect_err("not served");
    let alarm = keyspace::Alarm { member: 1, kind: keyspace::AlarmKind::Damaged };
    let told = async {
        while replica.alarms().await.expect("alarms") != [alarm] {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(keyspace::testing::PATIENCE, told).await.expect("is told");
    assert!(replica.get("a").await.expect("get").is_some());
    replica.put("c", "x").await.expect("writes go on");
    close(replica).await;
}
