//! Endpoints of collections: list, create, deletecollection.

use api::Kind;
use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    api_error::{Result, not_acceptable},
    document::Document,
    object, protobuf,
    query::{
        negotiate,
        options::{ListOptions, Selection},
    },
    registry::DeleteOptions,
    request::{
        body,
        context::RequestContext,
        response::{self, RowObject, View},
    },
};

/// How this client wants objects of the kind.
pub(crate) fn view(context: &RequestContext, kind: &Kind) -> Result<View> {
    let Some((representation, encoding)) = negotiate::objects(context.accept(), || protobuf::has(kind)) else {
        let protobuf = if protobuf::has(kind) { format!(", {}", protobuf::MEDIA_TYPE) } else { String::new() };
        return Err(not_acceptable(&format!("application/json{protobuf}")));
    };
    Ok(View {
        kind: kind.clone(),
        representation,
        encoding,
        rows: RowObject::parse(&context.query)?,
        now: context.state.registry.now(),
    })
}

pub(crate) async fn list(context: RequestContext, kind: &Kind, namespace: Option<&str>) -> Result<Response> {
    let view = view(&context, kind)?;
    let registry = &context.state.registry;
    let options = ListOptions::parse(kind, &context.query, registry.now())?;
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
        .map(|place| format!("{} {place} cannot be read and is left out; get it to see why", kind.plural()))
        .collect();
    let objects = listed.items.into_iter().map(|stored| stored.published()).collect();
    Ok(response::warn(response::document(StatusCode::OK, view.list(objects, meta)), &warnings))
}

pub(crate) async fn create(mut context: RequestContext, kind: &Kind, namespace: Option<&str>) -> Result<Response> {
    let view = view(&context, kind)?;
    let mut options = context.write_options()?;
    let bytes = context.take_body();
    let Document { value: document, duplicates } = body::object(&context.parts.headers, &bytes)?;
    options.duplicates = duplicates;
    let namespace = namespace_of(kind, namespace, &document);
    let written = context.state.registry.create(kind, namespace.as_deref(), document, &options).await?;
    let response = response::document(StatusCode::CREATED, view.one(written.stored.published()));
    Ok(response::warn(response, &written.warnings))
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

pub(crate) async fn delete(mut context: RequestContext, kind: &Kind, namespace: Option<&str>) -> Result<Response> {
    let view = view(&context, kind)?;
    let bytes = context.take_body();
    let options = DeleteOptions::parse(body::optional(&context.parts.headers, &bytes)?, &context.query)?;
    let registry = &context.state.registry;
    let selection = Selection::parse(kind, &context.query, registry.now())?;
    selection.check_fields(kind)?;
    let (deleted, revision) = registry.delete_collection(kind, namespace, &selection, &options).await?;
    let objects = deleted.into_iter().map(|stored| stored.published()).collect();
    Ok(response::document(StatusCode::OK, view.list(objects, json!({"resourceVersion": revision.to_string()}))))
}
