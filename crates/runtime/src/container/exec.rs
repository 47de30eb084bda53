//! Running a further program inside a container.
//!
//! The shim forks it, so it costs no new process image of ours, and the program's stdio are pipes
//! straight to the caller. The conversation with the shim is the program's life line: when the
//! caller (or the whole daemon) goes, the shim kills the program's process group.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rooted::UserIds;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{mpsc, watch};

use super::error::ContainerError;
use super::spec::TermSize;
use super::status::Exit;
use crate::pty;

/// How long output of programs in the background is waited for after an exec'd program has ended.
pub const OUTPUT_AFTER_END: Duration = Duration::from_millis(500);
/// Most file descriptors an exec'd program can be given besides its stdio.
pub const EXTRA_FDS_MAX: usize = 8;

/// A program to run inside a running container.
///
/// It gets the container's namespaces, cgroup and system call filter, no capability at all, and
/// `no_new_privs`.
pub struct ExecSpec {
    /// Program and arguments; a name without `/` is looked up in `PATH`.
    pub argv: Vec<String>,
    /// Environment.
    pub env: Vec<(String, String)>,
    /// Start from the container's own environment, `env` added.
    pub inherit_env: bool,
    /// Working directory; `None` is the container's.
    pub cwd: Option<PathBuf>,
    /// User; `None` is the container's.
    pub user: Option<UserIds>,
    /// Allocate a terminal of this size; stdout then carries stderr too.
    pub tty: Option<TermSize>,
    /// Where stdin comes from (ignored with a terminal, which always has one).
    pub stdin: StdinMode,
    /// Become file descriptors 3, 4 and so on; at most [`EXTRA_FDS_MAX`].
    pub extra_fds: Vec<OwnedFd>,
    /// AppArmor profile that the program enters, which must be loaded; `None` changes nothing.
    pub apparmor: Option<String>,
    /// Kill the program's process group after this time.
    pub timeout: Option<Duration>,
}

impl ExecSpec {
    /// A program in the container's own environment and user, no stdin, no terminal.
    pub fn new(argv: Vec<String>) -> Self {
        Self {
            argv,
            env: Vec::new(),
            inherit_env: true,
            cwd: None,
            user: None,
            tty: None,
            stdin: StdinMode::Null,
            extra_fds: Vec::new(),
            apparmor: None,
            timeout: None,
        }
    }
}

/// Prints names, never values of the environment.
impl fmt::Debug for ExecSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.env.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("ExecSpec")
            .field("argv", &self.argv)
            .field("env_names", &names)
            .field("user", &self.user)
            .field("tty", &self.tty)
            .finish_non_exhaustive()
    }
}

/// Standard input of an exec'd program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StdinMode {
    /// `/dev/null`.
    Null,
    /// A pipe: [`ExecSession::stdin`].
    Pipe,
}

/// A running exec'd program. Dropping its [`ExecControl`] kills the program.
#[derive(Debug)]
pub struct ExecSession {
    /// What the program reads; dropping it is end of file. `None` unless asked for.
    pub stdin: Option<ExecStdin>,
    /// What it prints (with a terminal: everything).
    pub stdout: ExecOutput,
    /// What it complains; `None` with a terminal.
    pub stderr: Option<ExecOutput>,
    /// Size, signals, end.
    pub control: ExecControl,
}

impl ExecSession {
    /// Reads both outputs to their end, each up to `limit` bytes (what is over is read and
    /// dropped), and waits.
    pub async fn output(mut self, limit: usize) -> Result<ExecCapture, ContainerError> {
        drop(self.stdin.take());
        let stderr = async {
            match self.stderr.as_mut() {
                Some(stream) => drain(stream, limit).await,
                None => Vec::new(),
            }
        };
        let (stdout, stderr) = tokio::join!(drain(&mut self.stdout, limit), stderr);
        Ok(ExecCapture { exit: self.control.wait().await?, stdout, stderr })
    }
}

async fn drain(stream: &mut ExecOutput, limit: usize) -> Vec<u8> {
    use tokio::io::AsyncReadExt;
    let mut kept = Vec::new();
    let mut buffer = vec![0; 16 << 10];
    // An error (the terminal's EIO) ends the stream as end of file does.
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        let room = limit.saturating_sub(kept.len());
        kept.extend_from_slice(&buffer[..read.min(room)]);
    }
    kept
}

/// How an exec'd program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExecExit {
    /// Exit code; `128 + signal` when a signal ended it.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// It was killed because its time was up.
    pub timed_out: bool,
}

/// What a finished program left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecCapture {
    /// How it ended.
    pub exit: ExecExit,
    /// What it printed.
    pub stdout: Vec<u8>,
    /// What it complained.
    pub stderr: Vec<u8>,
}

/// Handle on an exec'd program; clones are handles on the same program.
#[derive(Clone)]
pub struct ExecControl {
    pub(crate) id: Arc<str>,
    pub(crate) terminal: Option<Arc<OwnedFd>>,
    pub(crate) signals: mpsc::Sender<i32>,
    pub(crate) end: watch::Receiver<Option<ExecEnd>>,
}

/// End of the conversation with the shim.
#[derive(Clone, Debug)]
pub(crate) enum ExecEnd {
    Exited { exit: Exit, timed_out: bool },
    Lost(String),
}

