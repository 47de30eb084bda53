//! The whole keyspace at one revision as a file: to back up, to restore onto other members, to move between versions.
//!
//! ```text
//! magic | Header | Changes ... | Leases ... | End | SHA-256 of all before
//!         └──────────── frames: length u32 | CRC-32 u32 | postcard ─────┘
//! ```
//!
//! What is in it: every change that is still readable (key, value, revisions, lease) and every lease with the time it
//! has left. Indexes are made again when it is loaded. Alarms, the members and their log are not in it: they belong
//! to the cluster it was taken from. Values are as whoever wrote them made them; what was sealed is sealed in the file.
//!
//! A file that was cut, changed by a byte, or is not followed by its digest is refused before anything is touched. The
//! checksums of the frames say where it is damaged, the digest says that nothing is.

mod load;
mod read;
mod write;

pub use load::{Options, load};
pub use read::{Reader, Record, Summary, status, verify};
pub use write::{Sink, write};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{EngineError, LeaseId, Revision};

/// First bytes of a file.
pub(crate) const MAGIC: &[u8; 8] = b"NCKEYSPC";

/// Version of the file's format that is written. A reader takes this one and says so of any other.
pub const FORMAT: u32 = 1;

/// Bytes of records in one frame, about.
const FRAME_BYTES: usize = 256 * 1024;

/// Largest frame that is believed: a record is at most a request with its key.
const MAX_FRAME_BYTES: u32 = 16 * 1024 * 1024;

/// Bytes of the digest at the end.
const DIGEST_BYTES: usize = 32;

/// Where a snapshot comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The cluster, 0 if it has no identity.
    pub cluster_id: u64,
    /// The member that made it.
    pub member: u64,
    /// When, milliseconds since 1970 by that member's clock.
    pub created_ms: u64,
    /// Version of the program.
    pub program: String,
}

/// What a snapshot begins with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Where it comes from.
    pub origin: Origin,
    /// Newest revision.
    pub revision: Revision,
    /// Oldest revision that can be read.
    pub compact_revision: Revision,
    /// Cluster time, milliseconds.
    clock_ms: u64,
    /// The last lease id that was chosen.
    last_lease: LeaseId,
}

#[derive(Debug, Serialize, Deserialize)]
enum Frame {
    Header { format: u32, header: Header },
    Changes(Vec<ChangeRecord>),
    Leases(Vec<LeaseRecord>),
    End(Counts),
}

/// A record of the table of revisions, as it is there.
#[derive(Debug, Serialize, Deserialize)]
struct ChangeRecord {
    revision: Revision,
    sub: u32,
    record: Bytes,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct LeaseRecord {
    id: LeaseId,
    ttl_seconds: i64,
    expires_ms: u64,
}

/// How many of each there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Keys at the newest revision.
    pub keys: u64,
    /// Versions and deletes, history included.
    pub changes: u64,
    /// Leases.
    pub leases: u64,
}

/// Why a snapshot cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The file cannot be read.
    #[error("the snapshot cannot be read")]
    Read(#[source] std::io::Error),
    /// Something else.
    #[error("this is no snapshot of a keyspace: name a file that `nanocloud keyspace snapshot save` wrote")]
    Foreign,
    /// Another format.
    #[error("the snapshot has format {found}, this program reads {FORMAT}: use the version of nanocloud that wrote it")]
    Format {
        /// Format found.
        found: u32,
    },
    /// Damaged, and where.
    #[error("the snapshot is damaged at byte {offset} ({detail}): take another one")]
    Damaged {
        /// Where, from the beginning of the file.
        offset: u64,
        /// How it was noticed.
        detail: String,
    },
    /// The bytes are not those that were written.
    #[error("the digest of the snapshot is {computed}, it should be {written}: it was changed, take another one")]
    Digest {
        /// SHA-256 of what was read.
        computed: String,
        /// SHA-256 at its end.
        written: String,
    },
    /// The engine it is loaded into failed.
    #[error("the snapshot cannot be loaded")]
    Load(#[source] EngineError),
    /// The engine it is to be loaded into is not empty.
    #[error("there is data already: load a snapshot into an empty keyspace")]
    NotEmpty,
}

#[cfg(test)]
mod tests;
