//! The keyspace itself: its state, a snapshot, and what an operator does to it. For administrators only.

use axum::{body::Body, response::Response};
use futures::StreamExt;
use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    api_error::Result,
    request::{context::RequestContext, response},
};

/// Media type of a snapshot.
const SNAPSHOT: &str = "application/octet-stream";

/// Its state.
pub(super) async fn status(context: RequestContext) -> Result<Response> {
    let status = context.state.registry.keyspace().status().await?;
    Ok(response::document(StatusCode::OK, document(&status)))
}

/// Forgets history, then answers the state.
pub(super) async fn compact(context: RequestContext) -> Result<Response> {
    let keyspace = context.state.registry.keyspace();
    let newest = keyspace.status().await?.revision;
    keyspace.compact(context.query.number("revision")?.unwrap_or(newest)).await?;
    status(context).await
}

/// Gives free room back to the disk, then answers the state.
pub(super) async fn defragment(context: RequestContext) -> Result<Response> {
    context.state.registry.keyspace().defragment().await?;
    status(context).await
}

/// Clears all alarms, then answers the state.
pub(super) async fn clear_alarms(context: RequestContext) -> Result<Response> {
    let keyspace = context.state.registry.keyspace();
    for alarm in keyspace.alarms().await? {
        keyspace.alarm_clear(alarm).await?;
    }
    status(context).await
}

/// Streams a snapshot. When it fails on the way the connection is cut; the file then lacks its digest.
pub(super) async fn snapshot(context: RequestContext) -> Result<Response> {
    let place = context.state.admit_stream()?;
    let stop = context.state.stop.clone();
    let pieces = context.state.registry.keyspace().snapshot().await?;
    let pieces = pieces.map(move |piece| {
        let _held = &place;
        piece
    });
    // At the end of the server the stream ends with an error, and not as if it were complete.
    let body = futures::stream::unfold(Some((pieces, stop)), |state| async move {
        let (mut pieces, stop) = state?;
        match stop.run_until_cancelled(pieces.next()).await {
            Some(piece) => Some((piece?, Some((pieces, stop)))),
            None => Some((Err(keyspace::Error::Closed), None)),
        }
    });
    Ok(response::typed(StatusCode::OK, SNAPSHOT, Body::from_stream(body)))
}

fn document(status: &keyspace::Status) -> Value {
    let alarms = status.alarms.iter().map(|alarm| json!({"member": alarm.member, "kind": alarm.kind.to_string()}));
    json!({
        "revision": status.revision,
        "compactRevision": status.compact_revision,
        "leases": status.leases,
        "sizeBytes": status.size_bytes,
        "inUseBytes": status.in_use_bytes,
        "quotaBytes": status.quota_bytes,
        "alarms": alarms.collect::<Vec<_>>(),
        "member": status.node_id,
        "leader": status.leader,
        "term": status.term,
        "logIndex": status.log_index,
        "appliedIndex": status.applied_index,
        "voters": status.voters,
    })
}
