//! Endpoints of one object: get, update, patch, delete, and its status.

use api::{Kind, Reason};
use axum::response::Response;
use http::{Method, StatusCode};
use serde_json::Value;

use super::collection::view;
use crate::{
    api_error::{ApiError, Result},
    document::Document,
    object,
    patch::{APPLY, APPLY_JSON, Patch},
    query::options::{WriteOptions, revision},
    registry::{ApplyConfig, DeleteOptions, Deleted, Edit, Target},
    request::{auth, body, context::RequestContext, response},
};

pub(crate) async fn get(context: RequestContext, kind: &Kind, namespace: Option<&str>, name: &str) -> Result<Response> {
    let view = view(&context, kind)?;
    let at_least = revision(&context.query)?.unwrap_or(0);
    let stored = context.state.registry.get_since(kind, namespace, name, at_least).await?;
    Ok(response::document(StatusCode::OK, view.one(stored.published())))
}

/// The change a PUT or PATCH asks for. What is odd in how it is written goes into the options.
pub(crate) fn edit(context: &mut RequestContext, kind: &Kind, options: &mut WriteOptions) -> Result<Edit> {
    let bytes = context.take_body();
    if context.parts.method == Method::PATCH {
        let media_type = body::media_type(&context.parts.headers);
        if [APPLY, APPLY_JSON].contains(&media_type.as_str()) {
            let Document { value, duplicates } =
                if media_type == APPLY { body::yaml_or_json(&bytes)? } else { body::json(&bytes)? };
            options.duplicates = duplicates;
            return config(context, value).map(Edit::Apply);
        }
        if context.query.flag("force")? {
            return Err(ApiError::bad_request("force is for server-side apply only")
                .remedy(format!("leave it out, or send {APPLY}")));
        }
        let (patch, duplicates) = Patch::parse(kind, &media_type, &bytes)?;
        options.patched = true;
        options.duplicates = duplicates;
        return Ok(Edit::Patch(patch));
    }
    let Document { value, duplicates } = body::object(&context.parts.headers, &bytes)?;
    options.duplicates = duplicates;
    Ok(Edit::Replace(value))
}

/// What a manager applies. It must name its object: an empty document would otherwise mean that the manager owns no
/// field any more, and remove all that it applied before.
fn config(context: &RequestContext, document: Value) -> Result<ApplyConfig> {
    if context.query.get("fieldManager").is_none() {
        return Err(ApiError::new(Reason::Invalid, "fieldManager: Required value: is required for apply patch")
            .remedy("add fieldManager=NAME to the query"));
    }
    if !document.is_object() {
        return Err(ApiError::bad_request("the applied config must be an object").remedy("apply the object's manifest"));
    }
    for (field, pointer) in [("apiVersion", "/apiVersion"), ("kind", "/kind"), ("metadata.name", "/metadata/name")] {
        if object::text(&document, pointer).is_empty() {
            return Err(ApiError::bad_request(format!("{field} must be set in what is applied"))
                .remedy("apply the object's whole manifest: apiVersion, kind, metadata.name and the fields to own"));
        }
    }
    if document.pointer("/metadata/managedFields").is_some_and(|list| !list.is_null()) {
        return Err(ApiError::bad_request("metadata.managedFields must not be set in what is applied"));
    }
    Ok(ApplyConfig { document, force: context.query.flag("force")?, may_create: false })
}

pub(crate) async fn update(
    mut context: RequestContext,
    kind: &Kind,
    namespace: Option<&str>,
    name: &str,
    target: Target,
) -> Result<Response> {
    let view = view(&context, kind)?;
    let mut options = context.write_options()?;
    let mut edit = edit(&mut context, kind, &mut options)?;
    if let Edit::Apply(config) = &mut edit {
        config.may_create = auth::may_create(&context, kind, namespace, name).await?;
    }
    let written = context.state.registry.update(kind, namespace, name, &edit, target, &options).await?;
    let code = if written.created { StatusCode::CREATED } else { StatusCode::OK };
    let response = response::document(code, view.one(written.stored.published()));
    Ok(response::warn(response, &written.warnings))
}

pub(crate) async fn delete(
    mut context: RequestContext,
    kind: &Kind,
    namespace: Option<&str>,
    name: &str,
) -> Result<Response> {
    let view = view(&context, kind)?;
    let bytes = context.take_body();
    let options = DeleteOptions::parse(body::optional(&context.parts.headers, &bytes)?, &context.query)?;
    match context.state.registry.delete(kind, namespace, name, &options).await? {
        Deleted::Gone(stored) if !kind.facts().shown_when_deleted => {
            Ok(response::document(StatusCode::OK, response::deleted(kind, name, object::uid(&stored.object))))
        }
        Deleted::Gone(stored) | Deleted::Pending(stored) => {
            Ok(response::document(StatusCode::OK, view.one(stored.published())))
        }
    }
}
