//! What the daemon knows of a container, and how it talks with its shim.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;
use std::sync::Arc;

use tokio::net::UnixStream;
use tokio::sync::watch;

use super::error::ContainerError;
use super::status::{ContainerInfo, Exit, State};
use crate::shim::dir::{Record, ShimDir};
use crate::wire::{self, Request};

/// A container the daemon knows.
pub(super) struct Handle {
    pub(super) dir: ShimDir,
    pub(super) record: Record,
    state: watch::Receiver<State>,
    ended: watch::Receiver<bool>,
}

impl Handle {
    pub(super) fn id(&self) -> &str {
        &self.record.id
    }

    pub(super) fn cgroup(&self) -> &Path {
        &self.record.cgroup
    }

    pub(super) fn info(&self) -> ContainerInfo {
        ContainerInfo {
            id: self.record.id.clone(),
            labels: self.record.labels.clone(),
            layers: self.record.layers.clone(),
            pid: self.record.process.pid,
            shim_pid: self.record.shim.pid,
            started_at: self.record.started_at,
            state: self.state.borrow().clone(),
        }
    }

    pub(super) fn exit(&self) -> Option<Exit> {
        match &*self.state.borrow() {
            State::Running => None,
            State::Exited(exit) => Some(exit.clone()),
        }
    }

    pub(super) async fn wait(&self) -> Result<Exit, ContainerError> {
        let mut state = self.state.clone();
        let ended = state.wait_for(|state| matches!(state, State::Exited(_))).await;
        match ended.as_deref() {
            Ok(State::Exited(exit)) => Ok(exit.clone()),
            Ok(State::Running) | Err(_) => {
                Err(ContainerError::Refused { id: self.record.id.clone(), problem: "the runtime was closed".into() })
            }
        }
    }

    /// Waits until the shim process itself is gone.
    pub(super) async fn shim_ended(&self) {
        // An error means that the watching task is gone, and it goes after the shim.
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
    }

    /// Signals the first program; never a later process of the same pid.
    pub(super) fn signal(&self, signal: i32) -> io::Result<()> {
        if signal == libc::SIGKILL
            && let Err(error) = self.dir.mark_killed()
        {
            // The kill matters more than its cause in the status.
            tracing::debug!(id = %self.id(), %error, "kill not noted");
        }
        self.record.process.signal(signal)
    }

    /// Opens a conversation with the shim and sends the first message.
    pub(super) async fn converse(&self, request: Request, fds: Vec<OwnedFd>) -> io::Result<UnixStream> {
        let dir = self.dir.clone();
        let connect = move || {
            let stream = dir.connect()?;
            let raw: Vec<_> = fds.iter().map(AsRawFd::as_raw_fd).collect();
            wire::send(stream.as_fd(), &request, &raw)?;
            stream.set_nonblocking(true)?;
            Ok(stream)
        };
        let stream: io::Result<StdUnixStream> =
            tokio::task::spawn_blocking(connect).await.unwrap_or_else(|error| Err(io::Error::other(error)));
        UnixStream::from_std(stream?)
    }
}

/// A handle, and the ends by which its state and the end of its shim are published.
pub(super) type NewHandle = (Arc<Handle>, watch::Sender<State>, watch::Sender<bool>);

pub(super) fn new_handle(dir: &ShimDir, record: Record, state: State) -> NewHandle {
    let (publish, state) = watch::channel(state);
    let (end, ended) = watch::channel(false);
    (Arc::new(Handle { dir: dir.clone(), record, state, ended }), publish, end)
}
