//! Running a further program in the container: fork, join, confine, execute.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, setns};
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Pid, pipe2};

use super::entry::{self, Program};
use super::launch::Launched;
use super::namespaces::{PidNamespace, fork_into};
use super::streams::{self, lift, place};
use super::{confine, namespaces, rootfs};
use crate::apparmor;
use crate::capabilities::Capabilities;
use crate::container::{TermSize, UserIds};
use crate::pty;
use crate::wire::{self, ExecRequest, Reply};

/// Descriptors of a program lie below this number.
const PLACES_MAX: RawFd = 64;

/// A forked child on its way to the program.
pub(super) struct Forked {
    pub(super) pid: Pid,
    /// Says what failed, or ends without a word when the program is executed.
    pub(super) failures: OwnedFd,
}

/// Forks a child that becomes the program. `fds` are stdin, stdout and stderr unless there is a
/// terminal, then those that become 3 and up. `conversation` is told the terminal.
pub(super) fn start(
    launched: &Launched,
    request: &ExecRequest,
    fds: Vec<OwnedFd>,
    conversation: BorrowedFd<'_>,
) -> io::Result<Forked> {
    let stdio = if request.tty.is_some() { 0 } else { 3 };
    if fds.len() < stdio {
        return Err(io::Error::other("stdin, stdout and stderr were not handed over"));
    }
    let container = launched.record.process.open()?;
    let place = launched.cgroups.place(&launched.record.cgroup).map_err(io::Error::other)?;
    let (failures, failures_end) = pipe2(OFlag::O_CLOEXEC)?;
    // Above all places that the program's own descriptors will take.
    let failures_end = lift(failures_end.as_fd(), PLACES_MAX)?;
    let born_inside = PidNamespace::for_children(&container)?;
    match fork_into(CloneFlags::empty(), place.as_ref().map(AsFd::as_fd))? {
        namespaces::Forked::Child => {
            // Still open here, the failures would never end for the shim.
            drop(failures);
            std::mem::forget(born_inside);
            let child = Child { launched, request, container: &container, failures: &failures_end };
            let problem = child.run(fds, conversation);
            // If even this fails, the shim sees the exit code.
            let _ = nix::unistd::write(&failures_end, problem.as_bytes());
            // SAFETY: ends this child at once, without the parent's clean-up.
            unsafe { libc::_exit(126) }
        }
        namespaces::Forked::Parent(pid) => {
            pty::set_nonblocking(&failures)?;
            Ok(Forked { pid, failures })
        }
    }
}

struct Child<'a> {
    launched: &'a Launched,
    request: &'a ExecRequest,
    container: &'a OwnedFd,
    /// Writing end of the pipe that the shim reads.
    failures: &'a OwnedFd,
}

