//! Logs of pods, commands in them, and connections to them.

mod exec;
mod exec_spdy;
mod forward;
mod frame;
mod logs;
mod port;
mod relay;
mod spdy;
mod upgrade;

use api::Kind;
use axum::response::Response;

pub use port::{Connection, ExecExit, ExecOptions, ExecSession, LogOptions, PodStreams, StreamError, TerminalSize};

use crate::{
    failure::{Failure, Outcome},
    http::entry::Call,
    route::Subresource,
};

/// Serves a stream of a pod that exists, here or where the pod runs.
pub(crate) async fn serve(
    call: Call,
    kind: &'static Kind,
    namespace: &str,
    name: &str,
    subresource: Subresource,
) -> Outcome<Response> {
    let pod = call.app.registry.get(kind, Some(namespace), name).await?;
    if let Some(membership) = call.app.membership.get() {
        let state = membership.cluster.members().await;
        if let Some(member) = relay::member(&pod.object, &state)? {
            return relay::serve(call, &member).await;
        }
    }
    match subresource {
        Subresource::Log => logs::serve(call, namespace, name).await,
        Subresource::Exec | Subresource::Attach => exec::serve(call, namespace, name, subresource).await,
        Subresource::PortForward => forward::serve(call, namespace, name).await,
        other => Err(Failure::new(404, "NotFound", format!("pods/{} is no stream", other.name()))),
    }
}
