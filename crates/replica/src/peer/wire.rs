//! What is sent between members: frames, requests and answers.
//!
//! A frame is its length (u32), a number (u64), both little-endian, and a postcard value. Number 0 is a ping with nothing
//! in it, answered by the same. Variants are only ever added at the end; another meaning needs another
//! [`PROTOCOL`](super::hello::PROTOCOL).

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use keyspace::{ClusterError, Command, EngineError, Error, MemberChange, Refusal, Reply};
use openraft::Vote;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::types::{SnapshotMeta, TypeConfig};

/// Largest frame: several log entries, or the answers to a batch of proposals.
pub(crate) const MAX_FRAME_BYTES: usize = 32 * 1024 * 1024;
/// Largest frame of a hello.
pub(crate) const MAX_HELLO_BYTES: usize = 4 * 1024;
/// Bytes of a snapshot in one frame.
pub(crate) const SNAPSHOT_CHUNK_BYTES: usize = 1024 * 1024;
/// The number of a ping, and of its answer.
pub(crate) const PING: u64 = 0;

/// What one member asks of another.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Raft's AppendEntries; a heartbeat when it has none.
    Append(AppendEntriesRequest<TypeConfig>),
    /// Raft's RequestVote.
    Vote(VoteRequest<u64>),
    /// A snapshot is coming: how much of it is there?
    SnapshotOffer { vote: Vote<u64>, meta: SnapshotMeta, bytes: u64 },
    /// The bytes of the offered snapshot from `offset` on.
    SnapshotChunk { vote: Vote<u64>, snapshot_id: String, offset: u64, data: Bytes },
    /// To the leader: make these commands part of the log.
    Propose(Arc<Vec<Command>>),
    /// To the leader: up to where must be applied before a read that begins now?
    ReadIndex,
    /// To the leader: change the membership.
    Change(MemberChange),
    /// From the leader: stand for election now.
    Elect,
    /// Are you there?
    Presence,
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Appended(AppendEntriesResponse<u64>),
    Voted(VoteResponse<u64>),
    /// So much of the snapshot is there: go on from there.
    SnapshotAt {
        offset: u64,
    },
    /// The whole snapshot is there and installed, or not needed.
    SnapshotDone(SnapshotResponse<u64>),
    /// One for each command.
    Proposed(Vec<Result<Reply, Failure>>),
    /// Reads that began before may be answered once `index` is applied.
    ReadAt {
        index: u64,
        /// Cluster time, milliseconds.
        now_ms: u64,
    },
    Changed(Result<(), ClusterError>),
    /// Done, or being done.
    Done,
    /// It did not work.
    Failed(Failure),
}

/// A keyspace's error on its way to another member.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Failure {
    Refused(Refusal),
    /// Nothing was done.
    NotLeader {
        leader: Option<u64>,
    },
    /// Nothing was done.
    Overloaded {
        limit: u64,
    },
    /// Nothing was done.
    NoSpace(String),
    /// Nothing was done.
    NoLeader(String),
    /// It is unknown what was done.
    Unknown(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(refusal) => Failure::Refused(refusal),
            Error::NotLeader { leader } => Failure::NotLeader { leader },
            Error::Overloaded { limit } => Failure::Overloaded { limit: limit as u64 },
            Error::Storage(EngineError::NoSpace { .. }) => Failure::NoSpace("its disk is full".into()),
            Error::NoLeader { detail } => Failure::NoLeader(detail),
            Error::Unavailable { detail } => Failure::Unknown(detail),
            Error::Closed => Failure::NoLeader("the leader is shutting down".into()),
            other => Failure::Unknown(other.to_string()),
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(refusal) => Error::Refused(refusal),
            Failure::NotLeader { leader } => Error::NotLeader { leader },
            Failure::Overloaded { limit } => Error::Overloaded { limit: usize::try_from(limit).unwrap_or(usize::MAX) },
            Failure::NoSpace(text) => {
                let source: Arc<dyn std::error::Error + Send + Sync> = Arc::new(io::Error::other(text));
                Error::Storage(EngineError::NoSpace { operation: "write on the leader", source })
            }
            Failure::NoLeader(detail) => Error::NoLeader { detail },
            Failure::Unknown(detail) => Error::Unavailable { detail },
        }
    }
}

/// Encodes a value for a frame.
pub(crate) fn encode(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let bytes = postcard::to_stdvec(value).map_err(io::Error::other)?;
    if bytes.len() > MAX_FRAME_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("it takes {} bytes and a frame at most {MAX_FRAME_BYTES}", bytes.len()),
        ));
    }
    Ok(bytes)
}

/// Decodes the value of a frame.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    postcard::from_bytes(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Reads a frame; nothing at a clean end of the stream.
pub(crate) async fn read_frame(
    input: &mut (impl AsyncRead + Unpin),
    most: usize,
) -> io::Result<Option<(u64, Vec<u8>)>> {
    let mut head = [0; 12];
    if input.read(&mut head[..1]).await? == 0 {
        return Ok(None);
    }
    input.read_exact(&mut head[1..]).await?;
    let [l0, l1, l2, l3, number @ ..] = head;
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    if length > most {
        let text = format!("a frame of {length} bytes, where {most} are the most");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    // What was announced is believed only as it comes.
    let mut bytes = Vec::with_capacity(length.min(64 * 1024));
    input.take(length as u64).read_to_end(&mut bytes).await?;
    if bytes.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some((u64::from_le_bytes(number), bytes)))
}

/// Writes a frame, without flushing.
pub(crate) async fn write_frame(out: &mut (impl AsyncWrite + Unpin), number: u64, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    out.write_all(&length.to_le_bytes()).await?;
    out.write_all(&number.to_le_bytes()).await?;
    out.write_all(bytes).await
}
