//! Commands in containers, over a WebSocket of subprotocol `v5.channel.k8s.io`.
//!
//! Every message begins with the number of its channel: 0 stdin, 1 stdout, 2 stderr, 3 the final
//! `Status`, 4 the size of the terminal, 255 closes the channel named by the next byte.

use std::sync::Arc;

use api::Status;
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http::{HeaderValue, header};
use rustls_pki_types::ServerName;
use secrecy::ExposeSecret;
use serde::Serialize;
use tokio::{
    net::TcpStream,
    sync::{mpsc, oneshot},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, Message, client::IntoClientRequest},
};
use url::form_urlencoded;

use crate::{Client, Config, Error, Identity, Result};

/// Messages that wait in each direction before the other side has to.
pub const MESSAGES_BUFFERED: usize = 32;
const PROTOCOL: &str = "v5.channel.k8s.io";
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

/// A command that runs in a container.
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

type Socket = WebSocketStream<TlsStream<TcpStream>>;

pub(crate) async fn start(client: &Client, path: &str, params: &ExecParams) -> Result<ExecSession> {
    let Some(config) = client.config() else {
        return Err(Error::Request("exec needs a client over TLS".into()));
    };
    let socket = connect(config, &format!("{path}?{}", params.query())).await?;
    let (stdin, stdin_in) = mpsc::channel(MESSAGES_BUFFERED);
    let (resize, resize_in) = mpsc::channel(MESSAGES_BUFFERED);
    let (stdout_out, stdout) = mpsc::channel(MESSAGES_BUFFERED);
    let (stderr_out, stderr) = mpsc::channel(MESSAGES_BUFFERED);
    let (exit_out, exit) = oneshot::channel();
    tokio::spawn(async move {
        let outcome = pump(socket, stdin_in, resize_in, stdout_out, stderr_out).await;
        // Nobody may wait for the outcome any more.
        let _ = exit_out.send(outcome);
    });
    Ok(ExecSession { stdin, stdout, stderr, resize, exit })
}

async fn connect(config: &Config, path: &str) -> Result<Socket> {
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
    let url = format!("{}{path}", server.replacen("https", "wss", 1));
    let mut request = url.into_client_request().map_err(|error| Error::Request(error.to_string()))?;
    request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
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
        Status::failure(code.as_u16(), code.canonical_reason().unwrap_or("Unknown"), String::from_utf8_lossy(body))
    })
}

async fn pump(
    socket: Socket,
    mut stdin: mpsc::Receiver<Bytes>,
    mut resize: mpsc::Receiver<TerminalSize>,
    stdout: mpsc::Sender<Bytes>,
    stderr: mpsc::Sender<Bytes>,
) -> Exit {
    let (mut sink, mut messages) = socket.split();
    let (mut input_open, mut resize_open) = (true, true);
    let mut exit = None;
    loop {
        let outgoing = tokio::select! {
            input = stdin.recv(), if input_open => {
                input_open = input.is_some();
                input.map_or_else(|| frame(CLOSE, &[STDIN]), |bytes| frame(STDIN, &bytes))
            }
            size = resize.recv(), if resize_open => {
                resize_open = size.is_some();
                let Some(size) = size else { continue };
                frame(RESIZE, &serde_json::to_vec(&size).unwrap_or_default())
            }
            message = messages.next() => {
                match message {
                    Some(Ok(Message::Binary(bytes))) => {
                        if let Some(end) = take(&bytes, &stdout, &stderr).await {
                            exit = Some(end);
                        }
                    }
                    Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                    Some(Ok(_)) => {}
                }
                continue;
            }
        };
        if sink.send(outgoing).await.is_err() {
            break;
        }
    }
    exit.unwrap_or_else(|| {
        Exit::Failed(Box::new(Status::failure(500, "StreamClosed", "the session ended before the command did")))
    })
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
        Err(_) => Status::failure(500, "InternalError", String::from_utf8_lossy(payload)),
    };
    if status.status == "Success" {
        return Exit::Code(0);
    }
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let code = causes.filter(|cause| cause.reason == "ExitCode").find_map(|cause| cause.message.parse().ok());
    code.map_or_else(|| Exit::Failed(Box::new(status)), Exit::Code)
}

#[cfg(test)]
mod tests {
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
}
