//! How long to wait after failures: twice as long each time, up to a bound, and never in step with others.

use std::time::Duration;

/// First pause.
const FIRST: Duration = Duration::from_millis(50);
/// Longest pause.
const LONGEST: Duration = Duration::from_secs(1);

/// The pause after so many failures in a row (1 or more): half of it fixed, half of it drawn from `seed`.
pub(super) fn pause(failures: u32, seed: u64) -> Duration {
    let full = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST);
    let drawn = mix(seed ^ u64::from(failures)) % 1024;
    full / 2 + full * u32::try_from(drawn).unwrap_or(0) / 2048
}

/// SplitMix64's finaliser (Steele, Lea, Flood 2014).
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_differ() {
        for seed in 0..50 {
            for failures in 1..40 {
                let pause = pause(failures, seed);
                assert!(pause >= FIRST / 2 && pause <= LONGEST, "{failures}: {pause:?}");
            }
            assert!(pause(1, seed) < pause(6, seed));
        }
        assert_ne!(pause(5, 1), pause(5, 2));
    }
}
