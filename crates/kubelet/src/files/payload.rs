//! A set of files that changes as a whole.
//!
//! ```text
//!  <volume>/key      -> ..data/key
//!  <volume>/..data   -> ..2f3a          replaced by rename: readers see all old files or all new ones
//!  <volume>/..2f3a/key
//! ```
//! The layout is Kubernetes' own, so programs that watch `..data` keep working.
//!
//! A container sees the volume read-only. Should it be able to change the volume all the same, nothing is won: every
//! step is relative to an open directory and follows no link, so nothing outside is read, written or given away.
//! Directories are root's, the files alone belong to the pod's user.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsFd, AsRawFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
};

use nix::{
    fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2, readlinkat, renameat},
    sys::stat::{Mode, SFlag, fchmod, fstatat, mkdirat},
    unistd::{Gid, Uid, UnlinkatFlags, fchown, symlinkat, unlinkat},
};

use super::VolumePath;
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
/// Permission bits of a file before its owner is right: nobody else may read it.
const PRIVATE_MODE: u32 = 0o600;

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

/// The files of a volume.
pub(crate) type Payload = BTreeMap<VolumePath, FileContent>;

/// Writes the files of the volume `name` in the directory `parent`; returns whether anything changed.
pub(crate) fn write_payload(parent: &Path, name: &OsStr, files: &Payload, owner: Owner) -> Result<bool> {
    let fail = |e| Error::file("write", parent.join(name))(e);
    let parent = File::open(parent).map_err(fail)?;
    let root = make_dir(&parent, Path::new(name)).map_err(fail)?;
    let current = readlinkat(&root, DATA).ok().filter(|version| is_version(version));
    if current.is_some_and(|version| same(&root, Path::new(&version), files, owner)) {
        return Ok(false);
    }
    let version = PathBuf::from(format!("..{}", uuid::Uuid::new_v4().simple()));
    write_version(&root, &version, files, owner).map_err(fail)?;
    swap(&root, &version, files).map_err(fail)?;
    Ok(true)
}

/// Whether a name is one that versions have: one part that begins with two dots and is not the parent.
fn is_version(name: &OsStr) -> bool {
    let bytes = name.as_encoded_bytes();
    bytes.len() > 2 && bytes.starts_with(b"..") && !bytes.contains(&b'/')
}

/// Opens what is below `dir`, following no link.
fn open_beneath(dir: impl AsFd, path: &Path, flags: OFlag, mode: u32) -> io::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(flags | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW)
        .mode(Mode::from_bits_truncate(mode))
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    Ok(openat2(dir, path, how)?)
}

fn open_dir(dir: impl AsFd, path: &Path) -> io::Result<OwnedFd> {
    open_beneath(dir, path, OFlag::O_RDONLY | OFlag::O_DIRECTORY, 0)
}

/// Makes one directory, or opens it; it is root's either way.
fn make_dir(dir: impl AsFd + Copy, name: &Path) -> io::Result<OwnedFd> {
    match mkdirat(dir, name, Mode::from_bits_truncate(DIR_MODE)) {
        Ok(()) | Err(nix::Error::EEXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let made = open_dir(dir, name)?;
    fchown(&made, Some(Uid::from_raw(0)), Some(Gid::from_raw(0)))?;
    fchmod(&made, Mode::from_bits_truncate(DIR_MODE))?;
    Ok(made)
}

fn write_version(root: &OwnedFd, version: &Path, files: &Payload, owner: Owner) -> io::Result<()> {
    let top = make_dir(root, version)?;
    for (path, content) in files {
        let (mut dir, mut place) = (top.try_clone()?, path.as_path().components().peekable());
        let name = loop {
            let Some(part) = place.next() else { break OsStr::new("") };
            if place.peek().is_none() {
                break part.as_os_str();
            }
            dir = make_dir(&dir, Path::new(part.as_os_str()))?;
        };
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
        let mut file = File::from(open_beneath(&dir, Path::new(name), flags, PRIVATE_MODE)?);
        file.write_all(&content.bytes)?;
        fchown(&file, Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)))?;
        fchmod(&file, Mode::from_bits_truncate(owner.mode(content.mode)))?;
    }
    Ok(())
}

