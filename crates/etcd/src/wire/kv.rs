//! Messages of `mvccpb` and of the service `etcdserverpb.KV`.

use bytes::Bytes;

/// One version of one key.
#[derive(Clone, PartialEq, prost::Message)]
pub struct KeyValue {
    #[prost(bytes = "bytes", tag = 1)]
    pub key: Bytes,
    #[prost(int64, tag = 2)]
    pub create_revision: i64,
    #[prost(int64, tag = 3)]
    pub mod_revision: i64,
    #[prost(int64, tag = 4)]
    pub version: i64,
    #[prost(bytes = "bytes", tag = 5)]
    pub value: Bytes,
    #[prost(int64, tag = 6)]
    pub lease: i64,
}

/// One change of one key.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Event {
    #[prost(enumeration = "EventType", tag = 1)]
    pub kind: i32,
    #[prost(message, optional, tag = 2)]
    pub kv: Option<KeyValue>,
    #[prost(message, optional, tag = 3)]
    pub prev_kv: Option<KeyValue>,
}

/// What begins every answer: who answered, and at which revision.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ResponseHeader {
    #[prost(uint64, tag = 1)]
    pub cluster_id: u64,
    #[prost(uint64, tag = 2)]
    pub member_id: u64,
    #[prost(int64, tag = 3)]
    pub revision: i64,
    #[prost(uint64, tag = 4)]
    pub raft_term: u64,
}

/// Asks for keys.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RangeRequest {
    #[prost(bytes = "bytes", tag = 1)]
    pub key: Bytes,
    #[prost(bytes = "bytes", tag = 2)]
    pub range_end: Bytes,
    #[prost(int64, tag = 3)]
    pub limit: i64,
    #[prost(int64, tag = 4)]
    pub revision: i64,
    #[prost(enumeration = "SortOrder", tag = 5)]
    pub sort_order: i32,
    #[prost(enumeration = "SortTarget", tag = 6)]
    pub sort_target: i32,
    #[prost(bool, tag = 7)]
    pub serializable: bool,
    #[prost(bool, tag = 8)]
    pub keys_only: bool,
    #[prost(bool, tag = 9)]
    pub count_only: bool,
    #[prost(int64, tag = 10)]
    pub min_mod_revision: i64,
    #[prost(int64, tag = 11)]
    pub max_mod_revision: i64,
    #[prost(int64, tag = 12)]
    pub min_create_revision: i64,
    #[prost(int64, tag = 13)]
    pub max_create_revision: i64,
}

/// Answer to a range.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RangeResponse {
    #[prost(message, optional, tag = 1)]
    pub header: Option<ResponseHeader>,
    #[prost(message, repeated, tag = 2)]
    pub kvs: Vec<KeyValue>,
    #[prost(bool, tag = 3)]
    pub more: bool,
    #[prost(int64, tag = 4)]
    pub count: i64,
}

/// Writes a key.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PutRequest {
    #[prost(bytes = "bytes", tag = 1)]
    pub key: Bytes,
    #[prost(bytes = "bytes", tag = 2)]
    pub value: Bytes,
    #[prost(int64, tag = 3)]
    pub lease: i64,
    #[prost(bool, tag = 4)]
    pub prev_kv: bool,
    #[prost(bool, tag = 5)]
    pub ignore_value: bool,
    #[prost(bool, tag = 6)]
    pub ignore_lease: bool,
}

/// Answer to a put.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PutResponse {
    #[prost(message, optional, tag = 1)]
    pub header: Option<ResponseHeader>,
    #[prost(message, optional, tag = 2)]
    pub prev_kv: Option<KeyValue>,
}

/// Deletes keys.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DeleteRangeRequest {
    #[prost(bytes = "bytes", tag = 1)]
    pub key: Bytes,
    #[prost(bytes = "bytes", tag = 2)]
    pub range_end: Bytes,
    #[prost(bool, tag = 3)]
    pub prev_kv: bool,
}

