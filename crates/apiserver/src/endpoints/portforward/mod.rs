//! `pods/{name}/portforward`: connections to ports of a pod's own loopback.

mod spdy;
mod target;
mod websocket;

use axum::response::Response;
use tracing::Instrument;

use self::target::Target;
use crate::{
    api_error::Result,
    request::context::RequestContext,
    sessions::upgrade::{self, Served, Upgrade},
};

/// The protocol over SPDY, and the same within a WebSocket.
const SPDY: &str = "portforward.k8s.io";
const TUNNELLED: &str = "SPDY/3.1+portforward.k8s.io";
pub(crate) async fn serve(mut context: RequestContext, namespace: &str, name: &str) -> Result<Response> {
    let served = Served { websocket: [&[TUNNELLED][..], &websocket::PROTOCOLS].concat(), spdy: Some(SPDY) };
    let upgrade = Upgrade::of(&mut context, &served).await?;
    let place = context.state.admit_stream()?;
    let target = Target { streams: context.state.streams.clone(), namespace: namespace.into(), pod: name.into() };
    let span = tracing::info_span!("session", trace_id = %context.trace, user = %context.subject, kind = "portforward", namespace, pod = name);
    let stop = context.state.stop.clone();
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
            let ports = websocket::ports(&context.query)?;
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
