//! What an error of the cluster means. etcd says what was wrong but not with which lease or revision, so that is asked
//! for where somebody wants to know.

use keyspace::{Error, LeaseId, Op, Refusal, Revision, Txn};
use tonic::Status;

use super::errors::failure;
use super::feed::{Changes, Piece};
use super::inner::{Inner, newest};
use crate::refuse;

impl Inner {
    /// An error about a revision.
    pub(super) async fn revision_refused(&self, requested: Revision, status: &Status) -> Error {
        if refuse::COMPACTED.is(status) {
            return match self.find_compaction(requested).await {
                Ok(compacted) => Refusal::Compacted { requested, compacted }.into(),
                Err(error) => error,
            };
        }
        if refuse::FUTURE_REVISION.is(status) {
            return match newest(&self.calls).await {
                Ok(current) => Refusal::FutureRevision { requested, current }.into(),
                Err(error) => error,
            };
        }
        if refuse::REQUEST_TOO_LARGE.is(status) {
            let limit = keyspace::limits::MAX_REQUEST_BYTES;
            return Refusal::RequestTooLarge { bytes: limit, limit }.into();
        }
        failure(status)
    }

    /// The newest compaction, which is known to be at or after `requested`: a watch from before it is told.
    async fn find_compaction(&self, requested: Revision) -> Result<Revision, Error> {
        let known = self.note_compaction(requested);
        let failed = |status: Status| failure(&status);
        let mut stream = Changes::new(self.calls.watch_all(requested).await.map_err(failed)?);
        let told = async {
            loop {
                match stream.next().await.map_err(failed)? {
                    Piece::Compacted(compacted) => return Ok(self.note_compaction(compacted)),
                    Piece::Changes(changes) if changes.is_empty() => {}
                    Piece::Changes(_) => return Ok(known),
                }
            }
        };
        // A watch from just there, with nothing after it, is told nothing.
        tokio::time::timeout(crate::limits::COMPACTION_TOLD_WITHIN, told).await.unwrap_or(Ok(known))
    }

    /// An error about a transaction.
    pub(super) async fn txn_refused(&self, txn: &Txn, status: &Status) -> Error {
        if refuse::LEASE_NOT_FOUND.is(status) {
            let mut leases = Vec::new();
            named_leases(txn, &mut leases);
            for id in &leases {
                if let Err(error @ Error::Refused(_)) = self.lease_time_to_live(*id).await {
                    return error;
                }
            }
            return Refusal::LeaseNotFound { id: leases.first().copied().unwrap_or(0) }.into();
        }
        if refuse::KEY_NOT_FOUND.is(status) {
            let key = kept_key(txn).unwrap_or_default();
            return Refusal::KeyNotFound { key }.into();
        }
        if refuse::DUPLICATE_KEY.is(status) {
            return Refusal::DuplicateKey { key: bytes::Bytes::new() }.into();
        }
        // One of those that ranges within name: of the compacted ones surely the oldest, of the future ones the newest.
        let mut revisions = Vec::new();
        read_revisions(txn, &mut revisions);
        let (oldest, newest) = (revisions.iter().min().copied(), revisions.iter().max().copied());
        let revision = if refuse::COMPACTED.is(status) { oldest } else { newest };
        self.revision_refused(revision.unwrap_or(0), status).await
    }
}

fn ops(txn: &Txn) -> impl Iterator<Item = &Op> {
    txn.success.iter().chain(&txn.failure)
}

/// Leases that puts name.
fn named_leases(txn: &Txn, leases: &mut Vec<LeaseId>) {
    for op in ops(txn) {
        match op {
            Op::Put(put) if put.lease != 0 => leases.push(put.lease),
            Op::Txn(inner) => named_leases(inner, leases),
            Op::Put(_) | Op::Delete(_) | Op::Range(_) => {}
        }
    }
}

/// The first key of which a put keeps something.
fn kept_key(txn: &Txn) -> Option<bytes::Bytes> {
    ops(txn).find_map(|op| match op {
        Op::Put(put) if put.ignore_value || put.ignore_lease => Some(put.key.clone()),
        Op::Txn(inner) => kept_key(inner),
        Op::Put(_) | Op::Delete(_) | Op::Range(_) => None,
    })
}

/// Revisions that ranges name.
fn read_revisions(txn: &Txn, revisions: &mut Vec<Revision>) {
    for op in ops(txn) {
        match op {
            Op::Range(range) if range.revision != 0 => revisions.push(range.revision),
            Op::Txn(inner) => read_revisions(inner, revisions),
            Op::Put(_) | Op::Delete(_) | Op::Range(_) => {}
        }
    }
}