/// Answer to a delete.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DeleteRangeResponse {
    #[prost(message, optional, tag = 1)]
    pub header: Option<ResponseHeader>,
    #[prost(int64, tag = 2)]
    pub deleted: i64,
    #[prost(message, repeated, tag = 3)]
    pub prev_kvs: Vec<KeyValue>,
}

/// An operation of a transaction.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RequestOp {
    #[prost(oneof = "Request", tags = "1, 2, 3, 4")]
    pub request: Option<Request>,
}

/// Answer to an operation.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ResponseOp {
    #[prost(oneof = "Response", tags = "1, 2, 3, 4")]
    pub response: Option<Response>,
}

/// A condition.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Compare {
    #[prost(enumeration = "CompareResult", tag = 1)]
    pub result: i32,
    #[prost(enumeration = "CompareTarget", tag = 2)]
    pub target: i32,
    #[prost(bytes = "bytes", tag = 3)]
    pub key: Bytes,
    #[prost(oneof = "Operand", tags = "4, 5, 6, 7, 8")]
    pub operand: Option<Operand>,
    #[prost(bytes = "bytes", tag = 64)]
    pub range_end: Bytes,
}

/// Conditions, and what to do when they hold or not.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TxnRequest {
    #[prost(message, repeated, tag = 1)]
    pub compare: Vec<Compare>,
    #[prost(message, repeated, tag = 2)]
    pub success: Vec<RequestOp>,
    #[prost(message, repeated, tag = 3)]
    pub failure: Vec<RequestOp>,
}

/// Answer to a transaction.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TxnResponse {
    #[prost(message, optional, tag = 1)]
    pub header: Option<ResponseHeader>,
    #[prost(bool, tag = 2)]
    pub succeeded: bool,
    #[prost(message, repeated, tag = 3)]
    pub responses: Vec<ResponseOp>,
}

/// Forgets history.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CompactionRequest {
    #[prost(int64, tag = 1)]
    pub revision: i64,
    #[prost(bool, tag = 2)]
    pub physical: bool,
}

/// Answer to a compaction.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CompactionResponse {
    #[prost(message, optional, tag = 1)]
    pub header: Option<ResponseHeader>,
}

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum EventType {
    Put = 0,
    Delete = 1,
}

/// Direction of a sort.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum SortOrder {
    None = 0,
    Ascend = 1,
    Descend = 2,
}

/// What is sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum SortTarget {
    Key = 0,
    Version = 1,
    Create = 2,
    Mod = 3,
    Value = 4,
}

/// Relation a comparison asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum CompareResult {
    Equal = 0,
    Greater = 1,
    Less = 2,
    NotEqual = 3,
}

/// Attribute a comparison looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum CompareTarget {
    Version = 0,
    Create = 1,
    Mod = 2,
    Value = 3,
    Lease = 4,
}

/// Kinds of operations.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Request {
    #[prost(message, tag = 1)]
    Range(RangeRequest),
    #[prost(message, tag = 2)]
    Put(PutRequest),
    #[prost(message, tag = 3)]
    DeleteRange(DeleteRangeRequest),
    #[prost(message, tag = 4)]
    Txn(TxnRequest),
}

/// Kinds of answers.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Response {
    #[prost(message, tag = 1)]
    Range(RangeResponse),
    #[prost(message, tag = 2)]
    Put(PutResponse),
    #[prost(message, tag = 3)]
    DeleteRange(DeleteRangeResponse),
    #[prost(message, tag = 4)]
    Txn(TxnResponse),
}

/// What an attribute is compared with.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Operand {
    #[prost(int64, tag = 4)]
    Version(i64),
    #[prost(int64, tag = 5)]
    Create(i64),
    #[prost(int64, tag = 6)]
    Mod(i64),
    #[prost(bytes = "bytes", tag = 7)]
    Value(Bytes),
    #[prost(int64, tag = 8)]
    Lease(i64),
}
