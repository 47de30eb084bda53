//! What clients asked, when, and what they were told.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use keyspace::{KeyValue, LeaseId, Revision, WatchEvent};
use serde::{Deserialize, Serialize};

/// A point in time on one clock that all clients share. Only its order matters.
pub type Time = u64;

/// What a client asked for. Every value that is written must be written by one request only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Write these keys at one revision.
    Put {
        /// Keys and values, each key once.
        writes: Vec<(Bytes, Bytes)>,
        /// Lease they are put on, 0 for none.
        lease: LeaseId,
    },
    /// Remove a key.
    Delete {
        /// The key.
        key: Bytes,
    },
    /// Write a key if it has a certain value (`None`: if it is not there), else read it.
    Swap {
        /// The key.
        key: Bytes,
        /// Value it must have.
        expected: Option<Bytes>,
        /// Value to write.
        value: Bytes,
    },
    /// Read all keys with a prefix, or one key.
    Read {
        /// The key, or the prefix.
        key: Bytes,
        /// Whether all keys that begin so are meant.
        prefix: bool,
        /// Whether an answer from the past will do.
        serializable: bool,
    },
}

/// What a client was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// All was written.
    Put {
        /// Revision made.
        revision: Revision,
    },
    /// The key was removed, if it was there.
    Deleted {
        /// Revision made, or the newest one when there was nothing to remove.
        revision: Revision,
        /// What was removed.
        prev: Option<KeyValue>,
    },
    /// The value was as expected and has been replaced.
    Swapped {
        /// Revision made.
        revision: Revision,
    },
    /// The value was another one.
    NotSwapped {
        /// Newest revision then.
        revision: Revision,
        /// What was there.
        found: Option<KeyValue>,
    },
    /// The keys there were.
    Read {
        /// Newest revision then.
        revision: Revision,
        /// In order of key.
        kvs: Vec<KeyValue>,
    },
}

impl Response {
    /// The revision it is about.
    pub fn revision(&self) -> Revision {
        match self {
            Response::Put { revision }
            | Response::Deleted { revision, .. }
            | Response::Swapped { revision }
            | Response::NotSwapped { revision, .. }
            | Response::Read { revision, .. } => *revision,
        }
    }

    /// Whether it says that a revision was made.
    pub fn wrote(&self) -> bool {
        match self {
            Response::Put { .. } | Response::Swapped { .. } => true,
            Response::Deleted { prev, .. } => prev.is_some(),
            Response::NotSwapped { .. } | Response::Read { .. } => false,
        }
    }
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered.
    Done {
        /// When.
        at: Time,
        /// With what.
        response: Response,
    },
    /// The client was told that nothing was done.
    Refused,
    /// Nobody knows whether it took effect.
    Unknown,
}

/// A request and its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// When it was asked.
    pub invoked: Time,
    /// What was asked.
    pub request: Request,
    /// How it ended.
    pub outcome: Outcome,
}

impl Operation {
    /// When it was answered, and with what.
    pub fn done(&self) -> Option<(Time, &Response)> {
        match &self.outcome {
            Outcome::Done { at, response } => Some((*at, response)),
            Outcome::Refused | Outcome::Unknown => None,
        }
    }

    /// Whether it may have taken effect.
    pub fn may_have_happened(&self) -> bool {
        self.outcome != Outcome::Refused
    }
}

/// All revisions that were committed, with their events; from a watch of everything, or from the log.
pub type Truth = BTreeMap<Revision, Arc<[WatchEvent]>>;
