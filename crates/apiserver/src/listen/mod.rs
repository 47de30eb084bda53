//! The listener: TLS, HTTP/1.1 and HTTP/2, bounded, with a graceful end.

mod activity;
mod peers;

use std::{net::IpAddr, pin::pin, sync::Arc, time::Duration};

use axum::{Router, extract::Request};
use futures::TryFutureExt;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

pub(crate) use self::activity::Activity;
use self::{
    activity::{Answer, Impatient},
    peers::Peers,
};
use crate::{error::Error, limits, request::auth::PeerCertificate};

/// What connections may have of the server.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    connections: usize,
    per_peer: usize,
    handshake: Duration,
    idle: Duration,
    write: Duration,
}

const BOUNDS: Bounds = Bounds {
    connections: limits::MAX_CONNECTIONS,
    per_peer: limits::MAX_CONNECTIONS_PER_PEER,
    handshake: limits::TLS_HANDSHAKE_TIMEOUT,
    idle: limits::IDLE_TIMEOUT,
    write: limits::WRITE_TIMEOUT,
};

/// Serves until `stop`; then cancels `streams` and waits for open requests.
pub(crate) async fn serve(
    router: Router,
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    stop: CancellationToken,
    streams: CancellationToken,
) -> Result<(), Error> {
    serve_within(BOUNDS, router, listener, tls, stop, streams).await
}

async fn serve_within(
    bounds: Bounds,
    router: Router,
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    stop: CancellationToken,
    streams: CancellationToken,
) -> Result<(), Error> {
    let address = listener.local_addr().map_err(|source| Error::Listener { source })?;
    tracing::info!(%address, "serving the API");
    let acceptor = TlsAcceptor::from(tls);
    let places = Arc::new(Semaphore::new(bounds.connections));
    let peers = Peers::default();
    let connections = TaskTracker::new();
    let closing = CancellationToken::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &places) => accepted,
            () = stop.cancelled() => break,
        };
        let Some((stream, peer, place)) = accepted else { continue };
        let Some(counted) = peers.count(peer, bounds.per_peer) else {
            tracing::debug!(%peer, "connection closed: this address has as many as it may have");
            continue;
        };
        let (acceptor, router, closing) = (acceptor.clone(), router.clone(), closing.clone());
        connections.spawn(async move {
            let _held = (place, counted);
            connection(bounds, stream, acceptor, router, closing).await;
        });
    }
    drop(listener);
    streams.cancel();
    closing.cancel();
    connections.close();
    if tokio::time::timeout(limits::DRAIN_TIMEOUT, connections.wait()).await.is_err() {
        tracing::warn!(open = connections.len(), "some connections did not end in time");
    }
    Ok(())
}

/// The next connection and its peer's address, once a place is free.
async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> Option<(TcpStream, IpAddr, OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => Some((stream, peer.ip(), place)),
        Err(error) => {
            tracing::warn!(%error, "cannot accept a connection");
            tokio::time::sleep(limits::ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn connection(
    bounds: Bounds,
    stream: TcpStream,
    acceptor: TlsAcceptor,
    router: Router,
    closing: CancellationToken,
) {
    // Answers are small and latency matters; a socket without the option still works.
    let _ = stream.set_nodelay(true);
    let activity = Activity::new();
    let stream = Impatient::new(stream, activity.clone(), bounds.write);
    let handshake = tokio::time::timeout(bounds.handshake, acceptor.accept(stream));
    let stream = tokio::select! {
        () = closing.cancelled() => return,
        done = handshake => match done {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake failed"),
            Err(_) => return tracing::debug!("TLS handshake took too long"),
        },
    };
    let (peer, counted) = (peer(&stream), activity.clone());
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        if let Some(peer) = &peer {
            request.extensions_mut().insert(peer.clone());
        }
        request.extensions_mut().insert(counted.clone());
        let busy = counted.request();
        let answered = router.clone().oneshot(request.map(axum::body::Body::new));
        answered.map_ok(move |response| response.map(|body| Answer::new(body, busy)))
    });
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(limits::HEADER_TIMEOUT);
    server
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits::MAX_HTTP2_STREAMS)
        .keep_alive_interval(limits::HTTP2_PING_EVERY);
    let mut connection = pin!(server.serve_connection_with_upgrades(TokioIo::new(stream), service));
    let served = tokio::select! {
        served = connection.as_mut() => Some(served),
        () = closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            Some(connection.await)
        }
        () = activity.idle(bounds.idle) => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(limits::IDLE_CLOSE, connection).await.ok()
        }
    };
    if let Some(Err(error)) = served {
        tracing::debug!(%error, "connection ended");
    }
}

