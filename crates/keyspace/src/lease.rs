//! Leases in the state machine. Time is cluster time, which only ticks move.

use std::ops::ControlFlow;

use crate::codec::{self, Lease};
use crate::engine::{Direction, Table, View};
use crate::limits::MAX_EXPIRIES_PER_TICK;
use crate::work::Work;
use crate::{EngineError, LeaseGranted, LeaseId, Refusal, Reply, read, txn};

type Decided<T> = Result<Result<T, Refusal>, EngineError>;

pub(crate) fn grant<V: View>(work: &mut Work<'_, V>, id: LeaseId, ttl_seconds: i64) -> Decided<LeaseGranted> {
    let id = if id == 0 {
        free_id(work)?
    } else if find(&work.view, id)?.is_some() {
        return Ok(Err(Refusal::LeaseExists { id }));
    } else {
        id
    };
    work.state.leases += 1;
    renew(work, id, ttl_seconds).map(Ok)
}

pub(crate) fn keep_alive<V: View>(work: &mut Work<'_, V>, id: LeaseId) -> Decided<LeaseGranted> {
    let Some(lease) = find(&work.view, id)? else {
        return Ok(Err(Refusal::LeaseNotFound { id }));
    };
    work.view.delete(Table::Expiries, codec::expiry_key(lease.expires_ms, id));
    renew(work, id, lease.ttl_seconds).map(Ok)
}

/// Ends a lease; its keys go at one revision.
pub(crate) fn revoke<V: View>(work: &mut Work<'_, V>, id: LeaseId) -> Decided<()> {
    let Some(lease) = find(&work.view, id)? else {
        return Ok(Err(Refusal::LeaseNotFound { id }));
    };
    work.begin();
    for key in read::lease_keys(&work.view, id)? {
        if let Some(kv) = txn::current(&work.view, &key)? {
            work.delete(kv)?;
        }
    }
    work.end();
    work.view.delete(Table::Leases, codec::lease_key(id).to_vec());
    work.view.delete(Table::Expiries, codec::expiry_key(lease.expires_ms, id));
    work.state.leases = work.state.leases.saturating_sub(1);
    Ok(Ok(()))
}

/// Moves the clock and ends what is due, earliest first.
pub(crate) fn tick<V: View>(work: &mut Work<'_, V>, now_ms: u64) -> Result<Reply, EngineError> {
    work.state.clock_ms = work.state.clock_ms.max(now_ms);
    let clock_ms = work.state.clock_ms;
    let mut due = Vec::new();
    let mut more = false;
    work.view.scan(Table::Expiries, &[], None, Direction::Forward, &mut |key, _| {
        let (expires_ms, id) = codec::decode_expiry(key)?;
        if expires_ms > clock_ms {
            return Ok(ControlFlow::Break(()));
        }
        if due.len() == MAX_EXPIRIES_PER_TICK {
            more = true;
            return Ok(ControlFlow::Break(()));
        }
        due.push(id);
        Ok(ControlFlow::Continue(()))
    })?;
    for id in &due {
        if revoke(work, *id)?.is_err() {
            return Err(codec::corrupt(format!("lease {id}"), "due but not stored"));
        }
    }
    Ok(Reply::Ticked { expired: due.len() as u64, more })
}

fn find(view: &impl View, id: LeaseId) -> Result<Option<Lease>, EngineError> {
    let bytes = view.get(Table::Leases, &codec::lease_key(id))?;
    bytes.map(|bytes| codec::decode(&bytes, "lease")).transpose()
}

fn renew<V: View>(work: &mut Work<'_, V>, id: LeaseId, ttl_seconds: i64) -> Result<LeaseGranted, EngineError> {
    let ttl_ms = u64::try_from(ttl_seconds).unwrap_or(0).saturating_mul(1000);
    let lease = Lease { ttl_seconds, expires_ms: work.state.clock_ms.saturating_add(ttl_ms) };
    work.view.put(Table::Leases, codec::lease_key(id).to_vec(), codec::encode(&lease, "lease")?);
    work.view.put(Table::Expiries, codec::expiry_key(lease.expires_ms, id), Vec::new());
    Ok(LeaseGranted { id, ttl_seconds, revision: work.state.revision })
}

/// The next id of the counter that is not taken by a caller's own choice.
fn free_id<V: View>(work: &mut Work<'_, V>) -> Result<LeaseId, EngineError> {
    loop {
        let next = work.state.last_lease.checked_add(1).unwrap_or(1);
        work.state.last_lease = next;
        if find(&work.view, next)?.is_none() {
            return Ok(next);
        }
    }
}
