//! The listener: TLS, HTTP/1.1 and HTTP/2, bounded, with a graceful end.

use std::{pin::pin, sync::Arc};

use axum::{Router, extract::Request};
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

use crate::{error::Error, http::auth::PeerCertificate, limits};

/// Serves until `stop`; then cancels `streams` and waits for open requests.
pub(crate) async fn serve(
    router: Router,
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    stop: CancellationToken,
    streams: CancellationToken,
) -> Result<(), Error> {
    let address = listener.local_addr().map_err(|source| Error::Listener { source })?;
    tracing::info!(%address, "serving the API");
    let acceptor = TlsAcceptor::from(tls);
    let places = Arc::new(Semaphore::new(limits::MAX_CONNECTIONS));
    let connections = TaskTracker::new();
    let closing = CancellationToken::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &places) => accepted,
            () = stop.cancelled() => break,
        };
        let Some((stream, place)) = accepted else { continue };
        let (acceptor, router, closing) = (acceptor.clone(), router.clone(), closing.clone());
        connections.spawn(async move {
            let _place = place;
            connection(stream, acceptor, router, closing).await;
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

/// The next connection, once there is a place for it.
async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, place)),
        Err(error) => {
            tracing::warn!(%error, "cannot accept a connection");
            tokio::time::sleep(limits::ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, router: Router, closing: CancellationToken) {
    // Answers are small and latency matters; a socket without the option still works.
    let _ = stream.set_nodelay(true);
    let handshake = tokio::time::timeout(limits::TLS_HANDSHAKE_TIMEOUT, acceptor.accept(stream));
    let stream = tokio::select! {
        () = closing.cancelled() => return,
        done = handshake => match done {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake failed"),
            Err(_) => return tracing::debug!("TLS handshake took too long"),
        },
    };
    let peer = peer(&stream);
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        if let Some(peer) = &peer {
            request.extensions_mut().insert(peer.clone());
        }
        router.clone().oneshot(request.map(axum::body::Body::new))
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
        served = connection.as_mut() => served,
        () = closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "connection ended");
    }
}

fn peer(stream: &TlsStream<TcpStream>) -> Option<PeerCertificate> {
    let certificates = stream.get_ref().1.peer_certificates()?;
    certificates.first().map(|certificate| PeerCertificate(certificate.as_ref().into()))
}
