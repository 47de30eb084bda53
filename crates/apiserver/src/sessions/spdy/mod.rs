//! SPDY/3.1 as Kubernetes' clients speak it: streams that the client opens over one connection.
//!
//! ```text
//!   connection ──► FrameReader ──► Stream { headers, input }   one for each that the client opens
//!              ◄── FrameWriter ◄── StreamWriter                shared queue, in order
//! ```
//!
//! `kubectl port-forward` speaks it within a WebSocket, older clients and many libraries on the upgraded connection
//! itself. A stream that is not read holds up the connection: that is the only flow control there is.
//!
//! Limits: [`MAX_STREAMS`] open at once, [`QUEUED`] frames each way.

mod dictionary;
mod frame;
mod headers;

use std::{collections::HashMap, future::Future, io, pin::pin, time::Duration};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
};

use self::frame::{FrameReader, FrameWriter, Incoming, Outgoing};
pub(crate) use self::headers::Headers;

/// Most streams of one connection at once; more are refused.
const MAX_STREAMS: usize = 256;
/// Frames that wait for their reader or writer.
const QUEUED: usize = 16;
/// Longest wait until a client that has got everything goes.
const LINGER: Duration = Duration::from_secs(5);
/// Longest wait until the last frames are written.
const FLUSH: Duration = Duration::from_secs(10);

/// A stream that the client opened.
#[derive(Debug)]
pub(crate) struct Stream {
    /// What it is for.
    pub(crate) headers: Headers,
    /// What the client sends; ends when the client said that nothing more comes.
    pub(crate) input: mpsc::Receiver<Bytes>,
    /// The way back.
    pub(crate) output: StreamWriter,
}

/// Writes to a stream.
#[derive(Debug)]
pub(crate) struct StreamWriter {
    stream: u32,
    frames: mpsc::Sender<Outgoing>,
}

/// The connection has ended.
#[derive(Debug)]
pub(crate) struct Gone;

impl StreamWriter {
    /// Sends data; waits while the client takes no more.
    pub(crate) async fn send(&self, data: Bytes) -> Result<(), Gone> {
        self.frames.send(Outgoing::Data { stream: self.stream, data }).await.map_err(|_| Gone)
    }

    /// Says that nothing more comes.
    pub(crate) async fn finish(self) {
        // A connection that has ended needs no end of its streams.
        let _ = self.frames.send(Outgoing::Fin { stream: self.stream }).await;
    }

    /// Refuses the stream.
    pub(crate) async fn reset(self) {
        let _ = self.frames.send(Outgoing::Reset { stream: self.stream }).await;
    }
}

/// Serves a connection: `work` gets the streams; the connection ends with it, or when the client goes.
pub(crate) async fn serve<C, W>(connection: C, work: impl FnOnce(mpsc::Receiver<Stream>) -> W) -> io::Result<()>
where
    C: AsyncRead + AsyncWrite + Unpin,
    W: Future<Output = ()>,
{
    let (source, sink) = tokio::io::split(connection);
    let mut sink = FrameWriter::new(sink)?;
    let (frames, mut queue) = mpsc::channel(QUEUED);
    let (opened, streams) = mpsc::channel(QUEUED);
    let served = async {
        let mut reading = pin!(read(FrameReader::new(source), frames, opened));
        tokio::select! {
            ended = &mut reading => return ended,
            () = work(streams) => {}
        }
        // A connection cut before the client has read everything would lose the rest.
        tokio::time::timeout(LINGER, reading).await.unwrap_or(Ok(()))
    };
    let mut writing = pin!(async {
        while let Some(frame) = queue.recv().await {
            sink.write(&frame).await?;
        }
        sink.end().await
    });
    let ended = tokio::select! {
        ended = served => ended,
        written = &mut writing => return written,
    };
    // No stream is left that could send more; write what is queued.
    tokio::time::timeout(FLUSH, writing).await.unwrap_or(Ok(()))?;
    ended
}

/// Hands frames to their streams until the connection ends.
async fn read<R: AsyncRead + Unpin>(
    mut source: FrameReader<R>,
    frames: mpsc::Sender<Outgoing>,
    opened: mpsc::Sender<Stream>,
) -> io::Result<()> {
    let mut inputs: HashMap<u32, mpsc::Sender<Bytes>> = HashMap::new();
    while let Some(frame) = source.next().await? {
        match frame {
            Incoming::Open { stream, headers, fin } => {
                inputs.retain(|_, input| !input.is_closed());
                let output = StreamWriter { stream, frames: frames.clone() };
                if inputs.len() >= MAX_STREAMS || inputs.contains_key(&stream) {
                    output.reset().await;
                    continue;
                }
                let (sender, input) = mpsc::channel(QUEUED);
                if !fin {
                    inputs.insert(stream, sender);
                }
                if frames.send(Outgoing::Reply { stream }).await.is_err() {
                    return Ok(());
                }
                // When the receiver of new streams is gone, the session is over and the client is about to close.
                let _ = opened.send(Stream { headers, input, output }).await;
            }
            Incoming::Data { stream, data, fin } => {
                if let Some(input) = inputs.get(&stream).filter(|_| !data.is_empty()) {
                    // Who no longer reads loses it, as with a pipe.
                    let _ = input.send(data).await;
                }
                if fin {
                    inputs.remove(&stream);
                }
            }
            Incoming::Reset { stream } => drop(inputs.remove(&stream)),
            // The client's have odd numbers; answers to ours would have even ones.
            Incoming::Ping(id) if id % 2 == 1 => {
                if frames.send(Outgoing::Ping(id)).await.is_err() {
                    return Ok(());
                }
            }
            Incoming::GoAway => return Ok(()),
            Incoming::Ping(_) | Incoming::Nothing => {}
        }
    }
    Ok(())
}
