//! The program that becomes the shim, held so that containers cannot change it.
//!
//! A program in a container can reach the file it was executed from for a moment (`/proc/self/exe`
//! of a process on its way into the container; CVE-2019-5736). So the shim is executed from a
//! read-only mount of its file that is attached nowhere: a write through it fails, and there is
//! nothing to unmount. It also stays the same file when the one on the disk is replaced, so daemon
//! and shims are always of one version.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// An executable file.
pub(super) struct Program {
    name: PathBuf,
    /// `None` on kernels that cannot (before Linux 5.12).
    mount: Option<OwnedFd>,
}

impl Program {
    /// Opens the file.
    pub(super) fn open(name: &Path) -> io::Result<Self> {
        std::fs::metadata(name)?;
        let mount = match read_only_mount(name) {
            Ok(mount) => Some(mount),
            Err(error) => {
                tracing::warn!(%error, "the shim's file cannot be mounted read-only; do not run images as root");
                None
            }
        };
        Ok(Self { name: name.to_owned(), mount })
    }

    /// As it is called, for people.
    pub(super) fn name(&self) -> &Path {
        &self.name
    }

    /// What to execute in a child of this process.
    pub(super) fn path(&self) -> PathBuf {
        match &self.mount {
            Some(mount) => PathBuf::from(format!("/proc/self/fd/{}", mount.as_raw_fd())),
            None => self.name.clone(),
        }
    }
}

fn read_only_mount(file: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(file.as_os_str().as_bytes())?;
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    // SAFETY: open_tree(2) reads one string, which lives until it returns, and makes a descriptor.
    let fd = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
    let mount = unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).map_err(io::Error::other)?) };
    let attributes = libc::mount_attr { attr_set: libc::MOUNT_ATTR_RDONLY, attr_clr: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: mount_setattr(2) reads an empty string and one record of the given size; both live
    // until it returns.
    let set = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if set == 0 { Ok(mount) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_runs_and_cannot_be_written() -> io::Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir()?;
        let file = root.path().join("program");
        std::fs::write(&file, "#!/bin/sh\necho first\n")?;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755))?;
        let program = Program::open(&file)?;
        let write = std::fs::OpenOptions::new().write(true).open(program.path());
        assert_eq!(write.err().and_then(|error| error.raw_os_error()), Some(libc::EROFS));
        // Replaced on the disk, as upgrades do.
        std::fs::write(root.path().join("next"), "#!/bin/sh\necho second\n")?;
        std::fs::rename(root.path().join("next"), &file)?;
        let mount = program.mount.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        let content = std::fs::read_to_string(format!("/proc/self/fd/{}", mount.as_raw_fd()))?;
        assert!(content.contains("first"));
        Ok(())
    }
}
