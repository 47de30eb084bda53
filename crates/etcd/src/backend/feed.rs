//! What keeps the hub up to date: one watch of every key, begun again wherever it breaks off.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use keyspace::read::Change;
use keyspace::{Revision, WatchEvent};
use tonic::{Status, Streaming};

use super::inner::{Inner, newest, standing};
use crate::convert::{self, unsigned};
use crate::wire::watch::WatchResponse;

/// Pause before the watch is begun again, at first; it doubles.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// Longest such pause.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Runs until it is dropped.
pub(super) async fn run(inner: Arc<Inner>) {
    let mut pause = PAUSE_MIN;
    loop {
        let before = *inner.head.borrow();
        let broken = follow(&inner).await;
        if *inner.head.borrow() > before {
            pause = PAUSE_MIN;
        }
        tracing::warn!(error = %broken, "the watch of the etcd cluster broke off, it is begun again");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Takes note of where the cluster is. One that was restored from an older snapshot, or another one at the same address,
/// has another history: who follows reads anew.
async fn compare(inner: &Inner) -> Result<(), Status> {
    let (newest, cluster_id) = standing(&inner.calls).await.map_err(|error| Status::unavailable(error.to_string()))?;
    let head = *inner.head.borrow();
    let before = inner.cluster_id.swap(cluster_id, Ordering::SeqCst);
    if newest < head || cluster_id != before {
        tracing::warn!(newest, head, "the etcd cluster was restored: everything is read anew");
        inner.compacted.store(0, Ordering::Relaxed);
        inner.hub.forget(newest);
        inner.head.send_replace(newest);
    }
    Ok(())
}

/// Follows the cluster from where the hub is; why it ended.
async fn follow(inner: &Inner) -> Status {
    if let Err(status) = compare(inner).await {
        return status;
    }
    let next = *inner.head.borrow() + 1;
    let mut responses = match inner.calls.watch_all(next).await {
        Ok(responses) => Changes::new(responses),
        Err(status) => return status,
    };
    loop {
        match responses.next().await {
            Ok(Piece::Changes(changes)) => {
                inner.hub.publish(&changes);
                if let Some(last) = changes.last() {
                    inner.head.send_replace(last.revision);
                }
            }
            Ok(Piece::Compacted(compacted)) => {
                inner.note_compaction(compacted);
                // What lies between is gone: watchers look for it in history and are told so there.
                match newest(&inner.calls).await {
                    Ok(newest) => {
                        inner.hub.reset(newest);
                        inner.head.send_replace(newest);
                        return Status::out_of_range("changes were compacted before they arrived here");
                    }
                    Err(error) => return Status::unavailable(error.to_string()),
                }
            }
            Err(status) => return status,
        }
    }
}

/// A stream of responses as whole revisions.
pub(super) struct Changes {
    responses: Streaming<WatchResponse>,
    /// Events of the newest revision so far, of which more may come.
    open: Vec<WatchEvent>,
}

/// What comes next.
pub(super) enum Piece {
    /// Whole revisions, in order; there may be none.
    Changes(Vec<Arc<Change>>),
    /// Nothing more comes: history before this revision is gone.
    Compacted(Revision),
}

impl Changes {
    pub(super) fn new(responses: Streaming<WatchResponse>) -> Self {
        Changes { responses, open: Vec::new() }
    }

    pub(super) async fn next(&mut self) -> Result<Piece, Status> {
        let response = self.responses.message().await?;
        let response = response.ok_or_else(|| Status::unavailable("the watch ended"))?;
        if response.compact_revision > 0 {
            return Ok(Piece::Compacted(unsigned(response.compact_revision)));
        }
        if response.canceled {
            return Err(Status::unavailable(format!("the watch was cancelled: {}", response.cancel_reason)));
        }
        let mut changes = Vec::new();
        for event in response.events {
            let event = convert::from_event(event).ok_or_else(|| Status::data_loss("an event without a key"))?;
            if self.open.first().is_some_and(|open| open.kv.mod_revision != event.kv.mod_revision) {
                changes.extend(self.close());
            }
            self.open.push(event);
        }
        // A response that is no fragment ends with a revision.
        if !response.fragment {
            changes.extend(self.close());
        }
        Ok(Piece::Changes(changes))
    }

    fn close(&mut self) -> Option<Arc<Change>> {
        let events = std::mem::take(&mut self.open);
        let revision = events.first()?.kv.mod_revision;
        Some(Arc::new(Change { revision, events }))
    }
}
