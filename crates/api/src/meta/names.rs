//! What may be a name, a label, an annotation's key. Kubernetes' rules, and its limits.

/// Longest name of an object (RFC 1123 subdomain).
pub const NAME_MAX: usize = 253;
/// Longest DNS label (RFC 1123).
pub const LABEL_MAX: usize = 63;
/// Longest name of a port (RFC 6335).
const PORT_NAME_MAX: usize = 15;

/// Which names objects of a kind may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// An RFC 1123 subdomain: [`is_dns_subdomain`].
    Subdomain,
    /// An RFC 1123 label: [`is_dns_label`]. For what becomes part of a DNS name or of labels.
    Label,
    /// Whatever can be one segment of a path, such as `system:node`: [`is_path_segment`].
    PathSegment,
}

impl NameRule {
    /// Whether `name` follows the rule.
    pub fn fits(self, name: &str) -> bool {
        match self {
            Self::Subdomain => is_dns_subdomain(name),
            Self::Label => is_dns_label(name),
            Self::PathSegment => is_path_segment(name),
        }
    }

    /// Whether names that begin with `base` and go on with letters can follow the rule.
    pub fn fits_as_base(self, base: &str) -> bool {
        match base.strip_suffix('-') {
            Some(start) => self.fits(&format!("{start}a")),
            None => self.fits(base),
        }
    }

    /// The rule in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Subdomain => {
                "must be lower-case letters, digits, '-' or '.', start and end with a letter or digit (RFC 1123 \
                 subdomain, 253 characters at most)"
            }
            Self::Label => {
                "must be lower-case letters, digits or '-', start and end with a letter or digit (RFC 1123 label, 63 \
                 characters at most)"
            }
            Self::PathSegment => "must be no '.' or '..', and without '/' and '%' (253 characters at most)",
        }
    }
}

/// Whether `text` is an RFC 1123 label: `[a-z0-9]([-a-z0-9]*[a-z0-9])?`, at most 63 characters.
pub fn is_dns_label(text: &str) -> bool {
    text.len() <= LABEL_MAX && is_word(text)
}

/// Whether `text` is a name as Kubernetes takes it for most objects: words of `[-a-z0-9]` joined by dots, at most 253
/// characters. Unlike a host name, a single word may be longer than a DNS label.
pub fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= NAME_MAX && text.split('.').all(is_word)
}

/// Whether `text` can be one segment of a path, at most 253 characters.
pub fn is_path_segment(text: &str) -> bool {
    !text.is_empty() && text.len() <= NAME_MAX && ![".", ".."].contains(&text) && !text.contains(['/', '%'])
}

/// Whether `text` is a host name in lower case: DNS labels joined by dots, at most 253 characters.
pub fn is_host_name(text: &str) -> bool {
    text.len() <= NAME_MAX && text.split('.').all(is_dns_label)
}

fn is_word(text: &str) -> bool {
    let bytes = text.as_bytes();
    let Some((first, last)) = bytes.first().zip(bytes.last()) else {
        return false;
    };
    *first != b'-' && *last != b'-' && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

/// Whether `text` is the name of a port (RFC 6335): 1 to 15 of `[-a-z0-9]`, a letter among them, no hyphen at an end
/// or beside another.
pub fn is_port_name(text: &str) -> bool {
    text.len() <= PORT_NAME_MAX && is_word(text) && text.bytes().any(|b| b.is_ascii_lowercase()) && !text.contains("--")
}

/// Whether `text` is a label's key: an optional DNS prefix and a name of at most 63 characters.
pub fn is_qualified_name(text: &str) -> bool {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    prefix.is_none_or(is_dns_subdomain) && !name.is_empty() && is_label_value(name)
}

/// Whether `text` may be the value of a label: empty, or 63 characters of `[A-Za-z0-9_.-]` with alphanumeric ends.
pub fn is_label_value(text: &str) -> bool {
    let bytes = text.as_bytes();
    let Some((first, last)) = bytes.first().zip(bytes.last()) else {
        return true;
    };
    bytes.len() <= LABEL_MAX
        && first.is_ascii_alphanumeric()
        && last.is_ascii_alphanumeric()
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_labels_subdomains_or_host_names() {
        let (label, word, name) = ("x".repeat(63), "x".repeat(64), "x".repeat(NAME_MAX));
        for (text, is_label, is_subdomain, is_host) in [
            ("a", true, true, true),
            ("a-b", true, true, true),
            ("0", true, true, true),
            (&label, true, true, true),
            ("a.b-c.d", false, true, true),
            (&word, false, true, false),
            (&name, false, true, false),
            (&format!("{name}x"), false, false, false),
            ("", false, false, false),
            ("A", false, false, false),
            ("-a", false, false, false),
            ("a-", false, false, false),
            ("a..b", false, false, false),
            ("a.", false, false, false),
            ("a_b", false, false, false),
            ("a/b", false, false, false),
            ("ä", false, false, false),
        ] {
            assert_eq!(is_dns_label(text), is_label, "{text}");
            assert_eq!(is_dns_subdomain(text), is_subdomain, "{text}");
            assert_eq!(is_host_name(text), is_host, "{text}");
        }
    }

    #[test]
    fn a_base_of_names_may_end_with_a_hyphen() {
        assert!(NameRule::Label.fits_as_base("a-") && NameRule::Label.fits_as_base("a"));
        assert!(NameRule::Subdomain.fits_as_base("a.b-"));
        for bad in ["A-", "a_", "a--/", ""] {
            assert!(!NameRule::Subdomain.fits_as_base(bad), "{bad}");
        }
    }

    #[test]
    fn keys_of_labels_have_one_prefix_at_most() {
        for good in ["a", "A_b.c", "app.kubernetes.io/name"] {
            assert!(is_qualified_name(good), "{good}");
        }
        for bad in ["", "a/b/c", "/x", "x/", "a b", "-a", "A.io/x", &"x".repeat(64)] {
            assert!(!is_qualified_name(bad), "{bad}");
        }
    }

    #[test]
    fn ports_have_service_names() {
        for good in ["http", "a", "1a", "dns-tcp", "abcdefghijklmno"] {
            assert!(is_port_name(good), "{good}");
        }
        for bad in ["", "80", "A", "a_b", "-a", "a-", "a--b", "abcdefghijklmnop"] {
            assert!(!is_port_name(bad), "{bad}");
        }
    }
}
