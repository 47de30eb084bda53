//! Small files of a pod, and the namespaces its containers share.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    thread,
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::statfs::{NSFS_MAGIC, statfs},
    unistd::sethostname,
};

use super::{mounts::touch, private_dir};
use crate::error::{Error, Result};

/// Writes a file everybody in the pod may read, in place: it may be mounted already.
pub(crate) fn write_text(path: &Path, text: &str) -> Result<()> {
    if fs::read(path).is_ok_and(|old| old == text.as_bytes()) {
        return Ok(());
    }
    if let Some(dir) = path.parent() {
        private_dir(dir)?;
    }
    let write = || {
        fs::write(path, text)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o644))
    };
    write().map_err(Error::file("write", path))
}

/// IPC and UTS namespaces that the containers of a pod share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pinned {
    /// System V IPC and message queues.
    pub(crate) ipc: PathBuf,
    /// Host name.
    pub(crate) uts: PathBuf,
}

/// Makes and pins the namespaces in `dir`, or finds them there. The caller's own do not change: the work is done on a
/// thread that ends afterwards.
pub(crate) fn pin_namespaces(dir: &Path, hostname: &str) -> Result<Pinned> {
    let pinned = Pinned { ipc: dir.join("ipc"), uts: dir.join("uts") };
    let is_pinned = |path: &Path| statfs(path).is_ok_and(|fs| fs.filesystem_type() == NSFS_MAGIC);
    if is_pinned(&pinned.ipc) && is_pinned(&pinned.uts) {
        return Ok(pinned);
    }
    super::unmount_below(dir)?;
    private_dir(dir)?;
    let (paths, hostname) = (pinned.clone(), hostname.to_owned());
    let work = move || {
        unshare(CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS)?;
        sethostname(&hostname)?;
        for (kind, path) in [("ipc", &paths.ipc), ("uts", &paths.uts)] {
            touch(path)?;
            let own = format!("/proc/thread-self/ns/{kind}");
            mount(Some(own.as_str()), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
        }
        Ok(())
    };
    let thread =
        thread::Builder::new().name("namespaces".into()).spawn(work).map_err(Error::file("start thread for", dir))?;
    let result = thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread panicked")));
    result.map_err(Error::file("pin namespaces in", dir))?;
    Ok(pinned)
}
