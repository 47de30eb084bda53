//! Randomness from the kernel, the only source of keys, nonces and token secrets.

use crate::error::Error;

/// Fills an array from the kernel's generator.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], Error> {
    let mut out = [0_u8; N];
    getrandom::fill(&mut out).map_err(|source| Error::Random { source })?;
    Ok(out)
}

/// Text of `len` characters drawn evenly from the 32 letters `a-z2-7`: five bits each.
pub(crate) fn base32_text(len: usize) -> Result<String, Error> {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut raw = zeroize::Zeroizing::new(vec![0_u8; len]);
    getrandom::fill(&mut raw).map_err(|source| Error::Random { source })?;
    Ok(raw.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)])).collect())
}
