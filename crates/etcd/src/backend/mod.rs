//! The keyspace in an existing etcd cluster.
//!
//! ```text
//!   dyn Keyspace ──► Cluster (gRPC, one member at a time) ──► etcd
//!        │ watch                      ▲
//!        ▼                            │ one watch of all keys
//!       Hub ◄── changes ──── Feed ────┘
//!        └── behind ──► StoredHistory: a watch from a revision, read until it meets the Hub
//! ```
//!
//! The cluster should be nanocloud's alone: every watch here is served from one watch of everything there, so that a
//! revision without events does not exist, and how far a watch has come is always known. (etcd before 3.4.25 may
//! announce progress before the events it is about, so that cannot be relied on.)

mod admin;
mod calls;
mod connect;
mod errors;
mod feed;
mod history;
mod inner;
mod refusals;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::FutureExt;
use futures::future::BoxFuture;
use keyspace::{
    Alarm, Command, Error, Hub, Keyspace, KvHash, LeaseGranted, LeaseId, LeaseInfo, Marker, Projection, RangeRequest,
    RangeResponse, Refusal, Revision, SnapshotStream, Status, Txn, TxnResponse, WatchRequest, WatchStream, check,
};
use parking_lot::Mutex;
use tokio::task::JoinSet;

pub use connect::{Endpoints, EndpointsError};

use crate::convert::{self, unsigned};
use crate::wire::cluster::MemberListRequest;
use crate::wire::kv::CompactionRequest;
use crate::wire::lease::{LeaseGrantRequest, LeaseLeasesRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest};
use crate::wire::maintenance::AlarmAction;
use crate::wire::methods;
use crate::wire::services::Anything;
use calls::Calls;
use errors::{failure, garbled, of_lease};
use history::StoredHistory;
use inner::{Inner, newest, revision, standing};

/// A [`Keyspace`] that keeps everything in an etcd cluster.
#[derive(Debug)]
pub struct EtcdBackend {
    inner: Arc<Inner>,
    tasks: Mutex<JoinSet<()>>,
}

