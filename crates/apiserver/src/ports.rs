//! What the server needs of the binary: running pods (over the kubelet) and the members of the cluster (over Raft).

use std::{fmt, sync::Arc};

use api::Status;
use async_trait::async_trait;
use bytes::Bytes;
use futures::{future::BoxFuture, stream::BoxStream};
use jiff::Timestamp;
use keyspace::Cluster;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
};
use trust::SharedAssets;

/// What the server needs to serve the cluster's membership.
#[derive(Clone)]
pub struct Membership {
    /// The members.
    pub cluster: Arc<dyn Cluster>,
    /// Reads the keys that a new member gets.
    pub assets: Arc<dyn Fn() -> Result<SharedAssets, trust::Error> + Send + Sync>,
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Membership").finish_non_exhaustive()
    }
}

/// Which part of a container's log is wanted (`PodLogOptions`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Container; the pod's only one when not given.
    pub container: Option<String>,
    /// Whether to go on with lines written later.
    pub follow: bool,
    /// The run before the current one.
    pub previous: bool,
    /// Whether every line starts with its time (RFC 3339).
    pub timestamps: bool,
    /// Only that many lines from the end.
    pub tail_lines: Option<u64>,
    /// Only lines from this time on (`sinceTime`, or `sinceSeconds` before now).
    pub since: Option<Timestamp>,
    /// Most bytes to answer.
    pub limit_bytes: Option<u64>,
}

/// What to run in a container, or how to join what runs in it (`PodExecOptions`, `PodAttachOptions`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecOptions {
    /// Container; the pod's only one when not given.
    pub container: Option<String>,
    /// Program and arguments; empty only for an attachment.
    pub command: Vec<String>,
    /// Whether the client sends standard input.
    pub stdin: bool,
    /// Whether the client wants standard output.
    pub stdout: bool,
    /// Whether the client wants standard error; never with `tty`.
    pub stderr: bool,
    /// Whether the command gets a terminal; for an attachment, whether the container has one.
    pub tty: bool,
}

/// Size of a terminal in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    /// Columns.
    pub width: u16,
    /// Lines.
    pub height: u16,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecExit {
    /// It exited with this code; a signal `n` is `128 + n`, as shells say it.
    Code(i32),
    /// It could not be started, or is lost, and why.
    Failed(String),
}

/// A command that runs. Dropping it must end the command's streams and kill what still runs.
pub struct ExecSession {
    /// Takes standard input; dropping the sender is end of file. `None` when not asked for.
    pub stdin: Option<mpsc::Sender<Bytes>>,
    /// Standard output, or all output of a terminal; ends when the command closed it.
    pub stdout: BoxStream<'static, Bytes>,
    /// Standard error; empty with a terminal.
    pub stderr: BoxStream<'static, Bytes>,
    /// Takes new sizes of the terminal. `None` without one.
    pub resize: Option<mpsc::Sender<TerminalSize>>,
    /// How it ended; resolves once.
    pub exit: BoxFuture<'static, ExecExit>,
}

impl fmt::Debug for ExecSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecSession")
            .field("stdin", &self.stdin.is_some())
            .field("resize", &self.resize.is_some())
            .finish_non_exhaustive()
    }
}

/// A connection to a port of a pod.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<C: AsyncRead + AsyncWrite + Send + Unpin> Connection for C {}

/// Why a stream could not be opened: answered to the client as it is, with the server's trace id added.
///
/// Use `api::Reason::BadRequest` for a container that is not running or not named, `NotFound` for one that
/// does not exist, and `InternalError` for the rest.
pub type StreamError = Box<Status>;

/// Logs of pods, commands in them and connections to them.
///
/// The API server has checked that the pod exists, and that the caller may do this, before it calls.
#[async_trait]
pub trait PodStreams: Send + Sync + 'static {
    /// Reads a container's log. An error item ends the stream: the client sees a cut connection.
    async fn logs(
        &self,
        namespace: &str,
        pod: &str,
        options: LogOptions,
    ) -> Result<BoxStream<'static, std::io::Result<Bytes>>, StreamError>;

    /// Runs a command in a container. A command that cannot be started is a session that has
    /// [failed](ExecExit::Failed), not an error: the client listens already.
    async fn exec(&self, namespace: &str, pod: &str, options: ExecOptions) -> Result<ExecSession, StreamError>;

    /// Joins what a container was started with. Dropping the session leaves the container as it is.
    async fn attach(&self, namespace: &str, pod: &str, options: ExecOptions) -> Result<ExecSession, StreamError>;

    /// Connects to a TCP port of the pod's own loopback.
    async fn connect(&self, namespace: &str, pod: &str, port: u16) -> Result<Box<dyn Connection>, StreamError>;
}
