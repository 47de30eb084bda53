//! Cron schedules, as Kubernetes' CronJobs have them.
//!
//! Five fields (minute, hour, day of month, month, day of week), or `@hourly` and the like. When both fields of days are
//! restricted, a day matches that satisfies one of them. A time is every minute whose local time matches: an hour that a
//! clock skips has none, and an hour that it repeats has them twice.

use jiff::{
    SignedDuration, Timestamp,
    civil::{Date, DateTime, Time},
    tz::{AmbiguousOffset, TimeZone},
};

/// Days that are looked at for the next time: five years, after which a schedule has none.
const DAYS_MAX: usize = 5 * 366;
/// Longest schedule, in bytes.
pub const LENGTH_MAX: usize = 512;

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Why a schedule cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Not five fields.
    #[error("expected exactly 5 fields, found {found}: minute hour day-of-month month day-of-week")]
    Fields {
        /// How many there are.
        found: usize,
    },
    /// A field that is no list of numbers, names and ranges within its bounds.
    #[error("{field}: {text:?} must be numbers from {least} to {most}, or *, with ranges a-b and steps /n")]
    Range {
        /// Name of the field.
        field: &'static str,
        /// What is there.
        text: String,
        /// Smallest value.
        least: u8,
        /// Largest value.
        most: u8,
    },
    /// A word after `@` that means nothing.
    #[error("{0:?} must be @yearly, @monthly, @weekly, @daily, @hourly, or @every with a duration such as 1h30m")]
    Word(String),
    /// A time zone within the schedule.
    #[error("must not name a time zone: use spec.timeZone")]
    Zone,
    /// Too many characters.
    #[error("must be at most {LENGTH_MAX} characters")]
    Long,
}

/// When something is due, again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// At the local times that match.
    Fields(Fields),
    /// After as many seconds.
    Every(i64),
}

/// The values of the five fields, a bit for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    minutes: u64,
    hours: u64,
    days: Field,
    months: u64,
    weekdays: Field,
}

/// A field of days: whether it is restricted matters beside its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Field {
    bits: u64,
    any: bool,
}

impl Schedule {
    /// Reads a schedule.
    pub fn parse(text: &str) -> Result<Self, ScheduleError> {
        if text.len() > LENGTH_MAX {
            return Err(ScheduleError::Long);
        }
        if text.contains("TZ=") {
            return Err(ScheduleError::Zone);
        }
        let word = |fields: &str| Self::parse(fields);
        match text.trim() {
            "@yearly" | "@annually" => return word("0 0 1 1 *"),
            "@monthly" => return word("0 0 1 * *"),
            "@weekly" => return word("0 0 * * 0"),
            "@daily" | "@midnight" => return word("0 0 * * *"),
            "@hourly" => return word("0 * * * *"),
            other if other.starts_with('@') => {
                let seconds = other.strip_prefix("@every ").and_then(|text| duration(text.trim()));
                return seconds.map(Self::Every).ok_or_else(|| ScheduleError::Word(other.into()));
            }
            _ => {}
        }
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields[..] else {
            return Err(ScheduleError::Fields { found: fields.len() });
        };
        Ok(Self::Fields(Fields {
            minutes: field("minute", minutes, 0, 59, &[])?.bits,
            hours: field("hour", hours, 0, 23, &[])?.bits,
            days: field("day of month", days, 1, 31, &[])?,
            months: field("month", months, 1, 12, &MONTHS)?.bits,
            weekdays: field("day of week", weekdays, 0, 6, &DAYS)?,
        }))
    }

    /// The first time after this one; none within five years, or at the end of time.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Self::Every(seconds) => {
                let whole = Timestamp::from_second(after.as_second()).ok()?;
                whole.checked_add(SignedDuration::from_secs(*seconds)).ok()
            }
            Self::Fields(fields) => fields.next(after, zone),
        }
    }
}

impl Fields {
    fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        // A clock that was set back repeats times of the day before.
        let mut date = zone.to_datetime(after).date().yesterday().ok()?;
        for _ in 0..DAYS_MAX {
            if self.is_on(date)
                && let Some(found) = self.first_of(date, after, zone)
            {
                return Some(found);
            }
            date = date.tomorrow().ok()?;
        }
        None
    }

    fn is_on(&self, date: Date) -> bool {
        let day = is_in(self.days.bits, date.day());
        let weekday = is_in(self.weekdays.bits, date.weekday().to_sunday_zero_offset());
        let matches = if self.days.any || self.weekdays.any { day && weekday } else { day || weekday };
        is_in(self.months, date.month()) && matches
    }

    /// The first minute of a day that matches and comes after.
    fn first_of(&self, date: Date, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let hours = (0..24).filter(|hour| is_in(self.hours, *hour));
        let minutes = |hour| (0..60).filter(|minute| is_in(self.minutes, *minute)).map(move |minute| (hour, minute));
        let mut first: Option<Timestamp> = None;
        for (hour, minute) in hours.flat_map(minutes) {
            let Ok(time) = Time::new(hour, minute, 0, 0) else { continue };
            let found = instants(DateTime::from_parts(date, time), zone).into_iter().flatten();
            for found in found.filter(|found| *found > after) {
                first = Some(first.map_or(found, |first| first.min(found)));
            }
        }
        first
    }
}

/// The instants with this local time: none, one, or two.
fn instants(local: DateTime, zone: &TimeZone) -> [Option<Timestamp>; 2] {
    match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Unambiguous { offset } => [offset.to_timestamp(local).ok(), None],
        AmbiguousOffset::Gap { .. } => [None, None],
        AmbiguousOffset::Fold { before, after } => [before.to_timestamp(local).ok(), after.to_timestamp(local).ok()],
    }
}

