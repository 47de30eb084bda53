//! Service `grpc.health.v1.Health`.

use std::sync::Arc;

use futures::StreamExt;
use tonic::Status;

use super::EtcdServer;
use super::routes::ResponseStream;
use crate::limits::STANDING_EVERY;
use crate::wire::services::{HealthCheckRequest, HealthCheckResponse, ServingStatus};

impl EtcdServer {
    pub(super) async fn health_check(self: Arc<Self>, _: HealthCheckRequest) -> Result<HealthCheckResponse, Status> {
        Ok(HealthCheckResponse { status: self.health().await as i32 })
    }

    /// Health now, and then whenever it changes.
    pub(super) async fn health_watch(
        self: Arc<Self>,
        _: HealthCheckRequest,
    ) -> Result<ResponseStream<HealthCheckResponse>, Status> {
        let changes = futures::stream::unfold((self, None), |(server, told)| async move {
            loop {
                let health = server.health().await;
                if told != Some(health) {
                    return Some((Ok(HealthCheckResponse { status: health as i32 }), (server, Some(health))));
                }
                tokio::time::sleep(STANDING_EVERY).await;
            }
        });
        Ok(changes.boxed())
    }

    /// A member is healthy when it knows a leader.
    async fn health(&self) -> ServingStatus {
        match self.keyspace.status().await {
            Ok(standing) if standing.leader.is_some() => ServingStatus::Serving,
            Ok(_) | Err(_) => ServingStatus::NotServing,
        }
    }
}
