//! A snapshot that comes in: what has arrived is kept over broken connections, so that sending goes on from there.

use std::io;

use openraft::Vote;
use openraft::error::{Fatal, Infallible, RaftError};
use openraft::raft::SnapshotResponse;
use openraft::storage::Snapshot;
use thiserror::Error;
use tokio::io::{AsyncSeekExt, AsyncWriteExt};
use tokio::sync::Mutex;

use super::wire::Answer;
use crate::store::Store;
use crate::types::{Raft, SnapshotData, SnapshotMeta};

/// Why a piece of a snapshot was not taken.
#[derive(Debug, Error)]
pub(crate) enum ReceiveError {
    #[error("the snapshot cannot be written")]
    Write(#[source] io::Error),
    #[error("the consensus stopped")]
    Raft(#[source] Box<Fatal<u64>>),
}

/// The snapshot on its way to this member, at most one.
#[derive(Debug, Default)]
pub(crate) struct Receiver {
    receiving: Mutex<Option<Receiving>>,
}

struct Receiving {
    meta: SnapshotMeta,
    bytes: u64,
    offset: u64,
    file: Box<SnapshotData>,
}

impl std::fmt::Debug for Receiving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiving").field("offset", &self.offset).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Receiver {
    /// How much of that snapshot is there. Another one than before begins anew.
    pub(crate) async fn offer(&self, raft: &Raft, meta: SnapshotMeta, bytes: u64) -> Result<Answer, ReceiveError> {
        let mut receiving = self.receiving.lock().await;
        if let Some(known) = receiving.as_ref()
            && (&known.meta, known.bytes) == (&meta, bytes)
        {
            tracing::info!(
                snapshot_id = meta.snapshot_id,
                offset = known.offset,
                bytes,
                "receiving of a snapshot goes on"
            );
            return Ok(Answer::SnapshotAt { offset: known.offset });
        }
        tracing::info!(snapshot_id = meta.snapshot_id, bytes, "receiving a snapshot");
        // The former file is closed before the new one takes its place.
        *receiving = None;
        let file = raft.begin_receiving_snapshot().await.map_err(|error| ReceiveError::Raft(fatal(error).into()))?;
        *receiving = Some(Receiving { meta, bytes, offset: 0, file });
        Ok(Answer::SnapshotAt { offset: 0 })
    }

    /// Takes the bytes at `offset`; with the last of them the snapshot is installed.
    pub(crate) async fn chunk(
        &self,
        (raft, store): (&Raft, &Store),
        vote: Vote<u64>,
        snapshot_id: &str,
        offset: u64,
        data: &[u8],
    ) -> Result<Answer, ReceiveError> {
        let mut slot = self.receiving.lock().await;
        // Of a snapshot that is not known nothing is there: it has to be offered again, which offset 0 leads to.
        let Some(receiving) = slot.as_mut().filter(|known| known.meta.snapshot_id == snapshot_id) else {
            return Ok(Answer::SnapshotAt { offset: 0 });
        };
        if offset == receiving.offset {
            if let Err(error) = receiving.write(data).await {
                *slot = None;
                return Err(ReceiveError::Write(error));
            }
            receiving.offset += data.len() as u64;
        }
        if receiving.offset < receiving.bytes {
            return Ok(Answer::SnapshotAt { offset: receiving.offset });
        }
        let Some(Receiving { meta, file, .. }) = slot.take() else { return Ok(Answer::SnapshotAt { offset: 0 }) };
        let snapshot = Snapshot { meta, snapshot: file };
        // Before Raft cuts off what it has of the log, and tells those who wrote it.
        store.note_replacement();
        let SnapshotResponse { vote } =
            raft.install_full_snapshot(vote, snapshot).await.map_err(|error| ReceiveError::Raft(error.into()))?;
        Ok(Answer::SnapshotDone(SnapshotResponse::new(vote)))
    }
}

impl Receiving {
    async fn write(&mut self, data: &[u8]) -> io::Result<()> {
        // A write that failed half way is written again from its beginning.
        self.file.seek(io::SeekFrom::Start(self.offset)).await?;
        self.file.write_all(data).await?;
        self.file.flush().await
    }
}

fn fatal(error: RaftError<u64, Infallible>) -> Fatal<u64> {
    match error {
        RaftError::Fatal(fatal) => fatal,
        RaftError::APIError(never) => match never {},
    }
}
