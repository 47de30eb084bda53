//! File descriptors of programs.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Puts descriptors at 0, 1, 2, 3, ...; all others close when the program is executed.
pub(super) fn place(stdio: &[OwnedFd], extra: &[OwnedFd]) -> io::Result<()> {
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

/// A further descriptor for the same, at this number or above; closes at the execution.
pub(super) fn lift(fd: BorrowedFd<'_>, least: RawFd) -> io::Result<OwnedFd> {
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
