//! Request bodies: bounded, typed, and as JSON.

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::Value;

use crate::{
    failure::{Failure, Outcome},
    limits, protobuf,
};

/// Reads a whole body, up to the bound and not for longer than its time.
pub(crate) async fn read(body: Body) -> Outcome<Bytes> {
    let limited = Limited::new(body, limits::MAX_BODY_BYTES).collect();
    let collected = tokio::time::timeout(limits::BODY_TIMEOUT, limited)
        .await
        .map_err(|_| Failure::new(408, "Timeout", "the request's body did not arrive in time"))?;
    match collected {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => Err(Failure::new(
            413,
            "RequestEntityTooLarge",
            format!("the body is larger than {} bytes", limits::MAX_BODY_BYTES),
        )
        .remedy("split the request, or keep large data in a volume")),
        Err(error) => Err(Failure::bad_request(format!("the body cannot be read: {error}"))),
    }
}

/// The media type of the body without parameters, in lower case; empty when not said.
pub(crate) fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Reads a document: JSON, or YAML when the client says so.
pub(crate) fn document(headers: &HeaderMap, body: &[u8]) -> Outcome<Value> {
    match media_type(headers).as_str() {
        "" | "application/json" | "text/json" => serde_json::from_slice(body)
            .map_err(|error| Failure::bad_request(format!("the body is no JSON document: {error}"))),
        "application/yaml" | "text/yaml" | "application/x-yaml" => yaml(body),
        protobuf::MEDIA_TYPE => protobuf::document(body),
        other => Err(Failure::new(415, "UnsupportedMediaType", format!("bodies of type {other:?} are not read here"))
            .remedy("send application/json or application/yaml")),
    }
}

/// Reads a YAML document, of which JSON is a part.
pub(super) fn yaml(body: &[u8]) -> Outcome<Value> {
    let text = std::str::from_utf8(body).map_err(|_| Failure::bad_request("the body is no UTF-8 text"))?;
    api::yaml::document(text).map_err(|error| Failure::bad_request(format!("the body is no YAML document: {error}")))
}

/// Reads a document that may be missing.
pub(crate) fn optional(headers: &HeaderMap, body: &[u8]) -> Outcome<Option<Value>> {
    if body.is_empty() { Ok(None) } else { document(headers, body).map(Some) }
}
