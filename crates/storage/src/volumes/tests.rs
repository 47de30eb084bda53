use std::os::unix::fs::MetadataExt;

use super::*;

const OWNER: Ownership = Ownership { uid: 999, gid: 998, mode: 0o750 };

/// A root whose mounts go away with the test, however it ends.
struct Root {
    folder: tempfile::TempDir,
}

impl Root {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn open(&self) -> Volumes {
        Volumes::open(self.folder.path()).unwrap()
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        for point in mounts::below(&fs::canonicalize(self.folder.path()).unwrap()).unwrap() {
            mounts::unmount(&point).unwrap();
        }
    }
}

fn id(text: &str) -> Id {
    Id::new(text).unwrap()
}

fn request(text: &str) -> VolumeRequest {
    VolumeRequest { id: id(text), capacity_bytes: 1 << 20, ownership: OWNER, encrypted: false }
}

#[test]
fn create_is_idempotent_and_sets_the_owner_once() {
    let root = Root::new();
    let volumes = root.open();
    let made = volumes.create(&request("a")).unwrap();
    let meta = fs::metadata(volumes.path(&id("a"))).unwrap();
    assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o777), (999, 998, 0o750));

    fs::set_permissions(volumes.path(&id("a")), Permissions::from_mode(0o700)).unwrap();
    assert_eq!(volumes.create(&request("a")).unwrap(), made);
    assert_eq!(
        fs::metadata(volumes.path(&id("a"))).unwrap().mode() & 0o777,
        0o700,
        "an existing volume keeps its mode"
    );

    let bigger = VolumeRequest { capacity_bytes: 2 << 20, ..request("a") };
    assert!(matches!(volumes.create(&bigger), Err(Error::Differs { field: "capacity", .. })));
}

#[test]
fn published_files_are_the_volume_s_and_read_only_holds() {
    let root = Root::new();
    let volumes = root.open();
    volumes.create(&request("a")).unwrap();
    let writable = volumes.publish(&id("a"), &id("pod"), &id("data"), false).unwrap();
    let read_only = volumes.publish(&id("a"), &id("pod"), &id("again"), true).unwrap();
    fs::write(writable.join("x"), "1").unwrap();
    assert_eq!(fs::read_to_string(read_only.join("x")).unwrap(), "1");
    let refused = fs::write(read_only.join("y"), "").unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ReadOnlyFilesystem);
}

#[test]
fn publishing_twice_mounts_once() {
    let root = Root::new();
    let volumes = root.open();
    volumes.create(&request("a")).unwrap();
    for _ in 0..3 {
        volumes.publish(&id("a"), &id("pod"), &id("data"), false).unwrap();
    }
    let folder = fs::canonicalize(root.folder.path()).unwrap();
    assert_eq!(mounts::below(&folder).unwrap().len(), 1);
    volumes.unpublish(&id("pod"), &id("data")).unwrap();
    volumes.unpublish(&id("pod"), &id("data")).unwrap();
    assert_eq!(mounts::below(&folder).unwrap().len(), 0);
    assert!(!folder.join("publish/pod").exists());
}

#[test]
fn another_volume_replaces_a_stale_publication() {
    let root = Root::new();
    let volumes = root.open();
    volumes.create(&request("a")).unwrap();
    volumes.create(&request("b")).unwrap();
    volumes.publish(&id("a"), &id("pod"), &id("data"), false).unwrap();
    let path = volumes.publish(&id("b"), &id("pod"), &id("data"), false).unwrap();
    fs::write(path.join("x"), "").unwrap();
    assert!(volumes.path(&id("b")).join("x").exists());
    assert!(!volumes.path(&id("a")).join("x").exists());
}

#[test]
fn a_volume_in_use_is_not_deleted_and_the_error_names_the_pod() {
    let root = Root::new();
    let volumes = root.open();
    volumes.create(&request("a")).unwrap();
    let path = volumes.publish(&id("a"), &id("pod-1"), &id("data"), false).unwrap();
    fs::write(path.join("kept"), "").unwrap();
    let busy = volumes.delete(&id("a")).unwrap_err();
    assert!(busy.to_string().contains("pod pod-1"), "{busy}");
    assert!(path.join("kept").exists());

    volumes.unpublish_all(&id("pod-1")).unwrap();
    volumes.delete(&id("a")).unwrap();
    volumes.delete(&id("a")).unwrap();
    assert!(volumes.inventory().unwrap().is_empty());
    assert!(!volumes.path(&id("a")).exists());
}

#[test]
fn publishing_what_does_not_exist_says_so() {
    let root = Root::new();
    assert!(matches!(root.open().publish(&id("no"), &id("pod"), &id("data"), false), Err(Error::Missing { .. })));
}

#[test]
fn a_crash_in_creation_or_deletion_is_mended_at_start() {
    let root = Root::new();
    let volumes = root.open();
    volumes.create(&request("half-made")).unwrap();
    volumes.create(&request("half-gone")).unwrap();
    volumes.create(&request("whole")).unwrap();
    fs::write(volumes.path(&id("whole")).join("x"), "1").unwrap();
    fs::remove_dir(volumes.path(&id("half-made"))).unwrap();
    fs::remove_file(root.folder.path().join("inventory/half-gone.json")).unwrap();
    fs::write(root.folder.path().join("inventory/torn.tmp"), "{").unwrap();
    fs::create_dir(root.folder.path().join("inventory/unborn.new.tmp")).unwrap();

    let volumes = root.open();
    let ids: Vec<_> = volumes.inventory().unwrap().into_iter().map(|volume| volume.id.to_string()).collect();
    assert_eq!(ids, ["half-made", "whole"]);
    assert!(volumes.path(&id("half-made")).is_dir());
    assert!(!volumes.path(&id("half-gone")).exists());
    assert_eq!(fs::read_to_string(volumes.path(&id("whole")).join("x")).unwrap(), "1");
    assert!(!root.folder.path().join("inventory/torn.tmp").exists());
}

