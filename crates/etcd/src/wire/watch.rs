//! Messages of the service `etcdserverpb.Watch`.

use bytes::Bytes;

use super::kv::{Event, ResponseHeader};

/// What a client says on a watch stream.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WatchRequest {
    #[prost(oneof = "Ask", tags = "1, 2, 3")]
    pub request: Option<Ask>,
}

/// Begins a watch.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WatchCreateRequest {
    #[prost(bytes = "bytes", tag = 1)]
    pub key: Bytes,
    #[prost(bytes = "bytes", tag = 2)]
    pub range_end: Bytes,
    #[prost(int64, tag = 3)]
    pub start_revision: i64,
    #[prost(bool, tag = 4)]
    pub progress_notify: bool,
    #[prost(enumeration = "FilterType", repeated, tag = 5)]
    pub filters: Vec<i32>,
    #[prost(bool, tag = 6)]
    pub prev_kv: bool,
    #[prost(int64, tag = 7)]
    pub watch_id: i64,
    #[prost(bool, tag = 8)]
    pub fragment: bool,
}

/// Ends a watch.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WatchCancelRequest {
    #[prost(int64, tag = 1)]
    pub watch_id: i64,
}

/// Asks how far all watches of the stream have come.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WatchProgressRequest {}

/// What a server says on a watch stream.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WatchResponse {
    #[prost(message, optional, tag = 1)]
    pub header: Option<ResponseHeader>,
    #[prost(int64, tag = 2)]
    pub watch_id: i64,
    #[prost(bool, tag = 3)]
    pub created: bool,
    #[prost(bool, tag = 4)]
    pub canceled: bool,
    #[prost(int64, tag = 5)]
    pub compact_revision: i64,
    #[prost(string, tag = 6)]
    pub cancel_reason: String,
    #[prost(bool, tag = 7)]
    pub fragment: bool,
    #[prost(message, repeated, tag = 11)]
    pub events: Vec<Event>,
}

/// Events left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum FilterType {
    NoPut = 0,
    NoDelete = 1,
}

/// Kinds of requests.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Ask {
    #[prost(message, tag = 1)]
    Create(WatchCreateRequest),
    #[prost(message, tag = 2)]
    Cancel(WatchCancelRequest),
    #[prost(message, tag = 3)]
    Progress(WatchProgressRequest),
}
