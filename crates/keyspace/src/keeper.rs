//! Keeping cluster time while leading: when a lease is due, a tick is proposed. Nothing is written while no lease is
//! due.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::{EngineError, Error};

/// Cluster time as this member counts it: from the last tick it knows of, by its monotonic clock.
#[derive(Debug)]
pub struct ClusterClock {
    base: Mutex<(u64, Instant)>,
}

impl ClusterClock {
    /// A clock that stands at `now_ms` now.
    pub fn new(now_ms: u64) -> Self {
        ClusterClock { base: Mutex::new((now_ms, Instant::now())) }
    }

    /// Cluster time now, milliseconds.
    pub fn now_ms(&self) -> u64 {
        let (base, since) = *self.base.lock();
        base.saturating_add(u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Begins anew at `now_ms`: on becoming leader, from the machine's clock.
    pub fn reset(&self, now_ms: u64) {
        *self.base.lock() = (now_ms, Instant::now());
    }
}

/// What [`expire_leases`] needs to know and do.
pub trait LeaseKeeper: Send + Sync + 'static {
    /// Cluster time at which the next lease is due; `None` without leases, or when another member leads.
    fn next_due_ms(&self) -> Result<Option<u64>, EngineError>;

    /// Cluster time now.
    fn now_ms(&self) -> u64;

    /// Proposes a tick and waits until it is applied.
    fn tick(&self, now_ms: u64) -> BoxFuture<'_, Result<(), Error>>;
}

/// Pause after a tick that failed.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Longest sleep, so that a missed wake-up heals.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// Ticks whenever a lease is due. `changed` wakes it when leases or the leader changed. Runs until dropped.
pub async fn expire_leases(keeper: Arc<dyn LeaseKeeper>, changed: Arc<Notify>) {
    loop {
        let sleep = match keeper.next_due_ms() {
            Ok(None) => LONGEST_SLEEP,
            Ok(Some(due_ms)) => {
                let now_ms = keeper.now_ms();
                if due_ms <= now_ms {
                    match keeper.tick(now_ms).await {
                        Ok(()) => continue,
                        Err(error) => {
                            tracing::warn!(error = &error as &dyn std::error::Error, "leases could not be expired");
                            RETRY_AFTER
                        }
                    }
                } else {
                    Duration::from_millis(due_ms - now_ms).min(LONGEST_SLEEP)
                }
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "leases could not be read");
                RETRY_AFTER
            }
        };
        let _ = tokio::time::timeout(sleep, changed.notified()).await;
    }
}
