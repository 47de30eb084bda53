//! The first frame of a connection, and the answer to it.

use std::io;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::wire::{self, MAX_HELLO_BYTES};
use crate::transport::{ByteStream, Transport};

/// What members speak. Members of another protocol are refused: install the same release on all of them.
pub(crate) const PROTOCOL: u32 = 1;

/// What a connection is for; each lane of a pair of members is a connection of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Lane {
    /// Heartbeats, votes, presence: small and urgent.
    Control,
    /// Log entries.
    Log,
    /// Snapshots.
    Snapshot,
    /// Proposals, reads and changes on their way to the leader.
    Forward,
}

/// Who connects, and what for. Its first field is the protocol for ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) protocol: u32,
    pub(crate) cluster_id: u64,
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// Drawn at the start of the process: two processes with one identity are told apart by it.
    pub(crate) incarnation: u64,
    pub(crate) lane: Lane,
}

/// Why a member does not talk to another one. Variants are only added at the end.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum Rejection {
    /// Different releases.
    #[error(
        "member {id:x} speaks protocol {ours} and this one speaks {theirs}: install the same release of nanocloud on all members"
    )]
    Protocol {
        /// Who refuses.
        id: u64,
        /// Protocol of who connected.
        theirs: u32,
        /// Protocol of who refuses.
        ours: u32,
    },
    /// Different clusters.
    #[error("member {id:x} belongs to cluster {ours:x}, this one to {theirs:x}: check the peer addresses")]
    Cluster {
        /// Who refuses.
        id: u64,
        /// Cluster of who connected.
        theirs: u64,
        /// Cluster of who refuses.
        ours: u64,
    },
    /// Somebody else answers.
    #[error("member {id:x} answers where member {wanted:x} was expected: check the peer addresses")]
    Target {
        /// Who refuses.
        id: u64,
        /// Who was to be reached.
        wanted: u64,
    },
    /// The certificate is of somebody else.
    #[error("it says that it is member {claimed:x}, and its certificate is of member {proved:x}")]
    Identity {
        /// Identity it claims.
        claimed: u64,
        /// Identity it proved.
        proved: u64,
    },
    /// It was removed.
    #[error("member {id:x} was removed from this cluster: wipe its state and join with a new token")]
    Removed {
        /// The member removed.
        id: u64,
    },
    /// Another process is this member.
    #[error("another process runs as member {id:x}: stop one of them; never start a member from a copy of its state")]
    Duplicate {
        /// The member.
        id: u64,
    },
}

/// The answer to a hello: the incarnation of who answers.
pub(crate) type Welcome = Result<u64, Rejection>;

/// Whether `to`, a member with its address, would talk to `from`, a member with its cluster. Nothing else comes of it.
///
/// # Errors
/// When it cannot be reached, or does not say.
pub async fn probe(
    transport: &dyn Transport,
    (from, cluster_id): (u64, u64),
    (to, address): (u64, &str),
) -> io::Result<Result<(), Rejection>> {
    let mut stream = transport.connect(to, address).await?;
    let hello = Hello { protocol: PROTOCOL, cluster_id, from, to, incarnation: 0, lane: Lane::Control };
    Ok(introduce(&mut stream, &hello).await?.map(drop))
}

/// Introduces this member on a new connection.
pub(crate) async fn introduce(stream: &mut ByteStream, hello: &Hello) -> io::Result<Welcome> {
    use tokio::io::AsyncWriteExt;
    wire::write_frame(stream, wire::PING, &wire::encode(hello)?).await?;
    stream.flush().await?;
    match wire::read_frame(stream, MAX_HELLO_BYTES).await? {
        Some((_, bytes)) => wire::decode(&bytes),
        None => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it hung up at once")),
    }
}

/// Reads who connects. `Err(protocol)` for a protocol that is not ours: then nothing else is understood.
pub(crate) fn read(bytes: &[u8]) -> io::Result<Result<Hello, u32>> {
    let (protocol, _): (u32, _) =
        postcard::take_from_bytes(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    if protocol != PROTOCOL {
        return Ok(Err(protocol));
    }
    wire::decode(bytes).map(Ok)
}