#[test]
fn a_damaged_description_is_named() {
    let root = Root::new();
    let volumes = root.open();
    volumes.create(&request("a")).unwrap();
    fs::write(root.folder.path().join("inventory/a.json"), "{\"id\":").unwrap();
    let error = volumes.publish(&id("a"), &id("pod"), &id("data"), false).unwrap_err();
    assert!(error.to_string().contains("a.json is damaged"), "{error}");
}

#[test]
fn sweep_removes_only_unknown_pods() {
    let root = Root::new();
    let volumes = root.open();
    volumes.create(&request("a")).unwrap();
    for pod in ["here", "gone"] {
        volumes.publish(&id("a"), &id(pod), &id("data"), false).unwrap();
    }
    let removed = volumes.sweep(|pod| pod.as_str() == "here").unwrap();
    assert_eq!(removed, [id("gone")]);
    let left: Vec<_> = volumes.publications().unwrap().into_iter().map(|p| p.pod.to_string()).collect();
    assert_eq!(left, ["here"]);
}

#[test]
fn an_encrypted_volume_needs_a_folder_for_keys() {
    let root = Root::new();
    let volumes = root.open();
    let refused = volumes.create(&VolumeRequest { encrypted: true, ..request("a") }).unwrap_err();
    assert!(matches!(refused, Error::NoKeys { .. }), "{refused}");
}

/// An encrypted volume as a crash in its deletion leaves it. Nothing is unlocked, so no program is needed.
fn half_deleted(root: &Root, keys: &Path) -> Volume {
    let volume = Volume { id: id("a"), capacity_bytes: 1, ownership: OWNER, encrypted: true, deleting: true };
    root.open().inventory.put(&volume).unwrap();
    fs::create_dir_all(keys).unwrap();
    fs::write(keys.join("a.key"), "key").unwrap();
    fs::write(root.folder.path().join("images/a"), "container").unwrap();
    fs::create_dir(root.folder.path().join("volumes/a")).unwrap();
    volume
}

#[test]
fn an_interrupted_deletion_of_an_encrypted_volume_takes_the_key_at_the_next_start() {
    let root = Root::new();
    let keys = root.folder.path().join("keys");
    half_deleted(&root, &keys);
    let volumes = root.open();
    assert!(keys.join("a.key").exists() && volumes.inventory().unwrap().is_empty());
    let volumes = volumes.with_keys(&keys).unwrap();
    assert!(!keys.join("a.key").exists() && !root.folder.path().join("images/a").exists());
    assert!(!volumes.path(&id("a")).exists() && volumes.inventory.get(&id("a")).unwrap().is_none());
}

#[test]
fn a_deletion_removes_key_and_container_before_it_forgets_the_volume() {
    let root = Root::new();
    let keys = root.folder.path().join("keys");
    let volume = half_deleted(&root, &keys);
    let volumes = Volumes { keys: Some(keys.clone()), ..root.open() };
    // The key cannot be removed: the description must remember it.
    fs::remove_file(keys.join("a.key")).unwrap();
    fs::create_dir(keys.join("a.key")).unwrap();
    assert!(volumes.delete(&id("a")).is_err());
    assert_eq!(volumes.inventory.get(&id("a")).unwrap(), Some(volume));
    fs::remove_dir(keys.join("a.key")).unwrap();
    volumes.delete(&id("a")).unwrap();
    assert!(!root.folder.path().join("images/a").exists());
}

#[test]
fn a_volume_that_is_being_deleted_is_neither_listed_nor_published() {
    let root = Root::new();
    let volumes = root.open();
    let made = volumes.create(&request("a")).unwrap();
    volumes.inventory.put(&Volume { deleting: true, ..made }).unwrap();
    assert!(volumes.inventory().unwrap().is_empty());
    assert!(matches!(volumes.publish(&id("a"), &id("pod"), &id("data"), false), Err(Error::Missing { .. })));
    fs::write(volumes.path(&id("a")).join("old"), "").unwrap();
    volumes.create(&request("a")).unwrap();
    assert_eq!(fs::read_dir(volumes.path(&id("a"))).unwrap().count(), 0, "made anew, it is empty");
}

#[test]
fn a_volume_of_another_kind_is_not_what_was_asked_for() {
    let root = Root::new();
    let volumes = root.open();
    volumes.create(&request("a")).unwrap();
    let sealed = VolumeRequest { encrypted: true, ..request("a") };
    assert!(matches!(volumes.create(&sealed), Err(Error::Differs { field: "encryption", .. })));
}

#[test]
fn a_folder_that_cannot_be_looked_at_is_not_made_anew() {
    let root = Root::new();
    let volumes = root.open();
    volumes.create(&request("a")).unwrap();
    let folder = root.folder.path().join("volumes");
    fs::rename(&folder, root.folder.path().join("aside")).unwrap();
    fs::write(&folder, "").unwrap();
    assert!(matches!(volumes.create(&request("a")), Err(Error::Io { action: "inspect", .. })));
    assert!(matches!(volumes.delete(&id("a")), Err(Error::Io { .. })));
}

#[test]
fn containers_that_belong_to_no_volume_are_removed_at_the_start() {
    let root = Root::new();
    drop(root.open());
    let images = root.folder.path().join("images");
    for name in ["gone", "unfinished.new"] {
        fs::write(images.join(name), "container").unwrap();
    }
    drop(root.open());
    assert_eq!(fs::read_dir(images).unwrap().count(), 0);
}
