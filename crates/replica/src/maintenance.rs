//! What a replica does beside serving. Each of these runs until it is dropped.

use std::sync::Arc;
use std::time::Duration;

use keyspace::{Command, Engine, Error, Refusal, read};

use crate::config::SNAPSHOT_AFTER_LOG_BYTES;
use crate::proposer::Proposals;
use crate::replica::Parts;
use crate::store;

/// How often the leader looks whether history is long enough to be cut.
const COMPACT_EVERY: Duration = Duration::from_secs(60);
/// Pause after a failure.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Removes what compactions made unreadable, in steps between which writes go on.
pub(crate) async fn sweep(parts: Arc<Parts>) {
    loop {
        let machine = parts.machine.clone();
        match store::blocking(&parts.store, move || machine.sweep()).await {
            Some(Ok(true)) => {}
            Some(Ok(false)) => parts.machine.compacted().notified().await,
            Some(Err(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "old history could not be removed");
                tokio::time::sleep(RETRY_AFTER).await;
            }
            // The runtime is going down.
            None => return,
        }
    }
}

/// Makes a snapshot when the log has grown enough; Raft then cuts the log behind it.
pub(crate) async fn cut_log(parts: Arc<Parts>) {
    loop {
        parts.log_pressure.notified().await;
        let state = parts.engine.size_bytes().unwrap_or(0);
        let enough = state.max(SNAPSHOT_AFTER_LOG_BYTES);
        parts.log.cut_after(enough);
        if parts.log.grown() >= enough && parts.raft.trigger().snapshot().await.is_err() {
            // Raft has stopped, and whoever writes is told so.
            return;
        }
    }
}

/// Compacts history that is longer than configured, while this member leads.
pub(crate) async fn compact(parts: Arc<Parts>, proposals: Proposals) {
    let keep = parts.config.keep_revisions;
    if keep == 0 {
        return;
    }
    loop {
        tokio::time::sleep(COMPACT_EVERY).await;
        if !parts.leads() {
            continue;
        }
        let revisions = read::revisions(&parts.engine.view());
        let compacted = match revisions {
            Ok(revisions) => match due(revisions, keep) {
                Some(revision) => proposals.propose(Command::Compact { revision }).await.map(drop),
                None => Ok(()),
            },
            Err(error) => Err(error.into()),
        };
        match compacted {
            // Somebody else compacted further meanwhile.
            Ok(()) | Err(Error::Refused(Refusal::Compacted { .. })) => {}
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "history could not be compacted"),
        }
    }
}

/// The revision to compact at, once there is a tenth more than is to be kept.
fn due((newest, compacted): (u64, u64), keep: u64) -> Option<u64> {
    let kept = newest.saturating_sub(compacted);
    (kept > keep.saturating_add(keep / 10)).then(|| newest - keep)
}

/// On becoming leader, goes on counting time from where the state has it: no lease ends early.
pub(crate) async fn follow_leader(parts: Arc<Parts>) {
    let mut metrics = parts.raft.server_metrics();
    let mut led = parts.leads();
    while metrics.changed().await.is_ok() {
        let leads = parts.leads();
        if leads && !led {
            match read::clock_ms(&parts.engine.view()) {
                Ok(clock_ms) => parts.clock.reset(clock_ms),
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "cluster time could not be read");
                }
            }
            parts.machine.leases_changed().notify_one();
        }
        led = leads;
    }
}

#[cfg(test)]
mod tests {
    use super::due;

    #[test]
    fn compacts_in_steps() {
        assert_eq!(due((100, 0), 100), None);
        assert_eq!(due((110, 0), 100), None);
        assert_eq!(due((111, 0), 100), Some(11));
        assert_eq!(due((120, 11), 100), None);
        assert_eq!(due((5, 9), 100), None);
    }
}
