//! Durations as Go writes them, such as `1h2m0.5s`. Pure.

const UNITS: [(&str, i64); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// The text of a number of nanoseconds.
pub(super) fn text(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let all = nanos.unsigned_abs();
    let part = |value: u64, unit: u64| {
        let width = unit.ilog10() as usize;
        let fraction = format!("{:0width$}", value % unit);
        let fraction = if width == 0 { "" } else { fraction.trim_end_matches('0') };
        format!("{}{}{fraction}", value / unit, if fraction.is_empty() { "" } else { "." })
    };
    let rest = all % 60_000_000_000;
    let (minutes, hours) = (all / 60_000_000_000 % 60, all / 3_600_000_000_000);
    match all {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{all}ns"),
        1_000..1_000_000 => format!("{sign}{}µs", part(all, 1_000)),
        1_000_000..1_000_000_000 => format!("{sign}{}ms", part(all, 1_000_000)),
        _ if hours > 0 => format!("{sign}{hours}h{minutes}m{}s", part(rest, 1_000_000_000)),
        _ if minutes > 0 => format!("{sign}{minutes}m{}s", part(rest, 1_000_000_000)),
        _ => format!("{sign}{}s", part(rest, 1_000_000_000)),
    }
}

/// The nanoseconds of a text; nothing when it is no duration.
pub(super) fn nanos(text: &str) -> Option<i64> {
    let (negative, mut rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    if rest == "0" {
        return Some(0);
    }
    let mut sum = (!rest.is_empty()).then_some(0_i64)?;
    while !rest.is_empty() {
        let is_number = |c: char| c.is_ascii_digit() || c == '.';
        let (number, after) = rest.split_at(rest.find(|c| !is_number(c))?);
        let (unit, next) = after.split_at(after.find(is_number).unwrap_or(after.len()));
        let (_, nanos) = UNITS.iter().find(|(name, _)| *name == unit)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        sum = sum.checked_add(whole.parse::<i64>().ok()?.checked_mul(*nanos)?)?;
        let mut digit_nanos = *nanos;
        for digit in fraction.chars() {
            digit_nanos /= 10;
            sum = sum.checked_add(i64::from(digit.to_digit(10)?) * digit_nanos)?;
        }
        rest = next;
    }
    if negative { sum.checked_neg() } else { Some(sum) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_go() {
        for (value, wanted) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5µs"),
            (20_000_000, "20ms"),
            (1_000_000_000, "1s"),
            (20_123_400_000, "20.1234s"),
            (60_000_000_000, "1m0s"),
            (-3_660_500_000_000, "-1h1m0.5s"),
        ] {
            assert_eq!(text(value), wanted);
            assert_eq!(nanos(wanted), Some(value));
        }
        for bad in ["", "-", "1", "s", "1x", "1.2.3s", "99999999999999999999h"] {
            assert_eq!(nanos(bad), None, "{bad}");
        }
    }
}
