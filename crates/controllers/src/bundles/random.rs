//! Randomness, and secrets drawn from it.

use dockyard::Charset;
use secrecy::{ExposeSecret, SecretBox, SecretString};

/// The kernel gave no randomness.
#[derive(Debug, thiserror::Error)]
#[error("the kernel's random generator failed")]
pub struct RandomError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// A source of random bytes fit for keys.
pub trait Random: Send + Sync + 'static {
    /// Fills the buffer.
    fn fill(&self, buffer: &mut [u8]) -> Result<(), RandomError>;
}

/// The kernel's generator, `getrandom(2)`.
#[derive(Clone, Copy, Debug, Default)]
pub struct KernelRandom;

impl Random for KernelRandom {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), RandomError> {
        getrandom::fill(buffer).map_err(|source| RandomError(Box::new(source)))
    }
}

/// Bytes asked for at once.
const CHUNK: usize = 64;
/// Chunks in a row without a usable byte after which the source is called broken: each byte is
/// usable with a probability above one half, so that never happens to a sound one.
const BARREN_MAX: usize = 8;

/// `len` characters, each drawn evenly and independently from the charset.
pub(crate) fn text(random: &dyn Random, len: usize, charset: &Charset) -> Result<SecretString, RandomError> {
    let alphabet = charset.alphabet();
    // Bytes at and above the largest multiple of the alphabet's size would favour its beginning.
    let limit = 256 - 256 % alphabet.len();
    let mut out = String::with_capacity(len);
    let mut chunk = SecretBox::new(Box::new([0_u8; CHUNK]));
    let mut barren = 0;
    while out.len() < len {
        use secrecy::ExposeSecretMut as _;
        random.fill(chunk.expose_secret_mut())?;
        let before = out.len();
        let usable = chunk.expose_secret().iter().map(|byte| usize::from(*byte)).filter(|byte| *byte < limit);
        out.extend(usable.take(len - before).map(|byte| char::from(alphabet[byte % alphabet.len()])));
        barren = if out.len() == before { barren + 1 } else { 0 };
        if barren > BARREN_MAX {
            return Err(RandomError("it repeats itself".into()));
        }
    }
    Ok(SecretString::from(out))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    struct Counting(parking_lot::Mutex<u8>);

    impl Random for Counting {
        fn fill(&self, buffer: &mut [u8]) -> Result<(), RandomError> {
            let mut next = self.0.lock();
            for byte in buffer {
                *byte = *next;
                *next = next.wrapping_add(1);
            }
            Ok(())
        }
    }

    struct Stuck;

    impl Random for Stuck {
        fn fill(&self, buffer: &mut [u8]) -> Result<(), RandomError> {
            buffer.fill(255);
            Ok(())
        }
    }

    #[test]
    fn every_character_is_equally_likely() {
        let charset = Charset::parse("alnum").unwrap();
        let source = Counting(parking_lot::Mutex::new(0));
        let drawn = text(&source, 62 * 4 * 8, &charset).unwrap();
        let mut counts = BTreeMap::new();
        for char in drawn.expose_secret().chars() {
            *counts.entry(char).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 62);
        assert!(counts.values().all(|count| *count == 4 * 8), "{counts:?}");
    }

    #[test]
    fn a_broken_source_ends_in_an_error() {
        assert!(text(&Stuck, 8, &Charset::parse("alnum").unwrap()).is_err());
    }

    #[test]
    fn two_secrets_of_the_kernel_differ() {
        let charset = Charset::parse("hex").unwrap();
        let draw = || text(&KernelRandom, 32, &charset).unwrap().expose_secret().to_owned();
        assert_ne!(draw(), draw());
    }
}
