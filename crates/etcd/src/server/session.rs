//! What locks and elections share: a queue of keys under a prefix, one for each lease, the oldest of which is first.

use bytes::Bytes;
use futures::StreamExt;
use keyspace::{
    Compare, Delete, Error, EventKind, KeyRange, KeyValue, LeaseId, Op, OpResponse, Operand, Put, RangeRequest,
    Refusal, Revision, SortOrder, SortTarget, Txn, WatchKinds, WatchRequest,
};
use tonic::Status;

use super::{EtcdServer, failed};
use crate::limits::SESSION_TTL_SECONDS;
use crate::refuse;

/// A place in a queue.
pub(super) struct Place {
    /// Key of the place; who holds it, holds the place.
    pub(super) key: Bytes,
    /// Revision it was taken at: the smaller, the earlier.
    pub(super) taken: Revision,
    pub(super) lease: LeaseId,
    /// Value it had before this call, when it was there already.
    pub(super) value: Option<Bytes>,
}

impl EtcdServer {
    /// The lease named, or a fresh one.
    async fn session_lease(&self, lease: LeaseId) -> Result<LeaseId, Status> {
        if lease != 0 {
            return Ok(lease);
        }
        Ok(self.keyspace.lease_grant(0, SESSION_TTL_SECONDS).await.map_err(failed)?.id)
    }

    /// Takes a place in the queue `name`, or finds the one that the lease has.
    pub(super) async fn take_place(&self, name: &[u8], lease: LeaseId, value: Bytes) -> Result<Place, Status> {
        let lease = self.session_lease(lease).await?;
        let key = Bytes::from([name, b"/", format!("{lease:x}").as_bytes()].concat());
        let put = Put { key: key.clone(), value, lease, ..Put::default() };
        let txn = Txn::when([Compare::absent(key.clone())]).then([Op::Put(put)]).otherwise([Op::get(key.clone())]);
        let answer = self.keyspace.txn(txn).await.map_err(failed)?;
        if answer.succeeded {
            return Ok(Place { key, taken: answer.revision, lease, value: None });
        }
        let found = answer.responses.into_iter().find_map(|response| match response {
            OpResponse::Range(range) => range.kvs.into_iter().next(),
            _ => None,
        });
        let kv = found.ok_or_else(|| Status::from(refuse::SESSION_EXPIRED))?;
        Ok(Place { key, taken: kv.create_revision, lease, value: Some(kv.value) })
    }

    /// Waits until nobody in the queue `name` is before `place`. Answers the revision at which that was so.
    pub(super) async fn wait_for_turn(&self, name: &[u8], place: &Place) -> Result<Revision, Status> {
        loop {
            let mut request = RangeRequest::prefix(queue(name)).limit(1);
            (request.target, request.order) = (SortTarget::Create, SortOrder::Descending);
            request.filter.max_create = place.taken.saturating_sub(1);
            let answer = self.keyspace.range(request).await.map_err(failed)?;
            let Some(before) = answer.kvs.into_iter().next() else { break };
            self.wait_for_delete(before.key, answer.revision + 1).await?;
        }
        let mine = self.keyspace.range(RangeRequest::key(place.key.clone())).await.map_err(failed)?;
        match mine.kvs.first() {
            Some(kv) if kv.create_revision == place.taken => Ok(mine.revision),
            _ => Err(refuse::SESSION_EXPIRED.into()),
        }
    }

    async fn wait_for_delete(&self, key: Bytes, from: Revision) -> Result<(), Status> {
        let mut request = WatchRequest::new(KeyRange::Key(key), from);
        request.kinds = WatchKinds::Deletes;
        let mut watch = match self.keyspace.watch(request).await {
            // So much happened meanwhile that it is better to look again.
            Err(Error::Refused(Refusal::Compacted { .. })) => return Ok(()),
            other => other.map_err(failed)?,
        };
        while let Some(batch) = watch.next().await {
            match batch {
                Ok(batch) if batch.events.iter().any(|event| event.kind == EventKind::Delete) => return Ok(()),
                Ok(_) => {}
                Err(Error::Refused(Refusal::Compacted { .. })) => return Ok(()),
                Err(error) => return Err(failed(error)),
            }
        }
        Err(refuse::STOPPED.into())
    }

    /// The first in the queue `name`, and the revision of that.
    pub(super) async fn first_place(&self, name: &[u8]) -> Result<(Option<KeyValue>, Revision), Status> {
        let mut request = RangeRequest::prefix(queue(name)).limit(1);
        (request.target, request.order) = (SortTarget::Create, SortOrder::Ascending);
        let answer = self.keyspace.range(request).await.map_err(failed)?;
        Ok((answer.kvs.into_iter().next(), answer.revision))
    }

    /// Runs `op` if the place taken at `taken` is still held; the revision after, or nothing.
    pub(super) async fn while_held(&self, key: Bytes, taken: Revision, op: Op) -> Result<Option<Revision>, Status> {
        let held = Compare::equal(key, Operand::Create(taken));
        let answer = self.keyspace.txn(Txn::when([held]).then([op])).await.map_err(failed)?;
        Ok(answer.succeeded.then_some(answer.revision))
    }

    /// Gives a place up; the revision after.
    pub(super) async fn leave(&self, key: Bytes) -> Result<Revision, Status> {
        let delete = Op::Delete(Delete { range: KeyRange::Key(key), prev: false });
        Ok(self.keyspace.txn(Txn::run([delete])).await.map_err(failed)?.revision)
    }
}

/// Prefix of the keys of a queue.
pub(super) fn queue(name: &[u8]) -> Bytes {
    Bytes::from([name, b"/"].concat())
}