fn swap(root: &OwnedFd, version: &Path, files: &Payload) -> io::Result<()> {
    remove(root, OsStr::new(NEXT))?;
    symlinkat(version, root, NEXT)?;
    if fstatat(root, DATA, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok_and(|found| is_directory(found.st_mode)) {
        remove(root, OsStr::new(DATA))?;
    }
    renameat(root, NEXT, root, DATA)?;
    let top: BTreeSet<&Path> = files.keys().map(VolumePath::top).collect();
    for name in &top {
        let wanted = Path::new(DATA).join(name);
        if readlinkat(root, *name).is_ok_and(|target| target == wanted) {
            continue;
        }
        remove(root, name.as_os_str())?;
        symlinkat(&wanted, root, *name)?;
    }
    for entry in fs::read_dir(of_descriptor(root))? {
        let name = entry?.file_name();
        if name != DATA && name != version.as_os_str() && !top.contains(Path::new(&name)) {
            remove(root, &name)?;
        }
    }
    Ok(())
}

fn is_directory(mode: u32) -> bool {
    SFlag::from_bits_truncate(mode) & SFlag::S_IFMT == SFlag::S_IFDIR
}

/// An open directory by a path that leads to exactly it.
fn of_descriptor(dir: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd()))
}

/// Removes an entry of a directory, whatever it is, if it is there. Links are removed, not followed.
fn remove(dir: &OwnedFd, name: &OsStr) -> io::Result<()> {
    match unlinkat(dir, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(nix::Error::ENOENT) => Ok(()),
        Err(nix::Error::EISDIR | nix::Error::EPERM) => fs::remove_dir_all(of_descriptor(dir).join(name)),
        Err(error) => Err(error.into()),
    }
}

/// Whether a version holds exactly these files.
fn same(root: &OwnedFd, version: &Path, files: &Payload, owner: Owner) -> bool {
    let Ok(top) = open_dir(root, version) else { return false };
    let equal =
        |(path, content): (&VolumePath, &FileContent)| is_file(&top, path.as_path(), content, owner).unwrap_or(false);
    files.iter().all(equal) && count(&top, files.len()) == Some(files.len())
}

fn is_file(top: &OwnedFd, path: &Path, content: &FileContent, owner: Owner) -> io::Result<bool> {
    // A pipe in the place of a file must not hold us up.
    let file = File::from(open_beneath(top, path, OFlag::O_RDONLY | OFlag::O_NONBLOCK, 0)?);
    let meta = file.metadata()?;
    let fits = meta.is_file()
        && meta.len() == content.bytes.len() as u64
        && meta.mode() & 0o7777 == owner.mode(content.mode)
        && (meta.uid(), meta.gid()) == (owner.uid, owner.gid);
    if !fits {
        return Ok(false);
    }
    let mut bytes = Vec::with_capacity(content.bytes.len());
    file.take(meta.len()).read_to_end(&mut bytes)?;
    Ok(bytes == content.bytes)
}

/// Entries below a directory that are no directories themselves; `None` for more than `most`, or when it cannot be
/// read. Links are counted, not followed.
fn count(top: &OwnedFd, most: usize) -> Option<usize> {
    let mut found = 0;
    let mut pending = vec![top.try_clone().ok()?];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(of_descriptor(&dir)).ok()? {
            let entry = entry.ok()?;
            if entry.file_type().ok()?.is_dir() {
                pending.push(open_dir(&dir, Path::new(&entry.file_name())).ok()?);
            } else {
                found += 1;
            }
            if found > most {
                return None;
            }
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests;
