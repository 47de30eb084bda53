//! `pods/{name}/exec` and `attach`: a command's streams over a WebSocket or SPDY.

use axum::{
    extract::ws::{CloseFrame, Message, WebSocket, close_code},
    response::Response,
};
use bytes::Bytes;
use futures::{SinkExt, StreamExt, stream::SplitSink};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::exec_spdy;
use crate::{
    api_error::{ApiError, Result},
    limits,
    ports::{ExecExit, ExecOptions, ExecSession, TerminalSize},
    query::params::Query,
    request::context::RequestContext,
    route::Subresource,
    sessions::{
        frame::{self, Input, PROTOCOLS, Protocol},
        upgrade::{self, Upgrade},
    },
};

pub(super) async fn serve(
    mut context: RequestContext,
    namespace: &str,
    name: &str,
    part: Subresource,
) -> Result<Response> {
    let options = parse(&context.query, part)?;
    let upgrade = Upgrade::of(&mut context, &served()).await?;
    let place = context.state.admit_stream()?;
    let streams = &context.state.streams;
    let session = match part {
        Subresource::Attach => streams.attach(namespace, name, options.clone()).await,
        _ => streams.exec(namespace, name, options.clone()).await,
    };
    let session = session.map_err(|status| ApiError::from(*status))?;
    let (trace, user, command) = (&context.trace, &context.subject, options.command.first());
    let span = tracing::info_span!("session", trace_id = %trace, %user, kind = part.name(), namespace, pod = name, command, tty = options.tty);
    let stop = context.state.stop.clone();
    Ok(match upgrade {
        Upgrade::WebSocket(socket, subprotocol) => {
            tracing::info!(parent: &span, protocol = subprotocol, "session opened");
            let protocol = choose(subprotocol).map_or(Protocol::V1, |(_, protocol)| protocol);
            upgrade::websocket(*socket, subprotocol, move |socket| {
                let talk = async move {
                    let _place = place;
                    converse(socket, session, protocol, options.tty, stop).await;
                };
                talk.instrument(span)
            })
        }
        Upgrade::Spdy(connection, protocol) => {
            tracing::info!(parent: &span, protocol, "session opened over SPDY");
            upgrade::spdy(connection, protocol, move |streams| {
                let talk = async move {
                    let _place = place;
                    exec_spdy::converse(streams, session, &options, stop).await;
                };
                talk.instrument(span)
            })
        }
    })
}

/// What is served, best first: WebSocket subprotocols, and the one version of SPDY's.
fn served() -> upgrade::Served {
    upgrade::Served { websocket: PROTOCOLS.iter().map(|(name, _)| *name).collect(), spdy: Some(exec_spdy::PROTOCOL) }
}

/// The best protocol of those the client offers.
fn choose(offered: &str) -> Option<(&'static str, Protocol)> {
    let offered: Vec<&str> = offered.split(',').map(str::trim).collect();
    PROTOCOLS.into_iter().find(|(name, _)| offered.contains(name))
}

/// Reads `PodExecOptions` or `PodAttachOptions`. Pure.
fn parse(query: &Query, part: Subresource) -> Result<ExecOptions> {
    let options = ExecOptions {
        container: query.get("container").map(str::to_owned),
        command: query.all("command"),
        stdin: query.flag("stdin")?,
        stdout: query.flag("stdout")?,
        stderr: query.flag("stderr")?,
        tty: query.flag("tty")?,
    };
    if part == Subresource::Exec && options.command.first().is_none_or(String::is_empty) {
        return Err(ApiError::bad_request("you must specify at least one command for the container")
            .remedy("add command=<program> and a further command= for each argument"));
    }
    if options.tty && options.stderr {
        return Err(ApiError::bad_request("tty and stderr cannot both be true: a terminal has one output"));
    }
    if !(options.stdin || options.stdout || options.stderr) {
        return Err(ApiError::bad_request("you must specify at least one of stdin, stdout, stderr"));
    }
    Ok(options)
}

type Sink = SplitSink<WebSocket, Message>;

