//! Service `Lock`: the first in a queue of keys holds the lock.

use std::sync::Arc;

use bytes::Bytes;
use tonic::Status;

use super::EtcdServer;
use crate::refuse;
use crate::wire::services::{HeaderResponse, LockRequest, LockResponse, UnlockRequest};

impl EtcdServer {
    pub(super) async fn lock(self: Arc<Self>, request: LockRequest) -> Result<LockResponse, Status> {
        let place = self.take_place(&request.name, request.lease, Bytes::new()).await?;
        let revision = self.wait_for_turn(&request.name, &place).await?;
        Ok(LockResponse { header: Some(self.header(revision)), key: place.key })
    }

    pub(super) async fn unlock(self: Arc<Self>, request: UnlockRequest) -> Result<HeaderResponse, Status> {
        if request.key.is_empty() {
            return Err(refuse::EMPTY_KEY.into());
        }
        let revision = self.leave(request.key).await?;
        Ok(HeaderResponse { header: Some(self.header(revision)) })
    }
}
