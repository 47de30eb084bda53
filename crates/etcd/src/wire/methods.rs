//! Every method: its path, and the types of what is sent and answered.

use std::marker::PhantomData;

use http::uri::PathAndQuery;
use tonic_prost::ProstCodec;

use super::cluster::{
    MemberAddRequest, MemberAddResponse, MemberListRequest, MemberPromoteRequest, MemberRemoveRequest,
    MemberUpdateRequest, MembersResponse,
};
use super::kv::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse,
    RangeRequest, RangeResponse, TxnRequest, TxnResponse,
};
use super::lease::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseLeasesRequest,
    LeaseLeasesResponse, LeaseRevokeRequest, LeaseRevokeResponse, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};
use super::maintenance::{
    AlarmRequest, AlarmResponse, HashKvRequest, HashKvResponse, HashResponse, MoveLeaderRequest, SnapshotResponse,
    StatusResponse,
};
use super::services::{
    Anything, AuthStatusResponse, CampaignRequest, CampaignResponse, HeaderResponse, HealthCheckRequest,
    HealthCheckResponse, LeaderRequest, LeaderResponse, LockRequest, LockResponse, NameRequest, NamesResponse,
    ProclaimRequest, ResignRequest, UnlockRequest,
};
use super::watch::{WatchRequest, WatchResponse};

/// A method: where it is, what it takes (`Q`) and what it answers (`A`). Whether either is a stream is up to the
/// service.
#[derive(Debug)]
pub struct Method<Q, A> {
    /// Path of the request, `/package.Service/Method`.
    pub path: &'static str,
    types: PhantomData<fn(Q) -> A>,
}

// Derived, these would ask the same of the messages.
impl<Q, A> Clone for Method<Q, A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Q, A> Copy for Method<Q, A> {}

impl<Q, A> Method<Q, A> {
    const fn at(path: &'static str) -> Self {
        Method { path, types: PhantomData }
    }

    /// The path as a client's request wants it.
    pub fn uri(&self) -> PathAndQuery {
        PathAndQuery::from_static(self.path)
    }
}

impl<Q: prost::Message + 'static, A: prost::Message + Default + 'static> Method<Q, A> {
    /// What a client encodes and decodes with.
    pub fn client_codec(&self) -> ProstCodec<Q, A> {
        ProstCodec::default()
    }
}

impl<Q: prost::Message + Default + 'static, A: prost::Message + 'static> Method<Q, A> {
    /// What a server encodes and decodes with.
    pub fn server_codec(&self) -> ProstCodec<A, Q> {
        ProstCodec::default()
    }
}

macro_rules! methods {
    ($($name:ident = $path:literal: $request:ty => $response:ty;)*) => {
        $(#[doc = concat!("`", $path, "`")]
        pub const $name: Method<$request, $response> = Method::at($path);)*

        /// Paths of all of them.
        pub const PATHS: &[&str] = &[$($path),*];
    };
}

