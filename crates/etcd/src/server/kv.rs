//! Service `KV`.

use std::sync::Arc;

use keyspace::{Op, OpResponse, Txn};
use tonic::Status;

use super::{EtcdServer, failed};
use crate::convert::{self, signed, unsigned};
use crate::refuse;
use crate::wire::kv as wire;

impl EtcdServer {
    pub(super) async fn range(self: Arc<Self>, request: wire::RangeRequest) -> Result<wire::RangeResponse, Status> {
        let answer = self.keyspace.range(convert::range(request)?).await.map_err(failed)?;
        Ok(convert::range_response(self.header(answer.revision), answer))
    }

    pub(super) async fn put(self: Arc<Self>, request: wire::PutRequest) -> Result<wire::PutResponse, Status> {
        let (mut responses, revision) = self.run(Op::Put(convert::put(request)?)).await?;
        let prev_kv = match responses.pop() {
            Some(OpResponse::Put { prev }) => prev.map(convert::key_value),
            other => return Err(unexpected(other.as_ref())),
        };
        Ok(wire::PutResponse { header: Some(self.header(revision)), prev_kv })
    }

    pub(super) async fn delete_range(
        self: Arc<Self>,
        request: wire::DeleteRangeRequest,
    ) -> Result<wire::DeleteRangeResponse, Status> {
        let (mut responses, revision) = self.run(Op::Delete(convert::delete(request)?)).await?;
        let (deleted, prev) = match responses.pop() {
            Some(OpResponse::Delete { deleted, prev }) => (deleted, prev),
            other => return Err(unexpected(other.as_ref())),
        };
        let prev_kvs = prev.into_iter().map(convert::key_value).collect();
        Ok(wire::DeleteRangeResponse { header: Some(self.header(revision)), deleted: signed(deleted), prev_kvs })
    }

    pub(super) async fn txn(self: Arc<Self>, request: wire::TxnRequest) -> Result<wire::TxnResponse, Status> {
        let answer = self.keyspace.txn(convert::txn(request)?).await.map_err(failed)?;
        Ok(convert::txn_response(self.header(answer.revision), answer))
    }

    /// `physical` needs no heed: what was compacted cannot be read from the moment on, and its room comes back by
    /// itself.
    pub(super) async fn compact(
        self: Arc<Self>,
        request: wire::CompactionRequest,
    ) -> Result<wire::CompactionResponse, Status> {
        let revision = self.keyspace.compact(unsigned(request.revision)).await.map_err(failed)?;
        Ok(wire::CompactionResponse { header: Some(self.header(revision)) })
    }

    /// Runs one operation; its answers and the revision after.
    async fn run(&self, op: Op) -> Result<(Vec<OpResponse>, u64), Status> {
        let answer = self.keyspace.txn(Txn::run([op])).await.map_err(failed)?;
        Ok((answer.responses, answer.revision))
    }
}

/// The keyspace answered another operation than it was asked.
fn unexpected(response: Option<&OpResponse>) -> Status {
    tracing::error!(?response, "the keyspace answered another operation");
    refuse::CORRUPT.into()
}
