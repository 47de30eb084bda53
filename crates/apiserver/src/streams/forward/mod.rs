//! `pods/{name}/portforward`: connections to ports of a pod's own loopback.

mod spdy;
mod websocket;

use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;
use tokio::{
    io::{AsyncWriteExt, ReadHalf, WriteHalf},
    sync::mpsc,
};
use tokio_util::io::ReaderStream;
use tracing::Instrument;

use super::{
    Connection, PodStreams,
    upgrade::{self, Served, Upgrade},
};
use crate::{failure::Outcome, http::entry::Call};

/// The protocol over SPDY, and the same within a WebSocket.
const SPDY: &str = "portforward.k8s.io";
const TUNNELLED: &str = "SPDY/3.1+portforward.k8s.io";
/// Bytes read from a pod at once.
const PIECE: usize = 32 * 1024;

/// The pod that is connected to.
#[derive(Clone)]
struct Target {
    streams: Arc<dyn PodStreams>,
    namespace: Arc<str>,
    pod: Arc<str>,
}

type Opened = (ReaderStream<ReadHalf<Box<dyn Connection>>>, WriteHalf<Box<dyn Connection>>);

impl Target {
    /// Connects to a port; what keeps it from that is for the client to read.
    async fn connect(&self, port: u16) -> Result<Opened, String> {
        let opened = self.streams.connect(&self.namespace, &self.pod, port).await;
        let connection = opened.map_err(|status| {
            format!("cannot connect to port {port} of pod {}/{}: {}", self.namespace, self.pod, status.message)
        })?;
        let (source, sink) = tokio::io::split(connection);
        Ok((ReaderStream::with_capacity(source, PIECE), sink))
    }
}

/// Hands what comes to the pod. Its end is the end of this direction only, so this never returns.
async fn upload(mut from: mpsc::Receiver<Bytes>, mut to: WriteHalf<Box<dyn Connection>>) {
    while let Some(data) = from.recv().await {
        if to.write_all(&data).await.is_err() {
            // The other direction will tell that the pod closed the connection.
            break;
        }
    }
    // What is closed already needs no end.
    let _ = to.shutdown().await;
    std::future::pending().await
}

pub(super) async fn serve(mut call: Call, namespace: &str, name: &str) -> Outcome<Response> {
    let served = Served { websocket: [&[TUNNELLED][..], &websocket::PROTOCOLS].concat(), spdy: Some(SPDY) };
    let upgrade = Upgrade::of(&mut call, &served).await?;
    let place = call.app.admit_stream()?;
    let target = Target { streams: call.app.streams.clone(), namespace: namespace.into(), pod: name.into() };
    let span = tracing::info_span!("session", trace_id = %call.trace, user = %call.subject, kind = "portforward", namespace, pod = name);
    let stop = call.app.stop.clone();
    let until = move |talk| {
        let talk = async move {
            let _place = place;
            tracing::info!("session opened");
            stop.run_until_cancelled_owned(talk).await;
            tracing::info!("session ended");
        };
        talk.instrument(span)
    };
    Ok(match upgrade {
        Upgrade::WebSocket(socket, TUNNELLED) => upgrade::websocket(*socket, TUNNELLED, move |socket| {
            until(Box::pin(upgrade::tunnelled(socket, move |streams| spdy::forward(streams, target))) as Talk)
        }),
        Upgrade::WebSocket(socket, protocol) => {
            let ports = websocket::ports(&call.query)?;
            upgrade::websocket(*socket, protocol, move |socket| {
                until(Box::pin(websocket::forward(socket, target, ports)) as Talk)
            })
        }
        Upgrade::Spdy(connection, protocol) => {
            upgrade::spdy(connection, protocol, move |streams| until(Box::pin(spdy::forward(streams, target)) as Talk))
        }
    })
}

/// A conversation.
type Talk = futures::future::BoxFuture<'static, ()>;