/// Carries data both ways until the command ends, the client goes, or the server stops.
async fn converse(socket: WebSocket, session: ExecSession, protocol: Protocol, tty: bool, stop: CancellationToken) {
    let ExecSession { stdin, stdout, stderr, resize, exit } = session;
    let (mut sink, mut source) = socket.split();
    let resize = resize.filter(|_| tty);
    // kubectl starts to read before it has made its streams, and discards what comes earlier: then the status is lost
    // and it exits with 1. The pong is sent by its reader, so output is held back until the client has sent something.
    let heard = Notify::new();
    let input = async {
        let mut stdin = stdin;
        while let Some(Ok(message)) = source.next().await {
            heard.notify_one();
            let data = match message {
                Message::Binary(data) => data,
                Message::Text(text) => Bytes::from(text),
                Message::Close(_) => return,
                Message::Ping(_) | Message::Pong(_) => continue,
            };
            take(frame::read(protocol, &data), &mut stdin, resize.as_ref()).await;
        }
    };
    let output = async {
        let out = stdout.map(|data| frame::write(frame::STDOUT, &data));
        let err = stderr.map(|data| frame::write(frame::STDERR, &data));
        let mut frames = futures::stream::select(out, err);
        if sink.send(Message::Ping(Bytes::new())).await.is_err() {
            return None;
        }
        // A client that does not answer pings gets its output later.
        let _ = tokio::time::timeout(limits::FIRST_PONG_TIMEOUT, heard.notified()).await;
        let mut ping = tokio::time::interval(limits::WEBSOCKET_PING_EVERY);
        ping.reset();
        loop {
            let message = tokio::select! {
                frame = frames.next() => match frame {
                    Some(frame) => Message::Binary(frame),
                    None => break,
                },
                _ = ping.tick() => Message::Ping(Bytes::new()),
            };
            if sink.send(message).await.is_err() {
                return None;
            }
        }
        Some(exit.await)
    };
    let ended = tokio::select! {
        ended = output => ended,
        () = input => None,
        () = stop.cancelled() => Some(ExecExit::Failed("the server is shutting down".into())),
    };
    tracing::info!(exit = ?ended, "session ended");
    if let Some(ended) = ended {
        finish(&mut sink, protocol, &ended).await;
    }
}

async fn take(input: Input, stdin: &mut Option<mpsc::Sender<Bytes>>, resize: Option<&mpsc::Sender<TerminalSize>>) {
    match input {
        Input::Stdin(data) => {
            if let Some(sender) = stdin
                && sender.send(data).await.is_err()
            {
                // The command closed its input; what else comes is lost, as in a pipe.
                *stdin = None;
            }
        }
        Input::StdinClosed => *stdin = None,
        Input::Resize(size) => {
            if let Some(resize) = resize {
                // A newer size follows when this one cannot be taken now.
                let _ = resize.try_send(size);
            }
        }
        Input::Nothing => {}
    }
}

/// Tells how it ended. The client may be gone already, which changes nothing.
async fn finish(sink: &mut Sink, protocol: Protocol, ended: &ExecExit) {
    if let Some(frame) = frame::exit(protocol, ended)
        && sink.send(Message::Binary(frame)).await.is_err()
    {
        return;
    }
    let normal = CloseFrame { code: close_code::NORMAL, reason: "".into() };
    let _ = sink.send(Message::Close(Some(normal))).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_common_protocol_is_chosen() {
        assert_eq!(choose("channel.k8s.io, v4.channel.k8s.io").map(|(name, _)| name), Some("v4.channel.k8s.io"));
        assert_eq!(choose("v5.channel.k8s.io,v4.channel.k8s.io").map(|(_, version)| version), Some(Protocol::V5));
        assert_eq!(choose("base64.channel.k8s.io"), None);
        assert_eq!(choose(""), None);
    }

    #[test]
    fn commands_are_read_in_order() {
        let options = |query| parse(&Query::parse(Some(query)), Subresource::Exec);
        let read = options("command=sh&command=-c&command=exit+7&stdout=true&stderr=1").unwrap();
        assert_eq!(read.command, ["sh", "-c", "exit 7"]);
        for bad in ["stdout=1", "command=a", "command=a&stdout=1&stderr=1&tty=1", "command=&stdout=1"] {
            assert!(options(bad).is_err(), "{bad}");
        }
        let attached = parse(&Query::parse(Some("stdout=1")), Subresource::Attach).unwrap();
        assert!(attached.stdout && attached.command.is_empty());
    }
}
