//! Messages of the service `etcdserverpb.Maintenance`.

use bytes::Bytes;

use super::kv::ResponseHeader;

/// Asks for, sets or clears alarms.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AlarmRequest {
    #[prost(enumeration = "AlarmAction", tag = 1)]
    pub action: i32,
    #[prost(uint64, tag = 2)]
    pub member_id: u64,
    #[prost(enumeration = "AlarmType", tag = 3)]
    pub alarm: i32,
}

/// An alarm that is on.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AlarmMember {
    #[prost(uint64, tag = 1)]
    pub member_id: u64,
    #[prost(enumeration = "AlarmType", tag = 2)]
    pub alarm: i32,
}

/// Alarms concerned.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AlarmResponse {
    #[prost(message, optional, tag = 1)]
    pub header: Option<ResponseHeader>,
    #[prost(message, repeated, tag = 2)]
    pub alarms: Vec<AlarmMember>,
}

/// State of a member.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StatusResponse {
    #[prost(message, optional, tag = 1)]
    pub header: Option<ResponseHeader>,
    #[prost(string, tag = 2)]
    pub version: String,
    #[prost(int64, tag = 3)]
    pub db_size: i64,
    #[prost(uint64, tag = 4)]
    pub leader: u64,
    #[prost(uint64, tag = 5)]
    pub raft_index: u64,
    #[prost(uint64, tag = 6)]
    pub raft_term: u64,
    #[prost(uint64, tag = 7)]
    pub raft_applied_index: u64,
    #[prost(string, repeated, tag = 8)]
    pub errors: Vec<String>,
    #[prost(int64, tag = 9)]
    pub db_size_in_use: i64,
    #[prost(bool, tag = 10)]
    pub is_learner: bool,
}

/// Asks for the checksum of the history up to a revision.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HashKvRequest {
    #[prost(int64, tag = 1)]
    pub revision: i64,
}

/// Checksum of the history.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HashKvResponse {
    #[prost(message, optional, tag = 1)]
    pub header: Option<ResponseHeader>,
    #[prost(uint32, tag = 2)]
    pub hash: u32,
    #[prost(int64, tag = 3)]
    pub compact_revision: i64,
}

/// Checksum of everything stored.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HashResponse {
    #[prost(message, optional, tag = 1)]
    pub header: Option<ResponseHeader>,
    #[prost(uint32, tag = 2)]
    pub hash: u32,
}

/// A piece of a snapshot.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SnapshotResponse {
    #[prost(message, optional, tag = 1)]
    pub header: Option<ResponseHeader>,
    #[prost(uint64, tag = 2)]
    pub remaining_bytes: u64,
    #[prost(bytes = "bytes", tag = 3)]
    pub blob: Bytes,
}

/// Hands leadership over.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MoveLeaderRequest {
    #[prost(uint64, tag = 1)]
    pub target_id: u64,
}

/// What to do with an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum AlarmAction {
    Get = 0,
    Activate = 1,
    Deactivate = 2,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum AlarmType {
    None = 0,
    NoSpace = 1,
    Corrupt = 2,
}
