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

/// What the membership records of a member beside its id.
///
/// It is written as one text, lines of address, name and API: a membership that has only an address, as one of a member
/// that was never clustered, reads the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Peer {
    /// `HOST:PORT` where other members reach it.
    pub address: String,
    /// Name of its node.
    pub name: String,
    /// URL of its API.
    pub api_url: String,
}

impl From<String> for Peer {
    fn from(text: String) -> Self {
        let mut lines = text.split('\n').map(str::to_owned);
        let mut next = || lines.next().unwrap_or_default();
        Peer { address: next(), name: next(), api_url: next() }
    }
}

impl From<Peer> for String {
    fn from(peer: Peer) -> Self {
        if peer.name.is_empty() && peer.api_url.is_empty() {
            return peer.address;
        }
        [peer.address, peer.name, peer.api_url].join("\n")
    }
}

openraft::declare_raft_types!(
    /// The keyspace's Raft: members are numbers with names and addresses, snapshots are files.
    pub TypeConfig:
        D = Proposal,
        R = Answers,
        NodeId = u64,
        Node = Peer,
        Entry = openraft::Entry<TypeConfig>,
        SnapshotData = Box<dyn crate::disk::AsyncFile>,
);

pub(crate) type Raft = openraft::Raft<TypeConfig>;
pub(crate) type Entry = openraft::Entry<TypeConfig>;
pub(crate) type LogId = openraft::LogId<u64>;
pub(crate) type Membership = openraft::StoredMembership<u64, Peer>;
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<u64, Peer>;
/// What a snapshot is read from and written to.
pub(crate) type SnapshotData = <TypeConfig as openraft::RaftTypeConfig>::SnapshotData;
pub(crate) type RaftMetrics = openraft::RaftMetrics<u64, Peer>;
pub(crate) type StorageError = openraft::StorageError<u64>;

/// How far the state machine is: written atomically with the data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    pub(crate) applied: Option<LogId>,
    pub(crate) membership: Membership,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_one_text_and_an_address_alone_is_one_too() {
        let peer = Peer { address: "a:1".into(), name: "one".into(), api_url: "https://a:2".into() };
        let bytes = postcard::to_stdvec(&peer).expect("encodes");
        assert_eq!(postcard::from_bytes::<Peer>(&bytes).expect("decodes"), peer);
        let old = postcard::to_stdvec(&openraft::BasicNode { addr: "a:1".into() }).expect("encodes");
        let read = postcard::from_bytes::<Peer>(&old).expect("decodes");
        assert_eq!(read, Peer { address: "a:1".into(), ..Peer::default() });
        assert_eq!(postcard::to_stdvec(&read).expect("encodes"), old);
    }
}
