//! Endpoints of collections: list, create, deletecollection.

use api::Kind;
use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use super::{
    answer::{self, RowObject, View},
    body,
    entry::Call,
};
use crate::{
    document::Document,
    failure::{Failure, Outcome},
    negotiate, object,
    options::{ListOptions, Selection},
    registry::DeleteOptions,
};

/// How this client wants objects of the kind.
pub(super) fn view(call: &Call, kind: &'static Kind) -> Outcome<View> {
    let Some(representation) = negotiate::objects(call.accept()) else {
        return Err(not_acceptable("application/json, Table or PartialObjectMetadata of meta.k8s.io/v1"));
    };
    Ok(View { kind, representation, rows: RowObject::parse(&call.query)?, now: call.app.registry.now() })
}

/// 406.
pub(crate) fn not_acceptable(served: &str) -> Failure {
    Failure::new(406, "NotAcceptable", format!("only the following media types are accepted: {served}"))
        .remedy("send Accept: application/json")
}

pub(super) async fn list(call: Call, kind: &'static Kind, namespace: Option<&str>) -> Outcome<Response> {
    let view = view(&call, kind)?;
    let registry = &call.app.registry;
    let options = ListOptions::parse(kind, &call.query, registry.now())?;
    let listed = registry.list(kind, namespace, &options).await?;
    let mut meta = json!({"resourceVersion": listed.revision.to_string()});
    if let Some(next) = listed.next {
        meta["continue"] = next.into();
    }
    if let Some(remaining) = listed.remaining {
        meta["remainingItemCount"] = remaining.into();
    }
    let warnings: Vec<_> = listed
        .unreadable
        .iter()
        .map(|place| format!("{} {place} cannot be read and is left out; get it to see why", kind.plural))
        .collect();
    let objects = listed.items.into_iter().map(|stored| stored.published()).collect();
    Ok(answer::warn(answer::json(StatusCode::OK, &view.list(objects, meta)), &warnings))
}

pub(super) async fn create(mut call: Call, kind: &'static Kind, namespace: Option<&str>) -> Outcome<Response> {
    let view = view(&call, kind)?;
    let mut options = call.write_options()?;
    let bytes = call.take_body();
    let Document { value: document, duplicates } = body::object(&call.parts.headers, &bytes)?;
    options.duplicates = duplicates;
    let namespace = namespace_of(kind, namespace, &document);
    let written = call.app.registry.create(kind, namespace.as_deref(), document, &options).await?;
    let response = answer::json(StatusCode::CREATED, &view.one(written.stored.published()));
    Ok(answer::warn(response, &written.warnings))
}

/// The namespace of a request, or the document's when the path names none.
///
/// A caller is authorised for the namespace of the path, so only a request that was authorised for all namespaces
/// gets here without one.
fn namespace_of(kind: &Kind, namespace: Option<&str>, document: &Value) -> Option<String> {
    if !kind.is_namespaced() || namespace.is_some() {
        return namespace.map(str::to_owned);
    }
    let said = object::namespace(document);
    Some(if said.is_empty() { api::meta::DEFAULT_NAMESPACE.to_owned() } else { said.to_owned() })
}

pub(super) async fn delete(mut call: Call, kind: &'static Kind, namespace: Option<&str>) -> Outcome<Response> {
    let view = view(&call, kind)?;
    let bytes = call.take_body();
    let options = DeleteOptions::parse(body::optional(&call.parts.headers, &bytes)?, &call.query)?;
    let registry = &call.app.registry;
    let selection = Selection::parse(kind, &call.query, registry.now())?;
    selection.check_fields(kind)?;
    let (deleted, revision) = registry.delete_collection(kind, namespace, &selection, &options).await?;
    let objects = deleted.into_iter().map(|stored| stored.published()).collect();
    Ok(answer::json(StatusCode::OK, &view.list(objects, json!({"resourceVersion": revision.to_string()}))))
}
