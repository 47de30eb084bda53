//! From a request to a running program.
//!
//! ```text
//!  shim:   cgroup, limits ─ clone3 ────────────────────── wait ── record, answer
//!  child:                     └ init: join, root, confine ┴ execve
//! ```

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use jiff::Timestamp;
use nix::fcntl::OFlag;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, pipe2};

use super::dir::{Record, ShimDir};
use super::init::{Init, Streams};
use super::namespaces::{self, Forked, PidNamespace, fork_into};
use super::overlay::Overlay;
use crate::capabilities::Capabilities;
use crate::cgroup::Hierarchy;
use crate::container::{ContainerSpec, Namespace, WritableLayer};
use crate::process::Process;
use crate::seccomp::{self, Filter};
use crate::wire::{self, Reply, StartRequest};

/// A running container, as the shim holds it.
pub(super) struct Launched {
    pub(super) record: Record,
    pub(super) spec: ContainerSpec,
    pub(super) filter: Option<Filter>,
    pub(super) cgroups: Hierarchy,
    pub(super) stdio: Stdio,
    /// Where requests come from.
    pub(super) listener: UnixListener,
}

/// The shim's ends of the program's standard streams.
pub(super) enum Stdio {
    Pipes { stdin: Option<OwnedFd>, stdout: OwnedFd, stderr: OwnedFd },
    Terminal(OwnedFd),
}

/// What failed, in words for the caller.
#[derive(Debug, thiserror::Error)]
pub(super) enum LaunchError {
    #[error("{step}: {problem}")]
    Step { step: &'static str, problem: String },
    #[error("{0}")]
    Program(String),
}

fn step<E: std::error::Error>(step: &'static str) -> impl FnOnce(E) -> LaunchError {
    move |error| {
        let mut problem = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            if !problem.contains(&text) {
                problem = format!("{problem}: {text}");
            }
            source = cause.source();
        }
        LaunchError::Step { step, problem }
    }
}

/// Starts the container. On failure nothing of it runs; files and cgroups are left to the daemon.
pub(super) fn launch(dir: &ShimDir, request: StartRequest) -> Result<Launched, LaunchError> {
    let StartRequest { spec, cgroup, .. } = request;
    let cgroups = Hierarchy::detect().map_err(step("look at cgroups"))?;
    let kept = Capabilities::named(&spec.capabilities)
        .map_err(|name| LaunchError::Program(format!("capability {name:?} cannot be kept")))?;
    let filter = seccomp::filter(&spec.seccomp, kept).map_err(step("compile the system call filter"))?;
    let writable = match &spec.writable {
        WritableLayer::RunRoot => dir.path().to_owned(),
        WritableLayer::Dir(path) => path.clone(),
    };
    cgroups.create(&cgroup, &spec.resources).map_err(step("make the cgroup"))?;
    // Before there is a record: who finds that takes a shim that does not listen for one that is going.
    let listener = listen(dir, "shim.sock").map_err(step("listen for requests"))?;
    let birth = Birth { dir, spec: &spec, filter: filter.as_ref(), kept, cgroups: &cgroups, cgroup: &cgroup };
    let (pid, stdio) = birth.give(&writable)?;
    match record(dir, &spec, pid, &cgroup, &writable) {
        Ok(record) => Ok(Launched { record, spec, filter, cgroups, stdio, listener }),
        Err(error) => {
            abandon(pid);
            Err(error)
        }
    }
}

/// Ends a first process whose start failed.
fn abandon(pid: Pid) {
    // It may have ended by itself.
    let _ = kill(pid, Signal::SIGKILL);
    let _ = waitpid(pid, None);
}

/// What it takes to start the first process.
struct Birth<'a> {
    dir: &'a ShimDir,
    spec: &'a ContainerSpec,
    filter: Option<&'a Filter>,
    kept: Capabilities,
    cgroups: &'a Hierarchy,
    cgroup: &'a Path,
}

