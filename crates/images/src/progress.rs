//! How far a pull has come.

/// Receives progress; called from worker threads, so it must be quick.
pub trait Progress: Send + Sync {
    /// One step happened.
    fn on(&self, event: ProgressEvent<'_>);
}

/// One step of a pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgressEvent<'a> {
    /// The manifest is known: so many layers, so many compressed bytes in all.
    Resolved {
        /// Manifest digest.
        digest: &'a str,
        /// Number of layers.
        layers: usize,
        /// Sum of their sizes in bytes, compressed.
        bytes: u64,
    },
    /// A layer was there already.
    LayerPresent {
        /// Digest of the layer's blob.
        digest: &'a str,
        /// Its size in bytes.
        bytes: u64,
    },
    /// More compressed bytes of a layer went through.
    LayerAdvanced {
        /// Digest of the layer's blob.
        digest: &'a str,
        /// Bytes since the last event of this layer.
        bytes: u64,
    },
    /// A layer was verified and unpacked.
    LayerDone {
        /// Digest of the layer's blob.
        digest: &'a str,
    },
    /// The image is ready.
    Ready {
        /// Manifest digest.
        digest: &'a str,
    },
}

/// Ignores progress.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn on(&self, _: ProgressEvent<'_>) {}
}