impl Child<'_> {
    /// Returns only what failed.
    fn run(&self, fds: Vec<OwnedFd>, conversation: BorrowedFd<'_>) -> String {
        let told = |step: &'static str| move |error: io::Error| format!("{step}: {error}");
        let attempt = || -> Result<std::convert::Infallible, String> {
            self.keep_only(&fds, conversation).map_err(told("close what is the shim's"))?;
            confine::die_with_parent(self.failures.as_fd()).map_err(told("follow the shim"))?;
            let profile = self.profile()?;
            self.join().map_err(told("join the container"))?;
            let (stdio, extra) = self.streams(fds, conversation).map_err(told("open the terminal"))?;
            let spec = &self.launched.spec;
            let user = self.request.user.as_ref().unwrap_or(&spec.user);
            let argv = self.request.argv.iter().map(|argument| confine::c_string(argument));
            let argv = argv.collect::<Result<Vec<_>, _>>().map_err(told("read the command"))?;
            if let Some(limit) = spec.resources.open_files {
                // Raising it may be forbidden; it then stays as it is.
                let _ = setrlimit(Resource::RLIMIT_NOFILE, limit, limit);
            }
            confine::own_pipes(&stdio, user).map_err(told("hand over the streams"))?;
            place(&stdio, &extra).map_err(told("place file descriptors"))?;
            let cwd = self.request.cwd.as_ref().unwrap_or(&spec.cwd);
            entry::enter_directory(cwd)
                .map_err(|error| format!("working directory {}: {}", cwd.display(), rooted::in_words(&error)))?;
            confine::reset_signals().map_err(told("reset signals"))?;
            confine::forget_keys().map_err(told("leave the keyring"))?;
            confine::become_user(user, Capabilities::NONE).map_err(told("become the user"))?;
            let name = self.request.argv.first().map(String::as_str).unwrap_or_default();
            let env = self.environment(user).map_err(told("read the environment"))?;
            let program = Program::find(name, &env)?;
            if let Some((entry, name)) = profile {
                entry.enter_on_exec(name).map_err(|error| format!("enter AppArmor profile {name}: {error}"))?;
            }
            let filter = self.launched.filter.as_ref();
            confine::lock_down(filter, self.failures.as_fd()).map_err(told("install the system call filter"))?;
            let error = program.execute(&argv, &env);
            Err(format!("execute {:?}: {error}", program.path()))
        };
        match attempt() {
            Ok(never) => match never {},
            Err(problem) => problem,
        }
    }

    /// Of all that the shim has open, this process needs these; the container's cgroup directory is not among them.
    fn keep_only(&self, fds: &[OwnedFd], conversation: BorrowedFd<'_>) -> io::Result<()> {
        let own = [self.failures.as_fd(), self.container.as_fd(), conversation];
        let kept: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).chain(own).collect();
        streams::keep_only(&kept)
    }

    /// The way into the profile asked for, opened while `/proc` is the host's.
    fn profile(&self) -> Result<Option<(apparmor::Entry, &str)>, String> {
        let Some(name) = self.request.apparmor.as_deref() else { return Ok(None) };
        // Above all places that the program's own descriptors will take.
        match apparmor::Entry::open().and_then(|entry| entry.by(|fd| lift(fd, PLACES_MAX))) {
            Ok(entry) => Ok(Some((entry, name))),
            Err(error) => {
                Err(format!("AppArmor profile {name} is asked for, and the kernel offers no AppArmor: {error}"))
            }
        }
    }

    /// Cgroups first: their files are not to be seen from inside.
    fn join(&self) -> io::Result<()> {
        nix::unistd::setsid()?;
        self.launched.cgroups.enter(&self.launched.record.cgroup)?;
        rootfs::score_for_memory(self.launched.spec.resources.oom_score_adj);
        let all = CloneFlags::CLONE_NEWCGROUP
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWNS;
        Ok(setns(self.container, all)?)
    }

    /// The three standard streams and the further descriptors.
    fn streams(&self, fds: Vec<OwnedFd>, conversation: BorrowedFd<'_>) -> io::Result<(Vec<OwnedFd>, Vec<OwnedFd>)> {
        let mut fds = fds;
        let Some(size) = self.request.tty else {
            let extra = fds.split_off(3.min(fds.len()));
            return Ok((fds, extra));
        };
        let slave = self.open_terminal(size, conversation)?;
        let stdio = vec![slave.try_clone()?, slave.try_clone()?, slave];
        Ok((stdio, fds))
    }

    fn open_terminal(&self, size: TermSize, conversation: BorrowedFd<'_>) -> io::Result<OwnedFd> {
        let (master, slave) = pty::open_terminal()?;
        pty::resize(master.as_raw_fd(), size)?;
        pty::make_controlling(slave.as_raw_fd())?;
        let user = self.request.user.as_ref().unwrap_or(&self.launched.spec.user);
        std::os::unix::fs::fchown(&slave, Some(user.uid), None)?;
        wire::send(conversation, &Reply::Terminal, &[master.as_raw_fd()])?;
        Ok(slave)
    }

    fn environment(&self, user: &UserIds) -> io::Result<Vec<std::ffi::CString>> {
        let mut entries = Vec::new();
        if self.request.inherit_env {
            let home_differs = user.uid != self.launched.spec.user.uid;
            let own = self.launched.spec.env.iter().filter(|(name, _)| !(home_differs && name == "HOME"));
            entries.extend(own.cloned());
        }
        entries.extend(self.request.env.iter().cloned());
        if self.request.inherit_env {
            let home = confine::home_of(user.uid).unwrap_or_else(|| "/".to_owned());
            confine::environment(&entries, Some(&home))
        } else {
            entries.iter().map(|(name, value)| confine::c_string(&format!("{name}={value}"))).collect()
        }
    }
}
