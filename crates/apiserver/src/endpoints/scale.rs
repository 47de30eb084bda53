//! The `scale` subresource (`autoscaling/v1 Scale`): three fields of an object, as its kind says where they are.

use api::{Kind, LabelSelector, Reason, ScalePaths};
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
        return Ok(response::document(StatusCode::OK, scale(kind, stored)?));
    }
    let mut options = context.write_options()?;
    let edit = edit(&mut context, kind, &mut options)?;
    for _ in 0..limits::MAX_WRITE_ATTEMPTS {
        let stored = registry.get(kind, namespace, name).await?;
        let mut wanted = stored.clone().published();
        let current = scale(kind, stored)?;
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
        object::set_at(&mut wanted, &kind.facts().scale.spec, replicas.into());
        match registry.update(kind, namespace, name, &Edit::Replace(wanted), Target::Object, &options).await {
            Err(failure) if failure.status.reason == Reason::Conflict && !pinned => {}
            other => return Ok(response::document(StatusCode::OK, scale(kind, other?.stored)?)),
        }
    }
    Err(ApiError::conflict(kind, name, "others kept changing it"))
}

fn scale(kind: &Kind, stored: Stored) -> Result<Value> {
    let object = stored.published();
    let ScalePaths { spec, status, selector } = &kind.facts().scale;
    let field = |pointer: &str| object.pointer(pointer).cloned().unwrap_or_default();
    let replicas = match field(spec).as_i64() {
        None if kind.facts().custom.is_some() => {
            let field = spec.replace('/', ".");
            let message = format!("the spec replicas field {field:?} does not exist");
            return Err(ApiError::new(Reason::InternalError, message).remedy("set it in the object itself"));
        }
        replicas => replicas.unwrap_or(1),
    };
    let selector = match selector.as_deref().map(field) {
        Some(Value::String(text)) => text,
        selector => {
            let selector = serde_json::from_value(selector.unwrap_or_default()).ok();
            selector.and_then(|selector| LabelSelector::of(&selector).ok()).unwrap_or_default().to_string()
        }
    };
    Ok(json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": field("/metadata/name"),
            "namespace": field("/metadata/namespace"),
            "uid": field("/metadata/uid"),
            "resourceVersion": field("/metadata/resourceVersion"),
            "creationTimestamp": field("/metadata/creationTimestamp"),
        },
        "spec": {"replicas": replicas},
        "status": {"replicas": field(status).as_i64().unwrap_or(0), "selector": selector},
    }))
}
