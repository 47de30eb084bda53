//! Endpoints of one object: get, update, patch, delete, and its status.

use api::Kind;
use axum::response::Response;
use http::{Method, StatusCode};
use serde_json::Value;

use super::{answer, auth, body, collection::view, entry::Call};
use crate::{
    document::Document,
    failure::{Failure, Outcome},
    object,
    options::{WriteOptions, revision},
    patch::{APPLY, APPLY_JSON, Patch},
    registry::{Config, DeleteOptions, Deleted, Edit, Part},
};

/// Kinds whose deletion is answered with the last state of the object; for the others it is a `Status`. Typed clients
/// read what OpenAPI of Kubernetes says of each kind, and nothing else.
const SHOWN_WHEN_DELETED: [&str; 4] = ["PersistentVolumeClaim", "Pod", "Service", "ServiceAccount"];

pub(super) async fn get(call: Call, kind: &'static Kind, namespace: Option<&str>, name: &str) -> Outcome<Response> {
    let view = view(&call, kind)?;
    let at_least = revision(&call.query)?.unwrap_or(0);
    let stored = call.app.registry.get_since(kind, namespace, name, at_least).await?;
    Ok(answer::json(StatusCode::OK, &view.one(stored.published())))
}

/// The change a PUT or PATCH asks for. What is odd in how it is written goes into the options.
pub(super) fn edit(call: &mut Call, kind: &'static Kind, options: &mut WriteOptions) -> Outcome<Edit> {
    let bytes = call.take_body();
    if call.parts.method == Method::PATCH {
        let media_type = body::media_type(&call.parts.headers);
        if [APPLY, APPLY_JSON].contains(&media_type.as_str()) {
            let Document { value, duplicates } =
                if media_type == APPLY { body::yaml_or_json(&bytes)? } else { body::json(&bytes)? };
            options.duplicates = duplicates;
            return config(call, value).map(Edit::Apply);
        }
        if call.query.flag("force")? {
            return Err(Failure::bad_request("force is for server-side apply only")
                .remedy(format!("leave it out, or send {APPLY}")));
        }
        let (patch, duplicates) = Patch::parse(kind, &media_type, &bytes)?;
        options.patched = true;
        options.duplicates = duplicates;
        return Ok(Edit::Patch(patch));
    }
    let Document { value, duplicates } = body::object(&call.parts.headers, &bytes)?;
    options.duplicates = duplicates;
    Ok(Edit::Replace(value))
}

/// What a manager applies. It must say what it is about: a template that came out empty would else be the wish to own
/// nothing any more, and take away all that was applied before.
fn config(call: &Call, document: Value) -> Outcome<Config> {
    if call.query.get("fieldManager").is_none() {
        return Err(Failure::new(422, "Invalid", "fieldManager: Required value: is required for apply patch")
            .remedy("add fieldManager=NAME to the query"));
    }
    if !document.is_object() {
        return Err(Failure::bad_request("the applied config must be an object").remedy("apply the object's manifest"));
    }
    for (field, pointer) in [("apiVersion", "/apiVersion"), ("kind", "/kind"), ("metadata.name", "/metadata/name")] {
        if object::text(&document, pointer).is_empty() {
            return Err(Failure::bad_request(format!("{field} must be set in what is applied"))
                .remedy("apply the object's whole manifest: apiVersion, kind, metadata.name and the fields to own"));
        }
    }
    if document.pointer("/metadata/managedFields").is_some_and(|list| !list.is_null()) {
        return Err(Failure::bad_request("metadata.managedFields must not be set in what is applied"));
    }
    let may_create = auth::may_create(call);
    Ok(Config { document, force: call.query.flag("force")?, may_create })
}

pub(super) async fn update(
    mut call: Call,
    kind: &'static Kind,
    namespace: Option<&str>,
    name: &str,
    part: Part,
) -> Outcome<Response> {
    let view = view(&call, kind)?;
    let mut options = call.write_options()?;
    let edit = edit(&mut call, kind, &mut options)?;
    let written = call.app.registry.update(kind, namespace, name, &edit, part, &options).await?;
    let code = if written.created { StatusCode::CREATED } else { StatusCode::OK };
    let response = answer::json(code, &view.one(written.stored.published()));
    Ok(answer::warn(response, &written.warnings))
}

pub(super) async fn delete(
    mut call: Call,
    kind: &'static Kind,
    namespace: Option<&str>,
    name: &str,
) -> Outcome<Response> {
    let view = view(&call, kind)?;
    let bytes = call.take_body();
    let options = DeleteOptions::parse(body::optional(&call.parts.headers, &bytes)?, &call.query)?;
    match call.app.registry.delete(kind, namespace, name, &options).await? {
        Deleted::Gone(stored) if !SHOWN_WHEN_DELETED.contains(&kind.kind) => {
            Ok(answer::json(StatusCode::OK, &answer::deleted(kind, name, object::uid(&stored.object))))
        }
        Deleted::Gone(stored) | Deleted::Pending(stored) => {
            Ok(answer::json(StatusCode::OK, &view.one(stored.published())))
        }
    }
}
