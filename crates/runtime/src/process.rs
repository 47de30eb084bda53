//! Processes named so that a reused pid is never taken for the same process.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Waits a moment between two looks at something that gives no event: cgroup files, locks of other
/// processes. For blocking threads only.
#[expect(clippy::disallowed_methods, reason = "callers are on blocking threads or in the single-threaded shim")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// A process: its pid and when the kernel started it (proc_pid_stat(5), field 22).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    /// Clock ticks after boot.
    pub(crate) start_ticks: u64,
}

impl Process {
    /// The process that has this pid now.
    pub(crate) fn of(pid: i32) -> io::Result<Self> {
        match stat(pid)? {
            Some(stat) => Ok(Self { pid, start_ticks: stat.start_ticks }),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// A stable handle, if this very process lives (a zombie does not).
    pub(crate) fn open(&self) -> io::Result<OwnedFd> {
        // SAFETY: pidfd_open takes two integers and gives a new descriptor or -1.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, self.pid, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let fd = i32::try_from(fd).map_err(io::Error::other)?;
        // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // Looked at after the handle is open: the handle is of the process that we see here.
        if alive(self) { Ok(fd) } else { Err(io::Error::from_raw_os_error(libc::ESRCH)) }
    }

    /// Sends a signal to this very process.
    pub(crate) fn signal(&self, signal: i32) -> io::Result<()> {
        let fd = self.open()?;
        // SAFETY: pidfd_send_signal takes integers and a null pointer for "as kill(2) does".
        let sent = unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, fd.as_raw_fd(), signal, std::ptr::null::<libc::siginfo_t>(), 0)
        };
        if sent == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

/// Whether this very process exists and is more than a zombie.
pub(crate) fn alive(process: &Process) -> bool {
    match stat(process.pid) {
        Ok(Some(stat)) => stat.start_ticks == process.start_ticks && !matches!(stat.state, b'Z' | b'X' | b'x'),
        Ok(None) | Err(_) => false,
    }
}

struct Stat {
    state: u8,
    start_ticks: u64,
}

fn stat(pid: i32) -> io::Result<Option<Stat>> {
    let text = match fs::read(format!("/proc/{pid}/stat")) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(None),
        Err(error) => return Err(error),
    };
    parse(&text).map(Some).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The name in parentheses may hold anything, so fields are counted after its last `)`.
fn parse(text: &[u8]) -> Option<Stat> {
    let after = text.iter().rposition(|byte| *byte == b')')? + 1;
    let mut fields = text[after..].split(|byte| byte.is_ascii_whitespace()).filter(|field| !field.is_empty());
    let state = *fields.next()?.first()?;
    let start = fields.nth(18)?;
    Some(Stat { state, start_ticks: std::str::from_utf8(start).ok()?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_a_hostile_name() {
        let line = b"42 (a) Z (b) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2";
        let stat = parse(line).map(|stat| (stat.state, stat.start_ticks));
        assert_eq!(stat, Some((b'S', 98765)));
        assert!(parse(b"42 (x) S 1").is_none());
    }

    #[test]
    fn another_start_time_is_another_process() -> io::Result<()> {
        let own = i32::try_from(std::process::id()).map_err(io::Error::other)?;
        let me = Process::of(own)?;
        assert!(alive(&me));
        me.signal(0)?;
        let other = Process { start_ticks: me.start_ticks + 1, ..me };
        assert!(!alive(&other));
        assert_eq!(other.signal(0).err().and_then(|error| error.raw_os_error()), Some(libc::ESRCH));
        Ok(())
    }
}
