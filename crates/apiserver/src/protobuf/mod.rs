//! Bodies in Kubernetes' protobuf form, for the few kinds whose typed clients insist on it. Pure.
//!
//! `kubectl create {namespace,configmap,secret,service,serviceaccount}` and `kubectl auth` send nothing else. Answers are JSON, which the
//! same clients accept. What the tables in [`messages`] do not name is refused, never dropped.
//!
//! Source: `k8s.io/apimachinery/pkg/runtime/serializer/protobuf` and the `generated.proto` files of `k8s.io/api`.

mod messages;
mod wire;

use api::Reason;
use serde_json::{Map, Value};

use self::{
    messages::{Field, Shape},
    wire::{Fields, Raw},
};
use crate::api_error::{ApiError, Result};

/// Media type of these bodies.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";
/// First bytes of every body.
const MAGIC: &[u8] = b"k8s\0";
/// How deep messages nest at most.
const MAX_DEPTH: usize = 16;

/// The JSON document of a body.
pub(crate) fn document(body: &[u8]) -> Result<Value> {
    let fail = |why: &str| {
        ApiError::new(Reason::UnsupportedMediaType, format!("the {MEDIA_TYPE} body cannot be read: {why}"))
            .remedy("send application/json")
    };
    read(body).map_err(|why| fail(&why))
}

/// `runtime.Unknown`: type (1), and the object's own message (2).
fn read(body: &[u8]) -> Result<Value, String> {
    let unknown = body.strip_prefix(MAGIC).ok_or("it does not begin with k8s\\0")?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for field in Fields::of(unknown) {
        match field? {
            (1, Raw::Bytes(meta)) => {
                for field in Fields::of(meta) {
                    match field? {
                        (1, Raw::Bytes(text)) => api_version = wire::text(text)?,
                        (2, Raw::Bytes(text)) => kind = wire::text(text)?,
                        _ => {}
                    }
                }
            }
            (2, Raw::Bytes(message)) => raw = message,
            _ => {}
        }
    }
    let shape =
        messages::of(&api_version, &kind).ok_or_else(|| format!("{kind} of {api_version:?} is read as JSON only"))?;
    let mut object = message(shape, raw, 0)?;
    object.insert("apiVersion".into(), api_version.into());
    object.insert("kind".into(), kind.into());
    Ok(Value::Object(object))
}

fn message(fields: &[Field], bytes: &[u8], depth: usize) -> Result<Map<String, Value>, String> {
    if depth > MAX_DEPTH {
        return Err("it is nested too deep".into());
    }
    let mut out = Map::new();
    for field in Fields::of(bytes) {
        let (number, raw) = field?;
        let known = fields.iter().find(|(known, _, _)| *known == number);
        let (_, name, shape) = known.ok_or_else(|| format!("field {number} beside {:?} is not known", fields[0].1))?;
        put(&mut out, name, shape, raw, depth)?;
    }
    Ok(out)
}

fn put(out: &mut Map<String, Value>, name: &str, shape: &Shape, raw: Raw<'_>, depth: usize) -> Result<(), String> {
    let wrong = || format!("{name} is of another type");
    let value = match (shape, raw) {
        (Shape::Text, Raw::Bytes(bytes)) => {
            let text = wire::text(bytes)?;
            // These clients write every text, and an empty one means that there is none.
            if text.is_empty() {
                return Ok(());
            }
            text.into()
        }
        (Shape::Number, Raw::Number(number)) => wire::signed(number).into(),
        (Shape::Flag, Raw::Number(number)) => (number != 0).into(),
        (Shape::Time, Raw::Bytes(bytes)) => match time(bytes)? {
            Some(time) => time,
            None => return Ok(()),
        },
        (Shape::IntOrText, Raw::Bytes(bytes)) => int_or_text(bytes)?,
        (Shape::Message(fields), Raw::Bytes(bytes)) => Value::Object(message(fields, bytes, depth + 1)?),
        (Shape::Texts, Raw::Bytes(bytes)) => return push(out, name, wire::text(bytes)?.into()),
        (Shape::Messages(fields), Raw::Bytes(bytes)) => {
            let item = Value::Object(message(fields, bytes, depth + 1)?);
            return push(out, name, item);
        }
        (Shape::TextMap | Shape::BytesMap, Raw::Bytes(entry)) => {
            let (key, value) = entry_of(entry, matches!(shape, Shape::BytesMap))?;
            let map = out.entry(name).or_insert_with(|| Value::Object(Map::new()));
            map.as_object_mut().ok_or_else(wrong)?.insert(key, value);
            return Ok(());
        }
        (Shape::Ignored, _) => return Ok(()),
        _ => return Err(wrong()),
    };
    out.insert(name.into(), value);
    Ok(())
}

