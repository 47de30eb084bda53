//! The protocol between daemon and shim.
//!
//! A message is a 4-byte little-endian length and that many bytes of JSON; file descriptors ride
//! on its first byte (`SCM_RIGHTS`). One connection carries one conversation:
//!
//! ```text
//! stdin of the shim   -> Start           <- Started | Failed     <- Exited
//! shim.sock           -> Watch           <- Watching             <- Exited
//! shim.sock           -> Exec  + fds     <- Terminal? Started | Failed     <- Exited
//! shim.sock           -> Attach + fds    <- Attached | Failed   (closing it detaches)
//! shim.sock           -> Signal | Resize | CloseStdin            <- Done | Failed
//! ```
//!
//! Both ends come from the same binary or from neighbouring versions of it: unknown fields are
//! ignored, missing ones have defaults, and [`VERSION`] is checked on start.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::PathBuf;

use jiff::Timestamp;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::container::{ContainerSpec, Exit, TermSize, UserIds};

/// Version of this protocol.
pub(crate) const VERSION: u32 = 1;
/// Longest message: a container's environment and profile fit many times over.
pub(crate) const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Most file descriptors in one message.
pub(crate) const MESSAGE_FDS_MAX: usize = 16;

/// First message to a shim, over its stdin.
#[derive(Serialize, Deserialize)]
pub(crate) struct StartRequest {
    pub(crate) version: u32,
    pub(crate) spec: ContainerSpec,
    /// Path of the container's cgroup below the cgroup mount(s).
    pub(crate) cgroup: PathBuf,
}

/// A request over the shim's socket.
#[derive(Serialize, Deserialize)]
pub(crate) enum Request {
    Watch,
    Exec(ExecRequest),
    /// Carries stdin (when `stdin`), stdout and stderr as file descriptors.
    Attach {
        stdin: bool,
    },
    Signal(i32),
    Resize(TermSize),
    CloseStdin,
}

/// What to run in the container. File descriptors: stdin, stdout and stderr unless there is a
/// terminal, then those that become 3, 4 and so on.
#[derive(Serialize, Deserialize)]
pub(crate) struct ExecRequest {
    pub(crate) argv: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) inherit_env: bool,
    pub(crate) cwd: Option<PathBuf>,
    pub(crate) user: Option<UserIds>,
    pub(crate) tty: Option<TermSize>,
    #[serde(default)]
    pub(crate) apparmor: Option<String>,
}

/// An answer of the shim.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    Started {
        pid: i32,
        started_at: Timestamp,
    },
    Watching,
    Attached,
    /// Carries the terminal's master side.
    Terminal,
    Failed {
        problem: String,
    },
    Done,
    Exited(Exit),
}

fn invalid(problem: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem.into())
}

fn frame(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message)?;
    let length = bytes.len() - 4;
    if length > MESSAGE_BYTES_MAX {
        return Err(invalid(format!("message of {length} bytes is over the limit of {MESSAGE_BYTES_MAX}")));
    }
    let header = u32::try_from(length).map_err(|_| invalid("message too long"))?;
    bytes[..4].copy_from_slice(&header.to_le_bytes());
    Ok(bytes)
}

