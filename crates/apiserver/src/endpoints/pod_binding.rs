//! `POST pods/{name}/binding`: the scheduler's word on which node a pod runs.

use api::{FieldError, Kind, k8s_openapi::api::core::v1::Binding, meta::is_dns_subdomain};
use axum::response::Response;
use http::StatusCode;
use serde_json::json;

use crate::{
    api_error::{ApiError, Result},
    object,
    request::{body, context::RequestContext, response},
};

/// The kind that a binding's target is.
const NODE: &str = "Node";

pub(crate) async fn create(
    mut context: RequestContext,
    kind: &Kind,
    namespace: Option<&str>,
    name: &str,
) -> Result<Response> {
    let options = context.write_options()?;
    let bytes = context.take_body();
    let document = body::document(&context.parts.headers, &bytes)?;
    for (field, wanted) in [("apiVersion", "v1"), ("kind", "Binding")] {
        let said = document.get(field).and_then(serde_json::Value::as_str).unwrap_or(wanted);
        if said != wanted {
            return Err(ApiError::bad_request(format!(
                "{field}: {said:?} does not fit this endpoint, {wanted:?} does"
            )));
        }
    }
    if object::name(&document) != name {
        return Err(ApiError::bad_request("name in URL does not match name in Binding object"));
    }
    let binding: Binding = serde_json::from_value(document)
        .map_err(|error| ApiError::bad_request(format!("the body is no Binding: {error}")))?;
    check(&binding)?;
    context.state.registry.bind(kind, namespace, name, &binding, &options).await?;
    tracing::debug!(by = %context.subject, node = binding.target.name, "pod bound");
    let success = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    Ok(response::document(StatusCode::CREATED, success))
}

fn check(binding: &Binding) -> Result<()> {
    let target = &binding.target;
    let (kind, node) = (target.kind.as_deref().unwrap_or_default(), target.name.as_deref().unwrap_or_default());
    let mut errors = Vec::new();
    if !matches!(kind, "" | NODE) {
        let message = format!("{kind:?} is not supported, pods are bound to a {NODE}");
        errors.push(FieldError::not_supported("target.kind", message));
    }
    if node.is_empty() {
        let message = "name the node".to_owned();
        errors.push(FieldError::required("target.name", message));
    } else if !is_dns_subdomain(node) {
        errors.push(FieldError::invalid("target.name", format!("{node:?} is no name of a node")));
    }
    if errors.is_empty() {
        return Ok(());
    }
    let name = binding.metadata.name.as_deref().unwrap_or_default();
    Err(api::Status::invalid("Binding", name, &errors).into())
}
