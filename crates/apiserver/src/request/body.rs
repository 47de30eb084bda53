//! Request bodies: bounded, typed, and as JSON.

use std::pin::pin;

use api::Reason;
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::Value;

use crate::{
    api_error::{ApiError, Result},
    document::Document,
    limits,
    places::{Lane, Memory},
    protobuf,
};

/// Reads a whole body within the limits of size and time, and counts it in the lane's memory.
pub(crate) async fn read(body: Body, lane: &Lane) -> Result<(Bytes, Memory)> {
    tokio::time::timeout(limits::BODY_TIMEOUT, collect(body, lane))
        .await
        .map_err(|_| ApiError::new(Reason::RequestTimeout, "the request's body did not arrive in time"))?
}

async fn collect(body: Body, lane: &Lane) -> Result<(Bytes, Memory)> {
    let mut body = pin!(Limited::new(body, limits::MAX_BODY_BYTES));
    let mut memory = Memory::default();
    let mut whole = Bytes::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|error| unread(&*error))?.into_data() else { continue };
        lane.grow(&mut memory, whole.len() + data.len())?;
        if whole.is_empty() {
            whole = data;
            continue;
        }
        // Pieces are joined, so that no small piece keeps a large buffer alive.
        let mut joined = whole.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        joined.extend_from_slice(&data);
        whole = joined.freeze();
    }
    Ok((whole, memory))
}

fn unread(error: &(dyn std::error::Error + Send + Sync + 'static)) -> ApiError {
    if error.downcast_ref::<LengthLimitError>().is_none() {
        return ApiError::bad_request(format!("the body cannot be read: {error}"));
    }
    let message = format!("the body is larger than {} bytes", limits::MAX_BODY_BYTES);
    ApiError::new(Reason::RequestEntityTooLarge, message).remedy("split the request, or keep large data in a volume")
}

/// The media type of the body without parameters, in lower case; empty when not given.
pub(crate) fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Reads a document: JSON, or YAML when the client says so.
pub(crate) fn document(headers: &HeaderMap, body: &[u8]) -> Result<Value> {
    object(headers, body).map(|document| document.value)
}

/// As [`document`], with the fields that are given twice.
pub(crate) fn object(headers: &HeaderMap, body: &[u8]) -> Result<Document> {
    match media_type(headers).as_str() {
        "" | "application/json" | "text/json" => json(body),
        "application/yaml" | "text/yaml" | "application/x-yaml" => yaml(body).map(Document::from),
        protobuf::MEDIA_TYPE => protobuf::document(body).map(Document::from),
        other => {
            Err(ApiError::new(Reason::UnsupportedMediaType, format!("bodies of type {other:?} are not read here"))
                .remedy("send application/json or application/yaml, or protobuf for kinds of Kubernetes"))
        }
    }
}

/// Reads YAML, which most clients write as JSON: that is faster to read, and tells which fields are given twice.
pub(crate) fn yaml_or_json(body: &[u8]) -> Result<Document> {
    match body.trim_ascii_start().first() {
        Some(b'{') => Document::read(body).or_else(|_| yaml(body).map(Document::from)),
        _ => yaml(body).map(Document::from),
    }
}

/// Reads a JSON document.
pub(crate) fn json(body: &[u8]) -> Result<Document> {
    Document::read(body).map_err(|error| ApiError::bad_request(format!("the body is no JSON document: {error}")))
}

/// Reads a YAML document, of which JSON is a part.
pub(crate) fn yaml(body: &[u8]) -> Result<Value> {
    let text = std::str::from_utf8(body).map_err(|_| ApiError::bad_request("the body is no UTF-8 text"))?;
    api::yaml::document(text).map_err(|error| ApiError::bad_request(format!("the body is no YAML document: {error}")))
}

/// Reads a document that may be missing.
pub(crate) fn optional(headers: &HeaderMap, body: &[u8]) -> Result<Option<Value>> {
    if body.is_empty() { Ok(None) } else { document(headers, body).map(Some) }
}

#[cfg(test)]
mod tests {
    use api::yaml::MAX_NESTING as MAX_YAML_NESTING;

    use super::*;

    #[test]
    fn nested_yaml_is_read_or_refused_and_never_too_much() {
        let flow = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
        let block = |depth: usize| (0..depth).map(|at| format!("{}a:\n", " ".repeat(at))).collect::<String>();
        // A thread of the server has as much stack as this one.
        for depth in [1, 12, MAX_YAML_NESTING] {
            assert!(yaml(flow(depth).as_bytes()).is_ok(), "{depth}");
        }
        for depth in [MAX_YAML_NESTING + 1, 64, 100, 1_000, 100_000] {
            assert_eq!(yaml(flow(depth).as_bytes()).unwrap_err().status.code, 400, "{depth}");
        }
        for depth in [MAX_YAML_NESTING + 2, 64, 100, 1_000] {
            assert_eq!(yaml(block(depth).as_bytes()).unwrap_err().status.code, 400, "{depth}");
        }
    }
}
