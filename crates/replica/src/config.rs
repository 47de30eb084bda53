//! What a replica is opened with, and its bounds.

use std::path::PathBuf;
use std::time::Duration;

/// How to open a replica.
#[derive(Clone, Debug)]
pub struct Config {
    /// Directory of its own; made (mode 0700) when it is not there.
    pub dir: PathBuf,
    /// Identity of this member, not 0. A directory belongs to one identity for ever.
    pub node_id: u64,
    /// Where other members reach this one; recorded in the membership when a cluster is formed, unused while alone.
    pub address: String,
    /// Revisions of history kept; older ones are compacted away by the leader. 0 sets no bound.
    pub keep_revisions: u64,
    /// Age to which history is kept; what is older is compacted away by the leader. 0 sets no bound. With both bounds,
    /// history is within both.
    pub keep_age: Duration,
    /// Size of the state in bytes at which what would grow it is refused with an alarm. 0 sets no bound.
    pub quota_bytes: u64,
}

impl Config {
    /// Member 1 of a cluster of its own in `dir`, keeping [`DEFAULT_KEEP_REVISIONS`].
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Config {
            dir: dir.into(),
            node_id: 1,
            address: String::new(),
            keep_revisions: DEFAULT_KEEP_REVISIONS,
            keep_age: Duration::ZERO,
            quota_bytes: DEFAULT_QUOTA_BYTES,
        }
    }
}

/// History kept by default.
pub const DEFAULT_KEEP_REVISIONS: u64 = 50_000;

/// Size of the state that is allowed by default, 2 GiB as in etcd.
pub const DEFAULT_QUOTA_BYTES: u64 = 2 * 1024 * 1024 * 1024;

/// Most proposals that wait; more are refused as overload.
pub const MAX_QUEUED: usize = 8_192;

/// Most commands in one log entry.
pub const MAX_BATCH_COMMANDS: usize = 1_024;

/// Most bytes in one log entry, unless a single command is larger.
pub const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Log entries under way at once: one being made durable while the one before is applied.
pub const MAX_IN_FLIGHT: usize = 2;

/// Free space below which writes that grow the state are refused, so that the log, deletes and compactions still
/// have room.
pub const RESERVED_BYTES: u64 = 64 * 1024 * 1024;

/// Log bytes after which a snapshot is made, so that the log can be cut. A state larger than this waits for as many
/// log bytes as it has itself: then all snapshots together write no more than the log does.
pub const SNAPSHOT_AFTER_LOG_BYTES: u64 = 64 * 1024 * 1024;

/// Log entries kept behind a snapshot, for members that lag a little.
pub const KEEP_LOG_ENTRIES: u64 = 1_000;

/// Most log entries applied as one atomic write.
pub const MAX_APPLY_ENTRIES: usize = 64;

/// Most bytes of log entries kept in memory for applying and replication.
pub const LOG_CACHE_BYTES: usize = 2 * 1024 * 1024;