fn is_in(bits: u64, value: i8) -> bool {
    u32::try_from(value).is_ok_and(|value| bits & (1 << value) != 0)
}

fn field(name: &'static str, text: &str, least: u8, most: u8, names: &[&str]) -> Result<Field, ScheduleError> {
    let error = || ScheduleError::Range { field: name, text: text.to_owned(), least, most };
    let mut all = Field { bits: 0, any: false };
    for part in text.split(',') {
        let part = range(part, least, most, names).ok_or_else(error)?;
        all = Field { bits: all.bits | part.bits, any: all.any || part.any };
    }
    Ok(all)
}

/// One of `*`, `a`, `a-b`, each perhaps with `/step`.
fn range(text: &str, least: u8, most: u8, names: &[&str]) -> Option<Field> {
    let number = |text: &str| -> Option<u8> {
        let named = names.iter().position(|name| name.eq_ignore_ascii_case(text));
        match named {
            Some(index) => u8::try_from(index).ok().map(|index| index + least),
            None => text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?,
        }
    };
    let (values, step) = match text.split_once('/') {
        Some((values, step)) => (values, Some(number(step).filter(|step| *step > 0)?)),
        None => (text, None),
    };
    let (first, last, any) = match values.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?, false),
        None if values == "*" || values == "?" => (least, most, step.is_none_or(|step| step == 1)),
        None if step.is_some() => (number(values)?, most, false),
        None => (number(values)?, number(values)?, false),
    };
    if first < least || last > most || first > last {
        return None;
    }
    let values = (first..=last).step_by(usize::from(step.unwrap_or(1)));
    Some(Field { bits: values.fold(0, |bits, value| bits | 1 << value), any })
}

/// A duration such as `1h30m10s`, in seconds: at least one.
fn duration(text: &str) -> Option<i64> {
    let mut seconds = 0_i64;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|char: char| !char.is_ascii_digit())?;
        let number: i64 = rest[..end].parse().ok()?;
        let unit = match rest.as_bytes()[end] {
            b'h' => 3_600,
            b'm' => 60,
            b's' => 1,
            _ => return None,
        };
        seconds = seconds.checked_add(number.checked_mul(unit)?)?;
        rest = &rest[end + 1..];
    }
    (!text.is_empty()).then(|| seconds.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(schedule: &str, after: &str, zone: &TimeZone) -> Option<String> {
        let schedule = Schedule::parse(schedule).unwrap();
        schedule.next(after.parse().unwrap(), zone).map(|found| found.to_string())
    }

    #[test]
    fn the_next_time_is_the_first_that_matches() {
        for (schedule, after, wanted) in [
            ("* * * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"),
            ("* * * * *", "2026-01-01T00:00:59.5Z", "2026-01-01T00:01:00Z"),
            ("*/15 * * * *", "2026-01-01T00:46:00Z", "2026-01-01T01:00:00Z"),
            ("5/20 3-5 * * *", "2026-01-01T05:45:00Z", "2026-01-02T03:05:00Z"),
            ("0 0 1 jan ?", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
            ("0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"),
            // Both fields of days are restricted: one of them is enough. 2026-01-01 is a Thursday.
            ("0 0 13 * fri", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
            ("0 0 13 * FRI", "2026-01-09T00:00:00Z", "2026-01-13T00:00:00Z"),
            // A star of every second day is a restriction, one of every day is none.
            ("0 0 */2 * mon", "2026-01-01T00:00:00Z", "2026-01-03T00:00:00Z"),
            ("0 0 */1 * mon", "2026-01-01T00:00:00Z", "2026-01-05T00:00:00Z"),
            ("@weekly", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"),
            ("@every 1h30m", "2026-01-01T00:00:00.7Z", "2026-01-01T01:30:00Z"),
        ] {
            assert_eq!(next(schedule, after, &TimeZone::UTC).as_deref(), Some(wanted), "{schedule} after {after}");
        }
        assert_eq!(next("0 0 31 2 *", "2026-01-01T00:00:00Z", &TimeZone::UTC), None, "a day that never comes");
    }

    #[test]
    fn a_skipped_hour_has_no_times_and_a_repeated_one_has_them_twice() {
        let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        for (schedule, after, wanted) in [
            ("30 2 * * *", "2026-03-28T12:00:00Z", "2026-03-30T00:30:00Z"),
            ("30 3 * * *", "2026-03-28T12:00:00Z", "2026-03-29T01:30:00Z"),
            ("30 2 * * *", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z"),
            ("30 2 * * *", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"),
            ("30 2 * * *", "2026-10-25T01:30:00Z", "2026-10-26T01:30:00Z"),
            ("*/30 * * * *", "2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z"),
        ] {
            assert_eq!(next(schedule, after, &berlin).as_deref(), Some(wanted), "{schedule} after {after}");
        }
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for text in [
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * 32 * *",
            "* * * 13 *",
            "* * * * 7",
            "5-3 * * * *",
            "*/0 * * * *",
            "a * * * *",
            "1,,2 * * * *",
            "1- * * * *",
            "-1 * * * *",
            "+1 * * * *",
            "* * * * mond",
            "@never",
            "@every",
            "@every 5",
            "@every x",
            "TZ=UTC * * * * *",
            "CRON_TZ=UTC * * * * *",
            "1/2/3 * * * *",
            "99999999999 * * * *",
        ] {
            assert!(Schedule::parse(text).is_err(), "{text}");
        }
        assert_eq!(Schedule::parse(&"1,".repeat(400)), Err(ScheduleError::Long));
    }
}
