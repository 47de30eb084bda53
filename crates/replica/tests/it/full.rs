//! A disk without room: writes are refused with the reason, reads and deletes go on, and it heals by itself.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use keyspace::testing::PATIENCE;
use keyspace::{
    Alarm, AlarmKind, Compare, Delete, EngineError, Error, KeyRange, Keyspace, KeyspaceExt, Op, Operand, Put,
    RangeRequest, Refusal, Relation, Txn,
};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use prometheus_client::registry::Registry;
use replica::config::RESERVED_BYTES;
use replica::{Config, Replica};
use tempfile::TempDir;

/// A file system of its own, unmounted however the test ends.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn new(bytes: u64) -> Self {
        let dir = TempDir::new().expect("a directory");
        let size = format!("size={bytes}");
        mount(Some("tmpfs"), dir.path(), Some("tmpfs"), MsFlags::empty(), Some(size.as_str()))
            .expect("mounts (needs root)");
        SmallDisk(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = umount2(self.0.path(), MntFlags::MNT_DETACH);
    }
}

/// Waits until exactly these alarms are on.
async fn alarms_become(replica: &Replica, wanted: &[Alarm]) {
    let reached = async {
        while replica.alarms().await.expect("alarms") != wanted {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.expect("the alarms become so");
}

/// At its quota the keyspace refuses what would grow it, on every member, until room was made and somebody clears the
/// alarm.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_refuses_growth_until_the_alarm_is_cleared() {
    let temp = TempDir::new().expect("a directory");
    let config = Config { quota_bytes: 24 * 1024 * 1024, ..Config::new(temp.path().join("keyspace")) };
    let replica = Replica::open(config, &mut Registry::default()).await.expect("opens");
    // What cannot be compressed, or the size would not follow.
    let mut random = keyspace::testing::Random::new(1);
    let mut value = || (0..100_000).map(|_| random.below(256) as u8).collect::<Vec<u8>>();
    let mut puts = 0;
    let refused = loop {
        match replica.put(format!("k/{puts:04}"), value()).await {
            Ok(_) => puts += 1,
            Err(error) => break error,
        }
        assert!(puts < 240, "the quota was never reached");
    };
    assert!(matches!(refused, Error::Refused(Refusal::NoSpace { member: 1 })), "{refused:?}");
    assert!(puts > 60, "refused after {puts} puts of 100 kB, of which each takes twice that");
    let alarm = Alarm { member: 1, kind: AlarmKind::NoSpace };
    alarms_become(&replica, &[alarm]).await;
    let status = replica.status().await.expect("status");
    assert_eq!((status.quota_bytes, status.alarms), (24 * 1024 * 1024, vec![alarm]));
    assert_eq!(replica.range(RangeRequest::prefix("k/")).await.expect("reads go on").count, puts);
    replica.put("small", "x").await.expect_err("nothing grows while the alarm is on");

    replica.alarm_clear(alarm).await.expect("clears");
    let put = Put { key: "k/large".into(), value: vec![7; 1_000_000].into(), ..Put::default() };
    replica.txn(Txn::run([Op::Put(put)])).await.expect_err("it is as full as before");
    alarms_become(&replica, &[alarm]).await;

    let last = replica.txn(Txn::run([Op::Delete(Delete { range: KeyRange::prefix("k/"), prev: false })]));
    replica.compact(last.await.expect("deletes go on").revision).await.expect("compactions go on");
    replica.hash_kv(0).await.expect("carries the compaction out");
    replica.defragment().await.expect("gives room back");
    let size = replica.status().await.expect("status").size_bytes;
    assert!(size < 12 * 1024 * 1024, "{size} bytes are left of a keyspace without keys");
    replica.alarm_clear(alarm).await.expect("clears");
    replica.put("k/0", value()).await.expect("there is room");
    assert_eq!(replica.alarms().await.expect("alarms"), []);
    let closed = replica.closed();
    replica.shutdown().await.expect("ends");
    drop(replica);
    closed.await;
}

/// What was there before a restart counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_is_not_given_anew_with_each_start() {
    const QUOTA: u64 = 16 * 1024 * 1024;
    let temp = TempDir::new().expect("a directory");
    let config = Config { quota_bytes: QUOTA, ..Config::new(temp.path().join("keyspace")) };
    let mut random = keyspace::testing::Random::new(2);
    let mut puts = 0;
    for _ in 0..4 {
        let replica = Replica::open(config.clone(), &mut Registry::default()).await.expect("opens");
        for _ in 0..40 {
            let value: Vec<u8> = (0..100_000).map(|_| random.below(256) as u8).collect();
            if replica.put(format!("k/{puts:04}"), value).await.is_err() {
                break;
            }
            puts += 1;
        }
        let closed = replica.closed();
        replica.shutdown().await.expect("ends");
        drop(replica);
        closed.await;
    }
    // Each takes twice its size.
    assert!((40..=QUOTA / 200_000 + 10).contains(&puts), "{puts} puts of 100 kB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_writes_until_there_is_room() {
    let disk = SmallDisk::new(RESERVED_BYTES + 32 * 1024 * 1024);
    let replica = Replica::open(Config::new(disk.path().join("keyspace")), &mut Registry::default()).await;
    let replica = replica.expect("opens");
    replica.put("a", "1").await.expect("there is room");
    replica.put("b", "1").await.expect("there is room");
    let ballast = disk.path().join("ballast");
    let file = File::create(&ballast).expect("creates");
    nix::fcntl::posix_fallocate(&file, 0, 48 * 1024 * 1024).expect("takes the room");
    let refused = replica.put("c", "1").await.expect_err("no room");
    assert!(matches!(refused, Error::Storage(EngineError::NoSpace { .. })), "{refused:?}");
    replica.put("a", "2").await.expect("what is there can be marked, such as to be deleted");
    let alarm = Alarm { member: 1, kind: AlarmKind::DiskFull };
    alarms_become(&replica, &[alarm]).await;
    assert_eq!(replica.range(RangeRequest::prefix("")).await.expect("reads go on").count, 2);
    replica.delete("b").await.expect("deletes go on");
    std::fs::remove_file(&ballast).expect("removes");
    drop(file);
    alarms_become(&replica, &[]).await;
    replica.put("c", "1").await.expect("there is room again");
    let closed = replica.closed();
    replica.shutdown().await.expect("ends");
    drop(replica);
    closed.await;
}

/// A disk that others fill to the last byte: writes wait, reads go on, and when there is room everything goes on by
/// itself, nothing lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_without_a_byte_left_heals_by_itself() {
    let disk = SmallDisk::new(RESERVED_BYTES + 32 * 1024 * 1024);
    let replica = Replica::open(Config::new(disk.path().join("keyspace")), &mut Registry::default()).await;
    let replica = replica.expect("opens");
    for n in 0..20 {
        replica.put(format!("k{n:02}"), vec![7; 50_000]).await.expect("there is room");
    }
    let ballast = disk.path().join("ballast");
    let mut file = File::create(&ballast).expect("creates");
    while std::io::Write::write(&mut file, &[0; 65_536]).is_ok_and(|written| written > 0) {}
    // Deletes are let through, and meet the full disk when they are written: a compared value makes them large.
    let deleting = tokio::spawn({
        let replica = replica.clone();
        async move {
            for n in 0..10 {
                let key = format!("k{n:02}");
                let other = Operand::Value(vec![9; 1_000_000].into());
                let differs =
                    Compare { range: KeyRange::key(key.clone()), relation: Relation::NotEqual, operand: other };
                let txn = Txn::when([differs]).then([Op::delete(key)]);
                assert!(replica.txn(txn).await.expect("is done in the end").succeeded);
            }
        }
    });
    for n in 10..20 {
        assert!(replica.get(format!("k{n}")).await.expect("reads go on").is_some());
    }
    drop(file);
    std::fs::remove_file(&ballast).expect("removes");
    tokio::time::timeout(PATIENCE, deleting).await.expect("goes on by itself").expect("does not fail");
    // The alarm may come late, and goes again.
    let written = async {
        while replica.put("after", "x").await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, written).await.expect("there is room again");
    let closed = replica.closed();
    replica.shutdown().await.expect("ends");
    drop(replica);
    closed.await;
    let replica = Replica::open(Config::new(disk.path().join("keyspace")), &mut Registry::default()).await;
    let replica = replica.expect("opens");
    assert_eq!(replica.range(RangeRequest::prefix("k")).await.expect("reads").count, 10);
    assert!(replica.get("after").await.expect("reads").is_some());
    let closed = replica.closed();
    replica.shutdown().await.expect("ends");
    drop(replica);
    closed.await;
}