impl EtcdBackend {
    /// A keyspace on the cluster behind these endpoints, which must answer.
    pub async fn connect(endpoints: Endpoints) -> Result<Arc<Self>, Error> {
        let calls = Calls::new(endpoints);
        let (newest, cluster_id) = standing(&calls).await?;
        let inner = Arc::new(Inner {
            calls,
            hub: Arc::new(Hub::new(newest)),
            head: tokio::sync::watch::Sender::new(newest),
            compacted: AtomicU64::new(0),
            cluster_id: AtomicU64::new(cluster_id),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(feed::run(inner.clone()));
        Ok(Arc::new(EtcdBackend { inner, tasks: Mutex::new(tasks) }))
    }

    /// Ends all watches and everything under way.
    pub fn close(&self) {
        self.tasks.lock().abort_all();
        self.inner.hub.close();
    }
}

impl Drop for EtcdBackend {
    fn drop(&mut self) {
        self.close();
    }
}

impl Inner {
    /// Waits until the hub knows of `revision`.
    async fn reached(&self, revision: Revision) -> Result<(), Error> {
        let mut head = self.head.subscribe();
        let reached = head.wait_for(|head| *head >= revision);
        match tokio::time::timeout(crate::limits::CALL_TIMEOUT, reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(Error::Closed),
            Err(_) => Err(Error::NoLeader { detail: "etcd's changes do not arrive".into() }),
        }
    }

    fn note_compaction(&self, revision: Revision) -> Revision {
        self.compacted.fetch_max(revision, Ordering::Relaxed).max(revision)
    }

    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Error> {
        check::range(&request)?;
        match self.calls.unary(methods::RANGE, convert::to_range(&request)).await {
            Ok(answer) => Ok(convert::from_range(&request, answer)),
            Err(status) => Err(self.revision_refused(request.revision, &status).await),
        }
    }

    async fn txn(&self, txn: Txn) -> Result<TxnResponse, Error> {
        check::txn(&txn)?;
        match self.calls.unary(methods::TXN, convert::to_txn(&txn)).await {
            Ok(answer) => convert::from_txn(&txn, answer).ok_or_else(|| garbled("transaction")),
            Err(status) => Err(self.txn_refused(&txn, &status).await),
        }
    }

    async fn watch(self: &Arc<Self>, request: WatchRequest) -> Result<WatchStream, Error> {
        check::key_range(&request.range)?;
        let newest = newest(&self.calls).await?;
        if (1..=newest).contains(&request.from_revision) {
            let probe = RangeRequest { projection: Projection::CountOnly, ..RangeRequest::key("\0") };
            self.range(probe.at(request.from_revision)).await?;
        }
        self.reached(newest).await?;
        let past = Arc::new(StoredHistory(self.clone()));
        let stream = self.hub.watch(past, request, newest, 0)?;
        let (inner, marker) = (self.clone(), stream.marker());
        let marker = Marker::new(move || {
            let (inner, marker) = (inner.clone(), marker.clone());
            #[expect(clippy::disallowed_methods, reason = "one request, which has a time limit")]
            tokio::spawn(async move {
                // If the cluster cannot be asked there is no mark, as with a cluster that nothing is heard of.
                if let Ok(newest) = inner::newest(&inner.calls).await
                    && inner.reached(newest).await.is_ok()
                {
                    marker.request();
                }
            });
        });
        Ok(WatchStream::new(newest, marker, stream))
    }

    async fn compact(&self, revision: Revision) -> Result<Revision, Error> {
        if revision == 0 {
            let compacted = self.compacted.load(Ordering::Relaxed);
            return Err(Refusal::Compacted { requested: 0, compacted }.into());
        }
        let request = CompactionRequest { revision: convert::signed(revision), physical: false };
        match self.calls.unary(methods::COMPACT, request).await {
            Ok(answer) => {
                self.note_compaction(revision);
                Ok(self::revision(answer.header.as_ref()))
            }
            Err(status) => Err(self.revision_refused(revision, &status).await),
        }
    }

    async fn lease_grant(&self, id: LeaseId, ttl_seconds: i64) -> Result<LeaseGranted, Error> {
        check::command(&Command::LeaseGrant { id, ttl_seconds })?;
        match self.calls.unary(methods::LEASE_GRANT, LeaseGrantRequest { ttl: ttl_seconds, id }).await {
            Ok(answer) => {
                let revision = revision(answer.header.as_ref());
                Ok(LeaseGranted { id: answer.id, ttl_seconds: answer.ttl, revision })
            }
            Err(status) => Err(of_lease(id, &status)),
        }
    }

    async fn lease_keep_alive(&self, id: LeaseId) -> Result<LeaseGranted, Error> {
        let answer = self.calls.keep_alive(id).await.map_err(|status| of_lease(id, &status))?;
        if answer.ttl <= 0 {
            return Err(Refusal::LeaseNotFound { id }.into());
        }
        Ok(LeaseGranted { id, ttl_seconds: answer.ttl, revision: revision(answer.header.as_ref()) })
    }

    async fn lease_revoke(&self, id: LeaseId) -> Result<Revision, Error> {
        let answer = self.calls.unary(methods::LEASE_REVOKE, LeaseRevokeRequest { id }).await;
        let answer = answer.map_err(|status| of_lease(id, &status))?;
        Ok(revision(answer.header.as_ref()))
    }

    async fn lease_time_to_live(&self, id: LeaseId) -> Result<LeaseInfo, Error> {
        let request = LeaseTimeToLiveRequest { id, keys: true };
        let answer = self.calls.unary(methods::LEASE_TIME_TO_LIVE, request).await;
        let mut answer = answer.map_err(|status| of_lease(id, &status))?;
        if answer.ttl < 0 {
            return Err(Refusal::LeaseNotFound { id }.into());
        }
        answer.keys.sort_unstable();
        Ok(LeaseInfo {
            id,
            granted_ttl_seconds: answer.granted_ttl,
            remaining_ms: unsigned(answer.ttl).saturating_mul(1000),
            keys: answer.keys,
            revision: revision(answer.header.as_ref()),
        })
    }

    async fn leases(&self) -> Result<Vec<LeaseId>, Error> {
        let answer = self.calls.unary(methods::LEASE_LEASES, LeaseLeasesRequest {}).await;
        let answer = answer.map_err(|status| failure(&status))?;
        let mut leases: Vec<LeaseId> = answer.leases.into_iter().map(|lease| lease.id).collect();
        leases.sort_unstable();
        Ok(leases)
    }

    async fn status(&self) -> Result<Status, Error> {
        let failed = |status: tonic::Status| failure(&status);
        let revision = newest(&self.calls).await?;
        let leases = self.leases().await?.len() as u64;
        let members = self.calls.unary(methods::MEMBER_LIST, MemberListRequest::default()).await.map_err(failed)?;
        let answer = self.calls.unary(methods::STATUS, Anything {}).await.map_err(failed)?;
        Ok(Status {
            revision,
            compact_revision: self.compacted.load(Ordering::Relaxed),
            leases,
            size_bytes: unsigned(answer.db_size),
            in_use_bytes: unsigned(answer.db_size_in_use),
            // etcd does not tell.
            quota_bytes: 0,
            alarms: self.alarms().await?,
            node_id: answer.header.map_or(0, |header| header.member_id),
            leader: (answer.leader != 0).then_some(answer.leader),
            term: answer.raft_term,
            log_index: answer.raft_index,
            applied_index: answer.raft_applied_index,
            voters: members.members.iter().filter(|member| !member.is_learner).map(|member| member.id).collect(),
        })
    }
}

impl Keyspace for EtcdBackend {
    fn range(&self, request: RangeRequest) -> BoxFuture<'_, Result<RangeResponse, Error>> {
        self.inner.range(request).boxed()
    }

    fn txn(&self, txn: Txn) -> BoxFuture<'_, Result<TxnResponse, Error>> {
        self.inner.txn(txn).boxed()
    }

