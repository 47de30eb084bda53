//! When the kernel killed processes of a container for lack of memory.
//!
//! The kernel counts such kills and does not say of which process. A container whose child was killed a while ago may
//! end well, or by a signal that asked for it, so the time counts as well as the number.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::poll::PollFlags;
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::{Hierarchy, field};

/// A first process that SIGKILL ended within this time of a counted kill was the victim, or went with it. A victim
/// with much memory takes seconds to end on a busy machine. Kills by the daemon are told apart by its mark.
const NEAR: Duration = Duration::from_secs(10);
/// Code of a program that SIGKILL ended, and of a shell whose last program it ended.
const KILLED: i32 = 128 + libc::SIGKILL;
/// cgroup v1 tells before it kills; after this time the kill is counted.
const COUNTED_AFTER: Duration = Duration::from_millis(200);

/// Watches the counter of one cgroup.
pub(crate) struct OomWatch {
    counter: File,
    /// v1 tells by a descriptor of its own, v2 by the counter's.
    events: Option<EventFd>,
    seen: u64,
    grown: Option<Instant>,
    again: Option<Instant>,
}

impl OomWatch {
    /// Begins to watch. The counter is the cgroup's own, without those below it where the kernel tells them apart.
    pub(crate) fn open(hierarchy: &Hierarchy, cgroup: &Path) -> io::Result<Self> {
        let directory = hierarchy.directory("memory", cgroup);
        let (counter, events) = if hierarchy.is_v2() {
            let own = File::open(directory.join("memory.events.local"));
            (own.or_else(|_older_kernel| File::open(directory.join("memory.events")))?, None)
        } else {
            let counter = File::open(directory.join("memory.oom_control"))?;
            let events = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
            let line = format!("{} {}", events.as_fd().as_raw_fd(), counter.as_raw_fd());
            std::fs::write(directory.join("cgroup.event_control"), line)?;
            (counter, Some(events))
        };
        let mut watch = Self { counter, events, seen: 0, grown: None, again: None };
        // The cgroup was made for this container: what is counted already is its own.
        watch.look(Instant::now());
        Ok(watch)
    }

    /// What to wait on, and for what.
    pub(crate) fn source(&self) -> (BorrowedFd<'_>, PollFlags) {
        match &self.events {
            Some(events) => (events.as_fd(), PollFlags::POLLIN),
            None => (self.counter.as_fd(), PollFlags::POLLPRI),
        }
    }

    /// The source reported something. False when there is nothing to wait for any more, as the cgroup is gone.
    pub(crate) fn reported(&mut self, now: Instant) -> bool {
        if let Some(events) = &self.events {
            // Only that it is reported matters.
            let _ = events.read();
            self.again = Some(now + COUNTED_AFTER);
        }
        self.look(now)
    }

    /// Until when to look at the counter again.
    pub(crate) fn again(&self) -> Option<Instant> {
        self.again
    }

    /// Looks at the counter; false when it cannot be read.
    pub(crate) fn look(&mut self, now: Instant) -> bool {
        self.again = self.again.filter(|again| now < *again);
        let Ok(count) = self.count() else { return false };
        if count > self.seen {
            (self.seen, self.grown) = (count, Some(now));
        }
        true
    }

    /// Whether a first process that ended now with this code did so for lack of memory.
    pub(crate) fn explains(&mut self, code: i32, now: Instant) -> bool {
        self.look(now);
        code == KILLED && self.grown.is_some_and(|grown| now.duration_since(grown) <= NEAR)
    }

    fn count(&mut self) -> io::Result<u64> {
        let mut text = String::new();
        self.counter.rewind()?;
        self.counter.read_to_string(&mut text)?;
        Ok(field(&text, "oom_kill").unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_kill_near_the_end_explains_an_end_by_sigkill() -> io::Result<()> {
        let root = tempfile::tempdir()?;
        let events = root.path().join("memory.events.local");
        std::fs::write(&events, "oom 0\noom_kill 0\n")?;
        let mut watch = OomWatch::open(&Hierarchy::V2(root.path().to_owned()), Path::new("/"))?;
        let begin = Instant::now();
        assert!(!watch.explains(KILLED, begin), "nothing was counted");
        std::fs::write(&events, "oom 0\noom_kill 1\n")?;
        assert!(watch.reported(begin));
        for (code, after, expected) in
            [(KILLED, 0, true), (KILLED, 10, true), (KILLED, 11, false), (128 + libc::SIGTERM, 0, false), (0, 0, false)]
        {
            let now = begin + Duration::from_secs(after);
            assert_eq!(watch.explains(code, now), expected, "{code} after {after} s");
        }
        Ok(())
    }
}
