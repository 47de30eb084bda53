//! Watching one container: through its shim while that lives, through its files after.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use tokio::net::UnixStream;
use tokio::process::Child;

use super::error::ContainerError;
use super::handle::{Handle, new_handle};
use super::inner::Inner;
use super::status::{Exit, ExitCause, State};
use crate::cgroup::Hierarchy;
use crate::process;
use crate::shim::dir::{Record, ShimDir};
use crate::wire::{self, Reply};

/// Watches a container this daemon has just started.
pub(super) fn watch_started(
    inner: &Arc<Inner>,
    dir: &ShimDir,
    conversation: UnixStream,
    mut child: Child,
) -> io::Result<Arc<Handle>> {
    let record = dir.read_record()?.ok_or_else(|| io::Error::other("the shim wrote no record"))?;
    let (handle, publish, ended) = new_handle(dir, record, State::Running);
    let (inner, watched) = (Arc::clone(inner), Arc::clone(&handle));
    #[expect(clippy::disallowed_methods, reason = "ends with the container, which outlives its handles")]
    tokio::spawn(async move {
        let exit = follow(&inner, &watched, &conversation).await;
        publish.send_replace(State::Exited(exit));
        if let Err(error) = child.wait().await {
            tracing::warn!(id = %watched.id(), %error, "shim could not be waited for");
        }
        ended.send_replace(true);
    });
    Ok(handle)
}

/// Watches a container an earlier daemon has started.
pub(super) fn watch_adopted(
    inner: &Arc<Inner>,
    dir: &ShimDir,
    record: Record,
    conversation: UnixStream,
) -> Arc<Handle> {
    let (handle, publish, ended) = new_handle(dir, record, State::Running);
    let (inner, watched) = (Arc::clone(inner), Arc::clone(&handle));
    #[expect(clippy::disallowed_methods, reason = "ends with the container, which outlives its handles")]
    tokio::spawn(async move {
        let exit = follow(&inner, &watched, &conversation).await;
        publish.send_replace(State::Exited(exit));
        let dir = watched.dir.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || dir.wait_unlocked()).await {
            tracing::warn!(id = %watched.id(), %error, "shim could not be waited for");
        }
        ended.send_replace(true);
    });
    handle
}

/// A container that has ended already.
pub(super) fn ended(dir: &ShimDir, record: Record, exit: Exit) -> Arc<Handle> {
    let (handle, _, ended) = new_handle(dir, record, State::Exited(exit));
    ended.send_replace(true);
    handle
}

/// Listens until the shim reports the end or is gone.
async fn follow(inner: &Arc<Inner>, handle: &Arc<Handle>, conversation: &UnixStream) -> Exit {
    loop {
        match wire::receive_async::<Reply>(conversation).await {
            Ok(Some((Reply::Exited(exit), _))) => return exit,
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(error) => {
                tracing::warn!(id = %handle.id(), %error, "conversation with the shim broke");
                break;
            }
        }
    }
    let (inner, lost) = (Arc::clone(inner), Arc::clone(handle));
    let recovered = tokio::task::spawn_blocking(move || recover(&inner.cgroups, &lost.dir, &lost.record)).await;
    match recovered {
        Ok(Ok(exit)) => exit,
        Ok(Err(error)) => {
            tracing::error!(id = %handle.id(), %error, "container without shim could not be ended");
            lost_exit()
        }
        Err(_panicked) => lost_exit(),
    }
}

/// The exit of a container whose shim is gone: from its exit file, else unknown, after killing what
/// is left of it and saying so in the exit file.
pub(super) fn recover(cgroups: &Hierarchy, dir: &ShimDir, record: &Record) -> Result<Exit, ContainerError> {
    let shim = |source| ContainerError::Shim { id: record.id.clone(), source };
    dir.wait_unlocked();
    if let Some(exit) = dir.read_exit().map_err(shim)? {
        return Ok(exit);
    }
    if let Err(error) = record.process.signal(libc::SIGKILL) {
        tracing::debug!(id = %record.id, %error, "first program is gone already");
    }
    cgroups.kill(&record.cgroup)?;
    let exit = lost_exit();
    dir.write_exit(&exit).map_err(shim)?;
    Ok(exit)
}

/// Stands in while the state of a container is being asked for.
pub(super) fn unknown_exit() -> Exit {
    lost_exit()
}

/// It says nothing of memory: what was counted may have been a child's end, long before.
fn lost_exit() -> Exit {
    Exit {
        code: 128 + libc::SIGKILL,
        signal: Some(libc::SIGKILL),
        oom_killed: false,
        finished_at: Timestamp::now(),
        cause: ExitCause::ShimLost,
    }
}

/// Removes everything of a container: processes, cgroup, writable layer, directory. Gives the cgroup
/// it had, if that is known.
pub(super) fn sweep(cgroups: &Hierarchy, dir: &ShimDir, cgroup_root: &str) -> Result<Option<PathBuf>, ContainerError> {
    let record = dir.read_record().unwrap_or_else(|error| {
        tracing::warn!(path = %dir.path().display(), %error, "torn record of a container");
        None
    });
    match &record {
        Some(record) => {
            if process::alive(&record.shim) {
                // Ended, yet its shim is not: it has nothing left to do.
                dir.wait_unlocked_briefly();
            }
            cgroups.kill(&record.cgroup)?;
            cgroups.remove(&record.cgroup)?;
            remove_writable(record.writable.as_deref())?;
        }
        None => cgroups.remove_named(cgroup_root, dir.id())?,
    }
    remove_tree(dir.path())?;
    Ok(record.map(|record| record.cgroup))
}

/// Removes a writable layer that is outside of the run root.
pub(super) fn remove_writable(path: Option<&Path>) -> Result<(), ContainerError> {
    path.map_or(Ok(()), remove_tree)
}

fn remove_tree(path: &Path) -> Result<(), ContainerError> {
    match fs::remove_dir_all(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(ContainerError::Remove { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}
