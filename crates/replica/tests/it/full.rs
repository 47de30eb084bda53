//! A disk without room: writes are refused with the reason, reads and deletes go on, and it heals by itself.

use std::fs::File;
use std::path::Path;

use keyspace::{EngineError, Error, Keyspace, KeyspaceExt, RangeRequest};
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
    assert_eq!(replica.range(RangeRequest::prefix("")).await.expect("reads go on").count, 2);
    replica.delete("b").await.expect("deletes go on");
    std::fs::remove_file(&ballast).expect("removes");
    drop(file);
    replica.put("c", "1").await.expect("there is room again");
    let closed = replica.closed();
    replica.shutdown().await.expect("ends");
    drop(replica);
    closed.await;
}
