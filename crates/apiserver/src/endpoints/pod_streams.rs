//! Logs of pods, commands in them, and connections to them.

use super::{exec, logs, portforward, relay};
use api::{Kind, Reason};
use axum::response::Response;

use crate::{
    api_error::{ApiError, Result},
    request::context::RequestContext,
    route::Subresource,
};

/// Serves a stream of a pod that exists, here or where the pod runs.
pub(crate) async fn serve(
    context: RequestContext,
    kind: &Kind,
    namespace: &str,
    name: &str,
    subresource: Subresource,
) -> Result<Response> {
    let pod = context.state.registry.get(kind, Some(namespace), name).await?;
    if let Some(membership) = context.state.membership.get() {
        let state = membership.cluster.members().await;
        if let Some(member) = relay::member(&pod.object, &state)? {
            return relay::serve(context, &member).await;
        }
    }
    match subresource {
        Subresource::Log => logs::serve(context, namespace, name).await,
        Subresource::Exec | Subresource::Attach => exec::serve(context, namespace, name, subresource).await,
        Subresource::PortForward => portforward::serve(context, namespace, name).await,
        other => Err(ApiError::new(Reason::NotFound, format!("pods/{} is no stream", other.name()))),
    }
}
