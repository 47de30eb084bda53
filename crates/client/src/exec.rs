//! Commands in containers, over a WebSocket of subprotocol `v5.channel.k8s.io`.
//!
//! Every message begins with the number of its channel: 0 stdin, 1 stdout, 2 stderr, 3 the final
//! `Status`, 4 the size of the terminal, 255 closes the channel named by the next byte.

use std::{sync::Arc, time::Duration};

use api::{Reason, Status, cause};
use bytes::Bytes;
use futures::{Sink, SinkExt, Stream, StreamExt};
use http::{HeaderValue, Uri, header};
use rustls_pki_types::ServerName;
use secrecy::ExposeSecret;
use serde::Serialize;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::{mpsc, oneshot},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, Message, handshake::client::generate_key},
};
use url::{Position, form_urlencoded};

use crate::{Client, Config, Error, Identity, Result};

/// Messages that wait in each direction before the other side has to.
pub const MESSAGES_BUFFERED: usize = 32;
/// How long opening a session may take.
pub const OPEN_TIMEOUT: Duration = Duration::from_secs(30);
const PROTOCOL: &str = "v5.channel.k8s.io";
/// Reason of a session that ended before its command did.
const STREAM_CLOSED: &str = "StreamClosed";
const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

/// What to run, and with which streams.
#[derive(Clone, Debug, Default)]
pub struct ExecParams {
    /// Container; may be left out if the pod has one.
    pub container: Option<String>,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Whether input is sent.
    pub stdin: bool,
    /// Whether the command gets a terminal; standard error then comes with standard output.
    pub tty: bool,
}

impl ExecParams {
    pub(crate) fn query(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(self.container.iter().map(|name| ("container", name)));
        query.extend_pairs(self.command.iter().map(|word| ("command", word)));
        query.append_pair("stdout", "true");
        for (name, set) in [("stdin", self.stdin), ("stderr", !self.tty), ("tty", self.tty)] {
            if set {
                query.append_pair(name, "true");
            }
        }
        query.finish()
    }
}

/// Size of a terminal in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct TerminalSize {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With this code.
    Code(i32),
    /// It could not be run, or the session broke.
    Failed(Box<Status>),
}

/// A command that runs in a container. Dropping `exit` ends the session.
#[derive(Debug)]
pub struct ExecSession {
    /// Input; dropping it closes the command's standard input.
    pub stdin: mpsc::Sender<Bytes>,
    /// Standard output, and with a terminal everything.
    pub stdout: mpsc::Receiver<Bytes>,
    /// Standard error.
    pub stderr: mpsc::Receiver<Bytes>,
    /// New sizes of the terminal.
    pub resize: mpsc::Sender<TerminalSize>,
    /// How the command ended.
    pub exit: oneshot::Receiver<Exit>,
}

pub(crate) async fn start(client: &Client, path: &str, params: &ExecParams) -> Result<ExecSession> {
    let Some(config) = client.config() else {
        return Err(Error::Request("exec needs a client over TLS".into()));
    };
    let request = opening(path, params)?;
    client.ensure_sending(&request)?;
    let opened = tokio::time::timeout(OPEN_TIMEOUT, connect(config, request)).await;
    let socket = opened.map_err(|_| Error::Timeout {
        server: client.server(),
        request: format!("exec at {path}"),
        seconds: OPEN_TIMEOUT.as_secs(),
    })??;
    Ok(session(socket, params.stdin))
}

/// The request that opens a session.
fn opening(path: &str, params: &ExecParams) -> Result<http::Request<Bytes>> {
    http::Request::get(format!("{path}?{}", params.query()))
        .version(http::Version::HTTP_11)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, generate_key())
        .header(header::SEC_WEBSOCKET_PROTOCOL, PROTOCOL)
        .body(Bytes::new())
        .map_err(|error| Error::Request(error.to_string()))
}

/// Moves data between the socket and the session's channels until either end goes away.
fn session<S>(socket: WebSocketStream<S>, has_stdin: bool) -> ExecSession
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (stdin, stdin_in) = mpsc::channel(MESSAGES_BUFFERED);
    let (resize, resize_in) = mpsc::channel(MESSAGES_BUFFERED);
    let (stdout_out, stdout) = mpsc::channel(MESSAGES_BUFFERED);
    let (stderr_out, stderr) = mpsc::channel(MESSAGES_BUFFERED);
    let (mut exit_out, exit) = oneshot::channel();
    #[expect(clippy::disallowed_methods, reason = "ends with the connection, or with the session")]
    tokio::spawn(async move {
        let (sink, messages) = socket.split();
        // Both directions at once: a command that echoes its input must be read while it is fed.
        let writing = async {
            write(sink, has_stdin.then_some(stdin_in), resize_in).await;
            std::future::pending::<Exit>().await
        };
        let outcome = tokio::select! {
            outcome = read(messages, stdout_out, stderr_out) => outcome,
            outcome = writing => outcome,
            // Nobody waits for the outcome any more: the session was dropped.
            () = exit_out.closed() => return,
        };
        // The receiver may have been dropped just now.
        let _ = exit_out.send(outcome);
    });
    ExecSession { stdin, stdout, stderr, resize, exit }
}