fn push(out: &mut Map<String, Value>, name: &str, item: Value) -> Result<(), String> {
    let list = out.entry(name).or_insert_with(|| Value::Array(Vec::new()));
    list.as_array_mut().ok_or_else(|| format!("{name} is of another type"))?.push(item);
    Ok(())
}

/// A map's entry: key (1) and value (2), either of which may be missing when empty.
fn entry_of(bytes: &[u8], binary: bool) -> Result<(String, Value), String> {
    let (mut key, mut value) = (String::new(), &[][..]);
    for field in Fields::of(bytes) {
        match field? {
            (1, Raw::Bytes(text)) => key = wire::text(text)?,
            (2, Raw::Bytes(bytes)) => value = bytes,
            _ => return Err("a map's entry has another field".into()),
        }
    }
    let value = if binary { wire::base64(value).into() } else { wire::text(value)?.into() };
    Ok((key, value))
}

/// `meta/v1 Time`: seconds (1). An empty message is no time.
fn time(bytes: &[u8]) -> Result<Option<Value>, String> {
    for field in Fields::of(bytes) {
        if let (1, Raw::Number(seconds)) = field? {
            let at = jiff::Timestamp::from_second(wire::signed(seconds)).map_err(|_| "a time is out of range")?;
            return Ok(Some(crate::object::time(at)));
        }
    }
    Ok(None)
}

/// `intstr.IntOrString`: type (1), number (2), text (3).
fn int_or_text(bytes: &[u8]) -> Result<Value, String> {
    let (mut is_text, mut number, mut text) = (false, 0, String::new());
    for field in Fields::of(bytes) {
        match field? {
            (1, Raw::Number(kind)) => is_text = kind == 1,
            (2, Raw::Number(value)) => number = wire::signed(value),
            (3, Raw::Bytes(value)) => text = wire::text(value)?,
            _ => return Err("a number or text has another field".into()),
        }
    }
    Ok(if is_text { text.into() } else { number.into() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2, u8::try_from(bytes.len()).unwrap()];
        out.extend_from_slice(bytes);
        out
    }

    fn body(kind: &str, raw: &[u8]) -> Vec<u8> {
        let meta = [field(1, b"v1"), field(2, kind.as_bytes())].concat();
        [MAGIC.to_vec(), field(1, &meta), field(2, raw)].concat()
    }

    #[test]
    fn a_secret_is_read_as_its_json() {
        let meta =
            [field(1, b"s"), field(2, b""), field(8, b""), field(11, &[field(1, b"a"), field(2, b"b")].concat())]
                .concat();
        let data = [field(1, b"k"), field(2, b"\x00\xff")].concat();
        let raw = [field(1, &meta), field(2, &data), field(3, b"Opaque"), vec![5 << 3, 1]].concat();
        let wanted = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "labels": {"a": "b"}},
            "data": {"k": "AP8="}, "type": "Opaque", "immutable": true,
        });
        assert_eq!(document(&body("Secret", &raw)).unwrap(), wanted);
    }

    #[test]
    fn nothing_is_dropped_and_nothing_overruns() {
        assert!(document(&body("Secret", &field(9, b"x"))).is_err(), "unknown field");
        assert!(document(&body("Pod", b"")).is_err(), "kind without a table");
        assert!(document(b"{}").is_err());
        let whole = body("ConfigMap", &field(1, &field(1, b"name")));
        for cut in MAGIC.len() + 1..whole.len() {
            // Any cut either fails or has lost whole fields; it never reads past the end.
            let _ = document(&whole[..cut]);
        }
        let overlong = [MAGIC, &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]].concat();
        assert!(document(&overlong).is_err());
    }
}
