//! The container's first process, from its birth in new namespaces to the program.
//!
//! It is a copy of the shim with one thread, and root until the last steps. Nobody in the container can
//! look into it meanwhile, because it is not dumpable (ptrace(2), "access mode checking"), and nothing of
//! the shim's reaches the program: every descriptor but the streams is closed first of all.

use std::convert::Infallible;
use std::ffi::CString;
use std::fmt::Display;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::entry::{self, Program};
use super::overlay::Overlay;
use super::rootfs::{self, Sources};
use super::streams::{self, place};
use super::{confine, namespaces};
use crate::capabilities::Capabilities;
use crate::cgroup::Hierarchy;
use crate::container::ContainerSpec;
use crate::pty;
use crate::seccomp::Filter;
use crate::wire::{self, Reply};

/// What the first process needs of the shim.
pub(super) struct Init<'a> {
    pub(super) spec: &'a ContainerSpec,
    pub(super) filter: Option<&'a Filter>,
    pub(super) kept: Capabilities,
    pub(super) cgroups: &'a Hierarchy,
    pub(super) cgroup: &'a Path,
    pub(super) overlay: Overlay<'a>,
    /// Writing end: what failed. It closes when the program is executed.
    pub(super) failures: OwnedFd,
    pub(super) streams: Streams,
}

/// Where the program's streams come from.
pub(super) enum Streams {
    /// stdin, stdout, stderr.
    Given(Vec<OwnedFd>),
    /// A terminal of the container; its master side is sent here.
    Terminal(UnixStream),
}

/// Says which step failed.
fn step<E: Display>(step: &'static str) -> impl FnOnce(E) -> String {
    move |error| format!("{step}: {error}")
}

impl Init<'_> {
    /// Becomes the program; returns only what kept it from that.
    pub(super) fn run(mut self) -> String {
        match self.become_program() {
            Ok(never) => match never {},
            Err(problem) => {
                // If even this fails, the shim sees the exit code.
                let _ = nix::unistd::write(&self.failures, problem.as_bytes());
                problem
            }
        }
    }

    fn become_program(&mut self) -> Result<Infallible, String> {
        self.keep_only_streams().map_err(step("close what is the shim's"))?;
        confine::die_with_parent(self.failures.as_fd()).map_err(step("follow the shim"))?;
        self.join().map_err(step("join the container's cgroup and namespaces"))?;
        self.enter_root()?;
        let streams = self.take_streams()?;
        self.limit_files().map_err(step("limit open files"))?;
        confine::own_pipes(&streams, &self.spec.user).map_err(step("hand over the streams"))?;
        // The program gets three descriptors; this one is above them.
        let failures = streams::lift(self.failures.as_fd(), 3).map_err(step("place file descriptors"))?;
        self.failures = failures;
        place(&streams, &[]).map_err(step("place file descriptors"))?;
        entry::enter_directory(&self.spec.cwd)
            .map_err(|error| format!("working directory {}: {}", self.spec.cwd.display(), rooted::in_words(&error)))?;
        self.execute()
    }

    /// Of all that the shim has open, this process needs these.
    fn keep_only_streams(&self) -> io::Result<()> {
        let streams: Vec<BorrowedFd<'_>> = match &self.streams {
            Streams::Given(streams) => streams.iter().map(AsFd::as_fd).collect(),
            Streams::Terminal(shim) => vec![shim.as_fd()],
        };
        streams::keep_only(&[&streams[..], &[self.failures.as_fd()]].concat())
    }

    /// First the cgroup, so that everything from here on counts for the container. All of it by paths of
    /// the host, which are gone later.
    fn join(&self) -> io::Result<()> {
        self.cgroups.enter(self.cgroup)?;
        rootfs::score_for_memory(self.spec.resources.oom_score_adj);
        namespaces::own_cgroups()?;
        namespaces::join_shared(&self.spec.namespaces)?;
        nix::unistd::setsid()?;
        if self.spec.namespaces.network == crate::container::Namespace::New {
            namespaces::loopback_up()?;
        }
        rootfs::name_host(self.spec)
    }

    fn enter_root(&self) -> Result<(), String> {
        rootfs::isolate().map_err(step("isolate mounts"))?;
        let sources = Sources::open(self.spec).map_err(step("open what is to be mounted"))?;
        self.overlay.mount().map_err(step("mount the root filesystem"))?;
        rootfs::enter(self.overlay.target).map_err(step("enter the root filesystem"))?;
        rootfs::furnish(self.spec, sources, self.cgroups.is_v2()).map_err(step("set up the root filesystem"))
    }

    /// The program's three streams.
    fn take_streams(&mut self) -> Result<Vec<OwnedFd>, String> {
        let shim = match std::mem::replace(&mut self.streams, Streams::Given(Vec::new())) {
            Streams::Given(streams) => return Ok(streams),
            Streams::Terminal(shim) => shim,
        };
        self.terminal(&shim).map_err(step("open the terminal"))
    }

    fn terminal(&self, shim: &UnixStream) -> io::Result<Vec<OwnedFd>> {
        let (master, slave) = rootfs::open_console(&File::open("/")?)?;
        pty::make_controlling(slave.as_raw_fd())?;
        std::os::unix::fs::fchown(&slave, Some(self.spec.user.uid), None)?;
        wire::send(shim.as_fd(), &Reply::Terminal, &[master.as_raw_fd()])?;
        Ok(vec![slave.try_clone()?, slave.try_clone()?, slave])
    }

    fn limit_files(&self) -> io::Result<()> {
        let Some(wanted) = self.spec.resources.open_files else { return Ok(()) };
        // Raising the hard limit may be forbidden; the most that is allowed does.
        let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
        let limit = wanted.min(most);
        Ok(setrlimit(Resource::RLIMIT_NOFILE, limit, limit)?)
    }

    /// The last steps, the same as for programs executed later.
    fn execute(&self) -> Result<Infallible, String> {
        let user = &self.spec.user;
        let argv = self.spec.argv.iter().map(|argument| confine::c_string(argument));
        let argv: Vec<CString> = argv.collect::<io::Result<_>>().map_err(step("read the command"))?;
        let name = self.spec.argv.first().map(String::as_str).unwrap_or_default();
        confine::reset_signals().map_err(step("reset signals"))?;
        confine::forget_keys().map_err(step("leave the keyring"))?;
        confine::become_user(user, self.kept).map_err(step("become the user"))?;
        let home = confine::home_of(user.uid).unwrap_or_else(|| "/".to_owned());
        let env = confine::environment(&self.spec.env, Some(&home)).map_err(step("read the environment"))?;
        let program = Program::find(name, &env)?;
        confine::lock_down(self.filter, self.failures.as_fd()).map_err(step("install the system call filter"))?;
        let error = program.execute(&argv, &env);
        Err(format!("execute {:?}: {error}", program.path()))
    }
}
