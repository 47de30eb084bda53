//! The last steps before a program in a container is executed: the same for the first program and
//! for exec'd ones.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, signal, sigprocmask};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use rooted::Links;

use crate::capabilities::Capabilities;
use crate::container::{PATH_DEFAULT, UserIds};
use crate::seccomp::Filter;

/// `_LINUX_CAPABILITY_VERSION_3` (capget(2)).
const CAPABILITY_VERSION: u32 = 0x2008_0522;
/// Largest `/etc/passwd` of a container that is read.
const PASSWD_BYTES_MAX: u64 = 4 << 20;
/// Capability numbers tried when none tells the end; the kernel has 41 now.
const CAPABILITY_NUMBERS: u32 = 64;

/// Environment as `NAME=value` strings; later entries of a name replace earlier ones. `PATH` and
/// `HOME` are added when missing.
pub(super) fn environment(entries: &[(String, String)], home: Option<&str>) -> io::Result<Vec<CString>> {
    let mut merged: Vec<(&str, &str)> = Vec::with_capacity(entries.len() + 2);
    for (name, value) in entries {
        match merged.iter_mut().find(|(known, _)| known == name) {
            Some(entry) => entry.1 = value,
            None => merged.push((name, value)),
        }
    }
    for (name, value) in [("PATH", Some(PATH_DEFAULT)), ("HOME", home)] {
        if let Some(value) = value
            && !merged.iter().any(|(known, _)| *known == name)
        {
            merged.push((name, value));
        }
    }
    merged.into_iter().map(|(name, value)| c_string(&format!("{name}={value}"))).collect()
}

/// A string for the kernel.
pub(super) fn c_string(text: &str) -> io::Result<CString> {
    CString::new(text).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a string holds NUL"))
}

/// Home directory of a user by the container's `/etc/passwd`. Whatever that is, it is the container's choice: it is
/// read with the rights of the container's user, and without waiting for it.
pub(super) fn home_of(uid: u32) -> Option<String> {
    let root = File::open("/").ok()?;
    let text = rooted::read_regular(&root, Path::new("etc/passwd"), Links::InRoot, PASSWD_BYTES_MAX).ok()?;
    let line = text.lines().find(|line| line.split(':').nth(2).and_then(|field| field.parse().ok()) == Some(uid))?;
    line.split(':').nth(5).filter(|home| home.starts_with('/')).map(str::to_owned)
}

/// Default dispositions and no blocked signal: the shim's own must not be inherited by programs.
pub(super) fn reset_signals() -> io::Result<()> {
    for number in Signal::iterator() {
        if !matches!(number, Signal::SIGKILL | Signal::SIGSTOP) {
            // SAFETY: the default disposition runs no code of ours.
            unsafe { signal(number, SigHandler::SigDfl) }?;
        }
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
    Ok(())
}

/// Leaves the session keyring of the server, which programs would otherwise share (session-keyring(7)).
pub(super) fn forget_keys() -> io::Result<()> {
    let name = std::ptr::null::<libc::c_char>();
    // SAFETY: keyctl(2) with KEYCTL_JOIN_SESSION_KEYRING and no name takes no memory of ours.
    let joined = unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, name) };
    match io::Error::last_os_error() {
        _ if joined >= 0 => Ok(()),
        // A kernel without keys, or a host that forbids them: there are none to share then.
        error if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => Ok(()),
        error => Err(error),
    }
}

/// Becomes the user for good and gives up every capability in every set that is not kept.
pub(super) fn become_user(user: &UserIds, kept: Capabilities) -> io::Result<()> {
    for number in (0..CAPABILITY_NUMBERS).filter(|number| !kept.contains(*number)) {
        match control(libc::PR_CAPBSET_DROP, number.into(), 0) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => break,
            result => result?,
        };
    }
    if kept != Capabilities::NONE {
        // Through the change of user; the execution clears it.
        control(libc::PR_SET_KEEPCAPS, 1, 0)?;
    }
    let groups: Vec<Gid> = user.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    setgroups(&groups)?;
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    control(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong, 0)?;
    set_capabilities(kept)?;
    for number in kept.numbers() {
        control(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong, number.into())?;
    }
    require_at_most(kept)
}

