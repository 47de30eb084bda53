//! How old revisions are, as one leader has seen them being made. It remembers nothing over a restart or a change of
//! leader: then history is kept longer, never shorter.

use std::collections::VecDeque;
use std::time::Duration;

use keyspace::Revision;

/// Times remembered at most: an age is told to a hundredth.
const RESOLUTION: u32 = 100;

/// Times, and the newest revision at each.
#[derive(Debug)]
pub(crate) struct RevisionTimes {
    keep: Duration,
    seen: VecDeque<(Duration, Revision)>,
}

impl RevisionTimes {
    /// For history that is kept for `keep`, for ever if that is zero.
    pub(crate) fn new(keep: Duration) -> Self {
        RevisionTimes { keep, seen: VecDeque::new() }
    }

    /// Notes the newest revision at a time; answers the newest one that is older than is to be kept.
    pub(crate) fn observe(&mut self, now: Duration, newest: Revision) -> Option<Revision> {
        if self.keep.is_zero() {
            return None;
        }
        let last = self.seen.back().map(|(at, _)| *at);
        if last.is_none_or(|last| now.saturating_sub(last) >= self.keep / RESOLUTION) {
            self.seen.push_back((now, newest));
        }
        let mut old = None;
        while let Some((at, revision)) = self.seen.front()
            && now.saturating_sub(*at) >= self.keep
        {
            old = Some(*revision);
            self.seen.pop_front();
        }
        old
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_old_is_told_once() {
        let second = Duration::from_secs;
        let mut ages = RevisionTimes::new(second(100));
        assert_eq!(ages.observe(second(0), 5), None);
        assert_eq!(ages.observe(second(60), 9), None);
        assert_eq!(ages.observe(second(99), 9), None);
        assert_eq!(ages.observe(second(100), 12), Some(5));
        assert_eq!(ages.observe(second(159), 12), None);
        assert_eq!(ages.observe(second(300), 20), Some(12));
        for millisecond in 0..1_000_000 {
            ages.observe(second(300) + Duration::from_millis(millisecond), 20);
        }
        assert!(ages.seen.len() <= RESOLUTION as usize + 1, "{}", ages.seen.len());
        assert_eq!(RevisionTimes::new(Duration::ZERO).observe(second(9), 7), None);
    }
}
