//! Objects, lists, tables, metadata and failures as HTTP responses.

use std::{collections::BTreeSet, sync::Arc};

use api::Kind;
use axum::{body::Body, response::Response};
use http::{HeaderValue, Method, StatusCode, header};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    api_error::{ApiError, Result},
    limits, object, protobuf,
    query::{
        negotiate::{Encoding, Representation},
        params::Query,
    },
};

/// How much of each object a table's rows carry (`includeObject`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowObject {
    None,
    Metadata,
    Object,
}

impl RowObject {
    pub(crate) fn parse(query: &Query) -> Result<Self> {
        match query.get("includeObject") {
            None | Some("Metadata") => Ok(Self::Metadata),
            Some("None") => Ok(Self::None),
            Some("Object") => Ok(Self::Object),
            Some(other) => {
                Err(ApiError::bad_request(format!("includeObject={other:?} must be None, Metadata or Object")))
            }
        }
    }
}

/// How objects of a kind are shown to one client.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) kind: Kind,
    pub(crate) representation: Representation,
    pub(crate) encoding: Encoding,
    pub(crate) rows: RowObject,
    pub(crate) now: Timestamp,
}

impl View {
    /// The JSON of one object.
    pub(crate) fn one(&self, object: Value) -> Value {
        match self.representation {
            Representation::Object => object,
            Representation::Metadata => partial(&object),
            Representation::Table => {
                let version = object::text(&object, "/metadata/resourceVersion").to_owned();
                self.table(vec![object], json!({"resourceVersion": version}), true)
            }
        }
    }

    /// The JSON of a list.
    pub(crate) fn list(&self, objects: Vec<Value>, meta: Value) -> Value {
        match self.representation {
            Representation::Object => json!({
                "kind": self.kind.list_kind(),
                "apiVersion": self.kind.api_version(),
                "metadata": meta,
                "items": objects,
            }),
            Representation::Metadata => json!({
                "kind": "PartialObjectMetadataList",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": meta,
                "items": objects.iter().map(partial).collect::<Vec<_>>(),
            }),
            Representation::Table => self.table(objects, meta, true),
        }
    }

    /// A table of objects. In a watch only the first table has the heads of the columns.
    pub(crate) fn table(&self, objects: Vec<Value>, meta: Value, heads: bool) -> Value {
        let rows: Vec<_> = objects
            .into_iter()
            .map(|object| {
                let cells = self.kind.row(&object, self.now);
                match self.rows {
                    RowObject::None => json!({"cells": cells}),
                    RowObject::Metadata => json!({"cells": cells, "object": partial(&object)}),
                    RowObject::Object => json!({"cells": cells, "object": object}),
                }
            })
            .collect();
        let columns = if heads { json!(self.kind.columns()) } else { json!([]) };
        json!({
            "kind": "Table",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": meta,
            "columnDefinitions": columns,
            "rows": rows,
        })
    }
}

fn partial(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": object.get("metadata").cloned().unwrap_or_default(),
    })
}

/// The document of an answer, until it is written in the form that the client prefers.
#[derive(Clone)]
struct Unwritten(Arc<Value>);

/// An answer with a document, which [`written`] writes.
pub(crate) fn document(code: StatusCode, body: Value) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = code;
    response.extensions_mut().insert(Unwritten(Arc::new(body)));
    response
}

/// Writes the document of an answer; JSON when its kind has no other form.
pub(crate) fn written(mut response: Response, encoding: Encoding) -> Response {
    let Some(Unwritten(document)) = response.extensions_mut().remove() else { return response };
    let (media_type, bytes) = match encoding {
        Encoding::Protobuf => protobuf::body(&document).map(|bytes| (protobuf::MEDIA_TYPE, bytes)),
        Encoding::Json => None,
    }
    .unwrap_or_else(|| ("application/json", object::to_json(&document)));
    *response.body_mut() = bytes.into();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// An answer of a media type.
pub(crate) fn typed(code: StatusCode, media_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// Adds a `Warning` header (RFC 7234 section 5.5, code 299) for each distinct text. When they are too long together,
/// each is cut, as in Kubernetes. Those that are too many are left out, and a last one says how many they are.
pub(crate) fn warn(mut response: Response, warnings: &[String]) -> Response {
    let total: usize = warnings.iter().map(|text| text.chars().count()).sum();
    let longest = if total > limits::MAX_WARNINGS_CHARS { limits::MAX_WARNING_CHARS } else { total };
    let mut seen = BTreeSet::new();
    let distinct: Vec<&String> = warnings.iter().filter(|text| seen.insert(text.as_str())).collect();
    let most = if distinct.len() > limits::MAX_WARNINGS { limits::MAX_WARNINGS - 1 } else { distinct.len() };
    let mut room = limits::MAX_WARNINGS_CHARS;
    let mut shown = Vec::with_capacity(most + 1);
    for text in &distinct[..most] {
        let cut: String = text.chars().filter(|c| !c.is_control()).take(longest).collect();
        let Some(left) = room.checked_sub(cut.chars().count()) else { break };
        room = left;
        shown.push(cut);
    }
    let hidden = distinct.len() - shown.len();
    shown.extend((hidden > 0).then(|| format!("{hidden} more warnings are not shown")));
    for text in shown {
        let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_bytes(format!("299 - \"{quoted}\"").as_bytes()) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
    response
}

/// The answer to a failed request.
pub(crate) fn failure(failure: &ApiError, trace: &str) -> Response {
    let mut status = failure.status.clone();
    status.trace_id = trace.to_owned();
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = document(code, json!(status));
    let headers = response.headers_mut();
    if let Some(seconds) = status.details.as_ref().and_then(|details| details.retry_after_seconds) {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    if !failure.allow.is_empty() {
        let methods = failure.allow.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
        if let Ok(methods) = HeaderValue::try_from(methods) {
            headers.insert(header::ALLOW, methods);
        }
    }
    if code == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"nanocloud\""));
    }
    response
}

/// `Success` as Kubernetes answers a deletion.
pub(crate) fn deleted(kind: &Kind, name: &str, uid: &str) -> Value {
    json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {"name": name, "group": kind.group(), "kind": kind.plural(), "uid": uid},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warnings(texts: &[String]) -> Vec<String> {
        let response = warn(Response::new(Body::empty()), texts);
        response.headers().get_all(header::WARNING).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn warnings_are_quoted_told_once_and_bounded() {
        let texts = [r#"unknown field "a\b""#, "two\nlines", "two\nlines"].map(str::to_owned);
        assert_eq!(warnings(&texts), [r#"299 - "unknown field \"a\\b\"""#, "299 - \"twolines\""]);
        let one = warnings(&["x".repeat(1000)]);
        assert_eq!(one[0].len(), 1000 + "299 - \"\"".len());
        let many: Vec<String> = (0..100).map(|n| format!("{n:03}{}", "x".repeat(1000))).collect();
        let mut told = warnings(&many);
        assert_eq!(told.pop().unwrap(), "299 - \"84 more warnings are not shown\"");
        assert_eq!(told.len(), limits::MAX_WARNINGS_CHARS / limits::MAX_WARNING_CHARS);
        assert!(told.iter().all(|text| text.len() == limits::MAX_WARNING_CHARS + "299 - \"\"".len()));
        let short = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
        assert_eq!(warnings(&short(limits::MAX_WARNINGS)).len(), limits::MAX_WARNINGS);
        let many = warnings(&short(200));
        assert_eq!(many.len(), limits::MAX_WARNINGS);
        assert_eq!(many.last().unwrap(), "299 - \"169 more warnings are not shown\"");
    }
}
