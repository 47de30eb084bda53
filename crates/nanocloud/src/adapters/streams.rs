//! Logs, commands and ports of pods for the API server, from the kubelet of this node.

#![expect(clippy::disallowed_methods, reason = "each task ends with its stream or its session")]

use std::{io, sync::Arc, time::Duration};

use api::{Reason, Status};
use apiserver::{Connection, ExecExit, ExecOptions, ExecSession, LogOptions, PodStreams, StreamError, TerminalSize};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{
    FutureExt, StreamExt,
    stream::{self, BoxStream},
};
use kubelet::{
    Kubelet,
    streams::{ExecRequest, JoinControl, LogRequest},
};
use runtime::container::{ContainerError, ExecControl, ExecOutput, ExecStdin, TermSize};
use tokio::{
    io::AsyncWriteExt,
    sync::{SetOnce, mpsc},
    time::timeout,
};
use tokio_util::io::ReaderStream;

/// Number of input chunks that are buffered for the program.
const INPUT_BUFFERED: usize = 16;
/// Terminal size until the client sends its own.
const FIRST_SIZE: TermSize = TermSize { columns: 80, rows: 24 };
/// How long a request waits for a kubelet that is still starting.
const PATIENCE: Duration = Duration::from_secs(10);

/// The kubelet, once it has started, which is after the API server.
#[derive(Default)]
pub struct Streams(SetOnce<Arc<Kubelet>>);

impl Streams {
    /// Sets the kubelet; a second call has no effect.
    pub fn serve(&self, kubelet: Arc<Kubelet>) {
        let _ = self.0.set(kubelet);
    }

    /// The kubelet, once it knows its pods and containers; before that it would report that they do not exist.
    async fn kubelet(&self) -> Result<&Arc<Kubelet>, StreamError> {
        let started = async {
            let kubelet = self.0.wait().await;
            kubelet.started().await;
            kubelet
        };
        let starting = || Status::failure(Reason::ServiceUnavailable, "the kubelet of this node is still starting");
        timeout(PATIENCE, started).await.map_err(|_| Box::new(starting().with_remedy("try again in a moment")))
    }
}

#[async_trait]
impl PodStreams for Streams {
    async fn logs(
        &self,
        namespace: &str,
        pod: &str,
        options: LogOptions,
    ) -> Result<BoxStream<'static, io::Result<Bytes>>, StreamError> {
        let request = LogRequest {
            container: options.container,
            follow: options.follow,
            previous: options.previous,
            tail: options.tail_lines,
            since: options.since,
            timestamps: options.timestamps,
            limit_bytes: options.limit_bytes,
        };
        let chunks = self.kubelet().await?.logs(namespace, pod, &request).map_err(refusal)?;
        Ok(chunks.map(|chunk| chunk.map_err(io::Error::other)).boxed())
    }

    async fn exec(&self, namespace: &str, pod: &str, options: ExecOptions) -> Result<ExecSession, StreamError> {
        let request = ExecRequest {
            container: options.container,
            command: options.command,
            tty: options.tty.then_some(FIRST_SIZE),
            stdin: options.stdin,
        };
        let session = match self.kubelet().await?.exec(namespace, pod, request).await {
            Ok(session) => session,
            Err(kubelet::Error::Container { source: source @ ContainerError::Exec { .. }, .. }) => {
                return Ok(not_started(source.to_string()));
            }
            Err(error) => return Err(refusal(error)),
        };
        let control = session.control.clone();
        Ok(ExecSession {
            stdin: session.stdin.map(input),
            stdout: output(session.stdout),
            stderr: session.stderr.map_or_else(|| stream::empty().boxed(), output),
            resize: options.tty.then(|| resizes(control.clone())),
            exit: exit(control).boxed(),
        })
    }

    async fn attach(&self, namespace: &str, pod: &str, options: ExecOptions) -> Result<ExecSession, StreamError> {
        let container = options.container.as_deref();
        let joined = self.kubelet().await?.attach(namespace, pod, container, options.stdin).await.map_err(refusal)?;
        let (attachment, control) = (joined.attachment, joined.control);
        let (stdin, stdout, stderr, conversation) = attachment.into_parts();
        Ok(ExecSession {
            stdin: stdin.map(|to| joined_input(to, control.clone())),
            stdout: output(stdout),
            stderr: stderr.map_or_else(|| stream::empty().boxed(), output),
            resize: options.tty.then(|| joined_resizes(control)),
            // The exit code of the container is in the status of the pod; only this session is over.
            exit: async move {
                drop(conversation);
                ExecExit::Code(0)
            }
            .boxed(),
        })
    }

    async fn connect(&self, namespace: &str, pod: &str, port: u16) -> Result<Box<dyn Connection>, StreamError> {
        let connection = self.kubelet().await?.connect(namespace, pod, port).await.map_err(refusal)?;
        Ok(Box::new(connection))
    }
}

