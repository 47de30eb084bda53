//! What is acknowledged is durable, and what is replaced shows whole: on a disk whose syncs the test holds back, counts and
//! fails, and whose writes it holds up.

#![expect(clippy::disallowed_methods, reason = "tests start programs and tasks, and end them")]

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::stream::{FuturesUnordered, StreamExt};
use keyspace::testing::{PATIENCE, events_until};
use keyspace::{EngineError, Error as KeyspaceError, KeyRange, Keyspace, KeyspaceExt, RangeRequest, WatchRequest};
use parking_lot::{Condvar, Mutex};
use prometheus_client::registry::Registry;
use tempfile::TempDir;
use tokio::sync::Notify;

use crate::disk::{Change, Disk, DiskFile, Durable, Family, Records};
use crate::metrics::Metrics;
use crate::rocks::Rocks;
use crate::{Config, Error, Replica};

/// What the test does with syncs.
#[derive(Debug, Default)]
struct Gate {
    closed: bool,
    failing: bool,
    count: usize,
    held: VecDeque<Held>,
    /// Writes for this operation wait behind the first one.
    holds_up: Option<&'static str>,
    /// Such writes so far.
    passed: usize,
}

struct Held(Durable);

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Held")
    }
}

#[derive(Clone, Debug)]
struct Gated {
    disk: Arc<Rocks>,
    gate: Arc<Mutex<Gate>>,
    arrived: Arc<Notify>,
    /// Told when writes may go on.
    go_on: Arc<Condvar>,
}

fn broken() -> EngineError {
    let source = io::Error::from_raw_os_error(nix::errno::Errno::EIO as i32);
    EngineError::Io { operation: "sync the write-ahead log", source: Arc::new(source) }
}

impl Gated {
    async fn open(dir: &TempDir) -> (Self, Arc<Replica>) {
        std::fs::create_dir_all(dir.path().join("keyspace")).expect("makes");
        let disk = Rocks::open(&dir.path().join("keyspace"), Metrics::default()).expect("opens");
        let gated =
            Gated { disk: Arc::new(disk), gate: Arc::default(), arrived: Arc::default(), go_on: Arc::default() };
        let config = Config::new(dir.path().join("keyspace"));
        let replica = Replica::open_on(Box::new(gated.clone()), config, &mut Registry::default()).await;
        (gated, replica.expect("opens"))
    }

    /// Waits until a sync was asked for and is held.
    async fn hold(&self) {
        let held = async {
            while self.gate.lock().held.is_empty() {
                self.arrived.notified().await;
            }
        };
        tokio::time::timeout(PATIENCE, held).await.expect("something is synced");
    }

    /// Opens the gate; what was held is done, or fails.
    fn release(&self) {
        let held = {
            let mut gate = self.gate.lock();
            gate.closed = false;
            std::mem::take(&mut gate.held)
        };
        for Held(done) in held {
            self.sync_then(done);
        }
    }
}

impl Disk for Gated {
    fn view(&self) -> Box<dyn Records + '_> {
        self.disk.view()
    }

    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.disk.get(family, key)
    }

    fn write(&self, operation: &'static str, batch: Vec<Change>) -> Result<(), EngineError> {
        let mut gate = self.gate.lock();
        if gate.holds_up == Some(operation) {
            gate.passed += 1;
            if gate.passed > 1 {
                self.arrived.notify_one();
                self.go_on.wait_while(&mut gate, |gate| gate.holds_up.is_some());
            }
        }
        drop(gate);
        self.disk.write(operation, batch)
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.disk.sync()
    }

    fn sync_then(&self, done: Durable) {
        let mut gate = self.gate.lock();
        if gate.closed {
            gate.held.push_back(Held(done));
            self.arrived.notify_one();
        } else if gate.failing {
            drop(gate);
            done(Err(broken()));
        } else {
            gate.count += 1;
            drop(gate);
            self.disk.sync_then(done);
        }
    }

    fn run(&self, work: Box<dyn FnOnce() + Send>) {
        self.disk.run(work);
    }

    fn size_bytes(&self, family: Family) -> Result<u64, EngineError> {
        self.disk.size_bytes(family)
    }

    fn free_bytes(&self) -> Option<u64> {
        self.disk.free_bytes()
    }

    fn create_file(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.disk.create_file(name)
    }

    fn open_file(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.disk.open_file(name)
    }

    fn rename_file(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename_file(from, to)
    }

    fn remove_file(&self, name: &str) -> io::Result<()> {
        self.disk.remove_file(name)
    }
}

