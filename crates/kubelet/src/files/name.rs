//! Names that become parts of paths. They come from people, so nothing but a checked one reaches
//! [`Layout`](super::Layout).

use std::fmt;

use crate::error::{Error, Result};

/// Longest DNS label (RFC 1035).
const LABEL_MAX: usize = 63;

/// A DNS label: lower case letters, digits and inner dashes.
fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    text.len() <= LABEL_MAX && text.bytes().all(inner) && has_plain_ends(text)
}

/// A UID: letters, digits and inner dashes, as in UUIDs.
fn is_uid(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    text.len() <= LABEL_MAX && text.bytes().all(inner) && has_plain_ends(text)
}

fn has_plain_ends(text: &str) -> bool {
    let end = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
    end(text.bytes().next()) && end(text.bytes().last())
}

macro_rules! checked_names {
    ($($(#[$doc:meta])* $name:ident: $is:path, $what:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Checks a name; `field` is where the pod has it.
            ///
            /// # Errors
            /// [`Error::Refused`] for anything else.
            pub fn new(text: impl Into<String>, field: &str) -> Result<Self> {
                let text = text.into();
                if $is(&text) { Ok(Self(text)) } else { Err(Error::refused(field, format!("{text:?} {}", $what))) }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    )+};
}

checked_names! {
    /// Name of a volume within its pod: a DNS label.
    VolumeName: is_label, "is no name of a volume; use a DNS label: at most 63 lower case letters, digits and '-'";
    /// Name of a container or init container within its pod: a DNS label.
    ContainerName: is_label, "is no name of a container; use a DNS label: at most 63 lower case letters, digits and '-'";
    /// Name of a namespace: a DNS label.
    NamespaceName: is_label, "is no name of a namespace; use a DNS label: at most 63 lower case letters, digits and '-'";
    /// UID of a pod, as the API server gives it.
    PodUid: is_uid, "is no UID; the API server gives one";
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn path_tricks_are_no_names() {
        let long = "a".repeat(LABEL_MAX + 1);
        for bad in ["", ".", "..", "/", "/etc", "a/b", "../x", "A_B/../x", "a.b", "a\0", "a b", "-a", "a-", "é", &long]
        {
            assert!(VolumeName::new(bad, "f").is_err(), "{bad:?}");
            assert!(ContainerName::new(bad, "f").is_err(), "{bad:?}");
            assert!(NamespaceName::new(bad, "f").is_err(), "{bad:?}");
            assert!(PodUid::new(bad, "f").is_err(), "{bad:?}");
        }
        let error = VolumeName::new("/etc", "spec.volumes[0].name").unwrap_err().to_string();
        assert!(error.starts_with("spec.volumes[0].name: \"/etc\" is no name of a volume"), "{error}");
        for good in ["a", "data-0", "0", &long[1..]] {
            assert!(VolumeName::new(good, "f").is_ok(), "{good}");
        }
        assert!(PodUid::new("6F1c-0", "f").is_ok() && VolumeName::new("A", "f").is_err());
    }

    proptest! {
        #[test]
        fn an_accepted_name_is_one_part_of_a_path(text in "[a-zA-Z0-9./_-]{0,12}|.{0,12}") {
            let names = [VolumeName::new(text.clone(), "").is_ok(), PodUid::new(text.clone(), "").is_ok()];
            if names.contains(&true) {
                let parts: Vec<_> = std::path::Path::new(&text).components().collect();
                prop_assert!(matches!(parts.as_slice(), [std::path::Component::Normal(_)]));
            }
        }
    }
}
