//! File descriptors of programs.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Closes every descriptor that is not named, for good: among them are directories of the host, through which a name
/// that is looked up later could lead out of the container. Standard streams stay; they are no directories.
///
/// Only for a process that ends without giving back what it owns (by executing a program, or by `_exit`): owners of
/// the closed descriptors go on naming them.
pub(super) fn keep_only(kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    let kept = kept.iter().map(|fd| fd.as_raw_fd().cast_unsigned());
    gaps((0..=2).chain(kept)).into_iter().try_for_each(|(first, last)| {
        // SAFETY: close_range(2) takes integers. The owners of what it closes are never used or dropped again.
        match unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    })
}

/// Ranges of numbers, first and last, between and above the kept ones.
fn gaps(kept: impl Iterator<Item = u32>) -> Vec<(u32, u32)> {
    let mut kept: Vec<u32> = kept.collect();
    kept.sort_unstable();
    kept.dedup();
    let mut first = 0;
    let mut ranges = Vec::with_capacity(kept.len() + 1);
    for number in kept {
        if first < number {
            ranges.push((first, number - 1));
        }
        first = number + 1;
    }
    ranges.push((first, u32::MAX));
    ranges
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_between_and_above_the_kept_ones_is_closed() {
        assert_eq!(gaps([].into_iter()), [(0, u32::MAX)]);
        assert_eq!(gaps([0, 1, 2].into_iter()), [(3, u32::MAX)]);
        assert_eq!(gaps([9, 2, 5, 2].into_iter()), [(0, 1), (3, 4), (6, 8), (10, u32::MAX)]);
    }
}
