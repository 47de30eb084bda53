//! Mounts below a pod's own directory.

use std::{
    fs, io,
    os::unix::{ffi::OsStringExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::private_dir;
use crate::error::{Error, Result};

/// The kernel's table of mounts of this process.
const MOUNTINFO: &str = "/proc/thread-self/mountinfo";

/// Most bytes that the kubelet's own files of one pod take in memory: Secrets, ConfigMaps, termination messages.
const POD_BYTES_MAX: u64 = 64 << 20;
/// Most files among them.
const POD_FILES_MAX: u64 = 1 << 16;

/// Mounts memory at `target`, unless something is mounted there already.
pub(crate) fn mount_tmpfs(target: &Path, size: Option<u64>, mode: u32) -> Result<()> {
    private_dir(target)?;
    if is_mount_point(target).map_err(Error::file("inspect", target))? {
        return Ok(());
    }
    let size = size.map(|bytes| format!(",size={bytes}")).unwrap_or_default();
    mount_memory(target, &format!("mode={mode:o}{size}"))
}

/// Gives a pod memory of its own at `dir`: what it fills there is missing to nobody else. A directory with files in it
/// is one that an earlier version filled; its containers use them, so it stays as it is.
pub(crate) fn give_pod_memory(dir: &Path) -> Result<()> {
    private_dir(dir)?;
    let used = || Ok(is_mount_point(dir)? || fs::read_dir(dir)?.next().is_some());
    if used().map_err(Error::file("inspect", dir))? {
        return Ok(());
    }
    mount_memory(dir, &format!("mode=700,size={POD_BYTES_MAX},nr_inodes={POD_FILES_MAX}"))
}

/// Memory that is never written to a disk, if the kernel can promise that (Linux 6.4).
fn mount_memory(target: &Path, options: &str) -> Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let attempt = |options: &str| mount(Some("tmpfs"), target, Some("tmpfs"), flags, Some(options));
    let mounted = match attempt(&format!("{options},noswap")) {
        Err(nix::Error::EINVAL) => attempt(options),
        other => other,
    };
    mounted.map_err(|e| Error::file("mount memory at", target)(e.into()))
}

/// Whether a file system of its own is mounted at a directory.
fn is_mount_point(dir: &Path) -> io::Result<bool> {
    let device = |path: &Path| fs::symlink_metadata(path).map(|meta| meta.dev());
    Ok(device(dir)? != device(dir.parent().unwrap_or(dir))?)
}

/// Mounts `source` at `target`, which must exist.
pub(crate) fn bind(source: &Path, target: &Path) -> Result<()> {
    mount(Some(source), target, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .map_err(|e| Error::file("mount at", target)(e.into()))
}

/// Unmounts everything at or below `dir`, the last mounted first. A directory that is not there has nothing.
///
/// # Errors
/// [`Error::File`].
pub fn unmount_below(dir: &Path) -> Result<()> {
    // The kernel tells mount points without the links on the way to them.
    let dir = match fs::canonicalize(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(Error::file("resolve", dir))?,
    };
    let mut points = points()?;
    points.retain(|point| point.starts_with(&dir));
    for point in points.iter().rev() {
        match umount2(point, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) | Err(nix::Error::EINVAL | nix::Error::ENOENT) => {}
            Err(e) => return Err(Error::file("unmount", point)(e.into())),
        }
    }
    Ok(())
}

/// Mount points in the order they were made (proc(5)).
fn points() -> Result<Vec<PathBuf>> {
    let text = fs::read(MOUNTINFO).map_err(Error::file("read", MOUNTINFO))?;
    Ok(text.split(|b| *b == b'\n').filter_map(|line| line.split(|b| *b == b' ').nth(4)).map(unescape).collect())
}

/// Turns `\040` and its like back into bytes.
fn unescape(field: &[u8]) -> PathBuf {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let digits = tail.get(..3).and_then(|d| std::str::from_utf8(d).ok());
        match (first, digits.and_then(|d| u8::from_str_radix(d, 8).ok())) {
            (b'\\', Some(byte)) => {
                out.push(byte);
                rest = tail.get(3..).unwrap_or_default();
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(out))
}

/// Makes an empty file to mount something on.
pub(crate) fn touch(path: &Path) -> io::Result<()> {
    fs::OpenOptions::new().create(true).truncate(false).write(true).open(path).map(drop)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// Unmounts what a test leaves, however it ends.
    struct Dir(tempfile::TempDir);

    impl Drop for Dir {
        fn drop(&mut self) {
            unmount_below(self.0.path()).unwrap();
        }
    }

    #[test]
    fn a_pod_that_fills_its_memory_leaves_the_others_theirs() {
        let root = Dir(tempfile::tempdir().unwrap());
        let (greedy, other) = (root.0.path().join("a"), root.0.path().join("b"));
        for dir in [&greedy, &other] {
            give_pod_memory(dir).unwrap();
            give_pod_memory(dir).unwrap();
        }
        let mut words = fs::File::create(greedy.join("words")).unwrap();
        let block = vec![1_u8; 1 << 20];
        let written = (0..=POD_BYTES_MAX >> 20).try_for_each(|_| words.write_all(&block));
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert!(words.metadata().unwrap().len() <= POD_BYTES_MAX);
        fs::write(other.join("words"), &block).unwrap();
        let below = |points: Vec<PathBuf>| points.iter().filter(|p| p.starts_with(root.0.path())).count();
        assert_eq!(below(points().unwrap()), 2, "repeating it changes nothing");
        let link = root.0.path().join("link");
        std::os::unix::fs::symlink(root.0.path(), &link).unwrap();
        unmount_below(&link.join("a")).unwrap();
        assert_eq!(below(points().unwrap()), 1, "by way of a link, too");
        unmount_below(&link.join("gone")).unwrap();
    }

    #[test]
    fn a_directory_in_use_is_not_hidden() {
        let root = Dir(tempfile::tempdir().unwrap());
        let dir = root.0.path().join("a");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("used"), "").unwrap();
        give_pod_memory(&dir).unwrap();
        assert!(dir.join("used").exists());
    }
}
