//! Raft's calls to other members.

use std::io::{self, ErrorKind, SeekFrom};
use std::pin::pin;

use openraft::error::{
    Fatal, InstallSnapshotError, NetworkError, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable,
};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse, SnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft::storage::Snapshot;
use openraft::{AnyError, OptionalSend, StorageIOError, Vote};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::time::sleep;

use super::hello::Lane;
use super::link::CallError;
use super::links::Links;
use super::wire::{Answer, Request, SNAPSHOT_CHUNK_BYTES};
use crate::config::Timing;
use crate::types::{Peer, SnapshotMeta, StorageError, TypeConfig};

/// How often in a row sending a snapshot may fail to get on before Raft is told; it then begins anew, and what has
/// arrived is not sent again.
const SNAPSHOT_ATTEMPTS: u32 = 20;

/// Makes a [`Channel`] for each member.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub(crate) links: Links,
    pub(crate) timing: Timing,
}

/// Raft's way to one member.
#[derive(Clone, Debug)]
pub(crate) struct Channel {
    links: Links,
    timing: Timing,
    target: u64,
    address: String,
}

type Failed<E = RaftError<u64>> = RPCError<u64, Peer, E>;

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Channel;

    async fn new_client(&mut self, target: u64, node: &Peer) -> Channel {
        Channel { links: self.links.clone(), timing: self.timing, target, address: node.address.clone() }
    }
}

impl Channel {
    async fn ask(&self, lane: Lane, request: &Request) -> Result<Answer, CallError> {
        match self.links.ask(self.target, &self.address, lane, request).await? {
            Answer::Failed(failure) => {
                Err(CallError::Lost(format!("member {:x} failed: {}", self.target, keyspace::Error::from(failure))))
            }
            answer => Ok(answer),
        }
    }

    /// Sends what is not there yet, and waits until it is installed.
    async fn send_snapshot(
        &self,
        vote: Vote<u64>,
        mut snapshot: Snapshot<TypeConfig>,
    ) -> Result<SnapshotResponse<u64>, StreamingError<TypeConfig, Fatal<u64>>> {
        let meta = snapshot.meta;
        let unreadable = |error: io::Error| match error.kind() {
            // There is no room to make one, or a newer one has taken its place: Raft asks again.
            ErrorKind::StorageFull | ErrorKind::NotFound => {
                tracing::warn!(%error, "a snapshot for another member could not be made");
                unreachable(&CallError::NotSent(error.to_string())).into()
            }
            _ => {
                let failed = StorageIOError::read_snapshot(Some(meta.signature()), AnyError::new(&error));
                StreamingError::from(StorageError::from(failed))
            }
        };
        let file = &mut snapshot.snapshot;
        let bytes = file.seek(SeekFrom::End(0)).await.map_err(unreadable)?;
        let mut failures = 0;
        let mut offset = None;
        loop {
            let request = match offset {
                None => Request::SnapshotOffer { vote, meta: meta.clone(), bytes },
                Some(offset) => {
                    let mut data = Vec::with_capacity(SNAPSHOT_CHUNK_BYTES);
                    file.seek(SeekFrom::Start(offset)).await.map_err(unreadable)?;
                    file.take(SNAPSHOT_CHUNK_BYTES as u64).read_to_end(&mut data).await.map_err(unreadable)?;
                    let snapshot_id = meta.snapshot_id.clone();
                    Request::SnapshotChunk { vote, snapshot_id, offset, data: data.into() }
                }
            };
            match self.ask(Lane::Snapshot, &request).await {
                Ok(Answer::SnapshotAt { offset: there }) => {
                    if offset.is_none_or(|offset| there > offset) {
                        failures = 0;
                        offset = Some(there);
                    } else {
                        // It does not know this snapshot any more: it is offered again.
                        failures += 1;
                        offset = None;
                    }
                }
                Ok(Answer::SnapshotDone(done)) => return Ok(done),
                Ok(other) => return Err(unreachable(&unexpected(&other)).into()),
                Err(error) => {
                    failures += 1;
                    offset = None;
                    tracing::debug!(%error, failures, "a snapshot is held up");
                    sleep(self.timing.heartbeat).await;
                }
            }
            if failures > SNAPSHOT_ATTEMPTS {
                let text = format!("member {:x} does not take the snapshot", self.target);
                return Err(unreachable(&CallError::NotSent(text)).into());
            }
        }
    }
}

fn unreachable(error: &CallError) -> Unreachable {
    Unreachable::new(error)
}

fn unexpected(answer: &Answer) -> CallError {
    CallError::Lost(format!("an answer to something else: {answer:?}"))
}

/// Raft pauses before it tries again when nothing was sent, and tries again at once otherwise.
fn failed<E: std::error::Error>(error: &CallError) -> Failed<E> {
    match error {
        CallError::NotSent(_) => RPCError::Unreachable(unreachable(error)),
        CallError::Lost(_) => RPCError::Network(NetworkError::new(error)),
    }
}

impl RaftNetwork<TypeConfig> for Channel {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, Failed> {
        let lane = if rpc.entries.is_empty() { Lane::Control } else { Lane::Log };
        match self.ask(lane, &Request::Append(rpc)).await {
            Ok(Answer::Appended(answer)) => Ok(answer),
            Ok(other) => Err(failed(&unexpected(&other))),
            Err(error) => Err(failed(&error)),
        }
    }

    async fn install_snapshot(
        &mut self,
        rpc: InstallSnapshotRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<InstallSnapshotResponse<u64>, Failed<RaftError<u64, InstallSnapshotError>>> {
        let text = format!("snapshot {} is sent as a whole", rpc.meta.snapshot_id);
        Err(RPCError::Unreachable(unreachable(&CallError::NotSent(text))))
    }

    async fn vote(&mut self, rpc: VoteRequest<u64>, _option: RPCOption) -> Result<VoteResponse<u64>, Failed> {
        match self.ask(Lane::Control, &Request::Vote(rpc)).await {
            Ok(Answer::Voted(answer)) => Ok(answer),
            Ok(other) => Err(failed(&unexpected(&other))),
            Err(error) => Err(failed(&error)),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote<u64>,
        snapshot: Snapshot<TypeConfig>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<u64>, StreamingError<TypeConfig, Fatal<u64>>> {
        let SnapshotMeta { snapshot_id, .. } = snapshot.meta.clone();
        tracing::info!(member = format!("{:x}", self.target), snapshot_id, "sending a snapshot");
        let cancel = pin!(cancel);
        tokio::select! {
            closed = cancel => Err(closed.into()),
            sent = self.send_snapshot(vote, snapshot) => sent,
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(self.timing.heartbeat))
    }
}
