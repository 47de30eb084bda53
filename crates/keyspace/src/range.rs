//! Which keys a request speaks of.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A set of keys that is contiguous in byte order.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum KeyRange {
    /// Exactly one key.
    Key(Bytes),
    /// Keys from `start` (included) up to `end` (excluded); empty when `end <= start`.
    Span {
        /// First key that may match.
        start: Bytes,
        /// First key that does not match any more.
        end: Bytes,
    },
    /// Every key at or after the given one; `From("")` is every key.
    From(Bytes),
}

impl KeyRange {
    /// Exactly `key`.
    pub fn key(key: impl Into<Bytes>) -> Self {
        KeyRange::Key(key.into())
    }

    /// Every key.
    pub fn all() -> Self {
        KeyRange::From(Bytes::new())
    }

    /// Every key that begins with `prefix`.
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        let start = prefix.into();
        match prefix_end(&start) {
            Some(end) => KeyRange::Span { start, end },
            None => KeyRange::From(start),
        }
    }

    /// Keys in `[start, end)`.
    pub fn span(start: impl Into<Bytes>, end: impl Into<Bytes>) -> Self {
        KeyRange::Span { start: start.into(), end: end.into() }
    }

    /// Whether `key` is in the set.
    pub fn contains(&self, key: &[u8]) -> bool {
        match self {
            KeyRange::Key(only) => only == key,
            KeyRange::Span { start, end } => key >= start.as_ref() && key < end.as_ref(),
            KeyRange::From(start) => key >= start.as_ref(),
        }
    }

    /// Whether some key could be in both sets.
    pub fn overlaps(&self, other: &KeyRange) -> bool {
        if let KeyRange::Key(key) = self {
            return other.contains(key);
        }
        if let KeyRange::Key(key) = other {
            return self.contains(key);
        }
        if self.is_empty() || other.is_empty() {
            return false;
        }
        let before = |end: Option<&[u8]>, start: &[u8]| end.is_some_and(|end| end <= start);
        !before(self.end(), other.start()) && !before(other.end(), self.start())
    }

    /// Whether no key can be in the set.
    pub fn is_empty(&self) -> bool {
        matches!(self, KeyRange::Span { start, end } if end <= start)
    }

    /// First key that may match.
    pub fn start(&self) -> &[u8] {
        match self {
            KeyRange::Key(start) | KeyRange::Span { start, .. } | KeyRange::From(start) => start,
        }
    }

    /// First key after the set, `None` when the set is a single key or open to the end.
    fn end(&self) -> Option<&[u8]> {
        match self {
            KeyRange::Span { end, .. } => Some(end),
            KeyRange::Key(_) | KeyRange::From(_) => None,
        }
    }

    /// Bytes this set takes in a request.
    pub fn size(&self) -> usize {
        self.start().len() + self.end().map_or(0, <[u8]>::len)
    }
}

/// The first key after all keys that begin with `prefix`; `None` when there is none (empty or all `0xff`).
pub fn prefix_end(prefix: &[u8]) -> Option<Bytes> {
    let keep = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix[..=keep].to_vec();
    end[keep] += 1;
    Some(Bytes::from(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_ends() {
        assert_eq!(prefix_end(b"a"), Some(Bytes::from_static(b"b")));
        assert_eq!(prefix_end(b"a\xff\xff"), Some(Bytes::from_static(b"b")));
        assert_eq!(prefix_end(b"\xff"), None);
        assert_eq!(prefix_end(b""), None);
        assert_eq!(KeyRange::prefix(""), KeyRange::all());
    }

    #[test]
    fn overlap_is_symmetric_and_agrees_with_contains() {
        let keys: Vec<Bytes> = [&b""[..], b"a", b"a\0", b"ab", b"b", b"c\xff", b"\xff"].map(Bytes::from_static).into();
        let mut ranges = vec![KeyRange::all()];
        for a in &keys {
            ranges.extend([KeyRange::Key(a.clone()), KeyRange::From(a.clone()), KeyRange::prefix(a.clone())]);
            ranges.extend(keys.iter().map(|b| KeyRange::span(a.clone(), b.clone())));
        }
        for a in &ranges {
            for b in &ranges {
                assert_eq!(a.overlaps(b), b.overlaps(a), "{a:?} {b:?}");
                if keys.iter().any(|key| a.contains(key) && b.contains(key)) {
                    assert!(a.overlaps(b), "{a:?} {b:?}");
                }
            }
        }
        assert!(!KeyRange::span("a", "b").overlaps(&KeyRange::span("b", "c")));
        assert!(!KeyRange::span("b", "b").overlaps(&KeyRange::all()));
    }
}
