//! Why a replica could not be opened.

use std::path::PathBuf;

use keyspace::EngineError;
use thiserror::Error;

/// Why a replica could not be opened or shut down.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The directory cannot be used.
    #[error("keyspace directory {} cannot be used: check that it can be written by this user", dir.display())]
    Directory {
        /// The directory, or the file in it.
        dir: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Another process has it open.
    #[error("keyspace directory {} is in use by another process: stop that one first, or use another state root", dir.display())]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory belongs to another member.
    #[error("keyspace directory {} belongs to member {found}, not {configured}: use its own directory for each member", dir.display())]
    Identity {
        /// The directory.
        dir: PathBuf,
        /// Member it belongs to.
        found: u64,
        /// Member it was opened for.
        configured: u64,
    },
    /// A member id of 0.
    #[error("node_id is 0: give the member a positive id")]
    NoIdentity,
    /// Its content cannot be read or written.
    #[error("keyspace directory {} cannot be opened", dir.display())]
    Storage {
        /// The directory.
        dir: PathBuf,
        /// Why.
        #[source]
        source: EngineError,
    },
    /// Raft did not start.
    #[error("the keyspace's consensus did not {step}")]
    Raft {
        /// What it was to do.
        step: &'static str,
        /// Why it did not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
