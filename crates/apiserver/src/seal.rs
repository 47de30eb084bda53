//! Confidential values are sealed before they reach the keyspace.

use std::sync::Arc;

use trust::{Envelope, EnvelopeError, SealContext};

use crate::api_error::{ApiError, Result};

/// Seals whole values under their key, so that a value moved to another key does not open.
///
/// The whole object is sealed, not its data alone: `kubectl apply` copies the data into an annotation.
#[derive(Clone, Debug)]
pub(crate) struct Seal(Arc<Envelope>);

fn place(key: &str) -> SealContext<'_> {
    SealContext { resource: "registry", namespace: "", name: key, key: "" }
}

impl Seal {
    pub(crate) fn new(envelope: Arc<Envelope>) -> Self {
        Self(envelope)
    }

    /// Seals a value for a key.
    pub(crate) fn close(&self, key: &str, plain: &[u8]) -> Result<Vec<u8>> {
        self.0.seal(plain, place(key)).map_err(|error| ApiError::internal("the value cannot be sealed", error))
    }

    /// Opens what [`Seal::close`] made for the same key.
    pub(crate) fn open(&self, key: &str, sealed: &[u8]) -> Result<impl std::ops::Deref<Target = Vec<u8>>> {
        self.0.open(sealed, place(key)).map_err(|error| {
            let remedy = match &error {
                EnvelopeError::UnknownKey { .. } => {
                    "put the master key that sealed it back from a backup of secure_assets, or delete the object and create it again"
                }
                EnvelopeError::UnsupportedVersion { .. } => "use the version of nanocloud that wrote it",
                _ => "it was changed after it was stored: delete the object and create it again, or restore a snapshot of the keyspace",
            };
            ApiError::internal(&format!("the stored value of {key} cannot be opened"), error).remedy(remedy)
        })
    }
}
