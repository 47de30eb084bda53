//! Fingerprints.

use sha2::{Digest, Sha256};

/// SHA-256 of the parts in hexadecimal. Each part is preceded by its length, so that no two lists of
/// parts give the same input.
pub(crate) fn hex_of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hex::encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borders_of_parts_matter() {
        assert_ne!(hex_of([b"ab".as_slice(), b"c"]), hex_of([b"a".as_slice(), b"bc"]));
    }
}
