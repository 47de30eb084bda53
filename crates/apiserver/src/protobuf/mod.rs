//! Bodies in Kubernetes' protobuf form, which Go's clients send and prefer. Pure.
//!
//! One table has all messages of Kubernetes ([`table`]); documents are JSON values on this side, and are read and written
//! by walking along it. So a kind of Kubernetes needs nothing here, and kinds of others have no such form.
//!
//! Source: `k8s.io/apimachinery/pkg/runtime/serializer/protobuf` and the `generated.proto` files of Kubernetes.

mod duration;
mod read;
mod scalar;
mod table;
mod wire;
mod write;

use api::{Kind, Reason};
use serde_json::Value;

pub(crate) use self::wire::Message;
use self::{read::Unknown, wire::MAGIC};
use crate::{
    api_error::{ApiError, Result},
    document::{MAX_NESTING, nesting},
    object,
};

/// Media type of these bodies.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";
/// Media type of a watch: frames with the length of an event before each.
pub(crate) const WATCH_MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf;stream=watch";
/// Most values of a document.
const MAX_VALUES: usize = 4 * 1024 * 1024;

/// Whether a kind has this form.
pub(crate) fn has(kind: &Kind) -> bool {
    table::kind_message(&kind.api_version(), kind.kind()).is_some()
}

/// The JSON document of a body.
pub(crate) fn document(body: &[u8]) -> Result<Value> {
    let unread = |why| ApiError::bad_request(format!("the body cannot be read as {MEDIA_TYPE}: {why}"));
    let unknown = Unknown::of(body).map_err(unread)?;
    let Some(shape) = unknown.shape() else {
        let message = format!("{} is not read as {MEDIA_TYPE}", unknown.name());
        return Err(ApiError::new(Reason::UnsupportedMediaType, message).remedy("send application/json"));
    };
    let document = unknown.read(shape, 0).map_err(unread)?;
    let mut steps = MAX_VALUES;
    match nesting(&document, &mut steps) {
        Some(depth) if depth <= MAX_NESTING => Ok(document),
        _ => Err(ApiError::bad_request("the body holds too many values, or lists and maps within each other")),
    }
}

/// The body of a document; nothing when its kind has no such form.
pub(crate) fn body(document: &Value) -> Option<Vec<u8>> {
    let (api_version, kind) = (object::text(document, "/apiVersion"), object::text(document, "/kind"));
    let shape = table::message(api_version, kind)?;
    let fields = document.as_object()?;
    let mut meta = Message::default();
    meta.bytes(1, api_version.as_bytes());
    meta.bytes(2, kind.as_bytes());
    let mut unknown = Message::of(1, &meta);
    if let Err(field) = unknown.nested(2, |out| write::fields(out, shape, fields)) {
        tracing::warn!(kind, field, "a document is not of the type of its kind, and is sent as JSON");
        return None;
    }
    // Encoding and type of the content: those of this form.
    unknown.bytes(3, b"");
    unknown.bytes(4, b"");
    let mut out = MAGIC.to_vec();
    out.append(&mut unknown.into_bytes());
    Some(out)
}

/// A frame of a watch: the length of a `meta/v1 WatchEvent` in four bytes, and the event: type (1) and object (2), a body
/// of its own within `runtime.RawExtension` (1). Nothing when the object has no such form.
pub(crate) fn event(kind: &str, object: &Value) -> Option<Vec<u8>> {
    let mut raw = Message::default();
    raw.bytes(1, &body(object)?);
    let mut event = Message::default();
    event.bytes(1, kind.as_bytes());
    event.message(2, &raw);
    let event = event.into_bytes();
    let mut frame = u32::try_from(event.len()).ok()?.to_be_bytes().to_vec();
    frame.extend(event);
    Some(frame)
}

#[cfg(test)]
mod tests;
