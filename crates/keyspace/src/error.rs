//! What can go wrong, and who decides it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{LeaseId, Revision};

/// The state machine, or the check in front of it, says no. Every member says the same to the same command.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum Refusal {
    /// History that old is gone.
    #[error(
        "revision {requested} has been compacted (oldest kept is {compacted}): read again from the newest revision"
    )]
    Compacted {
        /// Revision asked for.
        requested: Revision,
        /// Oldest revision that can be asked for.
        compacted: Revision,
    },
    /// That revision has not been made yet.
    #[error("revision {requested} is in the future (newest is {current}): use a revision this keyspace has answered")]
    FutureRevision {
        /// Revision asked for.
        requested: Revision,
        /// Newest revision.
        current: Revision,
    },
    /// No such lease: never granted, revoked or expired.
    #[error("lease {id} does not exist or has expired: grant a new one")]
    LeaseNotFound {
        /// The lease named.
        id: LeaseId,
    },
    /// A grant named a lease that exists.
    #[error("lease {id} exists already: grant with another id, or 0 to have one chosen")]
    LeaseExists {
        /// The lease named.
        id: LeaseId,
    },
    /// Lease ids are 0 (choose one) or positive, times to live 1 to the maximum.
    #[error("lease id {id} with a time to live of {ttl_seconds} s is out of bounds: use a positive id and 1 to {max} s", max = crate::limits::MAX_LEASE_TTL_SECONDS)]
    LeaseOutOfBounds {
        /// The lease named.
        id: LeaseId,
        /// Time to live asked for, seconds.
        ttl_seconds: i64,
    },
    /// `ignore_value` or `ignore_lease` on a key that does not exist.
    #[error("key {key:?} does not exist, so its value or lease cannot be kept: put it with both")]
    KeyNotFound {
        /// The key named.
        key: Bytes,
    },
    /// Both a value and `ignore_value` (or a lease and `ignore_lease`) were given.
    #[error("put of key {key:?} gives a value or lease and asks to ignore it: do one of them")]
    Contradiction {
        /// The key named.
        key: Bytes,
    },
    /// One transaction writes a key twice.
    #[error("key {key:?} is written twice in one transaction: write it once")]
    DuplicateKey {
        /// The key named.
        key: Bytes,
    },
    /// Keys are not empty.
    #[error("the key is empty: name one")]
    EmptyKey,
    /// Key beyond the bound.
    #[error("the key has {bytes} bytes (most is {limit}): shorten it")]
    KeyTooLong {
        /// Its length.
        bytes: usize,
        /// The bound.
        limit: usize,
    },
    /// Request beyond the bound.
    #[error("the request has {bytes} bytes (most is {limit}): split it")]
    RequestTooLarge {
        /// Its size.
        bytes: usize,
        /// The bound.
        limit: usize,
    },
    /// Too many operations or compares.
    #[error("the transaction has {count} operations in one list (most is {limit}): split it")]
    TooManyOperations {
        /// Their number.
        count: usize,
        /// The bound.
        limit: usize,
    },
    /// Transactions nested too deep.
    #[error("transactions are nested deeper than {limit}: flatten them")]
    TooDeep {
        /// The bound.
        limit: usize,
    },
    /// The quota or a member's disk is used up.
    #[error(
        "the keyspace is full (as member {member} says): delete keys, compact, defragment, then clear the alarm; or free room on its disk"
    )]
    NoSpace {
        /// Member with the alarm.
        member: u64,
    },
    /// Members disagree.
    #[error(
        "member {member} differs from the leader, so nothing is written: replace that member or restore a snapshot, then clear the alarm"
    )]
    Corrupt {
        /// Member with the alarm.
        member: u64,
    },
    /// Too many watchers.
    #[error("there are {limit} watchers already: end some, or watch wider ranges")]
    TooManyWatchers {
        /// The bound.
        limit: usize,
    },
}

/// The store under the state machine failed. Not part of the state: another member may well succeed.
#[derive(Clone, Debug, Error)]
pub enum EngineError {
    /// Reading or writing failed.
    #[error("{operation} failed on the storage engine")]
    Io {
        /// What was done.
        operation: &'static str,
        /// Why it failed.
        #[source]
        source: std::sync::Arc<dyn std::error::Error + Send + Sync>,
    },
    /// No room to write.
    #[error("{operation} failed: no space left under the keyspace; free some and try again")]
    NoSpace {
        /// What was done.
        operation: &'static str,
        /// Why it failed.
        #[source]
        source: std::sync::Arc<dyn std::error::Error + Send + Sync>,
    },
    /// What was read is not what was written.
    #[error("corrupt {what}: {detail}; restore it from a snapshot or another member")]
    Corrupt {
        /// The record, by name.
        what: String,
        /// How it was noticed.
        detail: String,
    },
    /// The state is just being replaced as a whole by that of another member.
    #[error("the state of this member is being replaced by another member's: try again, or ask another one")]
    Replacing,
    /// Written by another, unknown format.
    #[error("the data has format {found}, this program knows {known}: use the program that wrote it, or a newer one")]
    Format {
        /// Format found.
        found: u32,
        /// Newest format known.
        known: u32,
    },
}

/// Why a call on a [`Keyspace`](crate::Keyspace) failed.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The request was refused; asking the same again gives the same.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// This member's storage failed.
    #[error("the keyspace cannot be read or written on this member")]
    Storage(#[from] EngineError),
    /// The answer got lost or did not come in time; it is unknown whether a write took effect.
    #[error(
        "the keyspace did not answer ({detail}); it is unknown whether a write took effect: read before trying again"
    )]
    Unavailable {
        /// What is known.
        detail: String,
    },
    /// No leader was found in time; nothing was done.
    #[error("the keyspace has no leader right now ({detail}); nothing was done: try again")]
    NoLeader {
        /// What is known.
        detail: String,
    },
    /// Another member leads; nothing was done.
    #[error("this member does not lead the keyspace: ask member {leader:?}")]
    NotLeader {
        /// The leader, if known.
        leader: Option<u64>,
    },
    /// Too much is waiting already; nothing was done.
    #[error("{limit} requests are waiting for the keyspace already: try again later")]
    Overloaded {
        /// Most that may wait.
        limit: usize,
    },
    /// The keyspace has been shut down; nothing was done.
    #[error("the keyspace is shut down")]
    Closed,
}

impl Error {
    /// The oldest revision that can be asked for, if this is "compacted".
    pub fn compacted(&self) -> Option<Revision> {
        match self {
            Error::Refused(Refusal::Compacted { compacted, .. }) => Some(*compacted),
            _ => None,
        }
    }
}
