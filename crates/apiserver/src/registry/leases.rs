//! Objects of kinds with a time to live are on keyspace leases, which many of them share.

use std::collections::BTreeMap;

use jiff::Timestamp;
use keyspace::Keyspace;
use parking_lot::Mutex;

use crate::{api_error::Result, limits::LEASE_SHARED_SECONDS};

/// A lease that new objects are put on.
#[derive(Clone, Copy, Debug)]
struct Lease {
    id: i64,
    /// Until when, in Unix seconds.
    until: i64,
}

/// The leases for new objects, by the seconds they are kept.
#[derive(Debug, Default)]
pub(super) struct Leases(Mutex<BTreeMap<i64, Lease>>);

impl Leases {
    /// A lease that keeps an object made now for so many seconds: a new one every few minutes, not one per object.
    pub(super) async fn lease(&self, keyspace: &dyn Keyspace, ttl_seconds: i64, now: Timestamp) -> Result<i64> {
        let current = self.0.lock().get(&ttl_seconds).copied();
        if let Some(lease) = current.filter(|lease| now.as_second() < lease.until) {
            return Ok(lease.id);
        }
        let granted = keyspace.lease_grant(0, ttl_seconds + LEASE_SHARED_SECONDS).await?;
        let lease = Lease { id: granted.id, until: now.as_second() + LEASE_SHARED_SECONDS };
        self.0.lock().insert(ttl_seconds, lease);
        Ok(lease.id)
    }

    /// Forgets all leases, after the keyspace no longer knew one.
    pub(super) fn forget(&self) {
        self.0.lock().clear();
    }
}
