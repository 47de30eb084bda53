//! Frames of SPDY/3.1, as far as streams of a client need them.
//!
//! ```text
//!   control: 1 | version (15) | type (16) | flags (8) | length (24) | ...
//!   data:    0 | stream (31)              | flags (8) | length (24) | ...
//! ```
//!
//! Source: SPDY Protocol, Draft 3.1, section 2.2 and 2.6. `WINDOW_UPDATE` and `SETTINGS` are read and not heeded, as
//! Kubernetes' clients and servers do: each side takes no more from the connection than it has room for.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::headers::{HeaderReader, HeaderWriter, Headers};

const VERSION: u16 = 3;
const CONTROL: u16 = 0x8000;
const STREAM: u32 = 0x7fff_ffff;
const FIN: u8 = 1;
const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;
/// Status of a stream that is refused.
const REFUSED: u32 = 3;
/// Bytes before a frame's content.
const HEAD: usize = 8;
/// Largest frame taken, in bytes.
const MAX_FRAME: usize = 1024 * 1024;

/// What the other side said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    Open {
        stream: u32,
        headers: Headers,
        fin: bool,
    },
    Data {
        stream: u32,
        data: Bytes,
        fin: bool,
    },
    Reset {
        stream: u32,
    },
    Ping(u32),
    GoAway,
    /// Nothing that needs an answer.
    Nothing,
}

/// What is said to the other side.
#[derive(Debug)]
pub(super) enum Outgoing {
    Reply { stream: u32 },
    Data { stream: u32, data: Bytes },
    Fin { stream: u32 },
    Reset { stream: u32 },
    Ping(u32),
}

