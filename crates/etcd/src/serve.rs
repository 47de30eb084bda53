//! The listener: HTTP/2 over TLS with client certificates, bounded, with a graceful end.

use std::pin::pin;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status;
use trust::{Attributes, Subject, built_in};

use crate::server::Routes;
use crate::streams::Streams;
use crate::{Error, EtcdServer, limits, refuse};

/// The path that stands for the raw keyspace when it is asked who may use it. No role names it, so that only
/// administrators of the whole cluster may.
const RESOURCE: &str = "/etcd";

/// Who is let in.
#[derive(Clone)]
pub enum Access {
    /// Whoever shows a certificate of an administrator. The configuration must require client certificates.
    Certificates(Arc<ServerConfig>),
    /// Whoever can connect, in clear. Loopback only: for tests and measurements.
    Loopback,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Access::Certificates(_) => "Certificates",
            Access::Loopback => "Loopback",
        })
    }
}

/// Threads for connections: half of the processors, since the keyspace needs as much time as they do.
pub fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, |processors| processors.get().div_ceil(2))
}

/// Serves `server` until `stop`; then open requests have a moment to end.
pub async fn serve(
    server: Arc<EtcdServer>,
    listener: TcpListener,
    access: Access,
    stop: CancellationToken,
) -> Result<(), Error> {
    let address = listener.local_addr().map_err(|source| Error::Listener { source })?;
    let acceptor = match access {
        Access::Certificates(tls) => Some(TlsAcceptor::from(tls)),
        Access::Loopback if address.ip().is_loopback() => None,
        Access::Loopback => return Err(Error::Unprotected { address }),
    };
    tracing::info!(%address, "serving etcd clients");
    let places = Arc::new(Semaphore::new(limits::MAX_CONNECTIONS));
    let connections = TaskTracker::new();
    let closing = CancellationToken::new();
    let door = Arc::new(Door { server: server.clone(), routes: Routes::all(), acceptor, closing: closing.clone() });
    let mut follow = pin!(server.follow());
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &places) => accepted,
            () = follow.as_mut() => continue,
            () = stop.cancelled() => break,
        };
        let Some((stream, place)) = accepted else { continue };
        let door = door.clone();
        connections.spawn(async move {
            let _place = place;
            door.connection(stream).await;
        });
    }
    drop(listener);
    closing.cancel();
    connections.close();
    if tokio::time::timeout(limits::DRAIN_TIMEOUT, connections.wait()).await.is_err() {
        tracing::debug!(open = connections.len(), "some connections of etcd clients did not end in time");
    }
    Ok(())
}

/// The next connection, once there is a place for it.
async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, place)),
        Err(error) => {
            tracing::warn!(%error, "cannot accept a connection of an etcd client");
            tokio::time::sleep(limits::ACCEPT_PAUSE).await;
            None
        }
    }
}

/// What every connection needs.
struct Door {
    server: Arc<EtcdServer>,
    routes: Routes,
    acceptor: Option<TlsAcceptor>,
    closing: CancellationToken,
}

impl Door {
    async fn connection(self: Arc<Self>, stream: TcpStream) {
        // Answers are small and latency matters; a socket without the option still works.
        let _ = stream.set_nodelay(true);
        let Some(acceptor) = self.acceptor.clone() else {
            return self.speak(stream, true).await;
        };
        let handshake = tokio::time::timeout(limits::HANDSHAKE_TIMEOUT, acceptor.accept(stream));
        let stream = tokio::select! {
            () = self.closing.cancelled() => return,
            done = handshake => match done {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake with an etcd client failed"),
                Err(_) => return tracing::debug!("TLS handshake with an etcd client took too long"),
            },
        };
        let admitted = admits(&stream);
        self.speak(stream, admitted).await;
    }

    /// Answers what comes over `stream`; if the peer is not admitted, everything with a refusal.
    async fn speak(self: Arc<Self>, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, admitted: bool) {
        let door = self.clone();
        let service = hyper::service::service_fn(move |request: http::Request<Incoming>| {
            let door = door.clone();
            async move {
                if !admitted {
                    return Ok(Status::from(refuse::PERMISSION_DENIED).into_http());
                }
                Ok::<_, std::convert::Infallible>(door.routes.answer(&door.server, request).await)
            }
        });
        let streams = Streams::default();
        let mut server = http2::Builder::new(streams.clone());
        server
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits::MAX_STREAMS)
            .initial_stream_window_size(limits::WINDOW_BYTES)
            .initial_connection_window_size(limits::WINDOW_BYTES)
            .keep_alive_interval(limits::PING_EVERY);
        let mut connection = pin!(server.serve_connection(TokioIo::new(stream), service));
        let served = async {
            tokio::select! {
                served = connection.as_mut() => served,
                () = self.closing.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        };
        if let Err(error) = streams.run(served).await {
            tracing::debug!(%error, "connection of an etcd client ended");
        }
    }
}

/// Whether the peer may use the raw keyspace.
fn admits(stream: &TlsStream<TcpStream>) -> bool {
    let Some(chain) = stream.get_ref().1.peer_certificates() else { return false };
    match trust::tls::peer_subject(chain) {
        Ok(subject) => may_use(&subject),
        Err(error) => {
            tracing::info!(%error, "an etcd client shows a certificate that names nobody");
            false
        }
    }
}

fn may_use(subject: &Subject) -> bool {
    let request = Attributes { verb: "post", non_resource_path: Some(RESOURCE), ..Attributes::default() };
    let decision = built_in(subject, &request);
    if !decision.is_allowed() {
        tracing::info!(%subject, reason = decision.reason(), "an etcd client is refused");
    }
    decision.is_allowed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_administrators_may_use_the_raw_keyspace() {
        for (subject, may) in [
            (Subject::admin("root"), true),
            (Subject::node("one"), false),
            (Subject::controllers(), false),
            (Subject::scheduler(), false),
            (Subject::authenticated("somebody", [trust::subject::MONITORING.to_owned()]), false),
            (Subject::anonymous(), false),
        ] {
            assert_eq!(may_use(&subject), may, "{subject}");
        }
    }
}
