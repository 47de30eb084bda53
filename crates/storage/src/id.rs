//! Ids of volumes, pods and publications: safe as one path component.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Longest id in bytes: a file name with room for a suffix.
pub const ID_MAX: usize = 200;

/// An id that is safe as a file name: no separator, no leading dot, no surprise.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Id(String);

impl Id {
    /// Checks an id.
    pub fn new(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        let safe = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let starts = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        if starts && text.len() <= ID_MAX && text.bytes().all(safe) { Ok(Self(text)) } else { Err(Error::Id { text }) }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Id {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        Self::new(text)
    }
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        id.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn path_tricks_are_no_ids() {
        for bad in ["", ".", "..", "a/b", "/a", ".hidden", "-x", "a\0b", "a b", &"x".repeat(ID_MAX + 1)] {
            assert!(Id::new(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "pvc-7f0c", "data.0", "A_b"] {
            assert!(Id::new(good).is_ok(), "{good:?}");
        }
    }

    proptest! {
        #[test]
        fn an_accepted_id_is_one_component(text in ".{0,40}") {
            if let Ok(id) = Id::new(text) {
                let path = std::path::Path::new(id.as_str());
                prop_assert_eq!(path.components().count(), 1);
                prop_assert!(matches!(path.components().next(), Some(std::path::Component::Normal(_))));
            }
        }
    }
}
