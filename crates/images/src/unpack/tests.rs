//! Layers as they should be, and as an attacker would make them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tar::EntryType;

use super::unpack;
use crate::error::ImageError;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A tar made byte by byte, so that it can be wrong.
#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn entry(mut self, kind: EntryType, name: &[u8], link: &[u8], data: &[u8]) -> Self {
        self.push(kind, name, link, data, |_| ());
        self
    }

    fn file(self, name: &str, data: &str) -> Self {
        self.entry(EntryType::Regular, name.as_bytes(), b"", data.as_bytes())
    }

    fn directory(self, name: &str) -> Self {
        self.entry(EntryType::Directory, name.as_bytes(), b"", b"")
    }

    fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, name.as_bytes(), target.as_bytes(), b"")
    }

    fn hard_link(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Link, name.as_bytes(), target.as_bytes(), b"")
    }

    fn pax(self, records: &[(&str, &str)]) -> Self {
        let mut data = String::new();
        for (key, value) in records {
            let bare = key.len() + value.len() + 3;
            let mut length = bare + 1;
            while length != bare + length.to_string().len() {
                length = bare + length.to_string().len();
            }
            data += &format!("{length} {key}={value}\n");
        }
        self.entry(EntryType::XHeader, b"pax", b"", data.as_bytes())
    }

    fn push(&mut self, kind: EntryType, name: &[u8], link: &[u8], data: &[u8], change: impl FnOnce(&mut tar::Header)) {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
        header.set_size(data.len() as u64);
        header.set_mtime(1_000_000);
        header.set_uid(0);
        header.set_gid(0);
        if let Some(gnu) = header.as_gnu_mut() {
            gnu.name[..name.len()].copy_from_slice(name);
            gnu.linkname[..link.len()].copy_from_slice(link);
        }
        change(&mut header);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
    }

    fn bytes(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

/// Mode, links and content by name.
type Surroundings = BTreeMap<String, (u32, u64, Vec<u8>)>;
/// Adds entries to a tar; the text is the path of the directory outside.
type Attack = fn(Tar, &str) -> Tar;

/// A directory to unpack into, beside one that must never change.
struct Place {
    root: tempfile::TempDir,
}

impl Place {
    fn new() -> io::Result<Self> {
        let root = tempfile::tempdir()?;
        fs::create_dir(root.path().join("layer"))?;
        fs::create_dir(root.path().join("outside"))?;
        fs::write(root.path().join("outside/secret"), "secret")?;
        Ok(Self { root })
    }

    fn layer(&self) -> std::path::PathBuf {
        self.root.path().join("layer")
    }

    fn outside(&self) -> std::path::PathBuf {
        self.root.path().join("outside")
    }

    fn unpack(&self, tar: Tar) -> std::result::Result<BTreeSet<PathBuf>, ImageError> {
        unpack(tar.bytes().as_slice(), &self.layer(), "sha256:test")
    }

    /// Everything but the layer, by name, with what could be changed about it.
    fn surroundings(&self) -> io::Result<Surroundings> {
        let mut seen = BTreeMap::new();
        for name in ["outside", "outside/secret"] {
            let path = self.root.path().join(name);
            let meta = fs::symlink_metadata(&path)?;
            let content = if meta.is_file() { fs::read(&path)? } else { Vec::new() };
            seen.insert(name.to_owned(), (meta.mode(), meta.nlink(), content));
        }
        for directory in [self.root.path().to_owned(), self.outside()] {
            for entry in fs::read_dir(directory)? {
                seen.entry(entry?.path().display().to_string()).or_default();
            }
        }
        Ok(seen)
    }
}

#[test]
fn all_kinds_arrive_with_their_attributes() -> Result {
    let place = Place::new()?;
    let mut tar = Tar::default().directory("./").directory("usr/").directory("usr/bin/");
    tar.push(EntryType::Regular, b"usr/bin/su", b"", b"#!", |header| {
        header.set_mode(0o4755);
        header.set_uid(7);
        header.set_gid(8);
        header.set_mtime(1234);
    });
    let long = format!("usr/{}", "n".repeat(150));
    let tar = tar
        .hard_link("usr/bin/su2", "usr/bin/su")
        .symlink("bin", "usr/bin")
        .file("bin/through-link", "x")
        .symlink("absolute", "/etc/passwd")
        .entry(EntryType::Fifo, b"pipe", b"", b"")
        .pax(&[("path", &long), ("SCHILY.xattr.user.note", "kept"), ("mtime", "55.25"), ("uid", "70000")])
        .file("short", "long")
        .entry(EntryType::GNULongName, b"././@LongLink", b"", format!("usr/{}\0", "m".repeat(200)).as_bytes())
        .file("short", "gnu")
        .file("usr/implied/deep/file", "y");
    place.unpack(tar)?;
    let layer = place.layer();
    let su = fs::metadata(layer.join("usr/bin/su"))?;
    assert_eq!((su.mode() & 0o7777, su.uid(), su.gid(), su.mtime(), su.nlink()), (0o4755, 7, 8, 1234, 2));
    assert_eq!(fs::read(layer.join("usr/bin/through-link"))?, b"x");
    assert_eq!(fs::read_link(layer.join("absolute"))?, Path::new("/etc/passwd"));
    assert!(fs::symlink_metadata(layer.join("pipe"))?.file_type().is_fifo());
    let noted = layer.join(&long);
    let meta = fs::metadata(&noted)?;
    assert_eq!((meta.uid(), meta.mtime(), meta.mtime_nsec()), (70000, 55, 250_000_000));
    assert_eq!(xattr::get(&noted, "user.note")?.as_deref(), Some(&b"kept"[..]));
    assert_eq!(fs::read(layer.join(format!("usr/{}", "m".repeat(200))))?, b"gnu");
    assert_eq!(fs::metadata(layer.join("usr/bin"))?.mtime(), 1_000_000, "set after its children");
    Ok(())
}

#[test]
fn whiteouts_are_what_overlayfs_knows() -> Result {
    let place = Place::new()?;
    let tar = Tar::default()
        .directory("a/")
        .file("a/.wh.gone", "")
        .file("a/.wh..wh..opq", "")
        .file(".wh..wh.plnk", "")
        .file(".wh.anew", "")
        .directory("anew/")
        .directory("late/")
        .file(".wh.late", "")
        .file("kept", "x")
        .file(".wh.kept", "");
    place.unpack(tar)?;
    let layer = place.layer();
    let gone = fs::symlink_metadata(layer.join("a/gone"))?;
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    let opaque = |name: &str| xattr::get(layer.join(name), "trusted.overlay.opaque").map(|value| value.is_some());
    assert!(opaque("a")? && opaque("anew")? && opaque("late")?);
    assert_eq!(fs::read(layer.join("kept"))?, b"x", "made in this layer, whatever the order");
    assert_eq!(fs::read_dir(&layer)?.count(), 4, "aufs bookkeeping is left out");
    Ok(())
}

#[test]
fn later_entries_replace_earlier_ones() -> Result {
    let place = Place::new()?;
    let outside = place.outside().join("secret");
    let tar = Tar::default()
        .symlink("file", &outside.display().to_string())
        .file("file", "replaces the link, not what it points to")
        .directory("d/")
        .file("d/x", "")
        .symlink("d", "e")
        .directory("e/")
        .file("e", "now a file");
    place.unpack(tar)?;
    assert_eq!(fs::read(&outside)?, b"secret");
    assert!(fs::symlink_metadata(place.layer().join("file"))?.is_file());
    assert_eq!(fs::read_link(place.layer().join("d"))?, Path::new("e"));
    assert_eq!(fs::read(place.layer().join("e"))?, b"now a file");
    Ok(())
}

#[test]
fn attacks_are_refused_and_touch_nothing_outside() -> Result {
    let attacks: Vec<(&str, Attack)> = vec![
        ("parent", |tar, _| tar.file("../outside/evil", "x")),
        ("hidden parent", |tar, _| tar.file("a/../../outside/evil", "x")),
        ("absolute", |tar, outside| tar.file(&format!("{outside}/evil"), "x")),
        ("absolute link as directory", |tar, outside| tar.symlink("a", outside).file("a/evil", "x")),
        ("relative link as directory", |tar, _| tar.symlink("a", "../outside").file("a/evil", "x")),
        ("two links", |tar, _| tar.symlink("a", ".").symlink("a/b", "..").file("b/outside/evil", "x")),
        ("link to root", |tar, _| tar.symlink("a", "/").file("a/evil", "x")),
        ("link in the middle", |tar, _| tar.symlink("a", "..").directory("a/outside/evil/")),
        ("directory over link", |tar, outside| tar.symlink("a", outside).file("a/b/c", "x")),
        ("loop", |tar, _| tar.symlink("a", "b").symlink("b", "a").file("a/evil", "x")),
        ("hard link out", |tar, _| tar.hard_link("a", "../outside/secret")),
        ("absolute hard link", |tar, outside| tar.hard_link("a", &format!("{outside}/secret"))),
        ("hard link through link", |tar, outside| tar.symlink("a", outside).hard_link("b", "a/secret")),
        ("hard link to itself", |tar, _| tar.file("a", "x").hard_link("a", "a")),
        ("hard link to nothing", |tar, _| tar.hard_link("a", "missing")),
        ("whiteout through link", |tar, outside| tar.symlink("a", outside).file("a/.wh.secret", "")),
        ("opaque through link", |tar, outside| tar.symlink("a", outside).file("a/.wh..wh..opq", "")),
        ("whiteout of parent", |tar, _| tar.file(".wh...", "")),
        ("whiteout of nothing", |tar, _| tar.file(".wh.", "")),
        ("character device", |tar, _| tar.entry(EntryType::Char, b"dev", b"", b"")),
        ("block device", |tar, _| tar.entry(EntryType::Block, b"dev", b"", b"")),
        ("extended path", |tar, _| tar.pax(&[("path", "../outside/evil")]).file("innocent", "x")),
        ("extended link", |tar, _| tar.pax(&[("linkpath", "../outside/secret")]).hard_link("a", "b")),
        ("long path", |tar, _| tar.entry(EntryType::GNULongName, b"l", b"", b"../outside/evil\0").file("a", "x")),
        ("forged overlay attribute", |tar, _| {
            tar.pax(&[("SCHILY.xattr.trusted.overlay.redirect", "/x")]).file("a", "x")
        }),
        ("name below a file", |tar, _| tar.file("a", "x").file("a/b", "x")),
        ("top is a file", |tar, _| tar.file("./", "x")),
        ("sparse in PAX form", |tar, _| {
            tar.pax(&[("GNU.sparse.major", "1"), ("GNU.sparse.name", "a")]).file("GNUSparseFile.1/a", "1\n0\n")
        }),
        ("sparse in the older PAX form", |tar, _| {
            tar.pax(&[("GNU.sparse.size", "9"), ("GNU.sparse.map", "0,1")]).file("a", "x")
        }),
        ("sparse", |tar, _| tar.entry(EntryType::GNUSparse, b"a", b"", b"")),
        ("other size", |tar, _| tar.pax(&[("size", "5000")]).file("a", "x")),
        ("unknown kind", |tar, _| tar.entry(EntryType::new(b'Z'), b"a", b"", b"")),
    ];
    for (name, attack) in attacks {
        let place = Place::new()?;
        let before = place.surroundings()?;
        let outside = place.outside().display().to_string();
        match place.unpack(attack(Tar::default(), &outside)) {
            Err(ImageError::Layer { .. }) => {}
            other => panic!("{name}: {other:?}"),
        }
        assert_eq!(place.surroundings()?, before, "{name}");
    }
    Ok(())
}

#[test]
fn directories_without_an_entry_of_their_own_are_told() -> Result {
    let place = Place::new()?;
    let tar = Tar::default().file("tmp/f", "x").directory("own").file("own/sub/deep/f", "x").file("late/f", "x");
    let implied = place.unpack(tar.directory("late").file("opt/.wh.gone", ""))?;
    let expected = ["opt", "own/sub", "own/sub/deep", "tmp"].map(PathBuf::from);
    assert_eq!(implied, BTreeSet::from(expected));
    Ok(())
}

#[test]
fn damaged_archives_are_errors() -> Result {
    let whole = Tar::default().file("a", &"x".repeat(2000)).bytes();
    for length in [100, 600, 1500] {
        let place = Place::new()?;
        assert!(unpack(&whole[..length], &place.layer(), "sha256:test").is_err(), "cut at {length}");
    }
    let place = Place::new()?;
    let mut huge = Tar::default();
    huge.push(EntryType::XHeader, b"pax", b"", b"", |header| header.set_size(1 << 40));
    assert!(place.unpack(huge).is_err(), "refused before it is read into memory");
    Ok(())
}

fn name() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        4 => Just("a"), 4 => Just("b"), 2 => Just(".."), 1 => Just("."), 1 => Just(".wh.a"), 1 => Just(".wh..wh..opq"),
        1 => Just("outside"), 1 => Just("secret"), 1 => Just(""),
    ];
    proptest::collection::vec(part, 1..4).prop_map(|parts| parts.join("/"))
}

fn kind() -> impl Strategy<Value = EntryType> {
    prop_oneof![
        4 => Just(EntryType::Regular), 4 => Just(EntryType::Symlink), 3 => Just(EntryType::Directory),
        3 => Just(EntryType::Link), 1 => Just(EntryType::Fifo), 1 => Just(EntryType::Char),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever is in a tar, nothing outside of the layer changes.
    #[test]
    fn no_archive_reaches_outside(entries in proptest::collection::vec((kind(), name(), name()), 1..12)) {
        let place = Place::new()?;
        let before = place.surroundings()?;
        let mut tar = Tar::default();
        for (kind, name, link) in &entries {
            // Absolute targets lead into this test's own directory.
            let link = if link.starts_with('/') { format!("{}{link}", place.root.path().display()) } else { link.clone() };
            let link = if link.len() < 100 { link } else { "..".to_owned() };
            tar = tar.entry(*kind, name.as_bytes(), link.as_bytes(), if *kind == EntryType::Regular { b"x" } else { b"" });
        }
        // Refused or not, both are right.
        let _ = place.unpack(tar);
        prop_assert_eq!(place.surroundings()?, before);
    }
}
