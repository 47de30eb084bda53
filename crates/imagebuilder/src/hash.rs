//! Digests on the way through.

use std::io::{self, Write};

use sha2::{Digest, Sha256};

/// Feeds a hasher.
pub(crate) struct HashWriter<'a>(pub(crate) &'a mut Sha256);

impl Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Passes bytes on and remembers their digest and number.
pub(crate) struct Tee<W> {
    pub(crate) inner: W,
    hasher: Sha256,
    pub(crate) count: u64,
}

impl<W: Write> Tee<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self { inner, hasher: Sha256::new(), count: 0 }
    }

    /// The writer below, `sha256:<hex>` and the number of bytes.
    pub(crate) fn finish(self) -> (W, String, u64) {
        (self.inner, digest_text(self.hasher), self.count)
    }
}

impl<W: Write> Write for Tee<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.count += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn digest_text(hasher: Sha256) -> String {
    format!("sha256:{}", hex::encode(hasher.finalize()))
}

/// `sha256:<hex>` of some bytes.
pub(crate) fn digest(bytes: &[u8]) -> String {
    let mut hasher = Sha256::new();
    hasher.update(bytes);
    digest_text(hasher)
}

/// A digest over fields that cannot run into each other: each is preceded by its length.
pub(crate) struct FieldHasher(Sha256);

impl FieldHasher {
    pub(crate) fn new(what: &str) -> Self {
        let mut hasher = Self(Sha256::new());
        hasher.field(what.as_bytes());
        hasher
    }

    pub(crate) fn field(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> String {
        digest_text(self.0)
    }
}
