//! Messages of the service `etcdserverpb.Cluster`.

use super::kv::ResponseHeader;

/// A member.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Member {
    #[prost(uint64, tag = 1)]
    pub id: u64,
    #[prost(string, tag = 2)]
    pub name: String,
    #[prost(string, repeated, tag = 3)]
    pub peer_urls: Vec<String>,
    #[prost(string, repeated, tag = 4)]
    pub client_urls: Vec<String>,
    #[prost(bool, tag = 5)]
    pub is_learner: bool,
}

/// Adds a member.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MemberAddRequest {
    #[prost(string, repeated, tag = 1)]
    pub peer_urls: Vec<String>,
    #[prost(bool, tag = 2)]
    pub is_learner: bool,
}

/// Answer to an addition.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MemberAddResponse {
    #[prost(message, optional, tag = 1)]
    pub header: Option<ResponseHeader>,
    #[prost(message, optional, tag = 2)]
    pub member: Option<Member>,
    #[prost(message, repeated, tag = 3)]
    pub members: Vec<Member>,
}

/// Removes a member.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MemberRemoveRequest {
    #[prost(uint64, tag = 1)]
    pub id: u64,
}

/// Changes a member's addresses.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MemberUpdateRequest {
    #[prost(uint64, tag = 1)]
    pub id: u64,
    #[prost(string, repeated, tag = 2)]
    pub peer_urls: Vec<String>,
}

/// Makes a learner a voter.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MemberPromoteRequest {
    #[prost(uint64, tag = 1)]
    pub id: u64,
}

/// Asks for the members.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MemberListRequest {
    #[prost(bool, tag = 1)]
    pub linearizable: bool,
}

/// The members; also the answer to every change but an addition.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MembersResponse {
    #[prost(message, optional, tag = 1)]
    pub header: Option<ResponseHeader>,
    #[prost(message, repeated, tag = 2)]
    pub members: Vec<Member>,
}
