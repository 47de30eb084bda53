//! What an open option (`<kind>`) accepts.

use std::net::IpAddr;
use std::str::FromStr;

use crate::names;
use crate::resolution::Publish;

/// Longest option value, in bytes.
pub const MAX_VALUE_BYTES: usize = 4096;

/// The set of values of an open alternative such as `<port>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text without control characters.
    Text,
    /// A decimal integer, `i64`.
    Int,
    /// A port number, 1 to 65535.
    Port,
    /// Where the host listens: `[address:]port`, or `none`.
    Publish,
    /// An e-mail address (`local@domain`, without quoting).
    Email,
    /// An `http://` or `https://` address.
    Url,
    /// A DNS name (RFC 1123) or an IP address.
    Host,
    /// An IP address.
    Ip,
    /// A quantity of bytes or CPU as in Kubernetes: `512Mi`, `1500m`.
    Size,
    /// An absolute path without `.` and `..` parts.
    Path,
    /// An identifier: a letter or `_`, then letters, digits, `_`, `-`; at most 63.
    Name,
    /// Only for parameters of offered bindings: the value must be a secret.
    Secret,
}

const ALL: [(Kind, &str, &str); 12] = [
    (Kind::Text, "text", "text without control characters"),
    (Kind::Int, "int", "a whole number"),
    (Kind::Port, "port", "a port number from 1 to 65535"),
    (Kind::Publish, "publish", "[address:]port, or none"),
    (Kind::Email, "email", "an e-mail address such as me@example.org"),
    (Kind::Url, "url", "an http:// or https:// address"),
    (Kind::Host, "host", "a DNS name or an IP address"),
    (Kind::Ip, "ip", "an IP address"),
    (Kind::Size, "size", "a quantity such as 512Mi, 10Gi or 500m"),
    (Kind::Path, "path", "an absolute path without . and .. parts"),
    (Kind::Name, "name", "a letter or _, then letters, digits, _ or -, at most 63"),
    (Kind::Secret, "secret", "a secret"),
];

impl Kind {
    /// The word between the angle brackets.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.entry().1
    }

    /// What is accepted, for people.
    #[must_use]
    pub fn describe(self) -> &'static str {
        self.entry().2
    }

    /// The kind of that name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        ALL.iter().find(|(_, word, _)| *word == name).map(|(kind, _, _)| *kind)
    }

    /// Every word, for error messages.
    pub fn words() -> impl Iterator<Item = &'static str> {
        ALL.iter().map(|(_, word, _)| *word)
    }

    fn entry(self) -> &'static (Self, &'static str, &'static str) {
        ALL.iter().find(|(kind, _, _)| *kind == self).unwrap_or(&ALL[0])
    }

    /// True if the value belongs to the kind. A literal never is a [`Kind::Secret`].
    #[must_use]
    pub fn accepts(self, value: &str) -> bool {
        if value.len() > MAX_VALUE_BYTES || value.chars().any(char::is_control) {
            return false;
        }
        match self {
            Self::Text => true,
            Self::Int => value.parse::<i64>().is_ok(),
            Self::Port => port(value).is_some(),
            Self::Publish => parse_publish(value).is_some(),
            Self::Email => is_email(value),
            Self::Url => is_url(value),
            Self::Host => IpAddr::from_str(value).is_ok() || names::is_dns_name(value),
            Self::Ip => IpAddr::from_str(value).is_ok(),
            Self::Size => is_quantity(value),
            Self::Path => is_absolute_path(value),
            Self::Name => is_identifier(value),
            Self::Secret => false,
        }
    }
}

fn port(text: &str) -> Option<u16> {
    if !text.bytes().all(|b| b.is_ascii_digit()) || text.starts_with('0') {
        return None;
    }
    text.parse().ok()
}

/// Reads `[address:]port` (IPv6 in brackets) or `none`. The outer `None` means not understood.
#[must_use]
pub fn parse_publish(text: &str) -> Option<Option<Publish>> {
    if text == "none" {
        return Some(None);
    }
    let (address, digits) = match text.rsplit_once(':') {
        None => (None, text),
        Some((host, digits)) => {
            let host = match host.strip_prefix('[') {
                Some(rest) => IpAddr::V6(rest.strip_suffix(']')?.parse().ok()?),
                None => IpAddr::V4(host.parse().ok()?),
            };
            (Some(host), digits)
        }
    };
    Some(Some(Publish { address, port: port(digits)? }))
}

fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else {
        return false;
    };
    let local_char = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c);
    !local.is_empty()
        && local.len() <= 64
        && local.chars().all(local_char)
        && !local.starts_with('.')
        && !local.ends_with('.')
        && !local.contains("..")
        && names::is_dns_name(domain)
}

