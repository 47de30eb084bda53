//! What a replica is opened with, and its bounds.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::types::Peer;

/// What an operator says of the keyspace. Names are those of the server's settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Settings {
    /// Longest time to wait before an election, and the leader's lease, in milliseconds; the same on all members.
    pub election_ms: u64,
    /// Revisions of history the keyspace keeps; 0 sets no bound.
    pub keyspace_keep_revisions: u64,
    /// Age to which the keyspace keeps history; without it, age sets no bound.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::optional")]
    #[schemars(with = "Option<String>", example = "24h")]
    pub keyspace_keep_age: Option<Duration>,
    /// Bytes the keyspace may take; 0 sets no bound.
    pub keyspace_quota: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            election_ms: 1_000,
            keyspace_keep_revisions: 50_000,
            keyspace_keep_age: None,
            // As in etcd.
            keyspace_quota: 2 * 1024 * 1024 * 1024,
        }
    }
}

/// Shortest and longest election time: below, ordinary delays look like deaths; above, nobody waits so long.
const ELECTION_MS: std::ops::RangeInclusive<u64> = 200..=60_000;

impl Settings {
    /// Names the first setting that cannot work, with what would be right.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        if !ELECTION_MS.contains(&self.election_ms) {
            return Err(("election_ms", format!("{} to {} are possible", ELECTION_MS.start(), ELECTION_MS.end())));
        }
        if self.keyspace_keep_age.is_some_and(|age| age.is_zero()) {
            return Err(("keyspace_keep_age", "it must be longer than nothing".into()));
        }
        Ok(())
    }

    /// How long members wait for each other: a heartbeat is a quarter of the longest time, the shortest draw a half.
    pub fn timing(&self) -> Timing {
        let longest = Duration::from_millis(self.election_ms);
        Timing { heartbeat: longest / 4, election_min: longest / 2, election_max: longest }
    }
}

/// How to open a replica.
#[derive(Clone, Debug)]
pub struct Config {
    /// Directory of its own; made (mode 0700) when it is not there.
    pub dir: PathBuf,
    /// Identity of this member, not 0. A directory belongs to one identity for ever.
    pub node_id: u64,
    /// What the membership records of this member; kept up to date when it has a transport.
    pub peer: Peer,
    /// What to do with a new directory.
    pub start: Start,
    /// Election and heartbeat times; the same on all members.
    pub timing: Timing,
    /// Where new identities come from: of a cluster, and of a run of this process. Not 0.
    pub random: fn() -> std::io::Result<u64>,
    /// Revisions of history kept; older ones are compacted away by the leader. 0 sets no bound.
    pub keep_revisions: u64,
    /// Age to which history is kept; what is older is compacted away by the leader. 0 sets no bound. With both bounds,
    /// history is within both.
    pub keep_age: Duration,
    /// Size of the state in bytes at which what would grow it is refused with an alarm. 0 sets no bound.
    pub quota_bytes: u64,
}

impl Config {
    /// Member 1 of a cluster of its own in `dir`, with default settings.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self::with_settings(dir, &Settings::default())
    }

    /// Member 1 of a cluster of its own in `dir`.
    pub fn with_settings(dir: impl Into<PathBuf>, settings: &Settings) -> Self {
        Config {
            dir: dir.into(),
            node_id: 1,
            peer: Peer::default(),
            start: Start::Form,
            timing: settings.timing(),
            random: kernel_random,
            keep_revisions: settings.keyspace_keep_revisions,
            keep_age: settings.keyspace_keep_age.unwrap_or_default(),
            quota_bytes: settings.keyspace_quota,
        }
    }
}

/// A number from the kernel's generator, not 0.
fn kernel_random() -> std::io::Result<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(u64::from_le_bytes(bytes).max(1))
}

/// What to do with a new directory. One that was used before goes on with what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Form a cluster of one.
    Form,
    /// Wait until a member of this cluster takes this one in.
    Join {
        /// The cluster's identity.
        cluster_id: u64,
    },
}

/// How long members wait for each other.
///
/// When a leader dies, another one leads after [`Timing::election_window`] at the latest, unless votes are split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Between heartbeats; also how long a member may take to store entries before they are sent again.
    pub heartbeat: Duration,
    /// Shortest time a member draws to wait before it wants to lead, once the leader's lease is over.
    pub election_min: Duration,
    /// Longest such time, and the leader's lease: for so long after a heartbeat nobody else is voted for.
    pub election_max: Duration,
}

impl Default for Timing {
    /// For a local network: another leader within 2.4 s of the death of one.
    fn default() -> Self {
        Settings::default().timing()
    }
}

impl Timing {
    /// Lease, longest election time, and the grain of Raft's clock (1.5 heartbeats).
    pub fn election_window(&self) -> Duration {
        self.election_max * 2 + self.heartbeat * 3 / 2
    }

    /// How long a request waits for a leader before it is refused.
    pub(crate) fn patience(&self) -> Duration {
        self.election_window() + self.heartbeat * 2
    }

    /// A member that is silent for so long, although it was asked something, counts as gone.
    pub(crate) fn dead_after(&self) -> Duration {
        self.election_max * 3
    }
}

/// Most proposals that wait; more are refused as overload.
pub const MAX_QUEUED: usize = 8_192;

/// Most commands in one log entry.
pub const MAX_BATCH_COMMANDS: usize = 1_024;

/// Most bytes in one log entry, unless a single command is larger.
pub const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Log entries under way at once: one being made durable while the one before is applied.
pub const MAX_IN_FLIGHT: usize = 2;

/// Batches on their way to the leader at once, on another member.
pub const MAX_FORWARDED: usize = 16;

/// Free space below which writes that grow the state are refused, so that the log, deletes and compactions still
/// have room.
pub const RESERVED_BYTES: u64 = 64 * 1024 * 1024;

/// Of the reserve, what not even a change that makes nothing larger may use: it is for the log and for deletes.
pub const EMERGENCY_BYTES: u64 = RESERVED_BYTES / 4;

/// Log bytes after which the log is cut. Among several members a state larger than this waits for as many log bytes as
/// it has itself: then catching up from the log is never more than a snapshot would be.
pub const CUT_AFTER_LOG_BYTES: u64 = 64 * 1024 * 1024;

/// Log entries kept behind a snapshot, for members that lag a little.
pub const KEEP_LOG_ENTRIES: u64 = 1_000;

/// Most log entries applied as one atomic write.
pub const MAX_APPLY_ENTRIES: usize = 64;

/// Most bytes of log entries kept in memory for applying and replication.
pub const LOG_CACHE_BYTES: usize = 2 * 1024 * 1024;
