//! Upgrades of a request to a WebSocket, to SPDY within one, or to SPDY itself.

use std::future::Future;

use api::Reason;
use axum::{
    body::Body,
    extract::{
        FromRequestParts,
        ws::{Message, WebSocket, WebSocketUpgrade},
    },
    response::Response,
};
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http::{HeaderName, HeaderValue, StatusCode, Version, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    sync::mpsc,
};

use super::spdy::{self, Stream};
use crate::{
    api_error::{ApiError, Result},
    limits,
    request::context::RequestContext,
};

/// Says which protocol was chosen, as Kubernetes does beside `Sec-WebSocket-Protocol`.
const CHOSEN: HeaderName = HeaderName::from_static("x-stream-protocol-version");
const SPDY: &str = "SPDY/3.1";
/// Bytes of a tunnel that wait for their reader, each way.
const TUNNEL_BUFFERED: usize = 64 * 1024;

/// Protocols of an endpoint, best first.
pub(crate) struct Served {
    pub(crate) websocket: Vec<&'static str>,
    pub(crate) spdy: Option<&'static str>,
}

/// What the client asked for, with the protocol that was chosen.
pub(crate) enum Upgrade {
    WebSocket(Box<WebSocketUpgrade>, &'static str),
    Spdy(OnUpgrade, &'static str),
}

impl Upgrade {
    /// Reads the request; what cannot be served is refused.
    pub(crate) async fn of(context: &mut RequestContext, served: &Served) -> Result<Self> {
        let wanted = wanted(context)?;
        let name = if wanted == Wanted::Spdy { &CHOSEN } else { &header::SEC_WEBSOCKET_PROTOCOL };
        let offered: Vec<String> = context
            .parts
            .headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .collect::<Vec<_>>()
            .join(",")
            .split(',')
            .map(|name| name.trim().to_owned())
            .collect();
        let candidates = match wanted {
            Wanted::WebSocket => served.websocket.clone(),
            Wanted::Spdy => served.spdy.into_iter().collect(),
        };
        let Some(chosen) = candidates.iter().find(|name| offered.iter().any(|offered| offered == *name)).copied()
        else {
            return Err(ApiError::bad_request("no subprotocol of the request is served")
                .remedy(format!("send {name}: {}", candidates.join(", "))));
        };
        match wanted {
            Wanted::WebSocket => {
                let upgrade = WebSocketUpgrade::from_request_parts(&mut context.parts, &())
                    .await
                    .map_err(|error| ApiError::bad_request(format!("no WebSocket can be opened: {error}")))?;
                Ok(Self::WebSocket(Box::new(upgrade), chosen))
            }
            Wanted::Spdy => {
                let connection = context.parts.extensions.remove::<OnUpgrade>();
                let connection =
                    connection.ok_or_else(|| ApiError::bad_request("this connection cannot be upgraded"))?;
                Ok(Self::Spdy(connection, chosen))
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    WebSocket,
    Spdy,
}

/// Sessions begin with an upgrade of HTTP/1.1; everything else is refused.
fn wanted(context: &RequestContext) -> Result<Wanted> {
    if context.parts.version == Version::HTTP_2 {
        return Err(ApiError::new(
            Reason::UpgradeRequired,
            "a session needs HTTP/1.1, because it upgrades the connection",
        )
        .remedy("connect with HTTP/1.1 and Upgrade: websocket"));
    }
    let upgrade = context.parts.headers.get(header::UPGRADE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if upgrade.eq_ignore_ascii_case(SPDY) {
        return Ok(Wanted::Spdy);
    }
    if context.parts.method == http::Method::GET && upgrade.eq_ignore_ascii_case("websocket") {
        return Ok(Wanted::WebSocket);
    }
    Err(ApiError::bad_request("a session must be opened with GET and Upgrade: websocket, or with Upgrade: SPDY/3.1")
        .remedy("send Upgrade: websocket, Connection: Upgrade, Sec-WebSocket-Version: 13 and Sec-WebSocket-Protocol"))
}

/// Answers with a WebSocket, and runs the session over it.
pub(crate) fn websocket<F, T>(upgrade: WebSocketUpgrade, protocol: &'static str, talk: F) -> Response
where
    F: FnOnce(WebSocket) -> T + Send + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    let mut response = upgrade
        .max_message_size(limits::MAX_WEBSOCKET_MESSAGE)
        .max_frame_size(limits::MAX_WEBSOCKET_MESSAGE)
        .protocols([protocol])
        .on_upgrade(talk);
    response.headers_mut().insert(CHOSEN, HeaderValue::from_static(protocol));
    response
}

/// Answers with SPDY, and runs the session over the streams that the client opens.
pub(crate) fn spdy<F, T>(connection: OnUpgrade, protocol: &'static str, talk: F) -> Response
where
    F: FnOnce(mpsc::Receiver<Stream>) -> T + Send + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    #[expect(clippy::disallowed_methods, reason = "ends with the session, or when the server stops")]
    tokio::spawn(async move {
        match connection.await {
            Ok(connection) => note(spdy::serve(TokioIo::new(connection), talk).await),
            Err(error) => tracing::debug!(%error, "the connection was not upgraded"),
        }
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static(SPDY));
    headers.insert(CHOSEN, HeaderValue::from_static(protocol));
    response
}

/// Runs a session over the streams of SPDY within a WebSocket.
pub(crate) async fn tunnelled<F, T>(socket: WebSocket, talk: F)
where
    F: FnOnce(mpsc::Receiver<Stream>) -> T,
    T: Future<Output = ()>,
{
    let (near, far) = tokio::io::duplex(TUNNEL_BUFFERED);
    let ((), served) = tokio::join!(tunnel(socket, far), spdy::serve(near, talk));
    note(served);
}

fn note(served: std::io::Result<()>) {
    if let Err(error) = served {
        tracing::debug!(%error, "SPDY connection ended");
    }
}

/// Carries bytes between the binary messages of a WebSocket and a pipe, until either side ends.
async fn tunnel(socket: WebSocket, pipe: DuplexStream) {
    let (mut sink, mut source) = socket.split();
    let (mut from, mut to) = tokio::io::split(pipe);
    let inward = async {
        while let Some(Ok(message)) = source.next().await {
            match message {
                Message::Binary(data) if to.write_all(&data).await.is_err() => break,
                Message::Close(_) => break,
                Message::Binary(_) | Message::Text(_) | Message::Ping(_) | Message::Pong(_) => {}
            }
        }
    };
    let outward = async {
        let mut buffer = vec![0; TUNNEL_BUFFERED];
        let mut ping = tokio::time::interval(limits::WEBSOCKET_PING_EVERY);
        ping.reset();
        loop {
            let message = tokio::select! {
                read = from.read(&mut buffer) => match read {
                    Ok(0) | Err(_) => break,
                    Ok(read) => Message::Binary(Bytes::copy_from_slice(&buffer[..read])),
                },
                _ = ping.tick() => Message::Ping(Bytes::new()),
            };
            if sink.send(message).await.is_err() {
                return;
            }
        }
        // The client may be gone already, which changes nothing.
        let _ = sink.send(Message::Close(None)).await;
    };
    tokio::select! {
        () = inward => {}
        () = outward => {}
    }
}
