//! The daemon's side: starts, finds, watches, stops and removes containers.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::UnixStream;
use tokio::process::Command;
use tokio::sync::RwLock;

use super::error::ContainerError;
use super::handle::Handle;
use super::inner::{Inner, Reservation, RuntimeConfig, Slot};
use super::monitor;
use super::program::Program;
use super::spec::{ContainerSpec, TermSize, WritableLayer};
use super::status::{ContainerInfo, Exit, State, Stats};
use super::validate;
use crate::cgroup::Hierarchy;
use crate::shim::dir::ShimDir;
use crate::wire::{self, Reply, Request, StartRequest};

/// Longest time a shim may take to report that the program runs.
const START_TIMEOUT: Duration = Duration::from_secs(120);
/// Longest time between SIGKILL and the end of a container.
const KILL_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest time a shim may take to answer a small request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Containers of this node. Clones share the same state.
#[derive(Clone)]
pub struct Runtime {
    pub(super) inner: Arc<Inner>,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("config", &self.inner.config).finish_non_exhaustive()
    }
}

impl Runtime {
    /// Prepares the run root and looks at what the kernel offers. Containers of an earlier run are
    /// not touched until [`Runtime::adopt`].
    pub fn open(config: RuntimeConfig) -> Result<Self, ContainerError> {
        validate::cgroup_path("cgroup_root", &config.cgroup_root)?;
        let cgroups = Hierarchy::detect()?;
        validate::host()?;
        let containers = config.run_root.join("containers");
        std::fs::create_dir_all(&containers)
            .map_err(|source| ContainerError::RunRoot { path: containers.clone(), source })?;
        let shim = Program::open(&config.shim_exe)
            .map_err(|source| ContainerError::SpawnShim { exe: config.shim_exe.clone(), source })?;
        let containers = Mutex::new(HashMap::new());
        let inner = Inner { config, cgroups, shim, containers, starts: Arc::new(RwLock::new(())) };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Starts a container; returns once its program runs (or could not be executed).
    ///
    /// The start goes on when the returned future is dropped.
    pub async fn start(&self, spec: ContainerSpec) -> Result<ContainerInfo, ContainerError> {
        validate::container(&spec)?;
        let runtime = self.clone();
        let id = spec.id.clone();
        #[expect(clippy::disallowed_methods, reason = "goes on when the caller is dropped; ends with the start")]
        let started = tokio::spawn(async move {
            let started = runtime.start_reserved(spec).await;
            if started.is_err() {
                runtime.prune().await;
            }
            started
        });
        let started = started.await;
        started.unwrap_or_else(|error| Err(ContainerError::Start { id, problem: error.to_string() }))
    }

    async fn start_reserved(&self, spec: ContainerSpec) -> Result<ContainerInfo, ContainerError> {
        let reservation = self.reserve(&spec.id)?;
        let _no_pruning = self.inner.starts.read().await;
        let dir = ShimDir::new(&self.containers_dir(), &spec.id);
        match std::fs::create_dir(dir.path()) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(ContainerError::Exists { id: spec.id });
            }
            Err(source) => return Err(ContainerError::RunRoot { path: dir.path().to_owned(), source }),
        }
        let writable = match &spec.writable {
            WritableLayer::RunRoot => None,
            WritableLayer::Dir(path) => Some(path.clone()),
        };
        match self.launch(&dir, spec).await {
            Ok(handle) => {
                let info = handle.info();
                reservation.fill(handle);
                Ok(info)
            }
            Err(error) => {
                let inner = Arc::clone(&self.inner);
                let sweep = move || {
                    monitor::remove_writable(writable.as_deref())?;
                    monitor::sweep(&inner.cgroups, &dir, &inner.config.cgroup_root)
                };
                if let Ok(Err(left)) = tokio::task::spawn_blocking(sweep).await {
                    tracing::warn!(error = %left, "leftovers of a failed start stay until the next adoption");
                }
                Err(error)
            }
        }
    }

    async fn launch(&self, dir: &ShimDir, spec: ContainerSpec) -> Result<Arc<Handle>, ContainerError> {
        let id = spec.id.clone();
        let (ours, theirs) = StdUnixStream::pair().map_err(ContainerError::shim(&id))?;
        let mut child = self.spawn_shim(dir, theirs)?;
        let cgroup = self.cgroup_of(spec.cgroup_parent.as_deref(), &id);
        let conversation = ours.set_nonblocking(true).and_then(|()| UnixStream::from_std(ours));
        let conversation = conversation.map_err(ContainerError::shim(&id))?;
        let request = StartRequest { version: wire::VERSION, spec, cgroup };
        wire::send_async(&conversation, &request).await.map_err(ContainerError::shim(&id))?;
        let reply = tokio::time::timeout(START_TIMEOUT, wire::receive_async::<Reply>(&conversation)).await;
        let problem = match reply {
            Ok(Ok(Some((Reply::Started { .. }, _)))) => {
                return monitor::watch_started(&self.inner, dir, conversation, child)
                    .map_err(ContainerError::shim(&id));
            }
            Ok(Ok(Some((Reply::Failed { problem }, _)))) => problem,
            Ok(Ok(Some((reply, _)))) => format!("the shim answered {reply:?} to a start"),
            Ok(Ok(None)) => dir.last_words(),
            Ok(Err(error)) => error.to_string(),
            Err(_elapsed) => format!("not running after {} s", START_TIMEOUT.as_secs()),
        };
        // The container dies with its shim.
        if let Err(error) = child.kill().await {
            tracing::debug!(%id, %error, "shim ended by itself");
        }
        Err(ContainerError::Start { id, problem })
    }

    #[expect(clippy::disallowed_methods, reason = "the shim is this program, and outlives the server")]
    fn spawn_shim(&self, dir: &ShimDir, stdin: StdUnixStream) -> Result<tokio::process::Child, ContainerError> {
        let config = &self.inner.config;
        let shim = &self.inner.shim;
        let failed = |source| ContainerError::SpawnShim { exe: shim.name().to_owned(), source };
        let stderr = std::fs::File::create(dir.stderr()).map_err(failed)?;
        Command::new(shim.path())
            .arg0(shim.name())
            .args(&config.shim_args)
            .arg(dir.path())
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(stdin)))
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .map_err(failed)
    }

    /// All containers known, ended ones included.
    pub fn list(&self) -> Vec<ContainerInfo> {
        let containers = self.inner.containers.lock();
        let known = containers.values().filter_map(|slot| match slot {
            Slot::Reserved => None,
            Slot::Known(handle) => Some(handle.info()),
        });
        known.collect()
    }

    /// One container.
    pub fn get(&self, id: &str) -> Option<ContainerInfo> {
        self.handle(id).ok().map(|handle| handle.info())
    }

    /// Sends a signal to the container's first program. Without effect on one that has ended.
    pub fn signal(&self, id: &str, signal: i32) -> Result<(), ContainerError> {
        let handle = self.handle(id)?;
        if handle.exit().is_some() {
            return Ok(());
        }
        handle.signal(signal).map_err(|source| ContainerError::Signal { id: id.to_owned(), signal, source })
    }

    /// Asks the program to end with `signal` (usually SIGTERM), and kills everything in the
    /// container's cgroup after `grace`.
    pub async fn stop(&self, id: &str, signal: i32, grace: Duration) -> Result<Exit, ContainerError> {
        let handle = self.handle(id)?;
        if let Some(exit) = handle.exit() {
            return Ok(exit);
        }
        if !grace.is_zero() {
            self.signal(id, signal)?;
            if let Ok(exit) = tokio::time::timeout(grace, handle.wait()).await {
                return exit;
            }
        }
        self.kill_cgroup(&handle).await?;
        let waited = tokio::time::timeout(KILL_TIMEOUT, handle.wait()).await;
        waited.unwrap_or_else(|_elapsed| {
            let problem = format!("still alive {} s after SIGKILL", KILL_TIMEOUT.as_secs());
            Err(ContainerError::Refused { id: id.to_owned(), problem })
        })
    }

    async fn kill_cgroup(&self, handle: &Arc<Handle>) -> Result<(), ContainerError> {
        let inner = Arc::clone(&self.inner);
        let killed = Arc::clone(handle);
        let kill = move || {
            // The first program first: with its own pid namespace all others go with it.
            if let Err(error) = killed.signal(libc::SIGKILL) {
                tracing::debug!(id = %killed.id(), %error, "first program not signalled");
            }
            inner.cgroups.kill(killed.cgroup())
        };
        tokio::task::spawn_blocking(kill).await.unwrap_or_else(|error| {
            Err(ContainerError::Refused { id: handle.id().to_owned(), problem: error.to_string() })
        })
    }

    /// Waits until the container has ended.
    pub async fn wait(&self, id: &str) -> Result<Exit, ContainerError> {
        self.handle(id)?.wait().await
    }

    /// Reads usage counters from the container's cgroup.
    pub async fn stats(&self, id: &str) -> Result<Stats, ContainerError> {
        let handle = self.handle(id)?;
        let inner = Arc::clone(&self.inner);
        let read = tokio::task::spawn_blocking(move || inner.cgroups.stats(handle.cgroup())).await;
        read.unwrap_or_else(|error| Err(ContainerError::Refused { id: id.to_owned(), problem: error.to_string() }))
    }

    /// Sets the size of the container's terminal.
    pub async fn resize(&self, id: &str, size: TermSize) -> Result<(), ContainerError> {
        self.request(id, Request::Resize(size)).await
    }

    /// Closes the container's stdin: its program reads end of file.
    pub async fn close_stdin(&self, id: &str) -> Result<(), ContainerError> {
        self.request(id, Request::CloseStdin).await
    }

    async fn request(&self, id: &str, request: Request) -> Result<(), ContainerError> {
        let handle = self.running(id)?;
        let conversation = handle.converse(request, Vec::new()).await.map_err(ContainerError::shim(id))?;
        let reply = tokio::time::timeout(REQUEST_TIMEOUT, wire::receive_async::<Reply>(&conversation)).await;
        let problem = match reply {
            Ok(Ok(Some((Reply::Done, _)))) => return Ok(()),
            Ok(Ok(Some((Reply::Failed { problem }, _)))) => problem,
            Ok(Ok(Some((reply, _)))) => format!("unexpected answer {reply:?}"),
            Ok(Ok(None)) => "it ended".to_owned(),
            Ok(Err(source)) => return Err(ContainerError::Shim { id: id.to_owned(), source }),
            Err(_elapsed) => format!("no answer in {} s", REQUEST_TIMEOUT.as_secs()),
        };
        Err(ContainerError::Refused { id: id.to_owned(), problem })
    }

    /// Removes all that is left of an ended container: cgroup, writable layer, run directory. Logs
    /// stay. Removing what is not there succeeds; a running container is refused.
    pub async fn remove(&self, id: &str) -> Result<(), ContainerError> {
        validate::id(id)?;
        if let Ok(handle) = self.handle(id) {
            if handle.exit().is_none() {
                return Err(ContainerError::Running { id: id.to_owned() });
            }
            // The shim writes its last files before it ends.
            handle.shim_ended().await;
        }
        let dir = ShimDir::new(&self.containers_dir(), id);
        // Held until the parents are pruned; without it they stay for the next removal.
        let no_starts = Arc::clone(&self.inner.starts).try_write_owned().ok();
        let inner = Arc::clone(&self.inner);
        let sweep = move || {
            let cgroup = monitor::sweep(&inner.cgroups, &dir, &inner.config.cgroup_root)?;
            if let Some(cgroup) = cgroup.filter(|_| no_starts.is_some()) {
                inner.cgroups.prune_parents(&inner.config.cgroup_root, &cgroup);
            }
            Ok(())
        };
        tokio::task::spawn_blocking(sweep)
            .await
            .unwrap_or_else(|error| Err(ContainerError::Refused { id: id.to_owned(), problem: error.to_string() }))?;
        self.inner.containers.lock().remove(id);
        Ok(())
    }

    /// Removes empty cgroups below the root, unless a container is being started in one.
    async fn prune(&self) {
        let Ok(_exclusive) = self.inner.starts.try_write() else {
            return;
        };
        let inner = Arc::clone(&self.inner);
        let pruned = tokio::task::spawn_blocking(move || inner.cgroups.prune(&inner.config.cgroup_root)).await;
        if let Err(error) = pruned {
            tracing::warn!(%error, "empty cgroups were not removed");
        }
    }

    pub(super) fn containers_dir(&self) -> PathBuf {
        self.inner.config.run_root.join("containers")
    }

    fn cgroup_of(&self, parent: Option<&str>, id: &str) -> PathBuf {
        let root = Path::new("/").join(&self.inner.config.cgroup_root);
        match parent {
            Some(parent) => root.join(parent).join(id),
            None => root.join(id),
        }
    }

    pub(super) fn handle(&self, id: &str) -> Result<Arc<Handle>, ContainerError> {
        match self.inner.containers.lock().get(id) {
            Some(Slot::Known(handle)) => Ok(Arc::clone(handle)),
            Some(Slot::Reserved) | None => Err(ContainerError::NotFound { id: id.to_owned() }),
        }
    }

    pub(super) fn running(&self, id: &str) -> Result<Arc<Handle>, ContainerError> {
        let handle = self.handle(id)?;
        match handle.info().state {
            State::Running => Ok(handle),
            State::Exited(_) => Err(ContainerError::NotRunning { id: id.to_owned() }),
        }
    }

    /// Takes an id until it is filled or dropped.
    pub(super) fn reserve(&self, id: &str) -> Result<Reservation, ContainerError> {
        let mut containers = self.inner.containers.lock();
        if containers.contains_key(id) {
            return Err(ContainerError::Exists { id: id.to_owned() });
        }
        containers.insert(id.to_owned(), Slot::Reserved);
        Ok(Reservation { inner: Arc::clone(&self.inner), id: id.to_owned(), filled: false })
    }
}