async fn connect(config: &Config, request: http::Request<Bytes>) -> Result<WebSocketStream<TlsStream<TcpStream>>> {
    let server = config.server.as_str().trim_end_matches('/').to_owned();
    let unreachable = |source| Error::Transport { server: server.clone(), source };
    let host = config.server.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = config.server.port_or_known_default().unwrap_or(443);
    let tcp = TcpStream::connect((host.as_str(), port)).await.map_err(|error| unreachable(error.into()))?;
    tcp.set_nodelay(true).map_err(|error| unreachable(error.into()))?;
    let name = ServerName::try_from(host).map_err(|error| unreachable(error.into()))?;
    // WebSockets need HTTP/1.1 (RFC 6455).
    let tls = TlsConnector::from(Arc::new(config.tls(&[b"http/1.1"])?));
    let stream = tls.connect(name, tcp).await.map_err(|error| unreachable(error.into()))?;
    let mut request = request.map(drop);
    let url = format!("{}{}", server.replacen("https", "wss", 1), request.uri());
    *request.uri_mut() = Uri::try_from(url).map_err(|error| Error::Request(error.to_string()))?;
    let authority = &config.server[Position::BeforeHost..Position::AfterPort];
    let authority = HeaderValue::try_from(authority).map_err(|error| Error::Request(error.to_string()))?;
    request.headers_mut().insert(header::HOST, authority);
    if let Identity::Bearer(token) = &config.identity {
        let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()))
            .map_err(|_| Error::Config { field: "token", message: "it holds characters no header may".into() })?;
        value.set_sensitive(true);
        request.headers_mut().insert(header::AUTHORIZATION, value);
    }
    match tokio_tungstenite::client_async(request, stream).await {
        Ok((socket, _)) => Ok(socket),
        Err(tungstenite::Error::Http(response)) => Err(refusal(&response).into()),
        Err(error) => Err(unreachable(error.into())),
    }
}

fn refusal(response: &http::Response<Option<Vec<u8>>>) -> Status {
    let body = response.body().as_deref().unwrap_or_default();
    serde_json::from_slice(body).unwrap_or_else(|_| {
        let code = response.status();
        Status::of_code(code.as_u16(), code.canonical_reason().unwrap_or("Unknown"), String::from_utf8_lossy(body))
    })
}

/// Sends input and sizes until both are at their end or the socket is.
async fn write<S>(mut sink: S, mut stdin: Option<mpsc::Receiver<Bytes>>, mut resize: mpsc::Receiver<TerminalSize>)
where
    S: Sink<Message> + Unpin,
{
    let mut resize_open = true;
    while stdin.is_some() || resize_open {
        let input = async {
            match &mut stdin {
                Some(stdin) => stdin.recv().await,
                None => std::future::pending().await,
            }
        };
        let message = tokio::select! {
            input = input => match input {
                Some(bytes) => frame(STDIN, &bytes),
                None => {
                    stdin = None;
                    frame(CLOSE, &[STDIN])
                }
            },
            size = resize.recv(), if resize_open => match size.map(|size| serde_json::to_vec(&size)) {
                Some(Ok(size)) => frame(RESIZE, &size),
                Some(Err(_)) => continue,
                None => {
                    resize_open = false;
                    continue;
                }
            },
        };
        if sink.send(message).await.is_err() {
            return;
        }
    }
}

/// Hands output on until the socket ends; returns how the command ended.
async fn read<S>(mut messages: S, stdout: mpsc::Sender<Bytes>, stderr: mpsc::Sender<Bytes>) -> Exit
where
    S: Stream<Item = tungstenite::Result<Message>> + Unpin,
{
    while let Some(Ok(message)) = messages.next().await {
        match message {
            // The status is the last thing a command has to say.
            Message::Binary(bytes) => {
                if let Some(exit) = take(&bytes, &stdout, &stderr).await {
                    return exit;
                }
            }
            Message::Close(_) => break,
            _ => {}
        }
    }
    Exit::Failed(Box::new(Status::failure(
        Reason::Other(STREAM_CLOSED.into()),
        "the session ended before the command did",
    )))
}

fn frame(channel: u8, payload: &[u8]) -> Message {
    let mut bytes = Vec::with_capacity(payload.len() + 1);
    bytes.push(channel);
    bytes.extend_from_slice(payload);
    Message::Binary(bytes.into())
}