impl Birth<'_> {
    /// Starts it, and returns when the program is executed.
    fn give(&self, writable: &Path) -> Result<(Pid, Stdio), LaunchError> {
        let (failures, failures_end) = pipe2(OFlag::O_CLOEXEC).map_err(step("make a pipe"))?;
        let (ends, streams) = self.streams().map_err(step("make the streams"))?;
        let place = self.cgroups.place(self.cgroup).map_err(step("open the cgroup"))?;
        let pids = self.shared_pids().map_err(step("join the pid namespace"))?;
        let forked = fork_into(namespaces::clone_flags(&self.spec.namespaces), place.as_ref().map(AsFd::as_fd));
        let pid = match forked.map_err(step("make a process in new namespaces"))? {
            Forked::Parent(pid) => pid,
            Forked::Child => {
                // Still open here, the failures would never end for the shim.
                drop((failures, ends));
                std::mem::forget(pids);
                self.be_born(writable, failures_end, streams)
            }
        };
        drop((failures_end, streams, pids));
        let stdio = match ends {
            Ends::Pipes(stdio) => Ok(stdio),
            Ends::Terminal(socket) => terminal(&socket),
        };
        // The other end closes itself when the program is executed.
        match io::read_to_string(File::from(failures)) {
            Ok(problem) if problem.is_empty() => {}
            Ok(problem) => {
                abandon(pid);
                return Err(LaunchError::Program(problem));
            }
            Err(error) => {
                abandon(pid);
                return Err(step("watch the program")(error));
            }
        }
        match stdio {
            Ok(stdio) => Ok((pid, stdio)),
            Err(error) => {
                abandon(pid);
                Err(step("receive the terminal")(error))
            }
        }
    }

    fn be_born(&self, writable: &Path, failures: OwnedFd, streams: Streams) -> ! {
        let (upper, work, rootfs) = (writable.join("upper"), writable.join("work"), self.dir.path().join("rootfs"));
        let overlay = Overlay { layers: &self.spec.layers, upper: &upper, work: &work, target: &rootfs };
        let (spec, filter, kept) = (self.spec, self.filter, self.kept);
        let init = Init { spec, filter, kept, cgroups: self.cgroups, cgroup: self.cgroup, overlay, failures, streams };
        init.run();
        // SAFETY: ends this child at once, without the parent's clean-up.
        unsafe { libc::_exit(126) }
    }

    fn shared_pids(&self) -> io::Result<Option<PidNamespace>> {
        match &self.spec.namespaces.pid {
            Namespace::Path(path) => PidNamespace::for_children(File::open(path)?).map(Some),
            Namespace::New | Namespace::Host => Ok(None),
        }
    }

    /// The shim's ends and the program's.
    fn streams(&self) -> io::Result<(Ends, Streams)> {
        if self.spec.tty {
            let (ours, theirs) = UnixStream::pair()?;
            return Ok((Ends::Terminal(ours), Streams::Terminal(theirs)));
        }
        let (stdin, stdin_end) = match self.spec.stdin {
            true => pipe2(OFlag::O_CLOEXEC).map(|(read, write)| (Some(write), read))?,
            false => (None, File::open("/dev/null")?.into()),
        };
        let (stdout, stdout_end) = pipe2(OFlag::O_CLOEXEC)?;
        let (stderr, stderr_end) = pipe2(OFlag::O_CLOEXEC)?;
        let ends = Ends::Pipes(Stdio::Pipes { stdin, stdout, stderr });
        Ok((ends, Streams::Given(vec![stdin_end, stdout_end, stderr_end])))
    }
}

/// The shim's ends while the first process is on its way.
enum Ends {
    Pipes(Stdio),
    /// Where the terminal's master side will come from.
    Terminal(UnixStream),
}

fn terminal(socket: &UnixStream) -> io::Result<Stdio> {
    match wire::receive::<Reply>(socket.as_fd())? {
        Some((Reply::Terminal, mut fds)) if !fds.is_empty() => Ok(Stdio::Terminal(fds.swap_remove(0))),
        _ => Err(io::Error::other("it did not come")),
    }
}

/// Listens on a name in the container's directory, which may be too long for a socket address.
fn listen(dir: &ShimDir, name: &str) -> io::Result<UnixListener> {
    std::env::set_current_dir(dir.path())?;
    let listener = UnixListener::bind(name);
    std::env::set_current_dir("/")?;
    listener
}

/// Writes down what a later daemon must know.
fn record(
    dir: &ShimDir,
    spec: &ContainerSpec,
    pid: Pid,
    cgroup: &Path,
    writable: &Path,
) -> Result<Record, LaunchError> {
    let own = i32::try_from(std::process::id()).map_err(step("look at the shim"))?;
    let record = Record {
        id: spec.id.clone(),
        labels: spec.labels.clone(),
        layers: spec.layers.clone(),
        process: Process::of(pid.as_raw()).map_err(step("look at the process"))?,
        shim: Process::of(own).map_err(step("look at the shim"))?,
        started_at: Timestamp::now(),
        cgroup: cgroup.to_owned(),
        writable: (spec.writable != WritableLayer::RunRoot).then(|| writable.to_owned()),
    };
    dir.write_record(&record).map_err(step("write the record"))?;
    Ok(record)
}
