//! Service `Lease`.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::BoxStream;
use keyspace::{Error, Refusal};
use tonic::{Status, Streaming};

use super::{EtcdServer, failed};
use crate::wire::lease as wire;

/// Shortest time to live, seconds; less is rounded up, as etcd does with its own bound.
const MIN_TTL_SECONDS: i64 = 1;

impl EtcdServer {
    pub(super) async fn lease_grant(
        self: Arc<Self>,
        request: wire::LeaseGrantRequest,
    ) -> Result<wire::LeaseGrantResponse, Status> {
        let ttl = request.ttl.max(MIN_TTL_SECONDS);
        let granted = self.keyspace.lease_grant(request.id, ttl).await.map_err(failed)?;
        let header = Some(self.header(granted.revision));
        Ok(wire::LeaseGrantResponse { header, id: granted.id, ttl: granted.ttl_seconds, error: String::new() })
    }

    pub(super) async fn lease_revoke(
        self: Arc<Self>,
        request: wire::LeaseRevokeRequest,
    ) -> Result<wire::LeaseRevokeResponse, Status> {
        let revision = self.keyspace.lease_revoke(request.id).await.map_err(failed)?;
        Ok(wire::LeaseRevokeResponse { header: Some(self.header(revision)) })
    }

    pub(super) async fn lease_keep_alive(
        self: Arc<Self>,
        requests: Streaming<wire::LeaseKeepAliveRequest>,
    ) -> Result<BoxStream<'static, Result<wire::LeaseKeepAliveResponse, Status>>, Status> {
        let answers = requests.then(move |request| {
            let server = self.clone();
            async move { server.keep_alive(request?.id).await }
        });
        Ok(answers.boxed())
    }

    async fn keep_alive(&self, id: i64) -> Result<wire::LeaseKeepAliveResponse, Status> {
        match self.keyspace.lease_keep_alive(id).await {
            Ok(kept) => {
                let header = Some(self.header(kept.revision));
                Ok(wire::LeaseKeepAliveResponse { header, id, ttl: kept.ttl_seconds })
            }
            Err(Error::Refused(Refusal::LeaseNotFound { .. })) => {
                Ok(wire::LeaseKeepAliveResponse { header: Some(self.newest_header().await?), id, ttl: 0 })
            }
            Err(error) => Err(failed(error)),
        }
    }

    pub(super) async fn lease_time_to_live(
        self: Arc<Self>,
        request: wire::LeaseTimeToLiveRequest,
    ) -> Result<wire::LeaseTimeToLiveResponse, Status> {
        let id = request.id;
        match self.keyspace.lease_time_to_live(id).await {
            Ok(info) => Ok(wire::LeaseTimeToLiveResponse {
                header: Some(self.header(info.revision)),
                id,
                ttl: i64::try_from(info.remaining_ms / 1000).unwrap_or(i64::MAX),
                granted_ttl: info.granted_ttl_seconds,
                keys: if request.keys { info.keys } else { Vec::new() },
            }),
            Err(Error::Refused(Refusal::LeaseNotFound { .. })) => {
                let header = Some(self.newest_header().await?);
                Ok(wire::LeaseTimeToLiveResponse { header, id, ttl: -1, ..Default::default() })
            }
            Err(error) => Err(failed(error)),
        }
    }

    pub(super) async fn lease_leases(
        self: Arc<Self>,
        _: wire::LeaseLeasesRequest,
    ) -> Result<wire::LeaseLeasesResponse, Status> {
        let leases = self.keyspace.leases().await.map_err(failed)?;
        let leases = leases.into_iter().map(|id| wire::LeaseStatus { id }).collect();
        Ok(wire::LeaseLeasesResponse { header: Some(self.newest_header().await?), leases })
    }
}