fn control(operation: libc::c_int, first: libc::c_ulong, second: libc::c_ulong) -> io::Result<libc::c_int> {
    // SAFETY: the operations used here take integers only.
    let result = unsafe { libc::prctl(operation, first, second, 0, 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapabilityData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

fn set_capabilities(kept: Capabilities) -> io::Result<()> {
    let header = CapabilityHeader { version: CAPABILITY_VERSION, pid: 0 };
    let part = |bits: u32| CapabilityData { effective: bits, permitted: bits, inheritable: bits };
    let data = [part(low(kept.0)), part(low(kept.0 >> 32))];
    // SAFETY: capset(2) version 3 reads one header and two data records, which live until it returns.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn low(bits: u64) -> u32 {
    (bits & u64::from(u32::MAX)) as u32
}

/// Proves that this process holds no other capability in any set, the bounding set included.
fn require_at_most(kept: Capabilities) -> io::Result<()> {
    let header = CapabilityHeader { version: CAPABILITY_VERSION, pid: 0 };
    let mut data = [CapabilityData::default(); 2];
    // SAFETY: capget(2) version 3 reads one header and writes two data records; both live here.
    if unsafe { libc::syscall(libc::SYS_capget, &raw const header, data.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let [least, most] = data.map(|part| u64::from(part.effective | part.permitted | part.inheritable));
    let held = (least | most << 32) & !kept.0 != 0;
    // An error means that the kernel has no such capability.
    let bound = (0..CAPABILITY_NUMBERS)
        .filter(|number| !kept.contains(*number))
        .any(|number| control(libc::PR_CAPBSET_READ, number.into(), 0).is_ok_and(|set| set == 1));
    if held || bound {
        return Err(io::Error::other("capabilities were not dropped; refusing to execute"));
    }
    Ok(())
}

/// Lets the kernel kill this process when its parent dies, and tells whether the parent lived then.
/// `parent` is the writing end of a pipe that only the parent reads.
pub(super) fn die_with_parent(parent: BorrowedFd<'_>) -> io::Result<()> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    let mut fds = [PollFd::new(parent, PollFlags::empty())];
    poll(&mut fds, PollTimeout::ZERO)?;
    if fds[0].revents().is_some_and(|events| events.contains(PollFlags::POLLERR)) {
        return Err(io::Error::other("the shim is gone"));
    }
    Ok(())
}

/// Dies with the shim, gains nothing, is filtered. The last step: the filter forbids much.
pub(super) fn lock_down(filter: Option<&Filter>, shim: BorrowedFd<'_>) -> io::Result<()> {
    // Clears on changes of identity, so it comes after them.
    die_with_parent(shim)?;
    nix::sys::prctl::set_no_new_privs()?;
    match filter {
        Some(filter) => filter.install(),
        None => Ok(()),
    }
}

/// Hands pipes to the user, who could otherwise not open `/dev/stdout` again.
pub(super) fn own_pipes(fds: &[OwnedFd], user: &UserIds) -> io::Result<()> {
    for fd in fds {
        if nix::sys::stat::fstat(fd)?.st_mode & libc::S_IFMT == libc::S_IFIFO {
            std::os::unix::fs::fchown(fd, Some(user.uid), None)?;
        }
    }
    Ok(())
}

/// Makes this process one like those in containers: another user, no capability in any set, nothing to gain by
/// executing, the baseline filter. For processes beside the server that need none of its rights; call it before any
/// thread exists.
///
/// # Errors
/// When a step fails; the process must not go on then.
pub fn confine(user: &UserIds) -> io::Result<()> {
    forget_keys()?;
    become_user(user, Capabilities::NONE)?;
    nix::sys::prctl::set_no_new_privs()?;
    crate::seccomp::baseline().install()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(entries: &[(&str, &str)]) -> Vec<(String, String)> {
        entries.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn texts(env: &[CString]) -> Vec<String> {
        env.iter().map(|entry| entry.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn later_entries_win_and_path_and_home_are_added() -> io::Result<()> {
        let env = environment(&pairs(&[("A", "1"), ("B", "2"), ("A", "3")]), Some("/home/x"))?;
        assert_eq!(texts(&env), ["A=3", "B=2", &format!("PATH={PATH_DEFAULT}"), "HOME=/home/x"]);
        let env = environment(&pairs(&[("HOME", "/h"), ("PATH", "/p")]), Some("/home/x"))?;
        assert_eq!(texts(&env), ["HOME=/h", "PATH=/p"]);
        Ok(())
    }
}