fn invalid(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

/// Reads frames.
pub(super) struct FrameReader<R> {
    source: R,
    headers: HeaderReader,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(super) fn new(source: R) -> Self {
        Self { source, headers: HeaderReader::new() }
    }

    /// The next frame; nothing at the end of the connection. Not to be cancelled and called again.
    pub(super) async fn next(&mut self) -> io::Result<Option<Incoming>> {
        let mut head = [0; HEAD];
        match self.source.read_exact(&mut head).await {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let [a, b, c, d, flags, e, f, g] = head;
        let length = u32::from_be_bytes([0, e, f, g]);
        let length = usize::try_from(length).map_err(io::Error::other)?;
        if length > MAX_FRAME {
            return Err(invalid("a frame is too large"));
        }
        let mut content = BytesMut::zeroed(length);
        self.source.read_exact(&mut content).await?;
        let (first, fin) = (u16::from_be_bytes([a, b]), flags & FIN != 0);
        if first & CONTROL == 0 {
            let stream = u32::from_be_bytes([a, b, c, d]);
            return Ok(Some(Incoming::Data { stream, data: content.freeze(), fin }));
        }
        if first != CONTROL | VERSION {
            return Err(invalid("the frame is not of SPDY/3"));
        }
        self.control(u16::from_be_bytes([c, d]), fin, &content).map(Some)
    }

    fn control(&mut self, kind: u16, fin: bool, content: &[u8]) -> io::Result<Incoming> {
        let number = |at: usize| -> io::Result<u32> {
            let bytes = content.get(at..).and_then(|rest| rest.first_chunk());
            bytes.map(|bytes| u32::from_be_bytes(*bytes)).ok_or_else(|| invalid("a frame is too short"))
        };
        match kind {
            SYN_STREAM => {
                // Stream, the stream it belongs to, priority and slot; then the headers.
                let block = content.get(10..).ok_or_else(|| invalid("a frame is too short"))?;
                let headers = self.headers.read(block)?;
                Ok(Incoming::Open { stream: number(0)? & STREAM, headers, fin })
            }
            HEADERS => {
                // Read, for the compressor goes on from here.
                self.headers.read(content.get(4..).ok_or_else(|| invalid("a frame is too short"))?)?;
                Ok(Incoming::Nothing)
            }
            SYN_REPLY => Err(invalid("an answer came to a stream that was not asked for")),
            RST_STREAM => Ok(Incoming::Reset { stream: number(0)? & STREAM }),
            PING => Ok(Incoming::Ping(number(0)?)),
            GOAWAY => Ok(Incoming::GoAway),
            _ => Ok(Incoming::Nothing),
        }
    }
}

/// Writes frames.
pub(super) struct FrameWriter<W> {
    sink: W,
    headers: HeaderWriter,
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    pub(super) fn new(sink: W) -> io::Result<Self> {
        Ok(Self { sink, headers: HeaderWriter::new()? })
    }

    /// Writes a frame and hands it to the connection.
    pub(super) async fn write(&mut self, frame: &Outgoing) -> io::Result<()> {
        let bytes = match frame {
            Outgoing::Reply { stream } => {
                let mut content = stream.to_be_bytes().to_vec();
                content.extend(self.headers.write(&Headers::new())?);
                control(SYN_REPLY, &content)?
            }
            Outgoing::Reset { stream } => control(RST_STREAM, &[stream.to_be_bytes(), REFUSED.to_be_bytes()].concat())?,
            Outgoing::Ping(id) => control(PING, &id.to_be_bytes())?,
            Outgoing::Data { stream, data } => data_frame(*stream, 0, data)?,
            Outgoing::Fin { stream } => data_frame(*stream, FIN, &[])?,
        };
        self.sink.write_all(&bytes).await?;
        self.sink.flush().await
    }

    /// Says that nothing more comes.
    pub(super) async fn end(&mut self) -> io::Result<()> {
        self.sink.shutdown().await
    }
}

fn frame(first: u32, flags: u8, content: &[u8]) -> io::Result<BytesMut> {
    let length = u32::try_from(content.len()).map_err(io::Error::other)?;
    let mut bytes = BytesMut::with_capacity(HEAD + content.len());
    bytes.put_u32(first);
    bytes.put_u32(u32::from(flags) << 24 | length);
    bytes.put_slice(content);
    Ok(bytes)
}

fn control(kind: u16, content: &[u8]) -> io::Result<BytesMut> {
    frame(u32::from(CONTROL | VERSION) << 16 | u32::from(kind), 0, content)
}

fn data_frame(stream: u32, flags: u8, data: &[u8]) -> io::Result<BytesMut> {
    frame(stream & STREAM, flags, data)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(bytes: &[u8]) -> io::Result<Option<Incoming>> {
        FrameReader::new(bytes).next().await
    }

    #[tokio::test]
    async fn frames_of_a_client_are_understood() {
        let headers: Headers = [("streamtype".to_owned(), "data".to_owned())].into();
        let mut content = [5_u32.to_be_bytes(), 0_u32.to_be_bytes()].concat();
        content.extend([0, 0]);
        content.extend(HeaderWriter::new().unwrap().write(&headers).unwrap());
        let open = control(SYN_STREAM, &content).unwrap();
        assert_eq!(read(&open).await.unwrap(), Some(Incoming::Open { stream: 5, headers, fin: false }));
        let data = data_frame(5, FIN, b"hi").unwrap();
        let wanted = Incoming::Data { stream: 5, data: Bytes::from_static(b"hi"), fin: true };
        assert_eq!(read(&data).await.unwrap(), Some(wanted));
        let ping = control(PING, &7_u32.to_be_bytes()).unwrap();
        assert_eq!(read(&ping).await.unwrap(), Some(Incoming::Ping(7)));
        assert_eq!(read(&control(4, &[0; 12]).unwrap()).await.unwrap(), Some(Incoming::Nothing));
        assert_eq!(read(b"").await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_is_no_frame_ends_the_connection() {
        for bad in [
            &b"\x80\x02\0\x01\0\0\0\0"[..],
            b"\x80\x03\0\x01\0\0\0\0",
            b"\x80\x03\0\x02\0\0\0\0",
            b"\0\0\0\x01\0\xff\xff\xff",
            b"\0\0\0\x01\0\0\0\x05abc",
        ] {
            assert!(read(bad).await.is_err(), "{bad:?}");
        }
    }
}
