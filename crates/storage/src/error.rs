//! Why a volume operation failed.

use std::{io, path::PathBuf};

/// Result of a volume operation.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a volume operation failed. The message names the volume and, where there is one, the remedy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An id would not be a safe file name.
    #[error(
        "{text:?} is no volume or pod id: 1 to {} letters, digits, '-', '_' or '.', starting with a letter or digit",
        crate::ID_MAX
    )]
    Id {
        /// What was given.
        text: String,
    },
    /// No such volume.
    #[error("volume {id} does not exist: create it first")]
    Missing {
        /// The volume.
        id: String,
    },
    /// The volume exists with other properties.
    #[error("volume {id} exists with {field} {found}, but {wanted} was asked for: delete it first or ask for the same")]
    Differs {
        /// The volume.
        id: String,
        /// The property that differs.
        field: &'static str,
        /// Its stored value.
        found: String,
        /// The requested value.
        wanted: String,
    },
    /// An encrypted volume could not be made, unlocked or locked.
    #[error(
        "volume {id}: {program} failed: {message}; encrypted volumes need the packages cryptsetup and e2fsprogs and a \
         kernel with dm-crypt and loop devices"
    )]
    Encryption {
        /// The volume.
        id: String,
        /// The program.
        program: &'static str,
        /// What it said.
        message: String,
    },
    /// An encrypted volume is asked for where no folder for keys was named.
    #[error("volume {id} is encrypted, and these volumes were opened without a folder for keys")]
    NoKeys {
        /// The volume.
        id: String,
    },
    /// The volume is in use.
    #[error("volume {id} is in use by {}: unpublish it there first", .by.join(", "))]
    Busy {
        /// The volume.
        id: String,
        /// Pods (or paths) that hold it.
        by: Vec<String>,
    },
    /// The disk that holds the volumes is full.
    #[error("no space left on the disk of {}: free some, or move the storage root", .path.display())]
    Full {
        /// Where the write failed.
        path: PathBuf,
        /// The kernel's error.
        #[source]
        source: io::Error,
    },
    /// The description of a volume cannot be read.
    #[error("{} is damaged: restore it or delete the volume", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A file operation failed.
    #[error("cannot {action} {}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// The kernel's error.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// Wraps an IO error, telling a full disk apart.
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        let path = path.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path, source },
            _ => Self::Io { action, path, source },
        }
    }
}
