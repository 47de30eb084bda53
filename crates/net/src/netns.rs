//! Network namespaces pinned by bind mounts, and work done inside them.
//!
//! The calling thread never changes its namespace: every `unshare` and `setns` happens on a thread of its own that
//! ends afterwards.

use std::{
    fs, io,
    os::fd::AsFd,
    path::{Path, PathBuf},
    thread,
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns, unshare},
    sys::statfs::{NSFS_MAGIC, statfs},
};

use crate::{Error, Result};

/// The calling thread's own network namespace.
const THREAD_NETNS: &str = "/proc/thread-self/ns/net";

/// Whether `path` is a pinned namespace (a mount of `nsfs`), not a plain file.
pub(crate) fn is_pinned(path: &Path) -> bool {
    statfs(path).is_ok_and(|fs| fs.filesystem_type() == NSFS_MAGIC)
}

/// Makes a new network namespace and pins it at `path`; does nothing if one is pinned there.
pub(crate) fn pin(path: &Path) -> Result<()> {
    if is_pinned(path) {
        return Ok(());
    }
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).map_err(|source| Error::File { action: "create", path: dir.to_owned(), source })?;
    }
    fs::OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(|source| Error::File {
        action: "create",
        path: path.to_owned(),
        source,
    })?;
    let target = path.to_owned();
    on_thread("pin", path, move || {
        unshare(CloneFlags::CLONE_NEWNET)?;
        mount(Some(THREAD_NETNS), &target, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
        Ok(())
    })
}

/// Removes the pin; the namespace goes away with its last process. Does nothing if there is none.
pub(crate) fn unpin(path: &Path) -> Result<()> {
    while is_pinned(path) {
        umount2(path, MntFlags::MNT_DETACH).map_err(|e| Error::Namespace {
            action: "unmount",
            path: path.to_owned(),
            source: e.into(),
        })?;
    }
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(Error::File { action: "remove", path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// Runs `work` on a thread that is inside the namespace at `path`.
pub(crate) fn inside<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T> {
    let file =
        fs::File::open(path).map_err(|source| Error::Namespace { action: "open", path: path.to_owned(), source })?;
    on_thread("enter", path, move || {
        setns(file.as_fd(), CloneFlags::CLONE_NEWNET)?;
        work()
    })
}

/// Names of all pins in `dir`; empty if the directory does not exist.
pub(crate) fn pins(dir: &Path) -> Result<Vec<(String, PathBuf)>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(Error::File { action: "read", path: dir.to_owned(), source }),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| Error::File { action: "read", path: dir.to_owned(), source })?;
        found.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
    }
    found.sort();
    Ok(found)
}

fn on_thread<T: Send + 'static>(
    action: &'static str,
    path: &Path,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T> {
    let fail = |source| Error::Namespace { action, path: path.to_owned(), source };
    let thread = thread::Builder::new().name("netns".into()).spawn(work).map_err(fail)?;
    thread.join().unwrap_or_else(|_| Err(io::Error::other("the namespace thread panicked"))).map_err(fail)
}
