//! The program's streams: into the log, to those attached, and from them.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use jiff::Timestamp;

use super::launch::Stdio;
use crate::container::{LogTarget, TermSize};
use crate::logs::{LogWriter, StreamKind};
use crate::pty;

/// Bytes taken from a stream at once.
const READ_BYTES: usize = 16 << 10;
/// Input taken from viewers and not yet by the program, in bytes; more is not read meanwhile.
const INPUT_BYTES_MAX: usize = 16 << 10;
/// The character that is end of file on a terminal (`VEOF`).
const END_OF_FILE: u8 = 4;
/// Most viewers at once.
pub(super) const VIEWERS_MAX: usize = 16;

/// A program's streams as the shim holds them.
pub(super) struct Output {
    input: Option<File>,
    /// Input on its way to the program.
    held: Vec<u8>,
    /// The program reads end of file after what is on its way.
    closing: bool,
    out: Option<File>,
    err: Option<File>,
    /// A terminal: input and output are one.
    terminal: bool,
    log: Option<LogWriter>,
    pub(super) viewers: Vec<Viewer>,
    buffer: Vec<u8>,
}

/// Somebody attached.
pub(super) struct Viewer {
    /// Closed when they go.
    pub(super) conversation: UnixStream,
    pub(super) stdin: Option<File>,
    stdout: File,
    stderr: File,
}

impl Viewer {
    /// From descriptors: stdin if there is one, stdout, stderr.
    pub(super) fn new(conversation: UnixStream, fds: Vec<OwnedFd>, with_stdin: bool) -> io::Result<Self> {
        for fd in &fds {
            pty::set_nonblocking(fd)?;
        }
        let mut files = fds.into_iter().map(File::from);
        let stdin = if with_stdin { files.next() } else { None };
        match (files.next(), files.next()) {
            (Some(stdout), Some(stderr)) => Ok(Self { conversation, stdin, stdout, stderr }),
            _ => Err(io::Error::other("stdout and stderr were not handed over")),
        }
    }
}

impl Output {
    pub(super) fn new(stdio: Stdio, log: Option<LogTarget>) -> io::Result<Self> {
        let log = log.map(LogWriter::open).transpose()?;
        let (input, out, err, terminal) = match stdio {
            Stdio::Pipes { stdin, stdout, stderr } => (stdin, stdout, Some(stderr), false),
            Stdio::Terminal(master) => (Some(master.try_clone()?), master, None, true),
        };
        for fd in [Some(&out), err.as_ref(), input.as_ref()].into_iter().flatten() {
            pty::set_nonblocking(fd)?;
        }
        Ok(Self {
            input: input.map(File::from),
            held: Vec::new(),
            closing: false,
            out: Some(out.into()),
            err: err.map(File::from),
            terminal,
            log,
            viewers: Vec::new(),
            buffer: vec![0; READ_BYTES],
        })
    }

    /// Descriptor to wait on for output.
    pub(super) fn readable(&self, stream: StreamKind) -> Option<BorrowedFd<'_>> {
        match stream {
            StreamKind::Stdout => self.out.as_ref().map(AsFd::as_fd),
            StreamKind::Stderr => self.err.as_ref().map(AsFd::as_fd),
        }
    }

    /// Descriptor to wait on for room in the program's input, while some is held.
    pub(super) fn writable(&self) -> Option<BorrowedFd<'_>> {
        let input = self.input.as_ref().filter(|_| !self.held.is_empty());
        input.map(AsFd::as_fd)
    }

    /// Whether viewers' input can be taken.
    pub(super) fn takes_input(&self) -> bool {
        self.held.len() < INPUT_BYTES_MAX
    }

    /// Moves what there is from a stream; true when the stream has ended.
    pub(super) fn pump(&mut self, stream: StreamKind) -> bool {
        let source = match stream {
            StreamKind::Stdout => &mut self.out,
            StreamKind::Stderr => &mut self.err,
        };
        let Some(file) = source else {
            return true;
        };
        match file.read(&mut self.buffer) {
            Ok(0) => {}
            Ok(read) => {
                let bytes = &self.buffer[..read];
                if let Some(log) = &mut self.log {
                    log.push(stream, bytes, Timestamp::now());
                }
                self.viewers.retain_mut(|viewer| viewer.show(stream, bytes));
                return false;
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                return false;
            }
            // A terminal without other side says EIO: its end of file.
            Err(_ended) => {}
        }
        *source = None;
        if let Some(log) = &mut self.log {
            log.finish(stream, Timestamp::now());
        }
        true
    }

    /// Takes input of one viewer and gives it to the program.
    pub(super) fn take_input(&mut self, index: usize) {
        self.hold_input(index);
        self.give_input();
    }

    /// Reads input of one viewer; false when there was none.
    fn hold_input(&mut self, index: usize) -> bool {
        let Some(viewer) = self.viewers.get_mut(index) else { return false };
        let Some(stdin) = &mut viewer.stdin else { return false };
        match stdin.read(&mut self.buffer) {
            Ok(read @ 1..) => {
                if self.input.is_some() {
                    self.held.extend_from_slice(&self.buffer[..read]);
                }
                return true;
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Ok(_) | Err(_) => viewer.stdin = None,
        }
        false
    }

    /// Gives held input to the program, and end of file behind it when that was asked for.
    pub(super) fn give_input(&mut self) {
        loop {
            self.write_input();
            if !self.closing || !self.held.is_empty() {
                return;
            }
            // What viewers wrote before the end was asked for belongs before it.
            let more = (0..self.viewers.len()).any(|index| self.hold_input(index));
            if !more || self.input.is_none() {
                break;
            }
        }
        self.closing = false;
        if self.terminal {
            // End of file is a character there.
            self.held.push(END_OF_FILE);
            self.write_input();
        } else {
            self.input = None;
        }
    }

    fn write_input(&mut self) {
        let Some(input) = &self.input else {
            self.held.clear();
            return;
        };
        if self.held.is_empty() {
            return;
        }
        match nix::unistd::write(input, &self.held) {
            Ok(written) => drop(self.held.drain(..written)),
            Err(nix::Error::EAGAIN | nix::Error::EINTR) => {}
            // It reads no more.
            Err(_closed) => {
                self.held.clear();
                if !self.terminal {
                    self.input = None;
                }
            }
        }
    }

    /// End of file for the program, after all that was written for it.
    pub(super) fn close_input(&mut self) {
        self.closing = true;
        self.give_input();
    }

    pub(super) fn resize(&self, size: TermSize) -> io::Result<()> {
        match (&self.out, self.terminal) {
            (Some(terminal), true) => pty::resize(terminal.as_raw_fd(), size),
            _ => Err(io::Error::other("the container has no terminal")),
        }
    }
}

impl Viewer {
    /// False when the viewer is gone or too slow.
    fn show(&self, stream: StreamKind, bytes: &[u8]) -> bool {
        let file = match stream {
            StreamKind::Stdout => &self.stdout,
            StreamKind::Stderr => &self.stderr,
        };
        matches!(nix::unistd::write(file, bytes), Ok(written) if written == bytes.len())
    }
}
