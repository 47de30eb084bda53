//! Alphabets for `!rand`.

use std::collections::BTreeSet;
use std::fmt;

const NAMED: [(&str, &str); 6] = [
    ("alnum", "A-Za-z0-9"),
    ("alpha", "A-Za-z"),
    ("lower", "a-z"),
    ("digit", "0-9"),
    ("hex", "0-9a-f"),
    ("urlsafe", "A-Za-z0-9_-"),
];

/// The characters a random secret is drawn from: a name (`alnum`, `alpha`, `lower`, `digit`, `hex`,
/// `urlsafe`) or a class such as `[a-z0-9_]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Charset {
    text: String,
    alphabet: Vec<u8>,
}

/// Why a text is not a charset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CharsetError {
    /// Neither a known name nor a bracketed class.
    #[error("unknown charset")]
    Unknown,
    /// A class holds something else than printable ASCII, or `]`, `[`, `|`, `"`, `\`, `(`, `)`.
    #[error("a charset class holds printable ASCII without [ ] ( ) | \" and \\")]
    Character,
    /// A range runs backwards.
    #[error("a charset range runs backwards")]
    Range,
    /// Fewer than two characters: nothing random can be made of them.
    #[error("a charset has at least two different characters")]
    TooSmall,
}

impl Charset {
    /// Names that can be used instead of a class.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMED.iter().map(|(name, _)| *name)
    }

    /// Reads a name or a class.
    ///
    /// # Errors
    /// [`CharsetError`] says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, CharsetError> {
        let class = match NAMED.iter().find(|(name, _)| *name == text) {
            Some((_, class)) => class,
            None => text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).ok_or(CharsetError::Unknown)?,
        };
        let alphabet = expand(class)?;
        if alphabet.len() < 2 {
            return Err(CharsetError::TooSmall);
        }
        Ok(Self { text: text.to_owned(), alphabet: alphabet.into_iter().collect() })
    }

    /// The different characters, all ASCII, in ascending order; at least two.
    #[must_use]
    pub fn alphabet(&self) -> &[u8] {
        &self.alphabet
    }
}

fn expand(class: &str) -> Result<BTreeSet<u8>, CharsetError> {
    let bytes = class.as_bytes();
    let allowed = |b: u8| b.is_ascii_graphic() && !b"[]()|\"\\".contains(&b);
    if !bytes.iter().all(|b| allowed(*b)) {
        return Err(CharsetError::Character);
    }
    let mut set = BTreeSet::new();
    let mut rest = bytes;
    while let Some((&first, tail)) = rest.split_first() {
        if let [b'-', last, after @ ..] = tail {
            if *last < first {
                return Err(CharsetError::Range);
            }
            set.extend((first..=*last).filter(|b| allowed(*b)));
            rest = after;
        } else {
            set.insert(first);
            rest = tail;
        }
    }
    Ok(set)
}

impl fmt::Display for Charset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Charset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Charset({})", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alphabet(text: &str) -> String {
        String::from_utf8(Charset::parse(text).unwrap().alphabet().to_vec()).unwrap()
    }

    #[test]
    fn names_and_classes() {
        assert_eq!(alphabet("hex"), "0123456789abcdef");
        assert_eq!(alphabet("[c-ea]"), "acde");
        assert_eq!(alphabet("[a-]"), "-a");
        assert_eq!(alphabet("[-_]"), "-_");
        assert_eq!(Charset::parse("alnum").unwrap().alphabet().len(), 62);
        assert_eq!(Charset::parse("urlsafe").unwrap().alphabet().len(), 64);
    }

    #[test]
    fn every_name_parses() {
        for name in Charset::names() {
            assert_eq!(Charset::parse(name).unwrap().to_string(), name);
        }
    }

    #[test]
    fn bad_ones() {
        for (text, why) in [
            ("base64", CharsetError::Unknown),
            ("[abc", CharsetError::Unknown),
            ("[z-a]", CharsetError::Range),
            ("[a]", CharsetError::TooSmall),
            ("[]", CharsetError::TooSmall),
            ("[aä]", CharsetError::Character),
            ("[a b]", CharsetError::Character),
            ("[a|b]", CharsetError::Character),
        ] {
            assert_eq!(Charset::parse(text), Err(why), "{text}");
        }
    }
}
