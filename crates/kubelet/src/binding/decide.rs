//! Whether a binding is to be run now. Pure.
//!
//! Each token runs at most once: whether a command that failed runs again, and when, is decided by the controller that
//! writes the tokens, and by it alone.

use api::kinds::binding::{Binding, BindingPhase};

/// What to do with a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It has run with this token.
    Done,
    /// Run it.
    Run,
    /// It was running with this token, and the one who ran it is gone: how it ended is not known.
    Lost,
}

/// Decides by the status alone. Whoever asks does not run the binding at this moment.
#[must_use]
pub fn decide(binding: &Binding) -> Decision {
    let token = binding.status.as_ref().map_or("", |status| status.token.as_str());
    if binding.status.is_none() || token != binding.spec.token {
        return Decision::Run;
    }
    match binding.phase() {
        BindingPhase::Pending => Decision::Run,
        BindingPhase::Running => Decision::Lost,
        BindingPhase::Completed | BindingPhase::Failed | BindingPhase::TimedOut => Decision::Done,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_token_runs_once_however_it_ended() {
        for (status, wanted) in [
            (json!(null), Decision::Run),
            (json!({}), Decision::Run),
            (json!({"token": "t0-1", "phase": "Completed", "attempts": 1}), Decision::Run),
            (json!({"token": "t0-1", "phase": "Running", "attempts": 1}), Decision::Run),
            (json!({"token": "t1-1", "phase": "Pending"}), Decision::Run),
            (json!({"token": "t1-1", "phase": "Completed", "attempts": 1}), Decision::Done),
            (json!({"token": "t1-1", "phase": "Failed", "finishedAt": "2020-01-01T00:00:00Z"}), Decision::Done),
            (json!({"token": "t1-1", "phase": "TimedOut", "finishedAt": "2020-01-01T00:00:00Z"}), Decision::Done),
            (json!({"token": "t1-1", "phase": "Running", "attempts": 1}), Decision::Lost),
        ] {
            let spec = json!({"bundle": "wp", "bindingId": "create_user", "command": ["x"], "token": "t1-1",
                "target": {"bundle": "db", "service": "mariadb"}});
            let binding: Binding =
                serde_json::from_value(json!({"metadata": {"name": "b"}, "spec": spec, "status": status})).unwrap();
            assert_eq!(decide(&binding), wanted, "{status}");
        }
    }
}