fn is_url(text: &str) -> bool {
    let rest = match text.split_once("://") {
        Some(("http" | "https", rest)) => rest,
        _ => return false,
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let visible = rest.chars().all(|c| c.is_ascii_graphic() && !"\"<>\\^`{|}".contains(c));
    let (host, port_ok) = match authority.rsplit_once(':') {
        Some((host, digits)) if !digits.ends_with(']') => (host, port(digits).is_some()),
        _ => (authority, true),
    };
    let host_ok = match host.strip_prefix('[') {
        Some(v6) => v6.strip_suffix(']').is_some_and(|v6| v6.parse::<std::net::Ipv6Addr>().is_ok()),
        None => names::is_dns_name(host),
    };
    visible && port_ok && host_ok
}

/// True for a Kubernetes quantity without exponent and without sign.
#[must_use]
pub fn is_quantity(text: &str) -> bool {
    let digits_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits_end);
    let digits = |part: &str| !part.is_empty() && part.len() <= 15 && part.bytes().all(|b| b.is_ascii_digit());
    let number_ok = match number.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => digits(number),
    };
    let suffixes = ["", "m", "k", "M", "G", "T", "P", "Ki", "Mi", "Gi", "Ti", "Pi"];
    number_ok && suffixes.contains(&suffix)
}

/// True for an absolute path that is already in normal form.
#[must_use]
pub fn is_absolute_path(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('/') else {
        return false;
    };
    text.len() <= MAX_VALUE_BYTES
        && !text.chars().any(char::is_control)
        && (rest.is_empty() || rest.split('/').all(|part| !matches!(part, "" | "." | "..")))
}

fn is_identifier(text: &str) -> bool {
    let mut chars = text.chars();
    text.len() <= 63
        && chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_kinds_are_one_to_one() {
        for word in Kind::words() {
            assert_eq!(Kind::by_name(word).unwrap().as_str(), word);
        }
    }

    #[test]
    fn table() {
        let yes: &[(Kind, &[&str])] = &[
            (Kind::Text, &["", "My site – ünïcode"]),
            (Kind::Int, &["0", "-12", "9223372036854775807"]),
            (Kind::Port, &["1", "65535"]),
            (Kind::Publish, &["8080", "127.0.0.1:80", "[::1]:8080", "none"]),
            (Kind::Email, &["a@example.org", "a.b+c@mail.example.org", "admin@localhost"]),
            (Kind::Url, &["http://localhost:8080", "https://example.org/a?b=c#d", "http://[::1]:80/"]),
            (Kind::Host, &["localhost", "a.example.org", "10.0.0.1", "::1"]),
            (Kind::Ip, &["10.0.0.1", "fe80::1"]),
            (Kind::Size, &["1", "512Mi", "1.5Gi", "500m"]),
            (Kind::Path, &["/", "/a/b.c"]),
            (Kind::Name, &["a", "_x", "shop-db1"]),
        ];
        for (kind, values) in yes {
            for value in *values {
                assert!(kind.accepts(value), "{kind:?} should accept {value:?}");
            }
        }
        let no: &[(Kind, &[&str])] = &[
            (Kind::Text, &["a\nb", "\u{7}"]),
            (Kind::Int, &["", "1.5", "a", "9223372036854775808"]),
            (Kind::Port, &["0", "65536", "-1", "+80", "080", ""]),
            (Kind::Publish, &["", ":80", "localhost:80", "1.2.3.4:0", "::1:80", "[::1]", "1.2.3.4:"]),
            (Kind::Email, &["a", "@b", "a@", "a b@c", ".a@b", "a@b..c", "a@-b"]),
            (Kind::Url, &["example.org", "ftp://a", "http://", "http://a b", "http://a:99999", "javascript:x"]),
            (Kind::Host, &["", "-a", "a_b", "a..b"]),
            (Kind::Ip, &["10.0.0", "localhost"]),
            (Kind::Size, &["", "Mi", "1.", "1e3", "-1", "1mi", "1 Gi"]),
            (Kind::Path, &["", "a", "/a/../b", "/a//b", "/a/"]),
            (Kind::Name, &["", "1a", "a b", "a`b"]),
            (Kind::Secret, &["x"]),
        ];
        for (kind, values) in no {
            for value in *values {
                assert!(!kind.accepts(value), "{kind:?} should refuse {value:?}");
            }
        }
    }

    #[test]
    fn publish_parts() {
        let publish = parse_publish("127.0.0.1:81").unwrap().unwrap();
        assert_eq!((publish.address.unwrap().to_string().as_str(), publish.port), ("127.0.0.1", 81));
        assert_eq!(parse_publish("none"), Some(None));
        assert_eq!(parse_publish("nowhere"), None);
    }
}
