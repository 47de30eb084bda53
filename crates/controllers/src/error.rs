//! What stops a reconcile.

use api::ObjectKey;

use crate::{bundles::random::RandomError, ports::CertificateError};

/// A refusal or failure of the API.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// No such object.
    #[error("it does not exist")]
    Missing,
    /// The name is taken.
    #[error("it exists already")]
    Exists {
        /// The API's answer.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It changed after it was read, or is not the object that was meant.
    #[error("it was changed meanwhile")]
    Conflict {
        /// The API's answer.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The API will not take the object as it is.
    #[error("the API refuses it")]
    Refused {
        /// The API's answer.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The API cannot be reached, or failed.
    #[error("the API does not answer")]
    Unavailable {
        /// What happened.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

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
