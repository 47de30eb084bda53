//! Keys that etcd's clients neither see nor touch: those that begin with a zero byte are the keyspace's own records, such as
//! that of a member that was removed.
//!
//! Nobody can put such a key, so that ranges over everything leave out nothing that a client wrote.

use bytes::Bytes;
use keyspace::KeyRange;
use tonic::Status;

use crate::refuse;

/// The first key that is not reserved.
const FIRST: &[u8] = b"\x01";

/// What is left of a range without the reserved keys; an empty range if nothing is.
pub(super) fn visible(range: KeyRange) -> KeyRange {
    let first = || Bytes::from_static(FIRST);
    match range {
        KeyRange::Key(key) if is_reserved(&key) => KeyRange::Span { start: first(), end: first() },
        KeyRange::Span { start, end } if start.as_ref() < FIRST => KeyRange::Span { start: first(), end },
        KeyRange::From(start) if start.as_ref() < FIRST => KeyRange::From(first()),
        range => range,
    }
}

/// Refuses a key that is named and reserved.
pub(super) fn require_free(key: &[u8]) -> Result<(), Status> {
    if is_reserved(key) { Err(refuse::PERMISSION_DENIED.into()) } else { Ok(()) }
}

fn is_reserved(key: &[u8]) -> bool {
    key.first() == Some(&0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_range_has_a_reserved_key_or_lacks_another() {
        let keys: Vec<Bytes> =
            [&b"\0"[..], b"\0\0", b"\0nanocloud/x", b"\0\xff", b"\x01", b"a", b"\xff"].map(Bytes::from_static).into();
        let mut ranges = vec![KeyRange::all()];
        for a in &keys {
            ranges.extend([KeyRange::Key(a.clone()), KeyRange::From(a.clone()), KeyRange::prefix(a.clone())]);
            ranges.extend(keys.iter().map(|b| KeyRange::span(a.clone(), b.clone())));
        }
        for range in ranges {
            let left = visible(range.clone());
            for key in &keys {
                let wanted = range.contains(key) && !is_reserved(key);
                assert_eq!(left.contains(key), wanted, "{key:?} of {range:?}, of which {left:?} is visible");
                assert_eq!(require_free(key).is_err(), is_reserved(key));
            }
        }
    }
}
