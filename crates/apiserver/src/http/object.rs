//! Endpoints of one object: get, update, patch, delete, and its status.

use api::Kind;
use axum::response::Response;
use http::{Method, StatusCode};

use super::{answer, auth, body, collection::view, entry::Call};
use crate::{
    failure::{Failure, Outcome},
    object,
    patch::{APPLY, Patch},
    registry::{Config, DeleteOptions, Deleted, Edit, Part},
};

/// Kinds whose deletion is answered with the last state of the object; for the others it is a `Status`. Typed clients
/// read what OpenAPI of Kubernetes says of each kind, and nothing else.
const SHOWN_WHEN_DELETED: [&str; 4] = ["PersistentVolumeClaim", "Pod", "Service", "ServiceAccount"];

pub(super) async fn get(call: Call, kind: &'static Kind, namespace: Option<&str>, name: &str) -> Outcome<Response> {
    let view = view(&call, kind)?;
    let stored = call.app.registry.get(kind, namespace, name).await?;
    Ok(answer::json(StatusCode::OK, &view.one(stored.published())))
}

/// The change a PUT or PATCH asks for.
pub(super) async fn edit(call: &mut Call, kind: &'static Kind) -> Outcome<Edit> {
    let bytes = body::read(call.take_body()).await?;
    if call.parts.method == Method::PATCH {
        let media_type = body::media_type(&call.parts.headers);
        if media_type == APPLY {
            return config(call, &bytes).map(Edit::Apply);
        }
        if call.query.flag("force")? {
            return Err(Failure::bad_request("force is for server-side apply only")
                .remedy(format!("leave it out, or send {APPLY}")));
        }
        return Patch::parse(kind, &media_type, &bytes).map(Edit::Patch);
    }
    body::document(&call.parts.headers, &bytes).map(Edit::Replace)
}

/// What a manager applies.
fn config(call: &Call, bytes: &[u8]) -> Outcome<Config> {
    if call.query.get("fieldManager").is_none() {
        return Err(Failure::new(422, "Invalid", "fieldManager: Required value: is required for apply patch")
            .remedy("add fieldManager=NAME to the query"));
    }
    let document = body::yaml(bytes)?;
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
    let options = call.write_options()?;
    let edit = edit(&mut call, kind).await?;
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
    let bytes = body::read(call.take_body()).await?;
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
