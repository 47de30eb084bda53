use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

/// A directory for one volume, with something beside it that must never be touched.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("outside")).unwrap();
        fs::write(dir.path().join("outside/kept"), "untouched").unwrap();
        fs::set_permissions(dir.path().join("outside"), fs::Permissions::from_mode(0o700)).unwrap();
        Self { dir }
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("v")
    }

    fn outside(&self) -> PathBuf {
        self.dir.path().join("outside")
    }

    fn write(&self, list: &[(&str, &str)], owner: Owner) -> Result<bool> {
        write_payload(self.dir.path(), OsStr::new("v"), &files(list), owner)
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root().join(path)).unwrap()
    }

    /// What is outside is as it was.
    fn check_outside(&self) {
        let names: Vec<_> = fs::read_dir(self.outside()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["kept"]);
        let meta = fs::metadata(self.outside()).unwrap();
        assert_eq!((meta.uid(), meta.mode() & 0o777), (0, 0o700));
        let kept = fs::metadata(self.outside().join("kept")).unwrap();
        assert_eq!((kept.uid(), kept.len()), (0, 9));
    }
}

fn owner() -> Owner {
    Owner { uid: 1234, gid: 5678, group_reads: false }
}

fn files(list: &[(&str, &str)]) -> Payload {
    list.iter()
        .map(|(p, b)| (VolumePath::new(p).unwrap(), FileContent { bytes: b.as_bytes().to_vec(), mode: 0o400 }))
        .collect()
}

fn listing(root: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(root).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|n| !n.starts_with(".."));
    names.sort();
    names
}

fn kind(path: &Path) -> (u32, u32, u32) {
    let meta = fs::symlink_metadata(path).unwrap();
    (meta.uid(), meta.gid(), meta.mode() & 0o7777)
}

#[test]
fn files_belong_to_the_user_directories_to_root_and_all_change_as_a_whole() {
    let place = Place::new();
    let root = place.root();
    assert!(place.write(&[("a", "1"), ("deep/b", "2")], owner()).unwrap());
    assert!(!place.write(&[("a", "1"), ("deep/b", "2")], owner()).unwrap(), "nothing changed");
    let version = fs::read_link(root.join(DATA)).unwrap();
    assert_eq!(kind(&root.join(&version).join("deep/b")), (1234, 5678, 0o400));
    for dir in [root.clone(), root.join(&version), root.join(&version).join("deep")] {
        assert_eq!(kind(&dir), (0, 0, 0o755), "{}", dir.display());
    }
    assert!(place.write(&[("a", "2"), ("c", "3")], owner()).unwrap());
    assert_eq!(listing(&root), ["a", "c"]);
    assert_eq!(place.read("a"), "2");
    assert!(!root.join(version).exists(), "the old version is gone");
}

#[test]
fn another_owner_or_mode_is_a_change() {
    let place = Place::new();
    place.write(&[("a", "1")], owner()).unwrap();
    assert!(place.write(&[("a", "1")], Owner { uid: 1, ..owner() }).unwrap());
    assert!(place.write(&[("a", "1")], Owner { uid: 1, group_reads: true, ..owner() }).unwrap());
    assert_eq!(fs::metadata(place.root().join("a")).unwrap().permissions().mode() & 0o777, 0o440);
}

#[test]
fn a_crash_between_two_steps_is_mended() {
    let place = Place::new();
    let root = place.root();
    place.write(&[("a", "1")], owner()).unwrap();
    // A version that was not swapped in, and a link that was not renamed.
    fs::create_dir(root.join("..dead")).unwrap();
    symlink("..dead", root.join(NEXT)).unwrap();
    assert!(place.write(&[("a", "2")], owner()).unwrap());
    assert!(!root.join("..dead").exists() && fs::symlink_metadata(root.join(NEXT)).is_err());
    assert_eq!(place.read("a"), "2");
}

#[test]
fn a_data_link_that_leads_elsewhere_is_replaced_and_never_followed() {
    for target in ["/", "..", "../outside", "outside/x", "..data", "../outside/kept"] {
        let place = Place::new();
        place.write(&[("a", "1")], owner()).unwrap();
        fs::remove_file(place.root().join(DATA)).unwrap();
        symlink(target, place.root().join(DATA)).unwrap();
        assert!(place.write(&[("a", "1")], owner()).unwrap(), "{target}");
        assert_eq!(place.read("a"), "1");
        place.check_outside();
    }
}

#[test]
fn a_version_that_is_a_link_to_the_same_files_elsewhere_does_not_count() {
    let place = Place::new();
    place.write(&[("kept", "untouched")], owner()).unwrap();
    let version = place.root().join(fs::read_link(place.root().join(DATA)).unwrap());
    fs::remove_dir_all(&version).unwrap();
    symlink(place.outside(), &version).unwrap();
    assert!(place.write(&[("kept", "untouched")], owner()).unwrap());
    assert_eq!(kind(&place.root().join(DATA).join("kept")), (1234, 5678, 0o400));
    assert!(fs::symlink_metadata(&version).is_err(), "the planted link is gone");
    place.check_outside();
}

#[test]
fn links_inside_a_version_are_not_followed() {
    let place = Place::new();
    place.write(&[("deep/kept", "untouched")], owner()).unwrap();
    let deep = place.root().join(DATA).join("deep");
    fs::remove_dir_all(&deep).unwrap();
    symlink(place.outside(), &deep).unwrap();
    assert!(place.write(&[("deep/kept", "untouched")], owner()).unwrap());
    assert_eq!(place.read("deep/kept"), "untouched");
    place.check_outside();
}

#[test]
fn writing_into_a_planted_directory_follows_nothing() {
    let place = Place::new();
    place.write(&[("a", "1")], owner()).unwrap();
    let root = File::open(place.root()).unwrap().into();
    symlink(place.outside(), place.root().join("..planted")).unwrap();
    assert!(write_version(&root, Path::new("..planted"), &files(&[("new", "x")]), owner()).is_err());
    fs::create_dir(place.root().join("..open")).unwrap();
    symlink(place.outside(), place.root().join("..open/z")).unwrap();
    assert!(write_version(&root, Path::new("..open"), &files(&[("z/new", "x")]), owner()).is_err());
    symlink(place.outside().join("kept"), place.root().join("..open/f")).unwrap();
    assert!(write_version(&root, Path::new("..open"), &files(&[("f", "x")]), owner()).is_err());
    place.check_outside();
}

#[test]
fn a_volume_that_is_a_link_is_refused() {
    let place = Place::new();
    symlink(place.outside(), place.root()).unwrap();
    assert!(place.write(&[("a", "1")], owner()).is_err());
    place.check_outside();
}

#[test]
fn planted_entries_in_the_root_are_removed_and_their_targets_stay() {
    let place = Place::new();
    place.write(&[("a", "1")], owner()).unwrap();
    symlink(place.outside(), place.root().join("link")).unwrap();
    fs::remove_file(place.root().join("a")).unwrap();
    symlink(place.outside().join("kept"), place.root().join("a")).unwrap();
    fs::create_dir_all(place.root().join("dir/deep")).unwrap();
    fs::write(place.root().join("..file"), "").unwrap();
    place.write(&[("a", "2")], owner()).unwrap();
    assert_eq!(listing(&place.root()), ["a"]);
    assert_eq!(place.read("a"), "2");
    place.check_outside();
}
