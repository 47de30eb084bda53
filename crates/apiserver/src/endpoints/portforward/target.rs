//! The pod at the other end of forwarded ports.

use std::sync::Arc;

use bytes::Bytes;
use tokio::{
    io::{AsyncWriteExt, ReadHalf, WriteHalf},
    sync::mpsc,
};
use tokio_util::io::ReaderStream;

use crate::ports::{Connection, PodStreams};

/// Bytes read from a pod at once.
const PIECE: usize = 32 * 1024;

/// The pod that is connected to.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) streams: Arc<dyn PodStreams>,
    pub(super) namespace: Arc<str>,
    pub(super) pod: Arc<str>,
}

pub(super) type Opened = (ReaderStream<ReadHalf<Box<dyn Connection>>>, WriteHalf<Box<dyn Connection>>);

impl Target {
    /// Connects to a port; what keeps it from that is for the client to read.
    pub(super) async fn connect(&self, port: u16) -> Result<Opened, String> {
        let opened = self.streams.connect(&self.namespace, &self.pod, port).await;
        let connection = opened.map_err(|status| {
            format!("cannot connect to port {port} of pod {}/{}: {}", self.namespace, self.pod, status.message)
        })?;
        let (source, sink) = tokio::io::split(connection);
        Ok((ReaderStream::with_capacity(source, PIECE), sink))
    }
}

/// Hands what comes to the pod. Its end is the end of this direction only, so this never returns.
pub(super) async fn upload(mut from: mpsc::Receiver<Bytes>, mut to: WriteHalf<Box<dyn Connection>>) {
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
