//! Mounts below a pod's own directory.

use std::{
    fs, io,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::private_dir;
use crate::error::{Error, Result};

/// The kernel's table of mounts of this process.
const MOUNTINFO: &str = "/proc/thread-self/mountinfo";

/// Mounts memory at `target`, unless something is mounted there already.
pub(crate) fn mount_tmpfs(target: &Path, size: Option<u64>, mode: u32) -> Result<()> {
    private_dir(target)?;
    if points()?.iter().any(|point| point == target) {
        return Ok(());
    }
    let size = size.map(|bytes| format!(",size={bytes}")).unwrap_or_default();
    let options = format!("mode={mode:o}{size}");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), target, Some("tmpfs"), flags, Some(options.as_str()))
        .map_err(|e| Error::file("mount memory at", target)(e.into()))
}

/// Mounts `source` at `target`, which must exist.
pub(crate) fn bind(source: &Path, target: &Path) -> Result<()> {
    mount(Some(source), target, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .map_err(|e| Error::file("mount at", target)(e.into()))
}

/// Unmounts everything at or below `dir`, the last mounted first.
pub(crate) fn unmount_below(dir: &Path) -> Result<()> {
    let mut points = points()?;
    points.retain(|point| point.starts_with(dir));
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
