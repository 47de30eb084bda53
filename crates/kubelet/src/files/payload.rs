//! A set of files that changes as a whole.
//!
//! ```text
//!  <volume>/key      -> ..data/key
//!  <volume>/..data   -> ..2f3a          replaced by rename: readers see all old files or all new ones
//!  <volume>/..2f3a/key
//! ```
//! The layout is Kubernetes' own, so programs that watch `..data` keep working.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, chown, symlink},
    path::{Path, PathBuf},
};

use crate::{
    error::{Error, Result},
    pod::volumes::FileContent,
};

/// The link that is swapped.
const DATA: &str = "..data";
/// The link before it is swapped in.
const NEXT: &str = "..data_next";
/// Permission bits of directories.
const DIR_MODE: u32 = 0o755;

/// Who owns the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    /// User.
    pub(crate) uid: u32,
    /// Group.
    pub(crate) gid: u32,
    /// The group may read, whatever the mode says (`fsGroup`).
    pub(crate) group_reads: bool,
}

impl Owner {
    fn mode(self, mode: u32) -> u32 {
        if self.group_reads { mode | 0o440 } else { mode }
    }
}

/// Writes the files of a volume; returns whether anything changed.
pub(crate) fn write_payload(root: &Path, files: &BTreeMap<PathBuf, FileContent>, owner: Owner) -> Result<bool> {
    let fail = |e| Error::file("write", root)(e);
    make_dir(root, owner).map_err(fail)?;
    let current = fs::read_link(root.join(DATA)).ok();
    if current.as_ref().is_some_and(|name| same(&root.join(name), files, owner)) {
        return Ok(false);
    }
    let version = format!("..{}", uuid::Uuid::new_v4().simple());
    write_version(&root.join(&version), files, owner).map_err(fail)?;
    swap(root, &version, files).map_err(fail)?;
    Ok(true)
}

fn make_dir(dir: &Path, owner: Owner) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    fs::set_permissions(dir, fs::Permissions::from_mode(DIR_MODE))?;
    chown(dir, Some(owner.uid), Some(owner.gid))
}

fn write_version(dir: &Path, files: &BTreeMap<PathBuf, FileContent>, owner: Owner) -> io::Result<()> {
    make_dir(dir, owner)?;
    for (path, content) in files {
        let path = dir.join(path);
        for parent in path.ancestors().skip(1).take_while(|p| *p != dir).collect::<Vec<_>>().into_iter().rev() {
            make_dir(parent, owner)?;
        }
        // Nobody else may read it before its owner and mode are right.
        let mut file = fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path)?;
        file.write_all(&content.bytes)?;
        std::os::unix::fs::fchown(&file, Some(owner.uid), Some(owner.gid))?;
        file.set_permissions(fs::Permissions::from_mode(owner.mode(content.mode)))?;
    }
    Ok(())
}

fn swap(root: &Path, version: &str, files: &BTreeMap<PathBuf, FileContent>) -> io::Result<()> {
    let next = root.join(NEXT);
    absent_is_fine(fs::remove_file(&next))?;
    symlink(version, &next)?;
    fs::rename(&next, root.join(DATA))?;
    let top: BTreeSet<_> =
        files.keys().filter_map(|path| path.components().next()).map(|c| c.as_os_str().to_owned()).collect();
    for name in &top {
        let link = root.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(name), &link)?;
        }
    }
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let name = entry.file_name();
        let hidden = name.as_encoded_bytes().starts_with(b"..");
        let stale_version = hidden && name != DATA && name.as_os_str() != version;
        if stale_version && entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else if !hidden && !top.contains(&name) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Whether a version holds exactly these files.
fn same(dir: &Path, files: &BTreeMap<PathBuf, FileContent>, owner: Owner) -> bool {
    let mut found = 0;
    let mut pending = vec![dir.to_owned()];
    while let Some(dir) = pending.pop() {
        let Ok(entries) = fs::read_dir(&dir) else { return false };
        for entry in entries.flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => pending.push(entry.path()),
                Ok(_) => found += 1,
                Err(_) => return false,
            }
        }
    }
    let equal = |(path, content): (&PathBuf, &FileContent)| {
        let path = dir.join(path);
        let mode = fs::metadata(&path).map(|m| m.permissions().mode() & 0o7777).ok();
        mode == Some(owner.mode(content.mode)) && fs::read(&path).is_ok_and(|bytes| bytes == content.bytes)
    };
    found == files.len() && files.iter().all(equal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> Owner {
        Owner { uid: 1234, gid: 5678, group_reads: false }
    }

    fn files(list: &[(&str, &str)]) -> BTreeMap<PathBuf, FileContent> {
        list.iter()
            .map(|(p, b)| (PathBuf::from(p), FileContent { bytes: b.as_bytes().to_vec(), mode: 0o400 }))
            .collect()
    }

    fn listing(root: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(root).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|n| !n.starts_with(".."));
        names.sort();
        names
    }

    #[test]
    fn files_belong_to_the_user_and_change_as_a_whole() {
        use std::os::unix::fs::MetadataExt as _;
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("v");
        assert!(write_payload(&root, &files(&[("a", "1"), ("deep/b", "2")]), owner()).unwrap());
        assert!(!write_payload(&root, &files(&[("a", "1"), ("deep/b", "2")]), owner()).unwrap(), "nothing changed");
        let meta = fs::metadata(root.join("deep/b")).unwrap();
        assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o777), (1234, 5678, 0o400));
        let version = fs::read_link(root.join(DATA)).unwrap();
        assert!(write_payload(&root, &files(&[("a", "2"), ("c", "3")]), owner()).unwrap());
        assert_eq!(listing(&root), ["a", "c"]);
        assert_eq!(fs::read_to_string(root.join("a")).unwrap(), "2");
        assert!(!root.join(version).exists(), "the old version is gone");
    }

    #[test]
    fn a_crash_between_two_steps_is_mended() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("v");
        write_payload(&root, &files(&[("a", "1")]), owner()).unwrap();
        // A version that was not swapped in, and a link that was not renamed.
        fs::create_dir(root.join("..dead")).unwrap();
        symlink("..dead", root.join(NEXT)).unwrap();
        assert!(write_payload(&root, &files(&[("a", "2")]), owner()).unwrap());
        assert!(!root.join("..dead").exists() && fs::symlink_metadata(root.join(NEXT)).is_err());
        assert_eq!(fs::read_to_string(root.join("a")).unwrap(), "2");
    }

    #[test]
    fn fs_group_lets_the_group_read() {
        let dir = tempfile::tempdir().unwrap();
        let owner = Owner { group_reads: true, ..owner() };
        write_payload(dir.path(), &files(&[("a", "1")]), owner).unwrap();
        assert_eq!(fs::metadata(dir.path().join("a")).unwrap().permissions().mode() & 0o777, 0o440);
    }
}