fn peer<S>(stream: &TlsStream<S>) -> Option<PeerCertificate> {
    let certificates = stream.get_ref().1.peer_certificates()?;
    certificates.first().map(|certificate| PeerCertificate(certificate.as_ref().into()))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests start programs and tasks, and end them")]
mod tests {
    use axum::body::Body;
    use bytes::Bytes;
    use futures::StreamExt;
    use jiff::Timestamp;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_rustls::{TlsConnector, client};
    use trust::{
        Authority, CertificateSpec, ClientAuth, Identity, Usage,
        tls::{ServerCertificate, client_config, server_config},
    };

    use super::*;

    /// Longest wait for what must come; only a failing test waits that long.
    const PATIENCE: Duration = Duration::from_secs(20);
    const SHORT: Duration = Duration::from_millis(200);

    struct Server {
        address: std::net::SocketAddr,
        connector: TlsConnector,
        stop: CancellationToken,
    }

    impl Drop for Server {
        fn drop(&mut self) {
            self.stop.cancel();
        }
    }

    impl Server {
        async fn start(bounds: Bounds, router: Router) -> Self {
            let now = Timestamp::now();
            let (authority, _) = Authority::generate("test", now).unwrap();
            let spec = CertificateSpec {
                usage: Usage::Server,
                common_name: "api".into(),
                organizations: Vec::new(),
                names: vec!["127.0.0.1".into()],
                lifetime: Duration::from_secs(3600),
            };
            let issued = authority.issue(&spec, now).unwrap();
            let identity = Identity::from_pem(&issued.certificate_pem, issued.key_pem).unwrap();
            let tls = server_config(&authority, ServerCertificate::new(&identity), ClientAuth::Optional).unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
            let serving = serve_within(bounds, router, listener, Arc::new(tls), stop.clone(), CancellationToken::new());
            tokio::spawn(serving);
            let mut client = client_config(authority.certificate_pem(), None).unwrap();
            client.alpn_protocols = vec![b"http/1.1".to_vec()];
            Self { address, connector: TlsConnector::from(Arc::new(client)), stop }
        }

        async fn connect(&self) -> std::io::Result<client::TlsStream<TcpStream>> {
            let stream = TcpStream::connect(self.address).await?;
            self.connector.connect("127.0.0.1".try_into().unwrap(), stream).await
        }
    }

    /// Reads until the other end closes, which it must.
    async fn closed(stream: &mut client::TlsStream<TcpStream>) -> Vec<u8> {
        let mut rest = Vec::new();
        // A connection that is cut off instead of closed is an error, and as good.
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("it stays open");
        rest
    }

    #[tokio::test]
    async fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
        let answered = Router::new().fallback(|| async {
            tokio::time::sleep(3 * SHORT).await;
            "slow"
        });
        let server = Server::start(Bounds { idle: SHORT, ..BOUNDS }, answered).await;
        assert!(closed(&mut server.connect().await.unwrap()).await.is_empty(), "nothing was ever asked");
        let mut busy = server.connect().await.unwrap();
        busy.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let answer = String::from_utf8(closed(&mut busy).await).unwrap();
        assert!(answer.contains("200 OK") && answer.ends_with("slow"), "{answer}");
    }

    #[tokio::test]
    async fn who_reads_nothing_of_a_watch_loses_it() {
        let (gone, is_gone) = tokio::sync::oneshot::channel::<()>();
        let gone = Arc::new(parking_lot::Mutex::new(Some(gone)));
        let endless = Router::new().fallback(move || {
            let held = gone.lock().take();
            let piece = Bytes::from(vec![b'x'; 256 * 1024]);
            let pieces = futures::stream::repeat(piece).map(move |piece| {
                let _held = &held;
                Ok::<_, std::convert::Infallible>(piece)
            });
            std::future::ready(Body::from_stream(pieces))
        });
        let server = Server::start(Bounds { write: SHORT, ..BOUNDS }, endless).await;
        let mut stream = server.connect().await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let ended = tokio::time::timeout(PATIENCE, is_gone).await.expect("the server goes on writing");
        assert!(ended.is_err(), "the body was dropped");
    }

    #[tokio::test]
    async fn one_address_does_not_hold_all_connections() {
        let server = Server::start(Bounds { per_peer: 2, ..BOUNDS }, Router::new()).await;
        let first = server.connect().await.unwrap();
        let _second = server.connect().await.unwrap();
        assert!(server.connect().await.is_err(), "the third is closed");
        drop(first);
        let again = async { while server.connect().await.is_err() {} };
        tokio::time::timeout(PATIENCE, again).await.expect("a place that was given back is free");
    }
}
