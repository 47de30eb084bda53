//! Processes in namespaces and cgroups of containers.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::sched::{CloneFlags, setns};
use nix::unistd::Pid;

use crate::container::{Namespace, Namespaces};

/// `CLONE_INTO_CGROUP` of clone3(2) (Linux 5.7); wider than the flags that libraries know.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// What [`fork_into`] returns to each of the two.
pub(super) enum Forked {
    /// In the new process.
    Child,
    /// In the calling process.
    Parent(Pid),
}

/// fork(2) with new namespaces and, when given, into a cgroup (v2). Only for processes with one thread:
/// the child may then do all that the parent may.
pub(super) fn fork_into(new: CloneFlags, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Forked> {
    // SAFETY: a record of zeros asks for a plain fork.
    let mut wanted: libc::clone_args = unsafe { std::mem::zeroed() };
    wanted.flags = u64::from(new.bits().cast_unsigned());
    wanted.exit_signal = u64::from(libc::SIGCHLD.cast_unsigned());
    if let Some(cgroup) = cgroup {
        wanted.flags |= CLONE_INTO_CGROUP;
        wanted.cgroup = u64::from(cgroup.as_raw_fd().cast_unsigned());
    }
    // SAFETY: clone3(2) reads one record of the given size, which lives until it returns. Memory is not
    // shared and there is one thread, so the child has a whole copy of this program.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const wanted, size_of::<libc::clone_args>()) };
    match pid {
        0 => Ok(Forked::Child),
        pid if pid < 0 => Err(io::Error::last_os_error()),
        pid => Ok(Forked::Parent(Pid::from_raw(i32::try_from(pid).map_err(io::Error::other)?))),
    }
}

/// Namespaces the first program is born with. Mounts are always its own; so are cgroups, but those are
/// made later, by [`own_cgroups`].
pub(super) fn clone_flags(chosen: &Namespaces) -> CloneFlags {
    let kinds = [
        (&chosen.network, CloneFlags::CLONE_NEWNET),
        (&chosen.ipc, CloneFlags::CLONE_NEWIPC),
        (&chosen.uts, CloneFlags::CLONE_NEWUTS),
        (&chosen.pid, CloneFlags::CLONE_NEWPID),
    ];
    let new = kinds.into_iter().filter(|(namespace, _)| **namespace == Namespace::New);
    new.fold(CloneFlags::CLONE_NEWNS, |flags, (_, flag)| flags | flag)
}

/// Joins the namespaces that are shared; that of processes is for children only, see [`PidNamespace`].
pub(super) fn join_shared(chosen: &Namespaces) -> io::Result<()> {
    let kinds = [
        (&chosen.network, CloneFlags::CLONE_NEWNET),
        (&chosen.ipc, CloneFlags::CLONE_NEWIPC),
        (&chosen.uts, CloneFlags::CLONE_NEWUTS),
    ];
    for (namespace, flag) in kinds {
        if let Namespace::Path(path) = namespace {
            let file = File::open(path).map_err(|error| named(path.display(), &error))?;
            setns(file, flag).map_err(|error| named(path.display(), &error.into()))?;
        }
    }
    Ok(())
}

fn named(what: impl std::fmt::Display, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// Makes the cgroup this process is in the root of what it sees.
pub(super) fn own_cgroups() -> io::Result<()> {
    Ok(nix::sched::unshare(CloneFlags::CLONE_NEWCGROUP)?)
}

/// While it lives, children of this process are born in another pid namespace; the process itself
/// stays where it is (setns(2)).
pub(super) struct PidNamespace(File);

impl PidNamespace {
    /// `other` is a namespace file or a pidfd.
    pub(super) fn for_children(other: impl AsFd) -> io::Result<Self> {
        let own = File::open("/proc/self/ns/pid")?;
        setns(other, CloneFlags::CLONE_NEWPID)?;
        Ok(Self(own))
    }
}

impl Drop for PidNamespace {
    fn drop(&mut self) {
        // It worked in the other direction; a shim that cannot come back must not start more.
        if let Err(error) = setns(&self.0, CloneFlags::CLONE_NEWPID) {
            eprintln!("cannot return to the host's pid namespace: {error}");
            std::process::exit(70);
        }
    }
}

/// Brings the loopback device of this network namespace up: it is down in a new one (netdevice(7)).
pub(super) fn loopback_up() -> io::Result<()> {
    let socket = nix::sys::socket::socket(
        nix::sys::socket::AddressFamily::Inet,
        nix::sys::socket::SockType::Datagram,
        nix::sys::socket::SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    // SAFETY: an ifreq of zeros is valid: an empty name and no flags.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (slot, byte) in request.ifr_name.iter_mut().zip(b"lo") {
        *slot = byte.cast_signed();
    }
    let flags = libc::IFF_UP | libc::IFF_RUNNING;
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(flags).map_err(io::Error::other)?;
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which lives until the call returns.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests start programs and tasks, and end them")]
mod tests {
    use super::*;

    #[test]
    fn shared_and_host_namespaces_are_not_new() {
        let all = clone_flags(&Namespaces::default());
        let every = CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWPID;
        assert_eq!(all, every);
        let chosen =
            Namespaces { network: Namespace::Path("/n".into()), ipc: Namespace::Host, ..Namespaces::default() };
        assert_eq!(clone_flags(&chosen), every - CloneFlags::CLONE_NEWNET - CloneFlags::CLONE_NEWIPC);
        let none =
            Namespaces { network: Namespace::Host, ipc: Namespace::Host, uts: Namespace::Host, pid: Namespace::Host };
        assert_eq!(clone_flags(&none), CloneFlags::CLONE_NEWNS, "mounts are always its own");
    }

    /// A directory of a cgroup v2 hierarchy, if this host has one mounted; removed on drop.
    struct Group(std::path::PathBuf);

    impl Group {
        fn new() -> io::Result<Option<Self>> {
            let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
            let line = mounts.lines().find(|line| line.contains(" - cgroup2 "));
            let Some(mount) = line.and_then(|line| line.split(' ').nth(4)) else { return Ok(None) };
            let group = std::path::Path::new(mount).join(format!("nct-fork{}", std::process::id()));
            std::fs::create_dir(&group)?;
            Ok(Some(Self(group)))
        }
    }

    impl Drop for Group {
        fn drop(&mut self) {
            if let Err(error) = std::fs::remove_dir(&self.0) {
                eprintln!("{}: {error}", self.0.display());
            }
        }
    }

    #[test]
    fn children_are_born_in_a_cgroup_and_a_pid_namespace() -> io::Result<()> {
        let Some(group) = Group::new()? else {
            // The guest with cgroup v2 starts all of its containers this way.
            let promised = std::env::var_os("NANOCLOUD_EXPECT_CGROUP_V2").is_some();
            return if promised { Err(io::Error::other("cgroup v2 was promised")) } else { Ok(()) };
        };
        let place = File::open(&group.0)?;
        let (gone, alive) = nix::unistd::pipe()?;
        match fork_into(CloneFlags::CLONE_NEWPID, Some(place.as_fd()))? {
            Forked::Child => {
                let mut byte = 0_u8;
                // Other threads of this test are not here, so nothing but system calls.
                // SAFETY: closing, reading and ending take integers and a buffer that lives.
                unsafe {
                    libc::close(alive.as_raw_fd());
                    let first = i32::from(libc::getpid() != 1);
                    libc::read(gone.as_raw_fd(), (&raw mut byte).cast(), 1);
                    libc::_exit(first)
                }
            }
            Forked::Parent(pid) => {
                drop(gone);
                let members = std::fs::read_to_string(group.0.join("cgroup.procs"))?;
                assert_eq!(members.trim(), pid.to_string());
                drop(alive);
                let ended = nix::sys::wait::waitpid(pid, None)?;
                assert_eq!(ended, nix::sys::wait::WaitStatus::Exited(pid, 0), "it is the first of its namespace");
                Ok(())
            }
        }
    }
}