/// Sends one message with file descriptors over a blocking stream socket.
pub(crate) fn send(socket: BorrowedFd<'_>, message: &impl Serialize, fds: &[RawFd]) -> io::Result<()> {
    let bytes = frame(message)?;
    let control = [ControlMessage::ScmRights(fds)];
    let control: &[ControlMessage<'_>] = if fds.is_empty() { &[] } else { &control };
    let mut sent = loop {
        let slice = [IoSlice::new(&bytes)];
        match sendmsg::<()>(socket.as_raw_fd(), &slice, control, MsgFlags::MSG_NOSIGNAL, None) {
            Ok(sent) => break sent,
            Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    };
    while sent < bytes.len() {
        match nix::sys::socket::send(socket.as_raw_fd(), &bytes[sent..], MsgFlags::MSG_NOSIGNAL) {
            Ok(more) => sent += more,
            Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Receives one message with its file descriptors from a blocking stream socket; `None` at its end.
pub(crate) fn receive<T: DeserializeOwned>(socket: BorrowedFd<'_>) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut header = [0; 4];
    let mut fds = Vec::new();
    let mut filled = 0;
    while filled < header.len() {
        let read = receive_some(socket, &mut header[filled..], &mut fds)?;
        if read == 0 && filled == 0 {
            return Ok(None);
        }
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        filled += read;
    }
    let mut body = vec![0; body_length(header)?];
    let mut filled = 0;
    while filled < body.len() {
        let read = receive_some(socket, &mut body[filled..], &mut fds)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        filled += read;
    }
    Ok(Some((serde_json::from_slice(&body)?, fds)))
}

/// As [`send`], over a socket of the async runtime.
pub(crate) async fn send_async(socket: &tokio::net::UnixStream, message: &impl Serialize) -> io::Result<()> {
    let bytes = frame(message)?;
    let mut sent = 0;
    while sent < bytes.len() {
        socket.writable().await?;
        match socket.try_write(&bytes[sent..]) {
            Ok(more) => sent += more,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// As [`receive`], from a socket of the async runtime. Not safe to cancel and go on: part of a
/// message would be lost.
pub(crate) async fn receive_async<T: DeserializeOwned>(
    socket: &tokio::net::UnixStream,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut fds = Vec::new();
    let mut header = [0; 4];
    if !fill(socket, &mut header, &mut fds).await? {
        return Ok(None);
    }
    let mut body = vec![0; body_length(header)?];
    if !fill(socket, &mut body, &mut fds).await? && !body.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some((serde_json::from_slice(&body)?, fds)))
}

/// Fills the buffer; false when the stream ended before its first byte.
async fn fill(socket: &tokio::net::UnixStream, buffer: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<bool> {
    let mut filled = 0;
    while filled < buffer.len() {
        socket.readable().await?;
        let raw = socket.as_fd();
        let rest = &mut buffer[filled..];
        match socket.try_io(tokio::io::Interest::READABLE, || receive_some(raw, rest, fds)) {
            Ok(0) if filled == 0 => return Ok(false),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// The checked length in a message's header.
pub(crate) fn body_length(header: [u8; 4]) -> io::Result<usize> {
    let length = u32::from_le_bytes(header) as usize;
    if length > MESSAGE_BYTES_MAX {
        return Err(invalid(format!("message of {length} bytes is over the limit of {MESSAGE_BYTES_MAX}")));
    }
    Ok(length)
}

fn receive_some(socket: BorrowedFd<'_>, buffer: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut space = nix::cmsg_space!([RawFd; MESSAGE_FDS_MAX]);
    loop {
        let mut slices = [IoSliceMut::new(buffer)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message = match recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut space), flags) {
            Ok(message) => message,
            Err(nix::Error::EINTR) => continue,
            Err(error) => return Err(error.into()),
        };
        for control in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(received) = control {
                // SAFETY: the kernel has just made these descriptors for us; nobody else owns them.
                fds.extend(received.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
            }
        }
        if message.flags.contains(MsgFlags::MSG_CTRUNC) {
            return Err(invalid("too many file descriptors in one message"));
        }
        return Ok(message.bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn message_and_descriptor_arrive_together() -> io::Result<()> {
        let (left, right) = UnixStream::pair()?;
        let (mut theirs, ours) = UnixStream::pair()?;
        send(left.as_fd(), &Request::Signal(15), &[ours.as_raw_fd()])?;
        drop(ours);
        let (request, mut fds) = receive::<Request>(right.as_fd())?.ok_or(io::ErrorKind::UnexpectedEof)?;
        assert!(matches!(request, Request::Signal(15)));
        let fd = fds.pop().ok_or(io::ErrorKind::NotFound)?;
        UnixStream::from(fd).write_all(b"x")?;
        let mut got = Vec::new();
        theirs.read_to_end(&mut got)?;
        assert_eq!(got, b"x");
        Ok(())
    }

    #[test]
    fn end_between_messages_is_none_and_inside_is_an_error() -> io::Result<()> {
        let (left, right) = UnixStream::pair()?;
        drop(left);
        assert!(receive::<Request>(right.as_fd())?.is_none());
        let (mut left, right) = UnixStream::pair()?;
        left.write_all(&[9, 0])?;
        drop(left);
        assert!(receive::<Request>(right.as_fd()).is_err());
        Ok(())
    }

    #[test]
    fn oversized_length_is_refused_before_allocation() -> io::Result<()> {
        let (mut left, right) = UnixStream::pair()?;
        left.write_all(&u32::MAX.to_le_bytes())?;
        let error = receive::<Request>(right.as_fd()).err().ok_or(io::ErrorKind::Other)?;
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        Ok(())
    }
}
