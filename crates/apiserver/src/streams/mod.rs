//! Logs of pods, and commands in them.

mod exec;
mod frame;
mod logs;
mod port;

use api::Kind;
use axum::response::Response;
use http::{Method, Version, header};

pub use port::{ExecExit, ExecOptions, ExecSession, LogOptions, PodStreams, StreamError, TerminalSize};

use crate::{
    failure::{Failure, Outcome},
    http::entry::Call,
    route::Subresource,
};

/// Serves a stream of a pod that exists.
pub(crate) async fn serve(
    call: Call,
    kind: &'static Kind,
    namespace: &str,
    name: &str,
    subresource: Subresource,
) -> Outcome<Response> {
    match subresource {
        Subresource::Log => {
            call.app.registry.get(kind, Some(namespace), name).await?;
            logs::serve(call, namespace, name).await
        }
        Subresource::Exec => {
            check_upgrade(&call)?;
            call.app.registry.get(kind, Some(namespace), name).await?;
            exec::serve(call, namespace, name).await
        }
        other => Err(Failure::new(501, "NotImplemented", format!("pods/{} is not served", other.name()))
            .remedy("use kubectl exec, or publish a port with hostPort")),
    }
}

/// Sessions are WebSockets over HTTP/1.1; everything else is told so.
fn check_upgrade(call: &Call) -> Outcome<()> {
    if call.parts.version == Version::HTTP_2 {
        return Err(Failure::new(426, "UpgradeRequired", "exec needs HTTP/1.1, because it upgrades to WebSocket")
            .remedy("connect with HTTP/1.1 and Upgrade: websocket"));
    }
    let upgrade = call.parts.headers.get(header::UPGRADE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if upgrade.to_ascii_uppercase().starts_with("SPDY/") {
        return Err(Failure::bad_request("SPDY is not served: exec is a WebSocket")
            .remedy("use kubectl 1.31 or newer (or KUBECTL_REMOTE_COMMAND_WEBSOCKETS=true from 1.29 on)"));
    }
    if call.parts.method == Method::POST || !upgrade.eq_ignore_ascii_case("websocket") {
        return Err(Failure::bad_request("exec must be opened with GET and Upgrade: websocket").remedy(
            "send Upgrade: websocket, Connection: Upgrade, Sec-WebSocket-Version: 13 and Sec-WebSocket-Protocol",
        ));
    }
    Ok(())
}
