//! The `scale` subresource (`autoscaling/v1 Scale`) of stateful sets.

use api::{Kind, LabelSelector, Reason};
use axum::response::Response;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::object::edit;
use crate::{
    api_error::{ApiError, Result},
    limits, object,
    registry::{Edit, Stored, Target},
    request::{context::RequestContext, response},
};

pub(crate) async fn serve(
    mut context: RequestContext,
    kind: &Kind,
    namespace: Option<&str>,
    name: &str,
) -> Result<Response> {
    let registry = context.state.registry.clone();
    if context.parts.method == Method::GET {
        let stored = registry.get(kind, namespace, name).await?;
        return Ok(response::document(StatusCode::OK, scale(stored)));
    }
    let mut options = context.write_options()?;
    let edit = edit(&mut context, kind, &mut options)?;
    for _ in 0..limits::MAX_WRITE_ATTEMPTS {
        let stored = registry.get(kind, namespace, name).await?;
        let mut wanted = stored.clone().published();
        let current = scale(stored);
        let asked = match &edit {
            Edit::Replace(document) => document.clone(),
            Edit::Patch(patch) => patch.apply(kind, current)?,
            Edit::Apply(_) => {
                return Err(ApiError::new(Reason::UnsupportedMediaType, "scale is not applied")
                    .remedy("apply spec.replicas of the object itself, or send application/merge-patch+json"));
            }
        };
        // Go's clients leave out what is zero.
        let replicas = asked.pointer("/spec/replicas").map_or(Some(0), Value::as_i64);
        let Some(replicas) = replicas.filter(|_| asked.get("spec").is_some()) else {
            return Err(ApiError::bad_request("spec.replicas must be a number").remedy("send autoscaling/v1 Scale"));
        };
        let insists = object::text(&asked, "/metadata/resourceVersion").to_owned();
        let pinned = matches!(edit, Edit::Replace(_)) && !insists.is_empty();
        if pinned {
            object::set_meta(&mut wanted, "resourceVersion", Some(insists.into()));
        }
        wanted["spec"]["replicas"] = replicas.into();
        match registry.update(kind, namespace, name, &Edit::Replace(wanted), Target::Object, &options).await {
            Err(failure) if failure.status.reason == Reason::Conflict && !pinned => {}
            other => return Ok(response::document(StatusCode::OK, scale(other?.stored))),
        }
    }
    Err(ApiError::conflict(kind, name, "others kept changing it"))
}

fn scale(stored: Stored) -> Value {
    let object = stored.published();
    let field = |pointer: &str| object.pointer(pointer).cloned().unwrap_or_default();
    let selector = serde_json::from_value(field("/spec/selector")).ok();
    let selector = selector.and_then(|selector| LabelSelector::of(&selector).ok()).unwrap_or_default();
    json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": field("/metadata/name"),
            "namespace": field("/metadata/namespace"),
            "uid": field("/metadata/uid"),
            "resourceVersion": field("/metadata/resourceVersion"),
            "creationTimestamp": field("/metadata/creationTimestamp"),
        },
        "spec": {"replicas": field("/spec/replicas").as_i64().unwrap_or(1)},
        "status": {
            "replicas": field("/status/replicas").as_i64().unwrap_or(0),
            "selector": selector.to_string(),
        },
    })
}
