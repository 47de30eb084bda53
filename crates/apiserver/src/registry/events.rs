//! Events live for an hour, on keyspace leases that many of them share.

use api::kinds::event::EVENT_TTL_SECONDS;
use jiff::Timestamp;
use keyspace::Keyspace;
use parking_lot::Mutex;

use crate::{api_error::Result, limits::EVENT_LEASE_SHARED_SECONDS};

/// The lease that new events are put on, and until when (Unix seconds).
#[derive(Debug, Default)]
pub(super) struct EventLease(Mutex<Option<(i64, i64)>>);

impl EventLease {
    /// A lease that keeps an event made now for its hour: a new one every few minutes, not one per event.
    pub(super) async fn lease(&self, keyspace: &dyn Keyspace, now: Timestamp) -> Result<i64> {
        let current = *self.0.lock();
        if let Some((lease, _)) = current.filter(|(_, until)| now.as_second() < *until) {
            return Ok(lease);
        }
        let granted = keyspace.lease_grant(0, EVENT_TTL_SECONDS + EVENT_LEASE_SHARED_SECONDS).await?;
        *self.0.lock() = Some((granted.id, now.as_second() + EVENT_LEASE_SHARED_SECONDS));
        Ok(granted.id)
    }

    /// Forgets the shared lease, after the keyspace did not know it any more.
    pub(super) fn forget(&self) {
        *self.0.lock() = None;
    }
}