/// Nothing is acknowledged before its entry is synced, and what waits meanwhile shares the next sync.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_wait_for_the_disk_and_share_it() {
    let dir = TempDir::new().expect("a directory");
    let (gated, replica) = Gated::open(&dir).await;
    gated.gate.lock().closed = true;
    let mut puts: FuturesUnordered<_> = (0..500).map(|n| replica.put(format!("k{n}"), "x")).collect();
    assert!(puts.next().now_or_never().is_none());
    gated.hold().await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
        assert!(puts.next().now_or_never().is_none(), "acknowledged while nothing is durable");
    }
    let before = gated.gate.lock().count;
    gated.release();
    while let Some(put) = puts.next().await {
        put.expect("is durable");
    }
    let syncs = gated.gate.lock().count - before;
    assert!((1..=10).contains(&syncs), "500 writes took {syncs} syncs");
    replica.shutdown().await.expect("ends");
}

/// When a sync fails it is not known what is on the disk: nothing is acknowledged any more, and everybody is told why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_ends_writing() {
    let dir = TempDir::new().expect("a directory");
    let (gated, replica) = Gated::open(&dir).await;
    replica.put("before", "x").await.expect("is durable");
    let mut failed = Box::pin(replica.failed());
    assert!(failed.as_mut().now_or_never().is_none(), "nothing has failed");
    gated.gate.lock().failing = true;
    for n in 0..3 {
        let refused = replica.put(format!("after{n}"), "x").await.expect_err("is not durable");
        assert!(matches!(refused, KeyspaceError::Storage(EngineError::Io { .. })), "{refused:?}");
        // It does not come back by itself: the page cache may have dropped what the disk never got.
        gated.gate.lock().failing = false;
    }
    assert!(replica.get("before").await.expect("reads go on").is_some());
    let reason = tokio::time::timeout(PATIENCE, failed).await.expect("whoever runs it is told");
    assert!(matches!(reason, Error::Storage { source: EngineError::Io { .. }, .. }), "{reason:?}");
    drop(replica.shutdown().await);
}

/// While a snapshot takes the place of the state, readers are refused instead of being shown a part of it, and watchers
/// that are behind wait, and miss nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_sees_a_state_that_is_half_replaced() {
    use openraft::storage::RaftStateMachine;
    use tokio::io::AsyncSeekExt;

    let (from, to) = (TempDir::new().expect("a directory"), TempDir::new().expect("a directory"));
    let (_, source) = Gated::open(&from).await;
    for n in 0..1_500 {
        source.put(format!("new/{n:04}"), vec![7; 300]).await.expect("put");
    }
    let newest = source.status().await.expect("status").revision;
    let mut exported = source.parts.machine.clone().get_current_snapshot().await.expect("reads").expect("a state");
    exported.snapshot.seek(io::SeekFrom::End(0)).await.expect("is made");
    exported.snapshot.rewind().await.expect("rewinds");

    let (gated, replica) = Gated::open(&to).await;
    replica.put("old", "x").await.expect("put");
    let mut behind = replica.watch(WatchRequest::new(KeyRange::all(), 2)).await.expect("watch");
    gated.gate.lock().holds_up = Some("install a snapshot");
    let mut machine = replica.parts.machine.clone();
    let openraft::storage::Snapshot { meta, snapshot } = exported;
    let installing = tokio::spawn(async move { machine.install_snapshot(&meta, snapshot).await });
    tokio::time::timeout(PATIENCE, gated.arrived.notified()).await.expect("it is in the middle");

    let serializable = RangeRequest { serializable: true, ..RangeRequest::prefix("") };
    let refused = replica.range(serializable.clone()).await.expect_err("there is no whole state");
    assert!(matches!(refused, KeyspaceError::NoLeader { .. }), "{refused:?}");
    let mut events = Box::pin(events_until(&mut behind, newest));
    for _ in 0..200 {
        assert!(events.as_mut().now_or_never().is_none(), "history is not there yet");
        tokio::task::yield_now().await;
    }
    gated.gate.lock().holds_up = None;
    gated.go_on.notify_all();
    installing.await.expect("no panic").expect("installs");
    let revisions: Vec<u64> = events.await.iter().map(|event| event.kv.mod_revision).collect();
    assert_eq!(revisions, (2..=newest).collect::<Vec<_>>());
    assert_eq!(replica.range(serializable).await.expect("range").count, 1_500);
    drop(behind);
    for replica in [source, replica] {
        replica.shutdown().await.expect("ends");
    }
}
