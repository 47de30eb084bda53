//! A command's streams as streams of SPDY: `error`, `stdin`, `stdout`, `stderr` and `resize`.
//!
//! Source: `k8s.io/client-go/tools/remotecommand` (protocol version 4).

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    ports::{ExecExit, ExecOptions, ExecSession, TerminalSize},
    sessions::{
        frame,
        spdy::{Stream, StreamWriter},
    },
};

/// The version that is served.
pub(super) const PROTOCOL: &str = "v4.channel.k8s.io";
/// Longest wait until the client has opened all streams.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);

/// The client's streams, as they come.
#[derive(Default)]
struct Streams {
    error: Option<Stream>,
    stdin: Option<Stream>,
    stdout: Option<Stream>,
    stderr: Option<Stream>,
    resize: Option<Stream>,
}

impl Streams {
    fn place(&mut self, stream: Stream) -> Result<(), Stream> {
        let place = match stream.headers.get("streamtype").map(String::as_str) {
            Some("error") => &mut self.error,
            Some("stdin") => &mut self.stdin,
            Some("stdout") => &mut self.stdout,
            Some("stderr") => &mut self.stderr,
            Some("resize") => &mut self.resize,
            _ => return Err(stream),
        };
        if place.is_some() {
            return Err(stream);
        }
        *place = Some(stream);
        Ok(())
    }

    /// Whether everything is there that the options promise.
    fn complete(&self, options: &ExecOptions) -> bool {
        let given = |wanted: bool, stream: &Option<Stream>| !wanted || stream.is_some();
        given(true, &self.error)
            && given(options.stdin, &self.stdin)
            && given(options.stdout, &self.stdout)
            && given(options.stderr, &self.stderr)
            && given(options.tty, &self.resize)
    }
}

/// Carries data both ways until the command ends or the server stops.
pub(super) async fn converse(
    mut opened: mpsc::Receiver<Stream>,
    session: ExecSession,
    options: &ExecOptions,
    stop: CancellationToken,
) {
    let gathered = tokio::time::timeout(OPEN_TIMEOUT, gather(&mut opened, options)).await;
    let Ok(Some(streams)) = gathered else {
        return tracing::info!("the client did not open its streams");
    };
    let Streams { error, stdin, stdout, stderr, resize } = streams;
    let ExecSession { stdin: input, stdout: out, stderr: err, resize: sizes, exit } = session;
    let (stdout, stderr) = (stdout.map(|stream| stream.output), stderr.map(|stream| stream.output));
    let output = async {
        tokio::join!(copy(out, stdout.as_ref()), copy(err, stderr.as_ref()));
        exit.await
    };
    let inward = async {
        tokio::join!(feed(stdin, input), follow(resize, sizes));
        // The end of the input is not the end of the command.
        std::future::pending::<()>().await;
    };
    let ended = tokio::select! {
        ended = output => ended,
        () = inward => return,
        () = stop.cancelled() => ExecExit::Failed("the server is shutting down".into()),
    };
    tracing::info!(exit = ?ended, "session ended");
    if let Some(error) = error {
        // The client may be gone already, which changes nothing.
        let _ = error.output.send(frame::status(&ended).into()).await;
        error.output.finish().await;
    }
    for stream in [stdout, stderr].into_iter().flatten() {
        stream.finish().await;
    }
}

async fn gather(opened: &mut mpsc::Receiver<Stream>, options: &ExecOptions) -> Option<Streams> {
    let mut streams = Streams::default();
    while !streams.complete(options) {
        if let Err(odd) = streams.place(opened.recv().await?) {
            odd.output.reset().await;
        }
    }
    Some(streams)
}

/// Sends what the command prints; output without a stream is dropped.
async fn copy(mut from: BoxStream<'static, Bytes>, to: Option<&StreamWriter>) {
    while let Some(data) = from.next().await {
        if let Some(to) = to
            && to.send(data).await.is_err()
        {
            return;
        }
    }
}

/// Hands the client's input to the command; its end is end of file.
async fn feed(from: Option<Stream>, to: Option<mpsc::Sender<Bytes>>) {
    let (Some(mut from), Some(to)) = (from, to) else { return };
    while let Some(data) = from.input.recv().await {
        if to.send(data).await.is_err() {
            return;
        }
    }
}

/// Hands sizes of the terminal on.
async fn follow(from: Option<Stream>, to: Option<mpsc::Sender<TerminalSize>>) {
    let (Some(mut from), Some(to)) = (from, to) else { return };
    while let Some(data) = from.input.recv().await {
        if let Some(size) = frame::size(&data) {
            // A newer size follows when this one cannot be taken now.
            let _ = to.try_send(size);
        }
    }
}
