//! What operators ask of a replica beside reading and writing: hashes, room, snapshots as files.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::StreamExt;
use keyspace::{Engine, EngineError, Error as KeyspaceError, KvHash, Revision, SnapshotStream, hash_kv, snapshot};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::parts::Parts;

/// Pieces of a snapshot that wait for whoever reads it; then reading the disk waits.
const SNAPSHOT_QUEUE: usize = 8;

impl Parts {
    /// The hash of this member's state up to `revision`; carries compactions out first. Blocks.
    pub(crate) fn hash(&self, revision: Revision) -> Result<KvHash, KeyspaceError> {
        loop {
            if let Some(hash) = hash_kv(&self.engine.view(), revision)? {
                return Ok(hash);
            }
            while self.machine.sweep()? {}
        }
    }

    /// The state now as a file, in pieces. Ends early, without its digest, when the replica shuts down.
    pub(crate) fn snapshot(self: &Arc<Self>, stop: CancellationToken) -> SnapshotStream {
        let (pieces, queue) = mpsc::channel::<Result<Bytes, KeyspaceError>>(SNAPSHOT_QUEUE);
        let parts = self.clone();
        let work = move || {
            let mut send = |piece| {
                if stop.is_cancelled() || pieces.blocking_send(Ok(piece)).is_err() {
                    let gone = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
                    return Err(EngineError::Io { operation: "send a snapshot", source: Arc::new(gone) });
                }
                Ok(())
            };
            if let Err(error) = snapshot::write(&parts.engine.view(), parts.origin(), &mut send) {
                tracing::warn!(error = &error as &dyn std::error::Error, "a keyspace snapshot was not finished");
                // Whoever asked may have gone; then nobody needs to know.
                drop(pieces.blocking_send(Err(error.into())));
            }
        };
        self.store.disk().run(Box::new(work));
        stream(queue)
    }

    fn origin(&self) -> snapshot::Origin {
        snapshot::Origin { cluster_id: self.links.me().cluster_id, member: self.config.node_id, ..origin_now() }
    }
}

/// This program, now.
pub(crate) fn origin_now() -> snapshot::Origin {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let created_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    snapshot::Origin { created_ms, program: env!("CARGO_PKG_VERSION").into(), ..snapshot::Origin::default() }
}

fn stream(queue: mpsc::Receiver<Result<Bytes, KeyspaceError>>) -> SnapshotStream {
    futures::stream::unfold(queue, |mut queue| async move { Some((queue.recv().await?, queue)) }).boxed()
}
