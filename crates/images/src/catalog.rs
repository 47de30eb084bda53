//! The local catalog: one OCI image layout per repository path.
//!
//! ```text
//!  <catalog>/mariadb/{oci-layout,index.json,blobs/sha256/...}
//!  <catalog>/diagnostics/loopback/...
//! ```

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::ImageError;
use crate::manifest::{self, Descriptor, Document, MANIFEST_BYTES_MAX, REF_NAME};
use crate::reference::{Reference, hex_of};

/// An image in the catalog.
#[derive(Debug)]
pub(crate) struct CatalogImage {
    layout: PathBuf,
    pub(crate) digest: String,
    /// The manifest as it is, verified.
    pub(crate) manifest: Vec<u8>,
}

/// Finds an image; `None` when the catalog has no such repository or tag.
pub(crate) fn find(catalog: &Path, reference: &Reference) -> Result<Option<CatalogImage>, ImageError> {
    let layout = catalog.join(reference.repository());
    let index = layout.join("index.json");
    let bytes = match read_limited(&index, MANIFEST_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ImageError::Store { path: index, source }),
    };
    let Document::Index(entries) = manifest::parse(&bytes, &index.display().to_string())? else {
        let problem = "it is no index".to_owned();
        return Err(ImageError::Invalid { what: "catalog", digest: index.display().to_string(), problem });
    };
    let tagged = |entry: &&Descriptor| match (reference.digest(), reference.tag()) {
        (Some(digest), _) => entry.digest == digest,
        (None, tag) => entry.annotations.get(REF_NAME).map(String::as_str) == tag,
    };
    let matching: Vec<Descriptor> = entries.iter().filter(tagged).cloned().collect();
    let Some(entry) = manifest::choose(&matching) else {
        return Ok(None);
    };
    let image = CatalogImage { layout, digest: entry.digest.clone(), manifest: Vec::new() };
    let bytes = image.read(&entry.digest, "manifest", MANIFEST_BYTES_MAX)?;
    match manifest::parse(&bytes, &entry.digest)? {
        Document::Manifest(_) => Ok(Some(CatalogImage { manifest: bytes, ..image })),
        Document::Index(entries) => {
            let Some(entry) = manifest::choose(&entries) else { return Ok(None) };
            let manifest = image.read(&entry.digest, "manifest", MANIFEST_BYTES_MAX)?;
            Ok(Some(CatalogImage { digest: entry.digest.clone(), manifest, ..image }))
        }
    }
}

impl CatalogImage {
    /// A small blob, verified.
    pub(crate) fn read(&self, digest: &str, what: &'static str, limit: u64) -> Result<Vec<u8>, ImageError> {
        let path = self.blob(digest);
        let bytes = read_limited(&path, limit).map_err(ImageError::store(&path))?;
        verify(&bytes, digest, what)?;
        Ok(bytes)
    }

    /// A layer's blob, yet to be verified.
    pub(crate) fn open(&self, digest: &str) -> Result<File, ImageError> {
        let path = self.blob(digest);
        File::open(&path).map_err(ImageError::store(path))
    }

    fn blob(&self, digest: &str) -> PathBuf {
        self.layout.join("blobs/sha256").join(hex_of(digest).unwrap_or("invalid"))
    }
}

/// Reads a file up to a limit.
pub(crate) fn read_limited(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {limit} bytes")));
    }
    Ok(bytes)
}

/// Compares content with its digest.
pub(crate) fn verify(bytes: &[u8], digest: &str, what: &'static str) -> Result<(), ImageError> {
    let found = digest_of(bytes);
    if found == digest {
        return Ok(());
    }
    Err(ImageError::Digest { what, expected: digest.to_owned(), found })
}

/// `sha256:...` of some bytes.
pub(crate) fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}
