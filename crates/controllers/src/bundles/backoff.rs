//! How long a binding waits between two runs.

use std::time::Duration;

/// Longest pause between two runs of a binding.
pub const BINDING_BACKOFF_MAX: Duration = Duration::from_secs(300);
/// Pause after the first failure; it doubles with each further one.
const BACKOFF: Duration = Duration::from_secs(2);

/// Pause before the run after this one.
pub(super) fn backoff(attempt: u32) -> Duration {
    let factor = 2_u32.saturating_pow(attempt.saturating_sub(1));
    BACKOFF.saturating_mul(factor).min(BINDING_BACKOFF_MAX)
}
