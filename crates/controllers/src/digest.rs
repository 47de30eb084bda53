//! Fingerprints.

use sha2::{Digest, Sha256};

/// Characters of names that are made, as in Kubernetes: no vowels, hence no words, and none that look alike.
const SAFE: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// SHA-256 of the parts in hexadecimal. Each part is preceded by its length, so that no two lists of
/// parts give the same input.
pub(crate) fn hex_of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    hex::encode(hash(parts))
}

/// The beginning of such a fingerprint, for names of objects.
pub(crate) fn suffix_of<'a>(parts: impl IntoIterator<Item = &'a [u8]>, length: usize) -> String {
    hash(parts).iter().take(length).map(|byte| char::from(SAFE[usize::from(*byte) % SAFE.len()])).collect()
}

fn hash<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> impl AsRef<[u8]> + std::ops::Deref<Target = [u8]> {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borders_of_parts_matter() {
        assert_ne!(hex_of([b"ab".as_slice(), b"c"]), hex_of([b"a".as_slice(), b"bc"]));
        assert_eq!(suffix_of([b"a".as_slice()], 10).len(), 10);
    }
}