    fn watch(&self, request: WatchRequest) -> BoxFuture<'_, Result<WatchStream, Error>> {
        self.inner.watch(request).boxed()
    }

    fn compact(&self, revision: Revision) -> BoxFuture<'_, Result<Revision, Error>> {
        self.inner.compact(revision).boxed()
    }

    fn lease_grant(&self, id: LeaseId, ttl_seconds: i64) -> BoxFuture<'_, Result<LeaseGranted, Error>> {
        self.inner.lease_grant(id, ttl_seconds).boxed()
    }

    fn lease_keep_alive(&self, id: LeaseId) -> BoxFuture<'_, Result<LeaseGranted, Error>> {
        self.inner.lease_keep_alive(id).boxed()
    }

    fn lease_revoke(&self, id: LeaseId) -> BoxFuture<'_, Result<Revision, Error>> {
        self.inner.lease_revoke(id).boxed()
    }

    fn lease_time_to_live(&self, id: LeaseId) -> BoxFuture<'_, Result<LeaseInfo, Error>> {
        self.inner.lease_time_to_live(id).boxed()
    }

    fn leases(&self) -> BoxFuture<'_, Result<Vec<LeaseId>, Error>> {
        self.inner.leases().boxed()
    }

    fn alarms(&self) -> BoxFuture<'_, Result<Vec<Alarm>, Error>> {
        self.inner.alarms().boxed()
    }

    fn alarm_set(&self, alarm: Alarm) -> BoxFuture<'_, Result<Vec<Alarm>, Error>> {
        self.inner.turn(alarm, AlarmAction::Activate).boxed()
    }

    fn alarm_clear(&self, alarm: Alarm) -> BoxFuture<'_, Result<Vec<Alarm>, Error>> {
        self.inner.turn(alarm, AlarmAction::Deactivate).boxed()
    }

    fn hash_kv(&self, revision: Revision) -> BoxFuture<'_, Result<KvHash, Error>> {
        self.inner.hash_kv(revision).boxed()
    }

    fn defragment(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.inner.defragment().boxed()
    }

    fn snapshot(&self) -> BoxFuture<'_, Result<SnapshotStream, Error>> {
        futures::future::ready(self.inner.snapshot()).boxed()
    }

    fn status(&self) -> BoxFuture<'_, Result<Status, Error>> {
        self.inner.status().boxed()
    }
}
