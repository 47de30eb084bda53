//! Messages of the services `v3lockpb.Lock`, `v3electionpb.Election`, `etcdserverpb.Auth` and `grpc.health.v1.Health`.

use bytes::Bytes;

use super::kv::{KeyValue, ResponseHeader};

/// A request whose content does not matter; what is sent is skipped.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Anything {}

/// An answer that is only a header.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HeaderResponse {
    #[prost(message, optional, tag = 1)]
    pub header: Option<ResponseHeader>,
}

/// Waits for a lock.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LockRequest {
    #[prost(bytes = "bytes", tag = 1)]
    pub name: Bytes,
    #[prost(int64, tag = 2)]
    pub lease: i64,
}

/// The lock is held as long as this key exists.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LockResponse {
    #[prost(message, optional, tag = 1)]
    pub header: Option<ResponseHeader>,
    #[prost(bytes = "bytes", tag = 2)]
    pub key: Bytes,
}

/// Lets a lock go.
#[derive(Clone, PartialEq, prost::Message)]
pub struct UnlockRequest {
    #[prost(bytes = "bytes", tag = 1)]
    pub key: Bytes,
}

/// Proof of leadership.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LeaderKey {
    #[prost(bytes = "bytes", tag = 1)]
    pub name: Bytes,
    #[prost(bytes = "bytes", tag = 2)]
    pub key: Bytes,
    #[prost(int64, tag = 3)]
    pub rev: i64,
    #[prost(int64, tag = 4)]
    pub lease: i64,
}

/// Waits to be elected.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CampaignRequest {
    #[prost(bytes = "bytes", tag = 1)]
    pub name: Bytes,
    #[prost(int64, tag = 2)]
    pub lease: i64,
    #[prost(bytes = "bytes", tag = 3)]
    pub value: Bytes,
}

/// Answer to a campaign that was won.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CampaignResponse {
    #[prost(message, optional, tag = 1)]
    pub header: Option<ResponseHeader>,
    #[prost(message, optional, tag = 2)]
    pub leader: Option<LeaderKey>,
}

/// Asks who leads.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LeaderRequest {
    #[prost(bytes = "bytes", tag = 1)]
    pub name: Bytes,
}

/// Who leads.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LeaderResponse {
    #[prost(message, optional, tag = 1)]
    pub header: Option<ResponseHeader>,
    #[prost(message, optional, tag = 2)]
    pub kv: Option<KeyValue>,
}

/// Gives leadership up.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ResignRequest {
    #[prost(message, optional, tag = 1)]
    pub leader: Option<LeaderKey>,
}

/// Changes the leader's value.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ProclaimRequest {
    #[prost(message, optional, tag = 1)]
    pub leader: Option<LeaderKey>,
    #[prost(bytes = "bytes", tag = 2)]
    pub value: Bytes,
}

/// Names a user or a role.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NameRequest {
    #[prost(string, tag = 1)]
    pub name: String,
}

/// Names of users or roles.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NamesResponse {
    #[prost(message, optional, tag = 1)]
    pub header: Option<ResponseHeader>,
    #[prost(string, repeated, tag = 2)]
    pub names: Vec<String>,
}

/// Whether authentication by password is on.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AuthStatusResponse {
    #[prost(message, optional, tag = 1)]
    pub header: Option<ResponseHeader>,
    #[prost(bool, tag = 2)]
    pub enabled: bool,
    #[prost(uint64, tag = 3)]
    pub auth_revision: u64,
}

/// Asks after the health of a service.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HealthCheckRequest {
    #[prost(string, tag = 1)]
    pub service: String,
}

/// Health of a service.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HealthCheckResponse {
    #[prost(enumeration = "ServingStatus", tag = 1)]
    pub status: i32,
}

/// Health.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum ServingStatus {
    Unknown = 0,
    Serving = 1,
    NotServing = 2,
    ServiceUnknown = 3,
}
