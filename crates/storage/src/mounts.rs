//! What is mounted, as the kernel says (`proc_pid_mountinfo(5)`).

use std::{
    fs,
    path::{Path, PathBuf},
};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::{Error, Result};

/// Mounts of the calling thread's own namespace, which need not be the process's.
const MOUNTINFO: &str = "/proc/thread-self/mountinfo";

/// Mount points at or below `folder`, deepest first, so that they can be unmounted in order.
pub(crate) fn below(folder: &Path) -> Result<Vec<PathBuf>> {
    let text = fs::read_to_string(MOUNTINFO).map_err(|e| Error::io("read", MOUNTINFO, e))?;
    let mut found: Vec<_> = mount_points(&text).filter(|point| point.starts_with(folder)).collect();
    found.reverse();
    Ok(found)
}

/// The mount points of a mountinfo text, in mount order.
fn mount_points(text: &str) -> impl Iterator<Item = PathBuf> + '_ {
    text.lines().filter_map(|line| line.split(' ').nth(4)).map(|field| PathBuf::from(unescape(field)))
}

/// Undoes the octal escapes of blanks, tabs, newlines and backslashes.
fn unescape(field: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(field.len()), field);
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        match rest.get(at + 1..at + 4).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                out.push(char::from(byte));
                rest = &rest[at + 4..];
            }
            None => {
                out.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    out + rest
}

/// Whether something is mounted exactly here.
pub(crate) fn is_mounted(path: &Path) -> Result<bool> {
    Ok(below(path)?.iter().any(|point| point == path))
}

/// Makes `source` appear at `target`, private to no one and without devices or set-uid programs.
pub(crate) fn bind(source: &Path, target: &Path, read_only: bool) -> Result<()> {
    let none = None::<&str>;
    let fail = |e: nix::Error| Error::io("mount", target, e.into());
    mount(Some(source), target, none, MsFlags::MS_BIND, none).map_err(fail)?;
    let mut flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_NODEV | MsFlags::MS_NOSUID;
    flags.set(MsFlags::MS_RDONLY, read_only);
    mount(none, target, none, flags, none).map_err(|error| {
        // A mount with the wrong flags must not stay.
        let _ = umount2(target, MntFlags::MNT_DETACH);
        fail(error)
    })
}

/// Removes every mount at exactly this place; a place without one is fine.
pub(crate) fn unmount(target: &Path) -> Result<()> {
    while is_mounted(target)? {
        umount2(target, MntFlags::UMOUNT_NOFOLLOW | MntFlags::MNT_DETACH)
            .map_err(|e| Error::io("unmount", target, e.into()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_with_their_escapes() {
        let text =
            "36 35 98:0 /mnt1 /mnt/a\\040b rw,noatime - ext3 /dev/root rw\n37 36 0:5 / /x\\134y rw - tmpfs none rw\n";
        let points: Vec<_> = mount_points(text).collect();
        assert_eq!(points, [PathBuf::from("/mnt/a b"), PathBuf::from("/x\\y")]);
    }
}
