//! The connection to the cluster, what is known of it, and its two questions.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use keyspace::{Error, Hub, Projection, RangeRequest, Revision};

use super::calls::Calls;
use super::errors::failure;
use crate::convert::{self, unsigned};
use crate::wire::kv::ResponseHeader;
use crate::wire::methods;

/// What the backend and its tasks share.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) calls: Calls,
    pub(super) hub: Arc<Hub>,
    /// Newest revision the hub knows.
    pub(super) head: tokio::sync::watch::Sender<Revision>,
    /// Newest compaction known of; etcd tells only those who trip over it.
    pub(super) compacted: AtomicU64,
    /// The cluster's identity, which a restore changes.
    pub(super) cluster_id: AtomicU64,
}

/// The newest revision of the cluster, and its identity.
pub(super) async fn standing(calls: &Calls) -> Result<(Revision, u64), Error> {
    let request = RangeRequest { projection: Projection::CountOnly, ..RangeRequest::key("\0") };
    let answer = calls.unary(methods::RANGE, convert::to_range(&request)).await;
    let answer = answer.map_err(|status| failure(&status))?;
    Ok((revision(answer.header.as_ref()), answer.header.map_or(0, |header| header.cluster_id)))
}

/// The newest revision of the cluster.
pub(super) async fn newest(calls: &Calls) -> Result<Revision, Error> {
    standing(calls).await.map(|(newest, _)| newest)
}

pub(super) fn revision(header: Option<&ResponseHeader>) -> Revision {
    header.map_or(0, |header| unsigned(header.revision))
}
