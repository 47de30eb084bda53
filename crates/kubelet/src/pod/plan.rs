//! The parts of a pod's spec that its lifecycle depends on.

use std::time::Duration;

use api::kinds::Pod;
use jiff::Timestamp;

/// Longest run after which a crash counts as the first one again (Kubernetes: ten minutes).
pub const STEADY: Duration = Duration::from_secs(600);
/// Seconds between TERM and KILL when the pod says nothing.
pub const GRACE_SECONDS: i64 = 30;

/// What happens to a container that has ended (`spec.restartPolicy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartPolicy {
    /// It runs again.
    Always,
    /// It runs again unless it exited 0.
    OnFailure,
    /// It stays ended.
    Never,
}

impl RestartPolicy {
    /// Whether an exit code asks for another run.
    #[must_use]
    pub fn restarts(self, code: i32) -> bool {
        match self {
            Self::Always => true,
            Self::OnFailure => code != 0,
            Self::Never => false,
        }
    }
}

/// Exponential pause between runs of a container that keeps ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Pause after the first end.
    pub base: Duration,
    /// Longest pause.
    pub cap: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { base: Duration::from_secs(1), cap: Duration::from_secs(32) }
    }
}

impl Backoff {
    /// Pause after the `streak`-th end in a row; the first is 1.
    #[must_use]
    pub fn delay(&self, streak: u32) -> Duration {
        let factor = 1_u32.checked_shl(streak.saturating_sub(1)).unwrap_or(u32::MAX);
        self.base.saturating_mul(factor).min(self.cap)
    }
}

/// A pod as its lifecycle sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Init containers, in order.
    pub init: Vec<String>,
    /// Containers.
    pub main: Vec<String>,
    /// Restart policy.
    pub restart: RestartPolicy,
    /// Pause between runs.
    pub backoff: Backoff,
    /// Time between TERM and KILL.
    pub grace: Duration,
}

impl Plan {
    /// Reads a pod's spec.
    #[must_use]
    pub fn of(pod: &Pod, backoff: Backoff) -> Self {
        let spec = pod.spec.as_ref();
        let grace = spec.and_then(|s| s.termination_grace_period_seconds).unwrap_or(GRACE_SECONDS);
        Self {
            init: spec.iter().flat_map(|s| s.init_containers.iter().flatten()).map(|c| c.name.clone()).collect(),
            main: spec.iter().flat_map(|s| &s.containers).map(|c| c.name.clone()).collect(),
            restart: match spec.and_then(|s| s.restart_policy.as_deref()) {
                Some("Never") => RestartPolicy::Never,
                Some("OnFailure") => RestartPolicy::OnFailure,
                _ => RestartPolicy::Always,
            },
            backoff,
            grace: Duration::from_secs(u64::try_from(grace).unwrap_or(0)),
        }
    }
}

/// Until when a pod may be active: so many seconds after the kubelet took it up (`activeDeadlineSeconds`).
#[must_use]
pub fn active_until(pod: &Pod) -> Option<Timestamp> {
    let seconds = pod.spec.as_ref()?.active_deadline_seconds?;
    let started = pod.status.as_ref()?.start_time.as_ref()?.0;
    Some(later(started, Duration::from_secs(u64::try_from(seconds).unwrap_or(0))))
}

/// A moment `after` another, at most the largest one there is.
#[must_use]
pub fn later(moment: Timestamp, after: Duration) -> Timestamp {
    moment.checked_add(after).unwrap_or(Timestamp::MAX)
}

/// Time from `from` to `to`; none if `to` is not later.
#[must_use]
pub fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_cap() {
        let backoff = Backoff::default();
        let seconds: Vec<u64> = [0, 1, 2, 3, 5, 6, 7, 40, u32::MAX].map(|n| backoff.delay(n).as_secs()).into();
        assert_eq!(seconds, [1, 1, 2, 4, 16, 32, 32, 32, 32]);
    }

    #[test]
    fn a_clock_that_goes_backwards_is_no_time() {
        let (a, b) = (Timestamp::UNIX_EPOCH, later(Timestamp::UNIX_EPOCH, STEADY));
        assert_eq!(between(a, b), STEADY);
        assert_eq!(between(b, a), Duration::ZERO);
    }
}
