//! Formats of texts that schemas name.

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::meta::is_host_name;

/// Formats that say how a value is meant, and refuse none.
const MEANT: [&str; 5] = ["int32", "int64", "float", "double", "password"];

/// Whether values of the format are checked, or every value is one.
pub(crate) fn is_known(format: &str) -> bool {
    MEANT.contains(&format) || fits(format, "").is_some()
}

/// Whether a text is of a format; nothing when the format is not known.
pub(super) fn fits(format: &str, text: &str) -> Option<bool> {
    Some(match format {
        // As in Kubernetes, `datetime` and `date-time` are one.
        "date-time" | "datetime" => text.contains(['T', 't']) && text.parse::<jiff::Timestamp>().is_ok(),
        "date" => text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok(),
        "ipv4" => text.parse::<std::net::Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<std::net::Ipv6Addr>().is_ok(),
        "cidr" => is_cidr(text),
        "hostname" => is_host_name(&text.to_ascii_lowercase()),
        "email" => is_email(text),
        "uri" => is_uri(text),
        "byte" => STANDARD.decode(text).is_ok(),
        "mac" => is_mac(text),
        "duration" => is_duration(text),
        "uuid" => is_uuid(text, None),
        "uuid3" => is_uuid(text, Some('3')),
        "uuid4" => is_uuid(text, Some('4')),
        "uuid5" => is_uuid(text, Some('5')),
        _ => return None,
    })
}

fn is_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let most = match address.parse() {
        Ok(std::net::IpAddr::V4(_)) => 32,
        Ok(std::net::IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    length.parse::<u8>().is_ok_and(|length| length <= most)
}

fn is_email(text: &str) -> bool {
    let odd =
        |text: &str| text.is_empty() || text.contains(|c: char| c.is_whitespace() || "<>()[],;:\\\"@".contains(c));
    text.rsplit_once('@').is_some_and(|(local, domain)| !odd(local) && !odd(domain))
}

/// A URI with a scheme, or an absolute path.
fn is_uri(text: &str) -> bool {
    let scheme = text.split_once(':').map(|(scheme, _)| scheme).unwrap_or_default();
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    (is_scheme || text.starts_with('/')) && !text.contains(|c: char| c.is_control() || c == ' ')
}

fn is_mac(text: &str) -> bool {
    let of = |separator: char| {
        let parts: Vec<&str> = text.split(separator).collect();
        [6, 8, 20].contains(&parts.len()) && parts.iter().all(|part| part.len() == 2 && is_hex(part))
    };
    of(':') || of('-')
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Go's durations: numbers, each with a unit.
fn is_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    let mut parts = 0;
    while !rest.is_empty() {
        let number = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
        let (digits, after) = rest.split_at(number);
        if digits.parse::<f64>().is_err() {
            return false;
        }
        let units = ["ns", "us", "µs", "μs", "ms", "s", "m", "h"];
        let Some(after) = units.iter().find_map(|unit| after.strip_prefix(unit)) else { return false };
        (rest, parts) = (after, parts + 1);
    }
    parts > 0
}

fn is_uuid(text: &str, version: Option<char>) -> bool {
    let plain: String = text.chars().filter(|c| *c != '-').collect();
    let dashes: Vec<usize> = text.match_indices('-').map(|(at, _)| at).collect();
    let placed = dashes.is_empty() || dashes == [8, 13, 18, 23];
    placed && plain.len() == 32 && is_hex(&plain) && version.is_none_or(|wanted| plain.chars().nth(12) == Some(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_of_their_format_or_not() {
        for (format, good, bad) in [
            ("date-time", "2020-01-02T03:04:05Z", "2020-01-02 03:04:05"),
            ("date", "2020-01-02", "2020-13-02"),
            ("ipv4", "10.0.0.1", "10.0.0.256"),
            ("ipv6", "::1", "1"),
            ("cidr", "10.0.0.0/8", "10.0.0.0/33"),
            ("hostname", "a.Example.com", "a_b"),
            ("email", "a@b.c", "a"),
            ("uri", "https://a.b/c?d", "a b"),
            ("byte", "YQ==", "*"),
            ("mac", "00:11:22:aa:bb:cc", "00:11"),
            ("duration", "1h2m3.5s", "1 day"),
            ("uuid", "123e4567-e89b-12d3-a456-426614174000", "123e4567"),
            ("uuid4", "123e4567e89b42d3a456426614174000", "123e4567-e89b-12d3-a456-426614174000"),
        ] {
            assert_eq!((fits(format, good), fits(format, bad)), (Some(true), Some(false)), "{format}");
        }
        assert_eq!(fits("isbn", "x"), None);
        assert!(is_known("int32") && !is_known("isbn"));
    }
}
