//! Endpoints of one object: get, update, patch, delete, and its status.

use api::Kind;
use axum::response::Response;
use http::{Method, StatusCode};

use super::{answer, body, collection::view, entry::Call};
use crate::{
    failure::Outcome,
    object,
    options::WriteOptions,
    patch::Patch,
    registry::{DeleteOptions, Deleted, Edit, Part},
};

pub(super) async fn get(call: Call, kind: &'static Kind, namespace: Option<&str>, name: &str) -> Outcome<Response> {
    let view = view(&call, kind)?;
    let stored = call.app.registry.get(kind, namespace, name).await?;
    Ok(answer::json(StatusCode::OK, &view.one(stored.published())))
}

/// The change a PUT or PATCH asks for.
pub(super) async fn edit(call: &mut Call, kind: &'static Kind) -> Outcome<Edit> {
    let bytes = body::read(call.take_body()).await?;
    if call.parts.method == Method::PATCH {
        return Patch::parse(kind, &body::media_type(&call.parts.headers), &bytes).map(Edit::Patch);
    }
    body::document(&call.parts.headers, &bytes).map(Edit::Replace)
}

pub(super) async fn update(
    mut call: Call,
    kind: &'static Kind,
    namespace: Option<&str>,
    name: &str,
    part: Part,
) -> Outcome<Response> {
    let view = view(&call, kind)?;
    let options = WriteOptions::parse(&call.query)?;
    let edit = edit(&mut call, kind).await?;
    let written = call.app.registry.update(kind, namespace, name, &edit, part, &options).await?;
    let response = answer::json(StatusCode::OK, &view.one(written.stored.published()));
    Ok(answer::warn(response, &answer::unknown_fields(&written.unknown)))
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
        Deleted::Gone(stored) => {
            Ok(answer::json(StatusCode::OK, &answer::deleted(kind, name, object::uid(&stored.object))))
        }
        Deleted::Pending(stored) => Ok(answer::json(StatusCode::OK, &view.one(stored.published()))),
    }
}
