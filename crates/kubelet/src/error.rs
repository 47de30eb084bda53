//! What can go wrong on the way from a pod's spec to running containers.

use std::{io, path::PathBuf};

pub use client::chain;
use images::ImageError;

/// A failed kubelet operation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The pod asks for something this node does not do.
    #[error("{field}: {problem}")]
    Refused {
        /// Path of the field in the pod.
        field: String,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// The pod asks for a privilege that this node's owner does not give.
    #[error("{field}: {problem}")]
    Denied {
        /// Path of the field in the pod.
        field: String,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// Something the pod refers to does not exist (yet).
    #[error("{kind} {name:?} not found")]
    Missing {
        /// Kind of the thing.
        kind: &'static str,
        /// Its name, with the key where one is missing.
        name: String,
    },
    /// A claim cannot be used (yet).
    #[error("persistentvolumeclaim {name:?}: {problem}")]
    Claim {
        /// Name of the claim.
        name: String,
        /// Why.
        problem: String,
    },
    /// The API refused or did not answer.
    #[error("{action}")]
    Api {
        /// What was tried.
        action: String,
        /// Cause.
        #[source]
        source: client::Error,
    },
    /// An image could not be had.
    #[error("cannot use image {image:?}")]
    Image {
        /// Its reference.
        image: String,
        /// Cause.
        #[source]
        source: client::BoxError,
    },
    /// A container operation failed.
    #[error("operation on container {container:?} failed")]
    Container {
        /// Name within the pod.
        container: String,
        /// Cause.
        #[source]
        source: runtime::container::ContainerError,
    },
    /// The pod's network could not be made or removed.
    #[error("cannot change the network of the pod")]
    Network(#[from] net::Error),
    /// A volume could not be made, mounted or unmounted.
    #[error("cannot change a volume of the pod")]
    Volume(#[from] storage::Error),
    /// A file of the pod could not be written, read or removed.
    #[error("{action} {}", path.display())]
    File {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The pod, or the container in it, is not on this node or does not run.
    #[error("{0}")]
    NotRunning(String),
    /// The log of a container cannot be read.
    #[error("cannot read the log of container {container:?}")]
    Log {
        /// Name within the pod.
        container: String,
        /// Cause.
        #[source]
        source: runtime::logs::LogError,
    },
}

/// Result of this crate's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn refused(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Refused { field: field.into(), problem: problem.into() }
    }

    pub(crate) fn denied(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Denied { field: field.into(), problem: problem.into() }
    }

    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source: in_words(source) }
    }

    /// Whether another writer changed the object first: reading it and planning again is right, and no fault.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Api { source, .. } if source.is_conflict())
    }

    /// The reasons, for the event and for the waiting container, of an image that is not to be had by trying again
    /// (Kubernetes).
    pub(crate) fn hopeless_image(&self) -> Option<(&'static str, &'static str)> {
        let Self::Image { source, .. } = self else { return None };
        match source.downcast_ref::<ImageError>()? {
            ImageError::Reference { .. } => Some(("InspectFailed", "InvalidImageName")),
            ImageError::NotPresent { .. } => Some(("ErrImageNeverPull", "ErrImageNeverPull")),
            _ => None,
        }
    }

    pub(crate) fn api(action: impl Into<String>) -> impl FnOnce(client::Error) -> Self {
        let action = action.into();
        move |source| Self::Api { action, source }
    }
}

/// What the kernel says of links that are not followed, in words: paths of pods are resolved beneath their volume.
fn in_words(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(nix::libc::ELOOP) => io::Error::other("it crosses a symbolic link, which is not followed"),
        Some(nix::libc::EXDEV) => io::Error::other("it crosses a symbolic link that leads out of the volume"),
        _ => error,
    }
}