impl fmt::Debug for ExecControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecControl").field("container", &self.id).finish_non_exhaustive()
    }
}

impl ExecControl {
    /// Changes the size of the terminal; nothing without one.
    pub fn resize(&self, size: TermSize) -> Result<(), ContainerError> {
        match &self.terminal {
            Some(terminal) => pty::resize(terminal.as_raw_fd(), size).map_err(ContainerError::shim(&self.id)),
            None => Ok(()),
        }
    }

    /// Sends a signal to the program's process group; nothing once it has ended.
    pub async fn signal(&self, signal: i32) {
        // An error means that the conversation is over: the program has ended.
        let _ = self.signals.send(signal).await;
    }

    /// Waits for the end. Can be called often and by many.
    pub async fn wait(&self) -> Result<ExecExit, ContainerError> {
        let lost = |problem: &str| ContainerError::Refused { id: self.id.to_string(), problem: problem.to_owned() };
        let mut end = self.end.clone();
        let end = end.wait_for(Option::is_some).await.map_err(|_| lost("the runtime was closed"))?;
        match end.as_ref() {
            Some(ExecEnd::Exited { exit, timed_out }) => {
                Ok(ExecExit { code: exit.code, signal: exit.signal, timed_out: *timed_out })
            }
            Some(ExecEnd::Lost(problem)) => Err(lost(problem)),
            None => Err(lost("no end was reported")),
        }
    }
}

/// Asynchronous pipe or terminal.
pub(crate) struct Stream(AsyncFd<Arc<OwnedFd>>);

impl Stream {
    /// Takes a descriptor and makes it non-blocking.
    pub(crate) fn new(fd: Arc<OwnedFd>) -> io::Result<Self> {
        pty::set_nonblocking(&*fd)?;
        // SAFETY: the Arc keeps this very descriptor open until the AsyncFd that holds it is dropped.
        Ok(Self(unsafe { AsyncFd::register(fd) }?))
    }

    /// Reads at most `limit` bytes.
    fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>, limit: usize) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(cx))?;
            let free = buffer.initialize_unfilled_to(limit.min(buffer.remaining()));
            match guard.try_io(|fd| Ok(nix::unistd::read(fd.get_ref(), free)?)) {
                Ok(Ok(read)) => {
                    buffer.advance(read);
                    return Poll::Ready(Ok(()));
                }
                // A terminal whose other side is gone says EIO: that is its end of file.
                Ok(Err(error)) if error.raw_os_error() == Some(libc::EIO) => return Poll::Ready(Ok(())),
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }

    fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_write_ready(cx))?;
            match guard.try_io(|fd| Ok(nix::unistd::write(fd.get_ref(), bytes)?)) {
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(result) => return Poll::Ready(result),
                Err(_would_block) => {}
            }
        }
    }
}

/// An output stream of a program. It ends when the program and its children have closed it, and at the latest
/// [`OUTPUT_AFTER_END`] after the program has ended: what it has left running in the background is not waited for.
pub struct ExecOutput {
    stream: Stream,
    end: OutputEnd,
}

/// When an output stream ends by itself.
enum OutputEnd {
    /// With its last writer only.
    Open,
    /// Some time after the program, which is waited for.
    Waiting(Pin<Box<dyn Future<Output = ()> + Send>>),
    /// After this many bytes, which were written in time.
    Bytes(usize),
}

impl ExecOutput {
    /// Ends with its last writer only.
    pub(crate) fn new(stream: Stream) -> Self {
        Self { stream, end: OutputEnd::Open }
    }

    /// Ends at the latest [`OUTPUT_AFTER_END`] after the program.
    pub(crate) fn of_program(stream: Stream, mut program: watch::Receiver<Option<ExecEnd>>) -> Self {
        let over = async move {
            // An error means that nobody will tell the end: it has come.
            let _ = program.wait_for(Option::is_some).await;
            tokio::time::sleep(OUTPUT_AFTER_END).await;
        };
        Self { stream, end: OutputEnd::Waiting(Box::pin(over)) }
    }
}

impl fmt::Debug for ExecOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ExecOutput")
    }
}

impl AsyncRead for ExecOutput {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let OutputEnd::Waiting(over) = &mut self.end
            && over.as_mut().poll(cx).is_ready()
        {
            // What is in the pipe was written in time, however slowly it is read.
            self.end = OutputEnd::Bytes(pty::readable_bytes(self.stream.0.get_ref())?);
        }
        let OutputEnd::Bytes(left) = self.end else { return self.stream.poll_read(cx, buffer, usize::MAX) };
        let before = buffer.filled().len();
        if left > 0
            && let Poll::Ready(Err(error)) = self.stream.poll_read(cx, buffer, left)
        {
            return Poll::Ready(Err(error));
        }
        self.end = OutputEnd::Bytes(left - (buffer.filled().len() - before));
        Poll::Ready(Ok(()))
    }
}

/// The input of a program; dropping it is end of file (with a terminal: nothing).
pub struct ExecStdin(pub(crate) Stream);

impl fmt::Debug for ExecStdin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ExecStdin")
    }
}

impl AsyncWrite for ExecStdin {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
