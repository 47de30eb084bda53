//! Running a further program in the container: fork, join, confine, execute.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::PathBuf;

use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, setns};
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{ForkResult, Pid, fork, pipe2};

use super::confine;
use super::launch::Launched;
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
    let joined = launched.cgroups.join_files(&launched.record.cgroup);
    let (failures, failures_end) = pipe2(OFlag::O_CLOEXEC)?;
    // Above all places that the program's own descriptors will take.
    let failures_end = lift(failures_end.as_fd(), PLACES_MAX)?;
    let own_pids = File::open("/proc/self/ns/pid")?;
    // Children are born in the container's pid namespace; this process itself stays where it is.
    setns(&container, CloneFlags::CLONE_NEWPID)?;
    // SAFETY: the shim has one thread, so the child may do all that the parent may.
    let forked = unsafe { fork() };
    match forked {
        Ok(ForkResult::Child) => {
            let child = Child { launched, request, container: &container, cgroup_files: &joined };
            let problem = child.run(fds, conversation);
            // If even this fails, the shim sees the exit code.
            let _ = nix::unistd::write(&failures_end, problem.as_bytes());
            // SAFETY: ends this child at once, without the parent's clean-up.
            unsafe { libc::_exit(126) }
        }
        Ok(ForkResult::Parent { child }) => {
            setns(&own_pids, CloneFlags::CLONE_NEWPID)?;
            pty::set_nonblocking(&failures)?;
            Ok(Forked { pid: child, failures })
        }
        Err(error) => {
            setns(&own_pids, CloneFlags::CLONE_NEWPID)?;
            Err(error.into())
        }
    }
}

struct Child<'a> {
    launched: &'a Launched,
    request: &'a ExecRequest,
    container: &'a OwnedFd,
    cgroup_files: &'a [PathBuf],
}

impl Child<'_> {
    /// Returns only what failed.
    fn run(&self, fds: Vec<OwnedFd>, conversation: BorrowedFd<'_>) -> String {
        let told = |step: &'static str| move |error: io::Error| format!("{step}: {error}");
        let attempt = || -> Result<std::convert::Infallible, String> {
            self.join().map_err(told("join the container"))?;
            let (stdio, extra) = self.streams(fds, conversation).map_err(told("open the terminal"))?;
            let spec = &self.launched.spec;
            let user = self.request.user.as_ref().unwrap_or(&spec.user);
            let cwd = self.request.cwd.as_ref().unwrap_or(&spec.cwd);
            std::env::set_current_dir(cwd).map_err(|error| format!("working directory {}: {error}", cwd.display()))?;
            let env = self.environment(user).map_err(told("read the environment"))?;
            let argv = self.request.argv.iter().map(|argument| confine::c_string(argument));
            let argv = argv.collect::<Result<Vec<_>, _>>().map_err(told("read the command"))?;
            if let Some(limit) = spec.resources.open_files {
                // Raising it may be forbidden; it then stays as it is.
                let _ = setrlimit(Resource::RLIMIT_NOFILE, limit, limit);
            }
            place(&stdio, &extra).map_err(told("place file descriptors"))?;
            confine::reset_signals().map_err(told("reset signals"))?;
            confine::become_powerless(user).map_err(told("become the user"))?;
            confine::require_powerless().map_err(told("drop capabilities"))?;
            let name = self.request.argv.first().map(String::as_str).unwrap_or_default();
            let path = confine::find_program(name, &env)?;
            confine::lock_down(self.launched.filter.as_ref()).map_err(told("install the system call filter"))?;
            let error = confine::execute(&path, &argv, &env);
            Err(format!("execute {path:?}: {error}"))
        };
        match attempt() {
            Ok(never) => match never {},
            Err(problem) => problem,
        }
    }

    /// Cgroups first: their files are not to be seen from inside.
    fn join(&self) -> io::Result<()> {
        nix::unistd::setsid()?;
        for file in self.cgroup_files {
            fs::write(file, "0")?;
        }
        if let Some(wanted) = self.launched.spec.resources.oom_score_adj {
            // As for the first program, not being able to is no reason not to run.
            let _ = fs::write("/proc/self/oom_score_adj", wanted.to_string());
        }
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

/// Puts descriptors at 0, 1, 2, 3, ...; all others close when the program is executed.
fn place(stdio: &[OwnedFd], extra: &[OwnedFd]) -> io::Result<()> {
    let wanted: Vec<&OwnedFd> = stdio.iter().chain(extra).collect();
    let count = RawFd::try_from(wanted.len()).map_err(io::Error::other)?;
    // First out of the way of the final places, then in order.
    let lifted = wanted.iter().map(|fd| lift(fd.as_fd(), count)).collect::<io::Result<Vec<_>>>()?;
    for (place, fd) in (0..count).zip(&lifted) {
        // SAFETY: both are descriptors; whatever was at the place is of no more use in this child.
        if unsafe { libc::dup2(fd.as_raw_fd(), place) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    close_on_execution(count)
}

fn lift(fd: BorrowedFd<'_>, least: RawFd) -> io::Result<OwnedFd> {
    use std::os::fd::FromRawFd;
    let raw = nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(least))?;
    // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// Marks every descriptor from `first` close-on-exec, so that none reaches the program. They are
/// not closed: owners in this process still name them.
fn close_on_execution(first: RawFd) -> io::Result<()> {
    // SAFETY: close_range(2) takes integers; with CLOEXEC nothing is closed before the execution.
    let marked = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if marked == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
