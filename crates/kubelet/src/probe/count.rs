//! From single tries to a verdict. Pure.

/// Counts tries in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counter {
    successes_wanted: u32,
    failures_wanted: u32,
    run: u32,
    last: Option<bool>,
    verdict: Option<bool>,
}

impl Counter {
    /// A counter without verdict, or with the one known from before.
    #[must_use]
    pub fn new(successes_wanted: u32, failures_wanted: u32, verdict: Option<bool>) -> Self {
        Self { successes_wanted, failures_wanted, run: 0, last: None, verdict }
    }

    /// Takes in one try; returns the verdict if it changed.
    pub fn record(&mut self, success: bool) -> Option<bool> {
        self.run = if self.last == Some(success) { self.run.saturating_add(1) } else { 1 };
        self.last = Some(success);
        let wanted = if success { self.successes_wanted } else { self.failures_wanted };
        if self.run >= wanted && self.verdict != Some(success) {
            self.verdict = Some(success);
            return self.verdict;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_needs_its_tries_in_a_row() {
        let mut counter = Counter::new(2, 3, None);
        let changes: Vec<Option<bool>> =
            [true, false, true, true, true, false, false, true, false, false, false, false]
                .map(|t| counter.record(t))
                .into();
        let mut wanted = vec![None; 12];
        wanted[3] = Some(true);
        wanted[10] = Some(false);
        assert_eq!(changes, wanted);
    }

    #[test]
    fn a_known_verdict_is_not_told_again() {
        let mut counter = Counter::new(1, 1, Some(true));
        assert_eq!(counter.record(true), None);
        assert_eq!(counter.record(false), Some(false));
    }
}
