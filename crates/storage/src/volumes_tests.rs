use std::{os::unix::fs::MetadataExt as _, thread};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

use super::*;

/// Runs a test in a mount namespace of its own: mounts go away with the thread, also when it panics.
fn with_mounts(test: impl FnOnce(&Path) + Send + 'static) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("csi");
    let thread = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS).unwrap();
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
        test(&root);
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn id(name: &str) -> VolumeId {
    VolumeId::new(name).unwrap()
}

fn pod(name: &str) -> PodId {
    PodId::new(name).unwrap()
}

fn request(name: &str) -> CreateRequest {
    CreateRequest { id: id(name), capacity: 1 << 30, owner: None }
}

#[test]
fn a_volume_lives_from_create_to_delete() {
    with_mounts(|root| {
        let volumes = Volumes::open(root).unwrap();
        let data = volumes.create(&request("data")).unwrap();
        assert_eq!(volumes.create(&request("data")).unwrap(), data);
        let target = volumes.publish(&id("data"), &pod("p1"), Access::ReadWrite).unwrap();
        assert_eq!(volumes.publish(&id("data"), &pod("p1"), Access::ReadWrite).unwrap(), target);
        fs::write(target.join("file"), "x").unwrap();
        assert_eq!(fs::read_to_string(data.join("file")).unwrap(), "x");

        match volumes.delete(&id("data")) {
            Err(Error::Busy { pods, .. }) => assert_eq!(pods, ["p1"]),
            other => panic!("{other:?}"),
        }
        // The server starts again: the mount is known without any memory of it.
        let volumes = Volumes::open(root).unwrap();
        assert_eq!(volumes.inventory().unwrap()[0].pods, ["p1"]);
        volumes.unpublish(&id("data"), &pod("p1")).unwrap();
        volumes.unpublish(&id("data"), &pod("p1")).unwrap();
        assert!(!target.exists() && data.join("file").exists());
        volumes.delete(&id("data")).unwrap();
        volumes.delete(&id("data")).unwrap();
        assert_eq!(fs::read_dir(root.join("volumes")).unwrap().count(), 0);
        assert_eq!(fs::read_dir(root.join("publish")).unwrap().count(), 0);
    });
}

#[test]
fn read_only_means_it_also_for_root_and_access_does_not_change_silently() {
    with_mounts(|root| {
        let volumes = Volumes::open(root).unwrap();
        volumes.create(&request("data")).unwrap();
        let target = volumes.publish(&id("data"), &pod("p1"), Access::ReadOnly).unwrap();
        let error = fs::write(target.join("file"), "x").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ReadOnlyFilesystem);
        let other = volumes.publish(&id("data"), &pod("p1"), Access::ReadWrite);
        assert!(matches!(other, Err(Error::Access { .. })));
        let writer = volumes.publish(&id("data"), &pod("p2"), Access::ReadWrite).unwrap();
        fs::write(writer.join("file"), "x").unwrap();
        assert_eq!(fs::read_to_string(target.join("file")).unwrap(), "x");
    });
}

#[test]
fn sweep_unmounts_only_what_belongs_to_nobody() {
    with_mounts(|root| {
        let volumes = Volumes::open(root).unwrap();
        for name in ["a", "b"] {
            volumes.create(&request(name)).unwrap();
        }
        for (volume, who) in [("a", "gone"), ("b", "gone"), ("a", "alive")] {
            volumes.publish(&id(volume), &pod(who), Access::ReadWrite).unwrap();
        }
        // A crash may publish twice.
        mounts::bind(&root.join("volumes/a"), &root.join("publish/gone/a"), false).unwrap();
        assert_eq!(volumes.sweep(&BTreeSet::from([pod("alive")])).unwrap(), ["gone"]);
        let pods: Vec<Vec<String>> = volumes.inventory().unwrap().into_iter().map(|v| v.pods).collect();
        assert_eq!(pods, [vec!["alive".to_owned()], vec![]]);
        assert!(!root.join("publish/gone").exists());
        volumes.unpublish_all(&pod("alive")).unwrap();
        assert!(!root.join("publish/alive").exists());
    });
}

#[test]
fn the_first_owner_stays() {
    let dir = tempfile::tempdir().unwrap();
    let volumes = Volumes::open(dir.path()).unwrap();
    let path = volumes.create(&request("data")).unwrap();
    let owner = |uid| Owner { uid, gid: 7, mode: 0o750 };
    assert!(volumes.set_owner(&id("data"), owner(1001)).unwrap());
    assert!(!volumes.set_owner(&id("data"), owner(1002)).unwrap());
    let meta = fs::metadata(&path).unwrap();
    assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (1001, 7, 0o750));
    let used = volumes.create(&request("used")).unwrap();
    fs::write(used.join("file"), "").unwrap();
    assert!(!volumes.set_owner(&id("used"), owner(1001)).unwrap());
    assert!(matches!(volumes.set_owner(&id("none"), owner(1)), Err(Error::NotFound(_))));
}

#[test]
fn another_capacity_is_a_conflict_and_a_missing_volume_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let volumes = Volumes::open(dir.path()).unwrap();
    volumes.create(&request("data")).unwrap();
    let other = CreateRequest { capacity: 5, ..request("data") };
    assert!(matches!(volumes.create(&other), Err(Error::Conflict { existing: 0x4000_0000, requested: 5, .. })));
    assert!(matches!(volumes.publish(&id("none"), &pod("p"), Access::ReadOnly), Err(Error::NotFound(_))));
}

#[test]
fn every_crash_point_is_finished_by_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let volumes = Volumes::open(root).unwrap();
    // Create was cut off after the record, and between directory and rename.
    Record { id: id("cut"), capacity: 1 << 30, owner: None }.write(&root.join("volumes/cut.json")).unwrap();
    fs::create_dir(root.join("volumes/.unfinished-cut")).unwrap();
    // Delete was cut off after the record; a record was cut off before its rename.
    fs::create_dir_all(root.join("volumes/.unfinished-old/deep")).unwrap();
    fs::write(root.join("volumes/x.tmp"), "{").unwrap();
    drop(volumes);
    let volumes = Volumes::open(root).unwrap();
    assert!(volumes.create(&request("cut")).unwrap().is_dir());
    let names: Vec<String> = entries(&root.join("volumes")).unwrap().into_iter().map(|(n, _)| n).collect();
    assert_eq!(names, ["cut", "cut.json"]);
}

#[test]
fn a_full_disk_is_told_apart() {
    with_mounts(|root| {
        fs::create_dir_all(root).unwrap();
        mount(Some("tmpfs"), root, Some("tmpfs"), MsFlags::empty(), Some("nr_inodes=6,size=64k")).unwrap();
        let volumes = Volumes::open(root).unwrap();
        let error = (0..8).find_map(|n| volumes.create(&request(&format!("v{n}"))).err()).unwrap();
        assert!(matches!(error, Error::DiskFull { .. }), "{error:?}");
    });
}