/// The session of a command that could not be started.
fn not_started(why: String) -> ExecSession {
    ExecSession {
        stdin: None,
        stdout: stream::empty().boxed(),
        stderr: stream::empty().boxed(),
        resize: None,
        exit: std::future::ready(ExecExit::Failed(why)).boxed(),
    }
}

/// The API status for an error of the kubelet.
fn refusal(error: kubelet::Error) -> StreamError {
    let reason = match &error {
        kubelet::Error::Missing { .. } => Reason::NotFound,
        kubelet::Error::Refused { .. } | kubelet::Error::NotRunning(_) => Reason::BadRequest,
        _ => Reason::InternalError,
    };
    let mut message = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        message = format!("{message}: {cause}");
        source = cause.source();
    }
    Box::new(Status::failure(reason, message))
}

fn output(from: ExecOutput) -> BoxStream<'static, Bytes> {
    // A read error ends the stream: the program has ended, and its exit status tells how.
    ReaderStream::new(from)
        .take_while(|read| std::future::ready(read.is_ok()))
        .filter_map(|read| async { read.ok() })
        .boxed()
}

/// Writes input to the program; closing the channel closes its standard input.
fn input(to: ExecStdin) -> mpsc::Sender<Bytes> {
    let (sender, receiver) = mpsc::channel(INPUT_BUFFERED);
    tokio::spawn(write_all(to, receiver));
    sender
}

async fn write_all(mut to: ExecStdin, mut from: mpsc::Receiver<Bytes>) {
    while let Some(bytes) = from.recv().await {
        // It is not an error if the program no longer reads.
        if to.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

/// The same for a container that was attached to, whose input can stay open without this client's.
fn joined_input(to: ExecStdin, control: JoinControl) -> mpsc::Sender<Bytes> {
    let (sender, receiver) = mpsc::channel(INPUT_BUFFERED);
    tokio::spawn(async move {
        write_all(to, receiver).await;
        if let Err(error) = control.input_ended().await {
            tracing::debug!(%error, "input not ended");
        }
    });
    sender
}

fn joined_resizes(control: JoinControl) -> mpsc::Sender<TerminalSize> {
    let (sender, mut receiver) = mpsc::channel::<TerminalSize>(INPUT_BUFFERED);
    tokio::spawn(async move {
        while let Some(size) = receiver.recv().await {
            if let Err(error) = control.resize(TermSize { columns: size.width, rows: size.height }).await {
                tracing::debug!(%error, "terminal not resized");
            }
        }
    });
    sender
}

fn resizes(control: ExecControl) -> mpsc::Sender<TerminalSize> {
    let (sender, mut receiver) = mpsc::channel::<TerminalSize>(INPUT_BUFFERED);
    tokio::spawn(async move {
        while let Some(size) = receiver.recv().await {
            if let Err(error) = control.resize(TermSize { columns: size.width, rows: size.height }) {
                tracing::debug!(%error, "terminal not resized");
            }
        }
    });
    sender
}

/// Kills the program if the session is dropped before it has ended.
struct KillOnDrop(ExecControl);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let control = self.0.clone();
        tokio::spawn(async move { control.signal(nix::libc::SIGKILL).await });
    }
}

async fn exit(control: ExecControl) -> ExecExit {
    let guard = KillOnDrop(control);
    match guard.0.wait().await {
        Ok(exit) => ExecExit::Code(exit.code),
        Err(error) => ExecExit::Failed(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn requests_wait_for_the_kubelet_and_not_forever() {
        let start = Instant::now();
        let Err(refused) = Streams::default().connect("default", "web", 80).await else { panic!("no kubelet") };
        assert_eq!((refused.code, start.elapsed()), (503, PATIENCE));
    }
}
