//! History for watchers that are behind.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use keyspace::limits::{CATCH_UP_BYTES, CATCH_UP_RECORDS};
use keyspace::read::{Change, Changes};
use keyspace::{Error, History, KeyRange, Projection, RangeRequest, Refusal, Revision, RevisionFilter, WatchEvent};

use super::errors;
use super::feed::{self, Piece};
use super::inner::Inner;
use crate::limits::{CALL_TIMEOUT, FORGOTTEN_AFTER};

/// The cluster's history, read by a watch from the past.
pub(super) struct StoredHistory(pub(super) Arc<Inner>);

impl History for StoredHistory {
    fn changes(&self, from: Revision, range: KeyRange, prev: bool) -> BoxFuture<'_, Result<Changes, Error>> {
        async move {
            let read = self.read(from, &range, prev);
            let late = |_| Error::NoLeader { detail: "etcd's history does not arrive".into() };
            tokio::time::timeout(CALL_TIMEOUT, read).await.map_err(late)?
        }
        .boxed()
    }
}

impl StoredHistory {
    async fn read(&self, from: Revision, range: &KeyRange, prev: bool) -> Result<Changes, Error> {
        let head = *self.0.head.borrow();
        // The first revision of all has no events.
        let from = from.max(2);
        let mut found = Changes { changes: Vec::new(), through: from - 1 };
        if from > head {
            found.through = head;
            return Ok(found);
        }
        let stream = self.0.calls.watch_all(from).await;
        let mut stream = feed::Changes::new(stream.map_err(|status| errors::failure(&status))?);
        if from == head && self.may_be_forgotten(from).await? {
            let only =
                tokio::time::timeout(FORGOTTEN_AFTER, self.take(&mut stream, from, head, range, prev, &mut found));
            if let Ok(taken) = only.await {
                taken?;
            }
            found.through = from;
        } else {
            self.take(&mut stream, from, head, range, prev, &mut found).await?;
        }
        Ok(found)
    }

    /// Takes whole revisions until `head`, or enough of them.
    async fn take(
        &self,
        stream: &mut feed::Changes,
        from: Revision,
        head: Revision,
        range: &KeyRange,
        prev: bool,
        found: &mut Changes,
    ) -> Result<(), Error> {
        let (mut records, mut bytes) = (0, 0);
        loop {
            match stream.next().await.map_err(|status| errors::failure(&status))? {
                Piece::Changes(changes) => {
                    for change in changes {
                        // Every revision has events, so the last one seen is how far this has come.
                        found.through = change.revision;
                        records += change.events.len();
                        bytes += change.size();
                        found.changes.extend(select(&change, range, prev));
                        if change.revision >= head || records >= CATCH_UP_RECORDS || bytes >= CATCH_UP_BYTES {
                            return Ok(());
                        }
                    }
                }
                Piece::Compacted(compacted) => {
                    let compacted = self.0.note_compaction(compacted);
                    return Err(Refusal::Compacted { requested: from, compacted }.into());
                }
            }
        }
    }

    /// Whether the events of `revision` may be gone although it is not compacted: etcd before 3.6 drops a delete when
    /// it compacts at that very revision.
    async fn may_be_forgotten(&self, revision: Revision) -> Result<bool, Error> {
        let count = |range| RangeRequest { projection: Projection::CountOnly, ..RangeRequest::new(range) };
        match self.0.range(count(KeyRange::key("\0")).at(revision - 1)).await {
            Ok(_) => return Ok(false),
            Err(Error::Refused(Refusal::Compacted { .. })) => {}
            Err(error) => return Err(error),
        }
        let filter = RevisionFilter { min_mod: revision, max_mod: revision, ..RevisionFilter::default() };
        let puts = RangeRequest { filter, limit: 1, projection: Projection::KeysOnly, ..count(KeyRange::all()) };
        Ok(self.0.range(puts.at(revision)).await?.kvs.is_empty())
    }
}

/// The events of `range`; nothing if there are none.
fn select(change: &Arc<Change>, range: &KeyRange, prev: bool) -> Option<Arc<Change>> {
    let wanted = |event: &&WatchEvent| range.contains(&event.kv.key);
    let events: Vec<WatchEvent> = change.events.iter().filter(wanted).cloned().collect();
    let without_prev = |event: WatchEvent| WatchEvent { prev: event.prev.filter(|_| prev), ..event };
    (!events.is_empty())
        .then(|| Arc::new(Change { revision: change.revision, events: events.into_iter().map(without_prev).collect() }))
}
