//! How tests talk to the program `member`: frames of a length and postcard, one question at a time.

use std::io;

use keyspace::{KeyRange, MemberChange, Revision, Status, WatchEvent};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::history::{Request, Response};

/// Largest frame that is taken.
const MAX_FRAME_BYTES: u32 = 64 * 1024 * 1024;

/// A question.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Call {
    /// A request of a history.
    Ask {
        /// The request.
        request: Request,
        /// Whether a read is answered as the member knows, against what was asked: a bug put in on purpose.
        stale: bool,
    },
    /// From now on, all changes of a range; nothing else is asked on this connection.
    Watch {
        /// Keys.
        range: KeyRange,
        /// First revision.
        from: Revision,
    },
    /// How the member is.
    Status,
    /// Changes the membership.
    Change(MemberChange),
}

/// An answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Answer {
    /// It was done.
    Done(Response),
    /// Nothing was done.
    Refused(String),
    /// It is not known whether it was done.
    Unknown(String),
    /// Events, complete up to a revision.
    Batch {
        /// The revision.
        revision: Revision,
        /// The events.
        events: Vec<WatchEvent>,
    },
    /// The membership was changed.
    Changed,
    /// How the member is, and the cluster's identity.
    Status(Status, u64),
}

/// Sends one.
pub async fn send<T: Serialize>(stream: &mut (impl AsyncWrite + Unpin), value: &T) -> io::Result<()> {
    let bytes = postcard::to_stdvec(value).map_err(io::Error::other)?;
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), &bytes[..]].concat()).await?;
    stream.flush().await
}

/// Receives one.
pub async fn receive<T: DeserializeOwned>(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<T> {
    let length = stream.read_u32().await?;
    if length > MAX_FRAME_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; length as usize];
    stream.read_exact(&mut bytes).await?;
    postcard::from_bytes(&bytes).map_err(io::Error::other)
}
