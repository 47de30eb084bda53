//! Names of images: `[registry/]repository[:tag][@digest]`. Pure.

use std::fmt;

use crate::error::ImageError;

/// Registry of names without one, unless the store has another default.
pub(crate) const DEFAULT_TAG: &str = "latest";
/// Longest reference (the distribution specification limits names to 255).
const REFERENCE_BYTES_MAX: usize = 512;
/// Length of a SHA-256 digest in hexadecimal digits.
const SHA256_DIGITS: usize = 64;

/// A full, unambiguous name of an image.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
}

impl Reference {
    /// Reads a reference. A name whose first part is no host name (`redis`, `team/app`) belongs to
    /// `default_registry`; without tag and digest it means the tag `latest`.
    pub fn parse(text: &str, default_registry: &str) -> Result<Self, ImageError> {
        let refuse = |problem: &str| ImageError::Reference { reference: text.to_owned(), problem: problem.to_owned() };
        if text.len() > REFERENCE_BYTES_MAX {
            return Err(refuse("is too long"));
        }
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        if digest.is_some_and(|digest| hex_of(digest).is_none()) {
            return Err(refuse("the digest must be sha256: and 64 lower case hexadecimal digits"));
        }
        let (registry, rest) = match name.split_once('/') {
            Some((first, rest)) if is_host(first) => (first, rest),
            _ => (default_registry, name),
        };
        let (repository, tag) = match rest.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
            _ => (rest, None),
        };
        if !registry_is_plain(registry) {
            return Err(refuse("the registry must be a host name with an optional port"));
        }
        if repository.is_empty() || !repository.split('/').all(is_path_part) {
            return Err(refuse("the repository must be lower case letters, digits and separators, like team/app"));
        }
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(refuse("the tag must be at most 128 of [A-Za-z0-9_.-] and not start with . or -"));
        }
        let tag = tag.map(str::to_owned).or_else(|| digest.is_none().then(|| DEFAULT_TAG.to_owned()));
        Ok(Self {
            registry: registry.to_owned(),
            repository: repository.to_owned(),
            tag,
            digest: digest.map(str::to_owned),
        })
    }

    /// Host name and optional port.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Path of the repository in the registry.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, if any.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// `sha256:...`, if the reference is pinned.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// The hexadecimal part of a SHA-256 digest; `None` if it is none. Safe as a file name.
pub(crate) fn hex_of(digest: &str) -> Option<&str> {
    let hex = digest.strip_prefix("sha256:")?;
    let digits = hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (hex.len() == SHA256_DIGITS && digits).then_some(hex)
}

/// Docker's rule: a first part with a dot or a port, or `localhost`, is a registry.
fn is_host(part: &str) -> bool {
    part.contains(['.', ':']) || part == "localhost"
}

fn registry_is_plain(registry: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']');
    let first = registry.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'[');
    first && registry.bytes().all(allowed) && !registry.contains("..")
}

/// Distribution specification: alphanumerics joined by `.`, `_`, `__` or dashes. Never `..`.
fn is_path_part(part: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = part.as_bytes();
    let ends = bytes.first().copied().is_some_and(alphanumeric) && bytes.last().copied().is_some_and(alphanumeric);
    let all = bytes.iter().all(|byte| alphanumeric(*byte) || matches!(byte, b'.' | b'_' | b'-'));
    ends && all && !part.contains("..") && !part.contains("._") && !part.contains("_.")
}

fn is_tag(tag: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let bytes = tag.as_bytes();
    tag.len() <= 128
        && bytes.first().copied().is_some_and(word)
        && bytes.iter().all(|byte| word(*byte) || matches!(byte, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn full(text: &str) -> Option<String> {
        Reference::parse(text, "registry.example.test").ok().map(|reference| reference.to_string())
    }

    #[test]
    fn short_names_are_completed() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (text, expected) in [
            ("redis", "registry.example.test/redis:latest"),
            ("diagnostics/loopback:1.2", "registry.example.test/diagnostics/loopback:1.2"),
            ("localhost/x", "localhost/x:latest"),
            ("localhost:5000/x/y:t", "localhost:5000/x/y:t"),
            ("ghcr.io/a/b", "ghcr.io/a/b:latest"),
            ("[::1]:5000/a", "[::1]:5000/a:latest"),
        ] {
            assert_eq!(full(text).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(full(&format!("a@{digest}")), Some(format!("registry.example.test/a@{digest}")));
        assert_eq!(full(&format!("a:t@{digest}")), Some(format!("registry.example.test/a:t@{digest}")));
    }

    #[test]
    fn what_could_escape_or_confuse_is_refused() {
        for text in [
            "",
            "/",
            "a//b",
            "../x",
            "a/../b",
            "a/..",
            "A",
            "a:",
            "a:-x",
            "a b",
            "a@sha256:12",
            "a@md5:x",
            "a/.b",
            "x/a-",
            "evil.example/../../etc:1",
            "a\0b",
            "a:b/c:d e",
        ] {
            assert_eq!(full(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_is_a_plain_relative_path(text in "[a-zA-Z0-9./:@_-]{0,40}") {
            if let Ok(reference) = Reference::parse(&text, "r.test") {
                let path = std::path::Path::new(reference.repository());
                prop_assert!(path.components().all(|part| matches!(part, std::path::Component::Normal(_))));
                let again = Reference::parse(&reference.to_string(), "other.test");
                prop_assert_eq!(again.ok(), Some(reference));
            }
        }
    }
}
