//! The types Raft is instantiated with.

use std::sync::Arc;

use keyspace::{Command, Outcome};
use serde::{Deserialize, Serialize};

/// Commands that become durable together: the content of a log entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// Applied in this order.
    pub commands: Arc<Vec<Command>>,
}

/// What applying a [`Proposal`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answers {
    /// One for each command.
    pub outcomes: Vec<Outcome>,
}

openraft::declare_raft_types!(
    /// The keyspace's Raft: members are numbers with an address, snapshots are files.
    pub TypeConfig:
        D = Proposal,
        R = Answers,
        NodeId = u64,
        Node = openraft::BasicNode,
        Entry = openraft::Entry<TypeConfig>,
        SnapshotData = tokio::fs::File,
);

pub(crate) type Raft = openraft::Raft<TypeConfig>;
pub(crate) type Entry = openraft::Entry<TypeConfig>;
pub(crate) type LogId = openraft::LogId<u64>;
pub(crate) type Membership = openraft::StoredMembership<u64, openraft::BasicNode>;
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<u64, openraft::BasicNode>;
pub(crate) type StorageError = openraft::StorageError<u64>;

/// How far the state machine is: written atomically with the data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    pub(crate) applied: Option<LogId>,
    pub(crate) membership: Membership,
}
