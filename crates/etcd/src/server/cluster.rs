//! Service `Cluster`, over the keyspace's port to its members.

use std::sync::Arc;

use keyspace::{ClusterError, MemberChange, MemberRole, MemberState};
use tonic::Status;

use super::EtcdServer;
use crate::refuse;
use crate::wire::cluster as wire;
use crate::wire::maintenance::MoveLeaderRequest;
use crate::wire::services::HeaderResponse;

fn refused(error: &ClusterError) -> Status {
    let known = match error {
        ClusterError::NotFound { .. } | ClusterError::Removed { .. } => refuse::MEMBER_NOT_FOUND,
        ClusterError::Exists { .. } => refuse::PEER_URL_EXISTS,
        ClusterError::Quorum { .. } => refuse::TOO_FEW_STARTED,
        ClusterError::Behind { .. } | ClusterError::Silent { .. } => refuse::LEARNER_NOT_READY,
        ClusterError::NotVoter { .. } => refuse::BAD_TRANSFEREE,
        ClusterError::Unavailable { .. } => refuse::TIMEOUT,
        ClusterError::Voters { .. } | ClusterError::Alone => {
            return Status::failed_precondition(format!("etcdserver: {error}"));
        }
    };
    known.into()
}

impl EtcdServer {
    /// What begins an answer about members: it is of no revision.
    fn member_header(&self) -> crate::wire::kv::ResponseHeader {
        self.header(0)
    }

    async fn members(&self) -> Result<wire::MembersResponse, Status> {
        let members = self.cluster.members().await.members;
        let members = members.into_iter().map(|state| self.member(state)).collect();
        Ok(wire::MembersResponse { header: Some(self.member_header()), members })
    }

    fn member(&self, state: MemberState) -> wire::Member {
        let member = state.member;
        let urls = |address: String| if address.is_empty() { Vec::new() } else { vec![format!("https://{address}")] };
        let client_urls = self.urls.of(member.id == self.member_id, &member.api_url);
        wire::Member {
            id: member.id,
            name: member.name,
            peer_urls: urls(member.peer_address),
            client_urls,
            is_learner: state.role == MemberRole::Learner,
        }
    }

    async fn change(&self, change: MemberChange) -> Result<wire::MembersResponse, Status> {
        self.cluster.change(change).await.map_err(|error| refused(&error))?;
        self.members().await
    }

    /// The role of a member that must exist.
    async fn role(&self, id: u64) -> Result<MemberRole, Status> {
        let members = self.cluster.members().await.members;
        let found = members.into_iter().find(|state| state.member.id == id);
        found.map(|state| state.role).ok_or_else(|| refuse::MEMBER_NOT_FOUND.into())
    }

    pub(super) async fn member_list(
        self: Arc<Self>,
        _: wire::MemberListRequest,
    ) -> Result<wire::MembersResponse, Status> {
        self.members().await
    }

    /// Refused: with a token a node joins by itself, and proves at the same time who it is.
    pub(super) async fn member_add(
        self: Arc<Self>,
        _: wire::MemberAddRequest,
    ) -> Result<wire::MemberAddResponse, Status> {
        Err(Status::unimplemented("etcdserver: a member is added by starting it with `nanocloud server --join TOKEN`"))
    }

    pub(super) async fn member_remove(
        self: Arc<Self>,
        request: wire::MemberRemoveRequest,
    ) -> Result<wire::MembersResponse, Status> {
        self.role(request.id).await?;
        self.change(MemberChange::Remove { id: request.id, force: false }).await
    }

    /// Refused: a member says by itself where it is, when it starts.
    pub(super) async fn member_update(
        self: Arc<Self>,
        request: wire::MemberUpdateRequest,
    ) -> Result<wire::MembersResponse, Status> {
        self.role(request.id).await?;
        Err(Status::unimplemented("etcdserver: a member's address is the one it is started with (`--peer-listen`)"))
    }

    pub(super) async fn member_promote(
        self: Arc<Self>,
        request: wire::MemberPromoteRequest,
    ) -> Result<wire::MembersResponse, Status> {
        match self.role(request.id).await? {
            MemberRole::Voter => Err(refuse::MEMBER_NOT_LEARNER.into()),
            MemberRole::Learner => self.change(MemberChange::Promote { id: request.id }).await,
        }
    }

    pub(super) async fn move_leader(self: Arc<Self>, request: MoveLeaderRequest) -> Result<HeaderResponse, Status> {
        let (leader, id) = (self.cluster.members().await.leader, request.target_id);
        if must_move(leader, self.member_id, id)? {
            match self.role(id).await {
                Ok(MemberRole::Voter) => self.change(MemberChange::Lead { id }).await?,
                Ok(MemberRole::Learner) | Err(_) => return Err(refuse::BAD_TRANSFEREE.into()),
            };
        }
        Ok(HeaderResponse { header: Some(self.member_header()) })
    }
}

/// Whether `me`, which was asked, has anything to do for `target` to lead. It has not where `target` leads already:
/// clients ask again when the first answer took too long, and then the one they ask leads no more.
fn must_move(leader: Option<u64>, me: u64, target: u64) -> Result<bool, Status> {
    match leader {
        Some(leader) if leader == target => Ok(false),
        Some(leader) if leader == me => Ok(true),
        Some(_) => Err(refuse::NOT_LEADER.into()),
        // It may be handed over right now: clients ask again.
        None => Err(refuse::NO_LEADER.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_leader_hands_over_and_asking_again_is_no_error() {
        let (me, other) = (1, 2);
        for (leader, target, wanted) in [
            (Some(me), other, Ok(true)),
            (Some(me), me, Ok(false)),
            (Some(other), other, Ok(false)),
            (Some(other), me, Err("etcdserver: not leader")),
            (None, other, Err("etcdserver: no leader")),
        ] {
            let answer = must_move(leader, me, target);
            let answer = answer.as_ref().copied().map_err(Status::message);
            assert_eq!(answer, wanted, "{leader:?} leads, {target} is to");
        }
    }
}
