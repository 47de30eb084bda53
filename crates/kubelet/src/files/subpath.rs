//! `subPath` mounts. A program may have put symbolic links into the volume, so the path is opened beneath the volume's
//! root and the open file itself is mounted, never its name.

use std::{
    fs,
    os::fd::{AsRawFd as _, OwnedFd},
    path::Path,
};

use nix::{
    fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2},
    sys::stat::Mode,
    unistd::{Gid, Uid, fchown},
};

use super::{mounts, private_dir};
use crate::error::{Error, Result};

/// What becomes of a path that is not in the volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// A directory is made for this user and group.
    Made(u32, u32),
    /// It is an error: the volume is not the container's to write to.
    Refused,
}

/// Mounts `path` of the volume at `volume` to `target`.
pub(crate) fn expose(volume: &Path, path: &Path, target: &Path, missing: Missing) -> Result<()> {
    let whole = volume.join(path);
    let fail = |e: nix::Error| Error::file("open", &whole)(e.into());
    let opened = open_beneath(volume, path, missing).map_err(fail)?;
    let source = format!("/proc/self/fd/{}", opened.as_raw_fd());
    let meta = fs::metadata(&source).map_err(Error::file("inspect", &whole))?;
    mounts::unmount_below(target)?;
    if meta.is_dir() {
        private_dir(target)?;
    } else {
        if let Some(dir) = target.parent() {
            private_dir(dir)?;
        }
        mounts::touch(target).map_err(Error::file("create", target))?;
    }
    mounts::bind(Path::new(&source), target)
}

fn open_beneath(volume: &Path, path: &Path, missing: Missing) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    let root = open(volume, flags | OFlag::O_DIRECTORY, Mode::empty())?;
    let how = OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let owner = match (openat2(&root, path, how), missing) {
        (Err(nix::Error::ENOENT), Missing::Made(uid, gid)) => (uid, gid),
        (other, _) => return other,
    };
    // Made one by one, each opened beneath the volume before the next.
    let mut current = root;
    for part in path.components() {
        let name = Path::new(part.as_os_str());
        let made = nix::sys::stat::mkdirat(&current, name, Mode::from_bits_truncate(0o750));
        let fresh = match made {
            Ok(()) => true,
            Err(nix::Error::EEXIST) => false,
            Err(e) => return Err(e),
        };
        let dir = OpenHow::new()
            .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_DIRECTORY)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let next = openat2(&current, name, dir)?;
        if fresh {
            fchown(&next, Some(Uid::from_raw(owner.0)), Some(Gid::from_raw(owner.1)))?;
        }
        current = next;
    }
    Ok(current)
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::symlink, thread};

    use nix::{
        mount::{MsFlags, mount},
        sched::{CloneFlags, unshare},
    };

    use super::*;

    fn with_mounts(test: impl FnOnce(&Path) + Send + 'static) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_owned();
        let thread = thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS).unwrap();
            mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
            test(&root);
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    }

    #[test]
    fn a_missing_directory_is_made_for_its_user_and_files_work_too() {
        use std::os::unix::fs::MetadataExt as _;
        with_mounts(|root| {
            let volume = root.join("volume");
            fs::create_dir(&volume).unwrap();
            expose(&volume, Path::new("a/b"), &root.join("dir"), Missing::Made(1000, 1001)).unwrap();
            let meta = fs::metadata(volume.join("a/b")).unwrap();
            assert_eq!((meta.uid(), meta.gid()), (1000, 1001));
            fs::write(volume.join("file"), "x").unwrap();
            symlink("file", volume.join("link")).unwrap();
            expose(&volume, Path::new(""), &root.join("whole"), Missing::Refused).unwrap();
            assert!(root.join("whole/file").exists());
            for name in ["file", "link"] {
                expose(&volume, Path::new(name), &root.join(name), Missing::Refused).unwrap();
                assert_eq!(fs::read_to_string(root.join(name)).unwrap(), "x");
            }
            super::super::unmount_below(root).unwrap();
        });
    }

    #[test]
    fn nothing_is_made_in_a_volume_that_is_not_the_containers_to_write_to() {
        with_mounts(|root| {
            let volume = root.join("volume");
            fs::create_dir(&volume).unwrap();
            assert!(expose(&volume, Path::new("a/b"), &root.join("dir"), Missing::Refused).is_err());
            assert_eq!(fs::read_dir(&volume).unwrap().count(), 0);
        });
    }

    #[test]
    fn links_out_of_the_volume_are_not_followed() {
        with_mounts(|root| {
            let (volume, outside) = (root.join("volume"), root.join("outside"));
            fs::create_dir(&volume).unwrap();
            fs::create_dir(&outside).unwrap();
            symlink(&outside, volume.join("absolute")).unwrap();
            symlink("../outside", volume.join("relative")).unwrap();
            for bad in ["absolute", "relative", "absolute/new", "relative/new"] {
                let refused = expose(&volume, Path::new(bad), &root.join("t"), Missing::Made(0, 0)).unwrap_err();
                let text = crate::error::chain(&refused);
                assert!(text.contains("symbolic link") && !text.contains("os error"), "{bad}: {text}");
            }
            assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        });
    }
}
