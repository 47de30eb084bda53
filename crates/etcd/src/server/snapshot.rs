//! Snapshots as etcd's own tools read them: a file of bbolt, followed by its SHA-256.
//!
//! ```text
//!   keyspace's snapshot ──► records in order of revision ──► bbolt file (unnamed, on disk) ──► pieces ──► client
//! ```
//!
//! The first pages of such a file say how many pages follow, so it is made whole before the first byte is sent. The
//! file has no name: it is gone with the stream, however that ends.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use keyspace::snapshot::{Reader, Record, SnapshotError};
use keyspace::{EventKind, Revision};
use prost::Message;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio_util::io::{StreamReader, SyncIoBridge};
use tonic::Status;

use super::routes::ResponseStream;
use super::{EtcdServer, failed};
use crate::bolt::Writer;
use crate::convert;
use crate::limits::{SNAPSHOT_PIECE_BYTES, SNAPSHOT_PIECES};
use crate::wire::lease::StoredLease;
use crate::wire::maintenance::SnapshotResponse;
use crate::wire::services::Anything;
use crate::wire::{kv, lease};

/// What etcd's data say of the program that wrote them: a cluster of this version opens them.
const CLUSTER_VERSION: &str = "3.4.0";

impl EtcdServer {
    pub(super) async fn snapshot(self: Arc<Self>, _: Anything) -> Result<ResponseStream<SnapshotResponse>, Status> {
        let index = self.standing().await?.applied_index;
        let pieces = self.keyspace.snapshot().await.map_err(failed)?;
        let input = SyncIoBridge::new(StreamReader::new(pieces.map_err(io::Error::other)));
        let (header, scratch) = (self.header(0), self.scratch.clone());
        let (answers, received) = mpsc::channel(SNAPSHOT_PIECES);
        tokio::task::spawn_blocking(move || {
            let sent = export(input, &scratch, index).and_then(|(file, bytes)| send(file, bytes, &header, &answers));
            if let Err(error) = sent {
                tracing::warn!(error = &error as &dyn std::error::Error, "a snapshot for an etcd client failed");
                // A client that has gone needs no reason.
                drop(answers.blocking_send(Err(Status::internal(format!("etcdserver: snapshot failed: {error}")))));
            }
        });
        Ok(futures::stream::unfold(received, |mut received| async move {
            let answer = received.recv().await?;
            Some((answer, received))
        })
        .boxed())
    }
}

/// Sends the file in pieces, then its digest.
fn send(
    mut file: File,
    bytes: u64,
    header: &kv::ResponseHeader,
    answers: &mpsc::Sender<Result<SnapshotResponse, Status>>,
) -> io::Result<()> {
    file.rewind()?;
    let (mut digest, mut left) = (Sha256::new(), bytes);
    let answer = |remaining_bytes, blob| {
        let answer = SnapshotResponse { header: Some(header.clone()), remaining_bytes, blob };
        answers.blocking_send(Ok(answer)).map_err(|_| io::Error::other("the client has gone"))
    };
    while left > 0 {
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(SNAPSHOT_PIECE_BYTES);
        let mut piece = vec![0; length];
        file.read_exact(&mut piece)?;
        digest.update(&piece);
        left -= length as u64;
        answer(left, piece.into())?;
    }
    answer(0, Bytes::copy_from_slice(&digest.finalize()))
}

/// Makes etcd's file of a snapshot, unnamed below `scratch`; the file and its size.
fn export(input: impl Read, scratch: &Path, applied_index: u64) -> io::Result<(File, u64)> {
    let mut reader = Reader::open(input).map_err(io::Error::other)?;
    let compacted = reader.header().compact_revision;
    let mut writer = Writer::new(tempfile::tempfile_in(scratch)?)?;
    for name in ["alarm", "auth", "authRoles", "authUsers"] {
        writer.small(name, &[])?;
    }
    writer.small("cluster", &[(b"clusterVersion", CLUSTER_VERSION.into())])?;
    let mut keys = writer.bucket("key");
    let mut leases = Vec::new();
    while let Some(record) = next(&mut reader)? {
        match record {
            Record::Change { revision, sub, kind, kv } => {
                keys.put(&stored_key(revision, sub, kind), &stored(kind, kv))?
            }
            Record::Lease { id, ttl_seconds, remaining_ms } => {
                let remaining_ttl = i64::try_from(remaining_ms.div_ceil(1000)).unwrap_or(i64::MAX);
                leases.push((id, lease::StoredLease { id, ttl: ttl_seconds, remaining_ttl }));
            }
        }
    }
    keys.finish()?;
    reader.finish().map_err(io::Error::other)?;
    let mut bucket = writer.bucket("lease");
    for (id, lease) in leases {
        bucket.put(&id.to_be_bytes(), &StoredLease::encode_to_vec(&lease))?;
    }
    bucket.finish()?;
    writer.small("members", &[])?;
    writer.small("members_removed", &[])?;
    let index = applied_index.to_be_bytes().to_vec();
    let mut meta: Vec<(&[u8], Vec<u8>)> = vec![(b"consistent_index", index)];
    if compacted > 0 {
        let revision = stored_key(compacted, 0, EventKind::Put);
        meta.push((b"finishedCompactRev", revision.clone()));
        meta.push((b"scheduledCompactRev", revision));
    }
    writer.small("meta", &meta)?;
    writer.finish()
}

fn next(reader: &mut Reader<impl Read>) -> io::Result<Option<Record>> {
    reader.record().map_err(|error: SnapshotError| io::Error::other(error))
}

/// Key of a change in etcd's bucket `key`: revision, and number within it; a delete is marked.
fn stored_key(revision: Revision, sub: u32, kind: EventKind) -> Vec<u8> {
    let mut key = Vec::with_capacity(18);
    key.extend(revision.to_be_bytes());
    key.push(b'_');
    key.extend(u64::from(sub).to_be_bytes());
    if kind == EventKind::Delete {
        key.push(b't');
    }
    key
}

/// Value of a change there; of a delete it is only the key.
fn stored(kind: EventKind, kv: keyspace::KeyValue) -> Vec<u8> {
    let kv = match kind {
        EventKind::Put => convert::key_value(kv),
        EventKind::Delete => kv::KeyValue { key: kv.key, ..kv::KeyValue::default() },
    };
    kv.encode_to_vec()
}
