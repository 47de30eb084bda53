//! Which time of a schedule is due: the last one, however many were missed.

use api::schedule::Schedule;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

/// Missed times beyond which a person should look.
const MISSED_MAX: i64 = 100;

/// A time that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) at: Timestamp,
    /// Whether very many times before it were missed.
    pub(super) many_missed: bool,
}

/// The last time after `since` and not after `now`.
pub(super) fn last(schedule: &Schedule, zone: &TimeZone, since: Timestamp, now: Timestamp) -> Option<Due> {
    let next = |after: Timestamp| schedule.next(after, zone).filter(|time| *time <= now);
    let first = next(since)?;
    let Some(second) = next(first) else { return Some(Due { at: first, many_missed: false }) };
    let step = second.duration_since(first).as_secs().max(1);
    let elapsed = now.duration_since(first).as_secs();
    // From further and further back, until a time is found; then on to the last one.
    let mut back = step;
    let mut found = None;
    while found.is_none() && back < elapsed {
        // A schedule of fixed steps goes on from the first of them.
        let from = match schedule {
            Schedule::Every(_) => first.checked_add(SignedDuration::from_secs((elapsed / step - 1).max(0) * step)),
            Schedule::Fields(_) => now.checked_sub(SignedDuration::from_secs(back)),
        };
        found = next(from.unwrap_or(first).max(first));
        back = back.saturating_mul(2);
    }
    let mut last = found.unwrap_or(second);
    while let Some(later) = next(last) {
        last = later;
    }
    Some(Due { at: last, many_missed: elapsed / step >= MISSED_MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_missed_time_is_due() {
        let day = "2026-01-02T00:00:00Z";
        for (schedule, since, now, wanted) in [
            ("*/10 * * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:09:59Z", None),
            ("*/10 * * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:10:00Z", Some(("2026-01-01T00:10:00Z", false))),
            ("*/10 * * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:29:00Z", Some(("2026-01-01T00:20:00Z", false))),
            ("* * * * *", "2026-01-01T00:00:00Z", "2026-01-01T02:00:30Z", Some(("2026-01-01T02:00:00Z", true))),
            // The first two are a minute apart, the last ones a day.
            ("58,59 0 * * *", "2026-01-01T00:00:00Z", "2026-01-05T12:00:00Z", Some(("2026-01-05T00:59:00Z", true))),
            // The first two are a day apart.
            ("0,1,2 0 * * *", "2026-01-01T00:01:00Z", day, Some((day, false))),
            ("@every 7m", "2026-01-01T00:00:00Z", "2026-01-01T00:30:00Z", Some(("2026-01-01T00:28:00Z", false))),
            ("0 0 31 2 *", "2026-01-01T00:00:00Z", "2036-01-01T00:00:00Z", None),
        ] {
            let parsed = Schedule::parse(schedule).unwrap();
            let found = last(&parsed, &TimeZone::UTC, since.parse().unwrap(), now.parse().unwrap());
            let found = found.map(|due| (due.at.to_string(), due.many_missed));
            assert_eq!(found, wanted.map(|(at, many)| (at.to_owned(), many)), "{schedule} from {since} to {now}");
        }
    }
}
