//! Whether a binding is to be run now. Pure.

use std::time::Duration;

use api::kinds::binding::{Binding, BindingPhase};
use jiff::Timestamp;

use crate::pod::plan::{Backoff, between, later};

/// Pause before a failed run is tried again.
const RETRY: Backoff = Backoff { base: Duration::from_secs(2), cap: Duration::from_secs(60) };

/// What to do with a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It has run with this token.
    Done,
    /// Run it; this is the number of the run, the first is 1.
    Run {
        /// Number of the run.
        attempt: u32,
    },
    /// Run it after this long.
    Later(Duration),
}

/// Decides by the status alone.
#[must_use]
pub fn decide(binding: &Binding, now: Timestamp) -> Decision {
    let status = binding.status.clone().unwrap_or_default();
    if status.token != binding.spec.token {
        return Decision::Run { attempt: 1 };
    }
    let next = Decision::Run { attempt: status.attempts.saturating_add(1) };
    match status.phase {
        BindingPhase::Completed => Decision::Done,
        BindingPhase::Pending => next,
        // The one who ran it is gone, or it would not be asked.
        BindingPhase::Running => next,
        BindingPhase::Failed | BindingPhase::TimedOut => {
            let finished = status.finished_at.map_or(now, |time| time.0);
            let due = later(finished, RETRY.delay(status.attempts)).min(later(now, RETRY.cap));
            let wait = between(now, due);
            if wait.is_zero() { next } else { Decision::Later(wait) }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn binding(status: serde_json::Value) -> Binding {
        serde_json::from_value(json!({"metadata": {"name": "b"}, "spec": {"bundle": "wp", "bindingId": "create_user",
            "target": {"bundle": "db", "service": "mariadb"}, "command": ["x"], "token": "t1"}, "status": status}))
        .unwrap()
    }

    #[test]
    fn each_state_has_its_answer() {
        let now: Timestamp = "2026-01-01T00:00:10Z".parse().unwrap();
        for (status, wanted) in [
            (json!({}), Decision::Run { attempt: 1 }),
            (json!({"token": "t1", "phase": "Completed", "attempts": 1}), Decision::Done),
            (json!({"token": "t0", "phase": "Completed", "attempts": 4}), Decision::Run { attempt: 1 }),
            (json!({"token": "t1", "phase": "Running", "attempts": 1}), Decision::Run { attempt: 2 }),
            (
                json!({"token": "t1", "phase": "Failed", "attempts": 1, "finishedAt": "2026-01-01T00:00:09Z"}),
                Decision::Later(Duration::from_secs(1)),
            ),
            (
                json!({"token": "t1", "phase": "TimedOut", "attempts": 2, "finishedAt": "2026-01-01T00:00:06Z"}),
                Decision::Run { attempt: 3 },
            ),
            (
                json!({"token": "t1", "phase": "Failed", "attempts": 1, "finishedAt": "2030-01-01T00:00:00Z"}),
                Decision::Later(Duration::from_secs(60)),
            ),
        ] {
            assert_eq!(decide(&binding(status.clone()), now), wanted, "{status}");
        }
    }
}