/// Hands a message on; returns how the command ended when it says so.
async fn take(message: &Bytes, stdout: &mpsc::Sender<Bytes>, stderr: &mpsc::Sender<Bytes>) -> Option<Exit> {
    let (channel, payload) = message.split_first()?;
    let payload = message.slice_ref(payload);
    // A reader that went away has no more interest in the output.
    match *channel {
        STDOUT => drop(stdout.send(payload).await),
        STDERR => drop(stderr.send(payload).await),
        ERROR => return Some(exit(&payload)),
        _ => {}
    }
    None
}

/// Reads the final status: success, an exit code among the causes, or a failure.
fn exit(payload: &[u8]) -> Exit {
    let status: Status = match serde_json::from_slice(payload) {
        Ok(status) => status,
        Err(_) => Status::failure(Reason::InternalError, String::from_utf8_lossy(payload)),
    };
    if status.status == "Success" {
        return Exit::Code(0);
    }
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let code = causes.filter(|cause| cause.reason == cause::EXIT_CODE).find_map(|cause| cause.message.parse().ok());
    code.map_or_else(|| Exit::Failed(Box::new(status)), Exit::Code)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests start programs and tasks, and end them")]
mod tests {
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;

    #[test]
    fn the_final_status_tells_the_exit_code() {
        assert_eq!(exit(br#"{"status":"Success"}"#), Exit::Code(0));
        let failed = br#"{"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"7"}]}}"#;
        assert_eq!(exit(failed), Exit::Code(7));
        let Exit::Failed(status) = exit(b"no such program") else { panic!("text without a code is a failure") };
        assert_eq!(status.message, "no such program");
    }

    #[test]
    fn every_word_of_the_command_is_a_parameter() {
        let params =
            ExecParams { command: vec!["sh".into(), "-c".into(), "a & b".into()], tty: true, ..ExecParams::default() };
        assert_eq!(params.query(), "command=sh&command=-c&command=a+%26+b&stdout=true&tty=true");
    }

    async fn sockets(
        buffer: usize,
    ) -> (WebSocketStream<tokio::io::DuplexStream>, WebSocketStream<tokio::io::DuplexStream>) {
        let (near, far) = tokio::io::duplex(buffer);
        (
            WebSocketStream::from_raw_socket(near, Role::Client, None).await,
            WebSocketStream::from_raw_socket(far, Role::Server, None).await,
        )
    }

    #[tokio::test]
    async fn a_command_that_echoes_more_than_the_pipes_hold_does_not_stall() {
        const CHUNKS: usize = 200;
        let (near, mut far) = sockets(1024).await;
        let ExecSession { stdin, mut stdout, exit, .. } = session(near, true);
        let server = tokio::spawn(async move {
            while let Some(Ok(Message::Binary(bytes))) = far.next().await {
                match bytes[0] {
                    STDIN => far.send(frame(STDOUT, &bytes[1..])).await.unwrap(),
                    CLOSE => break,
                    _ => {}
                }
            }
            far.send(frame(ERROR, br#"{"status":"Success"}"#)).await.unwrap();
        });
        let feeding = tokio::spawn(async move {
            for _ in 0..CHUNKS {
                stdin.send(Bytes::from(vec![b'x'; 8 * 1024])).await.unwrap();
            }
        });
        let mut received = 0;
        while let Some(bytes) = stdout.recv().await {
            received += bytes.len();
        }
        assert_eq!(received, CHUNKS * 8 * 1024);
        assert_eq!(exit.await.unwrap(), Exit::Code(0));
        feeding.await.unwrap();
        server.await.unwrap();
    }

    #[tokio::test]
    async fn what_the_user_does_travels_on_its_channel_and_no_input_is_not_closed() {
        let (near, mut far) = sockets(1024).await;
        let session = session(near, false);
        session.resize.send(TerminalSize { width: 80, height: 24 }).await.unwrap();
        let Some(Ok(Message::Binary(first))) = far.next().await else { panic!("a message is sent") };
        assert_eq!((first[0], &first[1..]), (RESIZE, &br#"{"Width":80,"Height":24}"#[..]));
        far.send(frame(STDERR, b"oops")).await.unwrap();
        drop(far);
        let ExecSession { stdin, mut stderr, exit, .. } = session;
        drop(stdin);
        assert_eq!(stderr.recv().await.unwrap(), "oops");
        let Exit::Failed(status) = exit.await.unwrap() else { panic!("there was no status") };
        assert_eq!(status.reason.word(), STREAM_CLOSED);
    }

    #[tokio::test]
    async fn a_dropped_session_closes_its_socket() {
        let (near, mut far) = sockets(1024).await;
        drop(session(near, true));
        while let Some(Ok(message)) = far.next().await {
            assert!(matches!(message, Message::Binary(bytes) if bytes[0] == CLOSE));
        }
    }
}
