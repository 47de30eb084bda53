//! Messages of the service `etcdserverpb.Lease`, and how leases are stored.

use bytes::Bytes;

use super::kv::ResponseHeader;

/// Grants a lease.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LeaseGrantRequest {
    #[prost(int64, tag = 1)]
    pub ttl: i64,
    #[prost(int64, tag = 2)]
    pub id: i64,
}

/// Answer to a grant.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LeaseGrantResponse {
    #[prost(message, optional, tag = 1)]
    pub header: Option<ResponseHeader>,
    #[prost(int64, tag = 2)]
    pub id: i64,
    #[prost(int64, tag = 3)]
    pub ttl: i64,
    #[prost(string, tag = 4)]
    pub error: String,
}

/// Ends a lease.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LeaseRevokeRequest {
    #[prost(int64, tag = 1)]
    pub id: i64,
}

/// Answer to a revoke.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LeaseRevokeResponse {
    #[prost(message, optional, tag = 1)]
    pub header: Option<ResponseHeader>,
}

/// Starts a lease's time to live anew.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LeaseKeepAliveRequest {
    #[prost(int64, tag = 1)]
    pub id: i64,
}

/// Answer to a keep-alive; a time to live of 0 means that there is no such lease.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LeaseKeepAliveResponse {
    #[prost(message, optional, tag = 1)]
    pub header: Option<ResponseHeader>,
    #[prost(int64, tag = 2)]
    pub id: i64,
    #[prost(int64, tag = 3)]
    pub ttl: i64,
}

/// Asks about a lease.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LeaseTimeToLiveRequest {
    #[prost(int64, tag = 1)]
    pub id: i64,
    #[prost(bool, tag = 2)]
    pub keys: bool,
}

/// What is known of a lease; a time to live of -1 means that there is none.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LeaseTimeToLiveResponse {
    #[prost(message, optional, tag = 1)]
    pub header: Option<ResponseHeader>,
    #[prost(int64, tag = 2)]
    pub id: i64,
    #[prost(int64, tag = 3)]
    pub ttl: i64,
    #[prost(int64, tag = 4)]
    pub granted_ttl: i64,
    #[prost(bytes = "bytes", repeated, tag = 5)]
    pub keys: Vec<Bytes>,
}

/// Asks for all leases.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LeaseLeasesRequest {}

/// A lease.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LeaseStatus {
    #[prost(int64, tag = 1)]
    pub id: i64,
}

/// All leases.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LeaseLeasesResponse {
    #[prost(message, optional, tag = 1)]
    pub header: Option<ResponseHeader>,
    #[prost(message, repeated, tag = 2)]
    pub leases: Vec<LeaseStatus>,
}

/// A lease as it is stored (`leasepb.Lease`).
#[derive(Clone, PartialEq, prost::Message)]
pub struct StoredLease {
    #[prost(int64, tag = 1)]
    pub id: i64,
    #[prost(int64, tag = 2)]
    pub ttl: i64,
    #[prost(int64, tag = 3)]
    pub remaining_ttl: i64,
}
