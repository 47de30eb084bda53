//! What can go wrong with images; a variant per operation.

use std::io;
use std::path::PathBuf;

/// Error of an image operation. Nothing half-done is left in the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The reference cannot be read.
    #[error("image reference {reference:?}: {problem}")]
    Reference {
        /// As given.
        reference: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Neither the store nor its source has it.
    #[error("no image {reference} {place}")]
    NotFound {
        /// The full reference.
        reference: String,
        /// Where it was looked for.
        place: String,
    },
    /// The policy forbids pulling, and it is not in the store.
    #[error("image {reference} is not in the store and the pull policy is Never; pull it first")]
    NotPresent {
        /// The full reference.
        reference: String,
    },
    /// The registry could not be asked, or refused.
    #[error("pull {reference} from {registry}")]
    Registry {
        /// The full reference.
        reference: String,
        /// Host and port.
        registry: String,
        /// Why.
        #[source]
        source: Box<oci_client::errors::OciDistributionError>,
    },
    /// The connection broke during a download.
    #[error("download blob {digest} from {registry}")]
    Download {
        /// Digest of the blob.
        digest: String,
        /// Host and port.
        registry: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Content is not what its digest says: damaged or forged.
    #[error("{what} {expected} is damaged: its content has {found}; pull it again from a sound source")]
    Digest {
        /// Kind of content.
        what: &'static str,
        /// Digest it was asked by.
        expected: String,
        /// Digest of what came.
        found: String,
    },
    /// A manifest or configuration cannot be used.
    #[error("{what} {digest}: {problem}")]
    Invalid {
        /// Kind of document.
        what: &'static str,
        /// Its digest.
        digest: String,
        /// What is wrong.
        problem: String,
    },
    /// Something is larger than allowed.
    #[error("{what} is larger than {limit} bytes")]
    TooLarge {
        /// What.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// A layer's content is not acceptable.
    #[error("layer {layer}: entry {entry:?} {problem}")]
    Layer {
        /// Digest of the layer's blob.
        layer: String,
        /// Path in the layer.
        entry: String,
        /// Why it is refused.
        problem: String,
    },
    /// A layer could not be read or unpacked.
    #[error("unpack layer {layer}")]
    Unpack {
        /// Digest of the layer's blob.
        layer: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The user named by the image or the caller does not exist in it.
    #[error("user {user:?} of image {reference}: {problem}")]
    User {
        /// As given.
        user: String,
        /// The full reference.
        reference: String,
        /// What is wrong.
        problem: String,
    },
    /// The store is used by another process.
    #[error("image store {} is in use by another process; stop that one or use another state root", path.display())]
    Busy {
        /// The store.
        path: PathBuf,
    },
    /// The store could not be read or written.
    #[error("image store {}", path.display())]
    Store {
        /// File or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The work was cut short because the process is ending.
    #[error("pull of {reference} was cut short")]
    Cancelled {
        /// The full reference.
        reference: String,
    },
}

impl ImageError {
    pub(crate) fn store(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Store { path, source }
    }

    /// With all causes on one line.
    pub(crate) fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        text
    }
}
