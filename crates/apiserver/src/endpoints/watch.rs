//! Watches as chunked JSON lines.

use std::sync::Arc;

use api::{Kind, names::annotation::INITIAL_EVENTS_END};
use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures::StreamExt;
use http::StatusCode;
use serde_json::{Value, json};

use super::collection::view;
use crate::{
    api_error::{ApiError, Result},
    object, protobuf,
    query::{
        negotiate::{Encoding, Representation},
        options::WatchOptions,
    },
    registry::{Stored, WatchItem},
    request::{
        context::RequestContext,
        response::{self, View},
    },
};

pub(crate) async fn watch(context: RequestContext, kind: &Kind, namespace: Option<&str>) -> Result<Response> {
    let mut view = view(&context, kind)?;
    let registry = &context.state.registry;
    let options = WatchOptions::parse(kind, &context.query, registry.now())?;
    let permit = context.state.admit_watch()?;
    let items = registry.watch(kind, namespace, &options).await?;
    let stop = context.state.stop.clone();
    let deadline = Box::pin(tokio::time::sleep(options.lasts));
    let trace = context.trace.clone();
    let now = registry.clone();
    let media_type = match view.encoding {
        Encoding::Protobuf => protobuf::WATCH_MEDIA_TYPE,
        Encoding::Json => "application/json",
    };
    let mut heads = true;
    let lines = items
        .scan(false, |failed, item| {
            // An error is sent and ends the watch.
            let go_on = !*failed;
            *failed = item.is_err();
            std::future::ready(go_on.then_some(item))
        })
        .map(move |item| {
            view.now = now.now();
            let line = line(&view, item, &trace, heads);
            heads = heads && !line.is_table;
            let _held = &permit;
            Ok::<_, std::convert::Infallible>(line.bytes)
        })
        .take_until(futures::future::select(deadline, Box::pin(stop.cancelled_owned())));
    Ok(response::typed(StatusCode::OK, media_type, Body::from_stream(lines)))
}

struct Line {
    bytes: Bytes,
    is_table: bool,
}

fn line(view: &View, item: Result<WatchItem>, trace: &Arc<str>, heads: bool) -> Line {
    let is_table = view.representation == Representation::Table;
    let object = |stored: Stored| shown(view, stored.published(), heads);
    let (kind, value, is_table) = match item {
        Ok(WatchItem::Added(stored)) => ("ADDED", object(stored), is_table),
        Ok(WatchItem::Modified(stored)) => ("MODIFIED", object(stored), is_table),
        Ok(WatchItem::Deleted(stored)) => ("DELETED", object(stored), is_table),
        Ok(WatchItem::Bookmark { revision, initial }) => {
            ("BOOKMARK", shown(view, bookmark(&view.kind, revision, initial), heads), is_table)
        }
        Err(failure) => ("ERROR", error(&failure, trace), false),
    };
    let bytes = match view.encoding {
        Encoding::Json => json_line(kind, value),
        Encoding::Protobuf => protobuf::event(kind, &value).unwrap_or_else(|| {
            let unwritten =
                ApiError::internal("an object cannot be written in protobuf", "it is not of its kind's type");
            protobuf::event("ERROR", &error(&unwritten, trace)).unwrap_or_default()
        }),
    };
    Line { bytes: bytes.into(), is_table }
}

fn json_line(kind: &str, object: Value) -> Vec<u8> {
    let mut bytes = object::to_json(&json!({"type": kind, "object": object}));
    bytes.push(b'\n');
    bytes
}

fn shown(view: &View, object: Value, heads: bool) -> Value {
    match view.representation {
        Representation::Table => {
            let version = object.pointer("/metadata/resourceVersion").cloned().unwrap_or_default();
            view.table(vec![object], json!({"resourceVersion": version}), heads)
        }
        _ => view.one(object),
    }
}

fn bookmark(kind: &Kind, revision: u64, initial: bool) -> Value {
    let mut meta = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
    if initial {
        meta["annotations"] = json!({INITIAL_EVENTS_END: "true"});
    }
    json!({"kind": kind.kind(), "apiVersion": kind.api_version(), "metadata": meta})
}

fn error(failure: &ApiError, trace: &str) -> Value {
    let mut status = failure.status.clone();
    status.trace_id = trace.to_owned();
    json!(status)
}
