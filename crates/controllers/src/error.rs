//! What stops a reconcile.

use api::ObjectKey;

use crate::{bundles::random::RandomError, ports::CertificateError, world::WorldError};

/// Why one reconcile of one object did not finish. It is run again after a back-off.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading from the API failed.
    #[error("cannot read {kind} {key}")]
    Read {
        /// Kind of the object.
        kind: String,
        /// Its key; the namespace alone for a list.
        key: ObjectKey,
        /// The API's answer.
        #[source]
        source: WorldError,
    },
    /// Writing to the API failed.
    #[error("cannot {verb} {kind} {key}")]
    Write {
        /// What was tried: `create`, `replace`, `update the status of`, `delete`.
        verb: &'static str,
        /// Kind of the object.
        kind: String,
        /// Its key.
        key: ObjectKey,
        /// The API's answer.
        #[source]
        source: WorldError,
    },
    /// An object in the API does not fit its kind.
    #[error("{kind} {key} cannot be read as its kind; delete it or write it again")]
    Decode {
        /// Kind of the object.
        kind: String,
        /// Its key.
        key: ObjectKey,
        /// What does not fit.
        #[source]
        source: Box<api::DecodeError>,
    },
    /// A secret could not be made.
    #[error("cannot make the secrets of bundle {bundle}")]
    Secrets {
        /// The bundle.
        bundle: ObjectKey,
        /// Why.
        #[source]
        source: RandomError,
    },
    /// A certificate could not be issued.
    #[error("cannot issue the certificate of bundle {bundle}")]
    Certificate {
        /// The bundle.
        bundle: ObjectKey,
        /// Why.
        #[source]
        source: CertificateError,
    },
}

impl Error {
    /// Whether somebody else wrote in between: planning again at once is right, and no fault.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Write { source: WorldError::Conflict { .. } | WorldError::Exists { .. }, .. })
    }
}