methods! {
    RANGE = "/etcdserverpb.KV/Range": RangeRequest => RangeResponse;
    PUT = "/etcdserverpb.KV/Put": PutRequest => PutResponse;
    DELETE_RANGE = "/etcdserverpb.KV/DeleteRange": DeleteRangeRequest => DeleteRangeResponse;
    TXN = "/etcdserverpb.KV/Txn": TxnRequest => TxnResponse;
    COMPACT = "/etcdserverpb.KV/Compact": CompactionRequest => CompactionResponse;

    WATCH = "/etcdserverpb.Watch/Watch": WatchRequest => WatchResponse;

    LEASE_GRANT = "/etcdserverpb.Lease/LeaseGrant": LeaseGrantRequest => LeaseGrantResponse;
    LEASE_REVOKE = "/etcdserverpb.Lease/LeaseRevoke": LeaseRevokeRequest => LeaseRevokeResponse;
    LEASE_KEEP_ALIVE = "/etcdserverpb.Lease/LeaseKeepAlive": LeaseKeepAliveRequest => LeaseKeepAliveResponse;
    LEASE_TIME_TO_LIVE = "/etcdserverpb.Lease/LeaseTimeToLive": LeaseTimeToLiveRequest => LeaseTimeToLiveResponse;
    LEASE_LEASES = "/etcdserverpb.Lease/LeaseLeases": LeaseLeasesRequest => LeaseLeasesResponse;

    MEMBER_ADD = "/etcdserverpb.Cluster/MemberAdd": MemberAddRequest => MemberAddResponse;
    MEMBER_REMOVE = "/etcdserverpb.Cluster/MemberRemove": MemberRemoveRequest => MembersResponse;
    MEMBER_UPDATE = "/etcdserverpb.Cluster/MemberUpdate": MemberUpdateRequest => MembersResponse;
    MEMBER_LIST = "/etcdserverpb.Cluster/MemberList": MemberListRequest => MembersResponse;
    MEMBER_PROMOTE = "/etcdserverpb.Cluster/MemberPromote": MemberPromoteRequest => MembersResponse;

    ALARM = "/etcdserverpb.Maintenance/Alarm": AlarmRequest => AlarmResponse;
    STATUS = "/etcdserverpb.Maintenance/Status": Anything => StatusResponse;
    DEFRAGMENT = "/etcdserverpb.Maintenance/Defragment": Anything => HeaderResponse;
    HASH = "/etcdserverpb.Maintenance/Hash": Anything => HashResponse;
    HASH_KV = "/etcdserverpb.Maintenance/HashKV": HashKvRequest => HashKvResponse;
    SNAPSHOT = "/etcdserverpb.Maintenance/Snapshot": Anything => SnapshotResponse;
    MOVE_LEADER = "/etcdserverpb.Maintenance/MoveLeader": MoveLeaderRequest => HeaderResponse;

    AUTH_ENABLE = "/etcdserverpb.Auth/AuthEnable": Anything => HeaderResponse;
    AUTH_DISABLE = "/etcdserverpb.Auth/AuthDisable": Anything => HeaderResponse;
    AUTH_STATUS = "/etcdserverpb.Auth/AuthStatus": Anything => AuthStatusResponse;
    AUTHENTICATE = "/etcdserverpb.Auth/Authenticate": Anything => HeaderResponse;
    USER_ADD = "/etcdserverpb.Auth/UserAdd": Anything => HeaderResponse;
    USER_GET = "/etcdserverpb.Auth/UserGet": NameRequest => NamesResponse;
    USER_LIST = "/etcdserverpb.Auth/UserList": Anything => NamesResponse;
    USER_DELETE = "/etcdserverpb.Auth/UserDelete": NameRequest => HeaderResponse;
    USER_CHANGE_PASSWORD = "/etcdserverpb.Auth/UserChangePassword": NameRequest => HeaderResponse;
    USER_GRANT_ROLE = "/etcdserverpb.Auth/UserGrantRole": NameRequest => HeaderResponse;
    USER_REVOKE_ROLE = "/etcdserverpb.Auth/UserRevokeRole": NameRequest => HeaderResponse;
    ROLE_ADD = "/etcdserverpb.Auth/RoleAdd": Anything => HeaderResponse;
    ROLE_GET = "/etcdserverpb.Auth/RoleGet": NameRequest => HeaderResponse;
    ROLE_LIST = "/etcdserverpb.Auth/RoleList": Anything => NamesResponse;
    ROLE_DELETE = "/etcdserverpb.Auth/RoleDelete": NameRequest => HeaderResponse;
    ROLE_GRANT_PERMISSION = "/etcdserverpb.Auth/RoleGrantPermission": NameRequest => HeaderResponse;
    ROLE_REVOKE_PERMISSION = "/etcdserverpb.Auth/RoleRevokePermission": NameRequest => HeaderResponse;

    LOCK = "/v3lockpb.Lock/Lock": LockRequest => LockResponse;
    UNLOCK = "/v3lockpb.Lock/Unlock": UnlockRequest => HeaderResponse;

    CAMPAIGN = "/v3electionpb.Election/Campaign": CampaignRequest => CampaignResponse;
    PROCLAIM = "/v3electionpb.Election/Proclaim": ProclaimRequest => HeaderResponse;
    LEADER = "/v3electionpb.Election/Leader": LeaderRequest => LeaderResponse;
    OBSERVE = "/v3electionpb.Election/Observe": LeaderRequest => LeaderResponse;
    RESIGN = "/v3electionpb.Election/Resign": ResignRequest => HeaderResponse;

    HEALTH_CHECK = "/grpc.health.v1.Health/Check": HealthCheckRequest => HealthCheckResponse;
    HEALTH_WATCH = "/grpc.health.v1.Health/Watch": HealthCheckRequest => HealthCheckResponse;
}
