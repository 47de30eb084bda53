//! One connection for each port of the request, as pairs of channels: data, and errors beside it.
//!
//! The first frame of each channel is the port's number, two bytes with the lower first.
//!
//! Source: `k8s.io/kubelet/pkg/cri/streaming/portforward`.

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use tokio::{sync::mpsc, task::JoinSet};

use super::target::{Target, upload};
use crate::{
    api_error::{ApiError, Result},
    limits,
    query::params::Query,
    sessions::frame,
};

/// Subprotocols, which do not differ here.
pub(super) const PROTOCOLS: [&str; 2] = ["v4.channel.k8s.io", "portforward.k8s.io"];
/// Most ports of one request.
const MAX_PORTS: usize = 32;
/// Frames that wait for their reader or writer.
const QUEUED: usize = 16;

/// The ports of a request.
pub(super) fn ports(query: &Query) -> Result<Vec<u16>> {
    let all = query.all("ports");
    let ports: Result<Vec<u16>, _> =
        all.iter().flat_map(|list| list.split(',')).map(|port| port.trim().parse()).collect();
    match ports {
        Ok(ports) if (1..=MAX_PORTS).contains(&ports.len()) && !ports.contains(&0) => Ok(ports),
        _ => Err(ApiError::bad_request(format!("ports={} must be 1 to {MAX_PORTS} port numbers", all.join(",")))
            .remedy("add ports=<number> to the query, once for each port")),
    }
}

/// Carries data both ways until all connections have ended, or the client goes.
pub(super) async fn forward(socket: WebSocket, target: Target, ports: Vec<u16>) {
    let (mut sink, mut source) = socket.split();
    let (frames, mut queue) = mpsc::channel::<Bytes>(QUEUED);
    let mut running = JoinSet::new();
    let mut inputs = Vec::new();
    for (port, channel) in ports.into_iter().zip((0_u8..).step_by(2)) {
        let (input, received) = mpsc::channel(QUEUED);
        inputs.push(Some(input));
        running.spawn(connect(target.clone(), port, channel, received, frames.clone()));
    }
    drop(frames);
    let inward = async {
        while let Some(Ok(message)) = source.next().await {
            let data = match message {
                Message::Binary(data) => data,
                Message::Text(text) => Bytes::from(text),
                Message::Close(_) => return,
                Message::Ping(_) | Message::Pong(_) => continue,
            };
            let Some((channel, _)) = data.split_first() else { continue };
            let place = (channel % 2 == 0).then(|| inputs.get_mut(usize::from(channel / 2))).flatten();
            if let Some(place) = place
                && let Some(input) = place
                && input.send(data.slice(1..)).await.is_err()
            {
                *place = None;
            }
        }
    };
    let outward = async {
        let mut ping = tokio::time::interval(limits::WEBSOCKET_PING_EVERY);
        ping.reset();
        loop {
            let message = tokio::select! {
                frame = queue.recv() => match frame {
                    Some(frame) => Message::Binary(frame),
                    None => break,
                },
                _ = ping.tick() => Message::Ping(Bytes::new()),
            };
            if sink.send(message).await.is_err() {
                return;
            }
        }
        // The client may be gone already, which changes nothing.
        let normal = CloseFrame { code: close_code::NORMAL, reason: "".into() };
        let _ = sink.send(Message::Close(Some(normal))).await;
    };
    tokio::select! {
        () = inward => {}
        () = outward => {}
    }
}

async fn connect(target: Target, port: u16, channel: u8, input: mpsc::Receiver<Bytes>, frames: mpsc::Sender<Bytes>) {
    let errors = channel + 1;
    for channel in [channel, errors] {
        // A session that has ended needs nothing of this.
        let _ = frames.send(frame::write(channel, &port.to_le_bytes())).await;
    }
    match target.connect(port).await {
        Ok((mut source, sink)) => {
            let download = async {
                while let Some(Ok(piece)) = source.next().await {
                    if frames.send(frame::write(channel, &piece)).await.is_err() {
                        return;
                    }
                }
            };
            tokio::select! {
                () = download => {}
                () = upload(input, sink) => {}
            }
        }
        Err(why) => drop(frames.send(frame::write(errors, why.as_bytes())).await),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_numbers() {
        let read = |query: &str| ports(&Query::parse(Some(query)));
        assert_eq!(read("ports=80&ports=443").unwrap(), [80, 443]);
        assert_eq!(read("ports=80,443").unwrap(), [80, 443]);
        for bad in ["", "ports=", "ports=0", "ports=http", "ports=65536"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
