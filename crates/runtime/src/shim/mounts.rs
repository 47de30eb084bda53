//! Mounts that are made first and attached then (fsopen(2), open_tree(2), move_mount(2); Linux 5.12).
//!
//! A detached mount has all its attributes before anybody can see it, and it is attached to an open
//! directory, not to a path, so no link that an image or a neighbour plants can lead it elsewhere.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// `MOUNT_ATTR_*` flags of mount_setattr(2).
pub(super) type Attributes = u64;

/// Neither set-user-id programs nor devices.
pub(super) const NO_POWER: Attributes = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
/// Data only.
pub(super) const NO_PROGRAMS: Attributes = NO_POWER | libc::MOUNT_ATTR_NOEXEC;
/// Data only, and not to be changed.
pub(super) const SEALED: Attributes = NO_PROGRAMS | libc::MOUNT_ATTR_RDONLY;

/// A mount, attached or not yet.
pub(super) struct Mount(OwnedFd);

/// Whether mounts below come along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// This mount alone.
    Alone,
    /// All mounts below it, too.
    Recursive,
}

impl Reach {
    fn flag(self) -> libc::c_uint {
        match self {
            Self::Alone => 0,
            Self::Recursive => libc::AT_RECURSIVE.cast_unsigned(),
        }
    }
}

impl Mount {
    /// A new filesystem.
    pub(super) fn new(kind: &CStr, options: &[(&CStr, &CStr)], attributes: Attributes) -> io::Result<Self> {
        let context = Context::open(kind)?;
        for (key, value) in options {
            context.set(key, value)?;
        }
        context.create(attributes)
    }

    /// A copy of what is mounted at a path of this mount namespace, or of a part of it.
    pub(super) fn copy_of(path: &Path, reach: Reach) -> io::Result<Self> {
        open_tree(None, &c_path(path)?, reach)
    }

    /// A copy of what is behind a descriptor, which must be attached.
    pub(super) fn copy_at(fd: BorrowedFd<'_>, reach: Reach) -> io::Result<Self> {
        open_tree(Some(fd), c"", reach)
    }

    /// A copy of this one, once it is attached.
    pub(super) fn copy(&self) -> io::Result<Self> {
        Self::copy_at(self.0.as_fd(), Reach::Alone)
    }

    /// Adds attributes and cuts it off from mounts and unmounts elsewhere.
    pub(super) fn restrict(&self, attributes: Attributes, reach: Reach) -> io::Result<()> {
        let wanted =
            libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: libc::MS_PRIVATE, userns_fd: 0 };
        set_attributes(self.0.as_fd(), &wanted, reach)
    }

    /// Whether it is, or begins with, a directory.
    pub(super) fn is_directory(&self) -> io::Result<bool> {
        let stat = nix::sys::stat::fstat(&self.0)?;
        Ok(stat.st_mode & libc::S_IFMT == libc::S_IFDIR)
    }

    /// Attaches it over a file or directory.
    pub(super) fn attach(&self, target: BorrowedFd<'_>) -> io::Result<()> {
        let flags = libc::MOVE_MOUNT_F_EMPTY_PATH | libc::MOVE_MOUNT_T_EMPTY_PATH;
        // SAFETY: move_mount(2) reads two empty strings, which live for ever.
        let moved = unsafe {
            libc::syscall(
                libc::SYS_move_mount,
                self.0.as_raw_fd(),
                c"".as_ptr(),
                target.as_raw_fd(),
                c"".as_ptr(),
                flags,
            )
        };
        check(moved)
    }
}

/// Makes what is mounted at `/` read-only; mounts below stay as they are.
pub(super) fn make_root_read_only() -> io::Result<()> {
    let root = std::fs::File::open("/")?;
    let wanted = libc::mount_attr { attr_set: libc::MOUNT_ATTR_RDONLY, attr_clr: 0, propagation: 0, userns_fd: 0 };
    set_attributes(root.as_fd(), &wanted, Reach::Alone)
}

/// A filesystem that is being configured.
pub(super) struct Context(OwnedFd);

impl Context {
    pub(super) fn open(kind: &CStr) -> io::Result<Self> {
        // SAFETY: fsopen(2) reads one string, which lives until it returns, and makes a descriptor.
        let fd = unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), libc::FSOPEN_CLOEXEC) };
        Ok(Self(descriptor(fd)?))
    }

    pub(super) fn set(&self, key: &CStr, value: &CStr) -> io::Result<()> {
        let command = libc::FSCONFIG_SET_STRING;
        // SAFETY: fsconfig(2) with FSCONFIG_SET_STRING reads two strings, which live until it returns.
        let set =
            unsafe { libc::syscall(libc::SYS_fsconfig, self.0.as_raw_fd(), command, key.as_ptr(), value.as_ptr(), 0) };
        check(set)
    }

    pub(super) fn set_path(&self, key: &CStr, value: &Path) -> io::Result<()> {
        self.set(key, &c_path(value)?)
    }

    pub(super) fn create(self, attributes: Attributes) -> io::Result<Mount> {
        let none = std::ptr::null::<libc::c_char>();
        // SAFETY: fsconfig(2) with FSCONFIG_CMD_CREATE takes no pointers.
        let created =
            unsafe { libc::syscall(libc::SYS_fsconfig, self.0.as_raw_fd(), libc::FSCONFIG_CMD_CREATE, none, none, 0) };
        check(created)?;
        // SAFETY: fsmount(2) takes integers and makes a descriptor.
        let fd = unsafe { libc::syscall(libc::SYS_fsmount, self.0.as_raw_fd(), libc::FSMOUNT_CLOEXEC, attributes) };
        Ok(Mount(descriptor(fd)?))
    }
}

fn open_tree(directory: Option<BorrowedFd<'_>>, path: &CStr, reach: Reach) -> io::Result<Mount> {
    let directory = directory.map_or(libc::AT_FDCWD, |fd| fd.as_raw_fd());
    let empty = if path.is_empty() { libc::AT_EMPTY_PATH.cast_unsigned() } else { 0 };
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | empty | reach.flag();
    // SAFETY: open_tree(2) reads one string, which lives until it returns, and makes a descriptor.
    let fd = unsafe { libc::syscall(libc::SYS_open_tree, directory, path.as_ptr(), flags) };
    Ok(Mount(descriptor(fd)?))
}

fn set_attributes(mount: BorrowedFd<'_>, wanted: &libc::mount_attr, reach: Reach) -> io::Result<()> {
    let flags = libc::AT_EMPTY_PATH.cast_unsigned() | reach.flag();
    // SAFETY: mount_setattr(2) reads an empty string and one record of the given size; both live
    // until it returns.
    let set = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(wanted),
            size_of::<libc::mount_attr>(),
        )
    };
    check(set)
}

fn c_path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

fn check(result: libc::c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn descriptor(result: libc::c_long) -> io::Result<OwnedFd> {
    check(result)?;
    let fd = i32::try_from(result).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
