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
    /// The directory belongs to another cluster.
    #[error("keyspace directory {} belongs to cluster {found:x}, not {configured:x}: wipe it to join another cluster", dir.display())]
    Cluster {
        /// The directory.
        dir: PathBuf,
        /// Cluster it belongs to.
        found: u64,
        /// Cluster to be joined.
        configured: u64,
    },
    /// A member id of 0.
    #[error("node_id is 0: give the member a positive id")]
    NoIdentity,
    /// There is data already.
    #[error("{} is not empty: name another directory, or move it away first", dir.display())]
    Occupied {
        /// The directory.
        dir: PathBuf,
    },
    /// A member that is not among the members.
    #[error("member {node_id} is not among the members: name it as one of them, with a positive id")]
    NotAMember {
        /// The member.
        node_id: u64,
    },
    /// A snapshot's file cannot be used.
    #[error("snapshot {} cannot be used", path.display())]
    Snapshot {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: keyspace::snapshot::SnapshotError,
    },
    /// Repairing would lose what other members have.
    #[error(
        "keyspace directory {} is damaged and belongs to one of several members: remove that member, wipe the directory \
         and join again",
        dir.display()
    )]
    OneOfSeveral {
        /// The directory.
        dir: PathBuf,
    },
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
