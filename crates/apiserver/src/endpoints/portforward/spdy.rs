//! Connections as pairs of streams: `data`, and `error` for what went wrong.
//!
//! Source: `k8s.io/client-go/tools/portforward`.

use std::collections::HashMap;

use futures::StreamExt;
use tokio::{sync::mpsc, task::JoinSet};

use super::target::{Target, upload};
use crate::sessions::spdy::Stream;

/// Most connections of one session at once, with those that wait for their second stream.
const MAX_CONNECTIONS: usize = 100;

/// The two streams of a connection, as they come.
#[derive(Default)]
struct Pair {
    error: Option<Stream>,
    data: Option<Stream>,
}

/// Serves connections until the client goes.
pub(super) async fn forward(mut streams: mpsc::Receiver<Stream>, target: Target) {
    let mut waiting: HashMap<String, Pair> = HashMap::new();
    let mut running = JoinSet::new();
    loop {
        let stream = tokio::select! {
            stream = streams.recv() => stream,
            Some(_) = running.join_next() => continue,
        };
        let Some(stream) = stream else { return };
        let Some((id, port)) = address(&stream) else {
            stream.output.reset().await;
            continue;
        };
        if waiting.len() + running.len() >= MAX_CONNECTIONS && !waiting.contains_key(&id) {
            stream.output.reset().await;
            continue;
        }
        let pair = waiting.entry(id.clone()).or_default();
        let data = stream.headers.get("streamtype").is_some_and(|kind| kind == "data");
        let place = if data { &mut pair.data } else { &mut pair.error };
        if let Some(earlier) = place.replace(stream) {
            earlier.output.reset().await;
        }
        if let Some(Pair { error: Some(error), data: Some(data) }) =
            waiting.get(&id).is_some_and(Pair::is_complete).then(|| waiting.remove(&id)).flatten()
        {
            running.spawn(connect(target.clone(), port, error, data));
        }
    }
}

impl Pair {
    fn is_complete(&self) -> bool {
        self.error.is_some() && self.data.is_some()
    }
}

/// Which connection a stream is a part of, and its port.
fn address(stream: &Stream) -> Option<(String, u16)> {
    let header = |name: &str| stream.headers.get(name).filter(|value| !value.is_empty());
    header("streamtype").filter(|kind| ["data", "error"].contains(&kind.as_str()))?;
    let port = header("port")?.parse().ok().filter(|port| *port != 0)?;
    Some((header("requestid")?.clone(), port))
}

async fn connect(target: Target, port: u16, error: Stream, data: Stream) {
    match target.connect(port).await {
        Ok((mut source, sink)) => {
            let download = async {
                while let Some(Ok(piece)) = source.next().await {
                    if data.output.send(piece).await.is_err() {
                        return;
                    }
                }
            };
            tokio::select! {
                () = download => {}
                () = upload(data.input, sink) => {}
            }
        }
        // A client that is gone needs no reason.
        Err(why) => drop(error.output.send(why.into()).await),
    }
    error.output.finish().await;
    data.output.finish().await;
}
