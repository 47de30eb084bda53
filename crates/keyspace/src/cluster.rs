//! The port to the members of a replicated keyspace: who they are, and changing that.

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A member as the membership records it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Member {
    /// Its identity, never given twice; not 0.
    pub id: u64,
    /// Name of its node; unique among members.
    pub name: String,
    /// `HOST:PORT` where other members reach it; empty for a member that was never clustered.
    pub peer_address: String,
    /// URL of its API; empty when it did not say.
    pub api_url: String,
}

/// What a member counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MemberRole {
    /// Its vote counts for elections and for committing.
    Voter,
    /// It receives everything and has no vote.
    Learner,
}

/// A member and how it does, as the member that was asked sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberState {
    /// Who it is.
    pub member: Member,
    /// What it counts for.
    pub role: MemberRole,
    /// Whether it leads.
    pub leads: bool,
    /// Whether it was heard of lately; the member that was asked always counts as reachable.
    pub reachable: bool,
    /// Index of the newest log entry it is known to have; `None` when the member that was asked does not lead.
    pub matched: Option<u64>,
}

/// The cluster, as one member sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterState {
    /// The cluster's identity.
    pub cluster_id: u64,
    /// The member that was asked.
    pub asked: u64,
    /// The leader, if there is one.
    pub leader: Option<u64>,
    /// Raft term.
    pub term: u64,
    /// Newest log index of the member that was asked.
    pub last_index: u64,
    /// Newest log index applied by the member that was asked.
    pub applied_index: u64,
    /// All members, in order of id.
    pub members: Vec<MemberState>,
}

impl ClusterState {
    /// The member of that name or that id in decimal or hexadecimal digits.
    pub fn find(&self, name_or_id: &str) -> Option<&MemberState> {
        let by_name = self.members.iter().find(|state| state.member.name == name_or_id);
        by_name.or_else(|| {
            self.members.iter().find(|state| {
                name_or_id == format!("{:x}", state.member.id) || name_or_id == state.member.id.to_string()
            })
        })
    }
}

/// A change of the membership.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberChange {
    /// Takes in a learner. Taking in the same member again changes nothing.
    Add(Member),
    /// Gives a learner a vote.
    Promote {
        /// The member.
        id: u64,
    },
    /// Removes a member for good.
    Remove {
        /// The member.
        id: u64,
        /// Also when too few voters that are reachable would be left to go on.
        force: bool,
    },
    /// Has a voter lead.
    Lead {
        /// The member.
        id: u64,
    },
}

/// Why a change of the membership was not made.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum ClusterError {
    /// No such member.
    #[error("there is no member {id:x}: see `nanocloud member list`")]
    NotFound {
        /// The member named.
        id: u64,
    },
    /// Another member has that name or identity.
    #[error("member {id:x} has the name or address {name:?} already: remove it first, or use another name")]
    Exists {
        /// The member there is.
        id: u64,
        /// What collides.
        name: String,
    },
    /// A removed member wants to come back.
    #[error("member {id:x} was removed from the cluster: wipe its state and join with a new token")]
    Removed {
        /// The member.
        id: u64,
    },
    /// Too few voters would be left.
    #[error(
        "removing member {id:x} leaves {left} voters of which {reachable} can be reached, too few to go on: bring one back, \
         or add one first (--force does it nevertheless)"
    )]
    Quorum {
        /// The member to be removed.
        id: u64,
        /// Voters left.
        left: usize,
        /// Those of them that can be reached.
        reachable: usize,
    },
    /// A cluster has at least one voter and at most [`MAX_VOTERS`].
    #[error("the cluster would have {voters} voters: 1 to {max} are possible", max = MAX_VOTERS)]
    Voters {
        /// How many it would have.
        voters: usize,
    },
    /// It has not the whole log yet.
    #[error("member {id:x} is {behind} log entries behind: wait until it has caught up")]
    Behind {
        /// The member.
        id: u64,
        /// How many entries it lacks.
        behind: u64,
    },
    /// It does not answer, so nothing may depend on it.
    #[error("member {id:x} does not answer: start it, and see that the others reach it")]
    Silent {
        /// The member.
        id: u64,
    },
    /// It has no vote.
    #[error("member {id:x} has no vote: promote it first")]
    NotVoter {
        /// The member.
        id: u64,
    },
    /// This keyspace has no members to change.
    #[error("this server is not clustered: give it a peer address (--peer-listen) and start it again")]
    Alone,
    /// It did not work out now; whether it was done shows in the list of members.
    #[error("the membership could not be changed now ({detail}): look at `nanocloud member list` and try again")]
    Unavailable {
        /// What is known.
        detail: String,
    },
}

/// Most voters: more make every write slower and protect little better.
pub const MAX_VOTERS: usize = 5;

/// The members of a replicated keyspace. Any member may be asked; changes are made by the leader.
pub trait Cluster: Send + Sync + 'static {
    /// The members now, as far as this member knows.
    fn members(&self) -> BoxFuture<'_, ClusterState>;

    /// Changes the membership, and waits until that is committed.
    fn change(&self, change: MemberChange) -> BoxFuture<'_, Result<(), ClusterError>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_by_name_and_id() {
        let state = |id, name: &str| MemberState {
            member: Member { id, name: name.into(), ..Member::default() },
            role: MemberRole::Voter,
            leads: false,
            reachable: true,
            matched: None,
        };
        let members = vec![state(1, "a"), state(0xbeef, "b"), state(77, "1")];
        let cluster =
            ClusterState { cluster_id: 1, asked: 1, leader: None, term: 1, last_index: 0, applied_index: 0, members };
        let id = |text| cluster.find(text).map(|state| state.member.id);
        assert_eq!((id("a"), id("beef"), id("48879")), (Some(1), Some(0xbeef), Some(0xbeef)));
        assert_eq!(id("1"), Some(77), "a name wins");
        assert_eq!(id("c"), None);
    }
}
