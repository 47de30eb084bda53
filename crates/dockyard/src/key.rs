//! Names of options.

use std::fmt;

/// Longest option key, in bytes.
pub const MAX_KEY_BYTES: usize = 63;

/// The name of an option: `^[a-z0-9]([a-z0-9_.:-]*[a-z0-9])?$`, at most [`MAX_KEY_BYTES`] bytes.
///
/// Upper case is refused rather than folded, so that two spellings never mean one option.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

/// Why a text is not an option key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No characters at all.
    #[error("an option key must not be empty")]
    Empty,
    /// More than [`MAX_KEY_BYTES`] bytes.
    #[error("an option key has at most {MAX_KEY_BYTES} characters")]
    TooLong,
    /// It holds `A`-`Z`.
    #[error("upper case is not allowed in option keys; write it in lower case")]
    UpperCase,
    /// It holds another character outside the set.
    #[error("option keys are made of a-z, 0-9 and, inside, '_', '.', ':', '-'")]
    Character,
    /// It begins or ends with punctuation.
    #[error("an option key begins and ends with a letter or a digit")]
    Edge,
}

/// True for the characters a key may hold.
pub(crate) fn is_key_char(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '.' | ':' | '-')
}

impl Key {
    /// Checks the text and takes it.
    ///
    /// # Errors
    /// [`KeyError`] names the rule that is broken.
    pub fn new(text: &str) -> Result<Self, KeyError> {
        if text.is_empty() {
            return Err(KeyError::Empty);
        }
        if text.len() > MAX_KEY_BYTES {
            return Err(KeyError::TooLong);
        }
        if text.chars().any(|c| c.is_ascii_uppercase()) {
            return Err(KeyError::UpperCase);
        }
        if !text.chars().all(is_key_char) {
            return Err(KeyError::Character);
        }
        let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        if !edge(text.chars().next()) || !edge(text.chars().next_back()) {
            return Err(KeyError::Edge);
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_the_contract_accepts() {
        for text in ["a", "0", "database", "database_transport", "a.b:c-d", "secret_x1"] {
            assert_eq!(Key::new(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn refuses_and_says_why() {
        for (text, why) in [
            ("", KeyError::Empty),
            ("Database", KeyError::UpperCase),
            ("a b", KeyError::Character),
            ("ä", KeyError::Character),
            ("-a", KeyError::Edge),
            ("a_", KeyError::Edge),
            (".", KeyError::Edge),
        ] {
            assert_eq!(Key::new(text), Err(why), "{text:?}");
        }
        assert_eq!(Key::new(&"a".repeat(64)), Err(KeyError::TooLong));
        assert!(Key::new(&"a".repeat(63)).is_ok());
    }
}
