//! Messages as JSON. Pure.

use serde_json::{Map, Value};

use super::{
    scalar,
    table::{self, Field, Holds, INLINE, Repeats, Scalar, Shape},
    wire::{self, Fields, MAGIC, Raw},
};
use crate::document::Document;

/// How deep messages nest at most. An object that nests deeper has more lists and maps than a document may.
const MAX_DEPTH: usize = 64;

/// `runtime.Unknown`: what kind of document it is (1), and its message (2).
pub(super) struct Unknown<'a> {
    api_version: String,
    kind: String,
    pub(super) message: &'a [u8],
}

impl<'a> Unknown<'a> {
    pub(super) fn of(body: &'a [u8]) -> Result<Self, String> {
        let unknown = body.strip_prefix(MAGIC).ok_or("it does not begin with k8s\\0")?;
        let mut out = Self { api_version: String::new(), kind: String::new(), message: &[] };
        for field in Fields::of(unknown) {
            match field? {
                (1, Raw::Bytes(meta)) => {
                    for field in Fields::of(meta) {
                        match field? {
                            (1, Raw::Bytes(text)) => out.api_version = wire::text(text)?,
                            (2, Raw::Bytes(text)) => out.kind = wire::text(text)?,
                            _ => {}
                        }
                    }
                }
                (2, Raw::Bytes(message)) => out.message = message,
                _ => {}
            }
        }
        Ok(out)
    }

    pub(super) fn shape(&self) -> Option<Shape> {
        table::message(&self.api_version, &self.kind)
    }

    pub(super) fn name(&self) -> String {
        format!("{} of {:?}", self.kind, self.api_version)
    }

    pub(super) fn read(self, shape: Shape, depth: usize) -> Result<Value, String> {
        let mut object = Map::new();
        object.insert("apiVersion".into(), self.api_version.into());
        object.insert("kind".into(), self.kind.into());
        fields(shape, self.message, depth, &mut object)?;
        Ok(Value::Object(object))
    }
}

/// The fields of a message, added to those of `out`. Numbers that the table does not have are dropped, as Kubernetes
/// drops them: they are of another version.
pub(super) fn fields(shape: Shape, bytes: &[u8], depth: usize, out: &mut Map<String, Value>) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err("it is nested too deep".into());
    }
    for found in Fields::of(bytes) {
        let (number, raw) = found?;
        if let Some(field) = shape.iter().find(|field| u64::from(field.number) == number) {
            put(field, raw, depth, out).map_err(|why| match field.name {
                INLINE => why,
                name => format!("{name}: {why}"),
            })?;
        }
    }
    Ok(())
}

fn put(field: &'static Field, raw: Raw<'_>, depth: usize, out: &mut Map<String, Value>) -> Result<(), String> {
    let name = field.name;
    match (field.repeats, field.holds(), raw) {
        (Repeats::Once, Holds::Message(shape), Raw::Bytes(bytes)) if name == INLINE => {
            fields(shape, bytes, depth + 1, out)
        }
        // A message that comes in pieces is the sum of them.
        (Repeats::Once, Holds::Message(shape), Raw::Bytes(bytes)) => match out.entry(name).or_insert_with(object) {
            Value::Object(inner) => fields(shape, bytes, depth + 1, inner),
            _ => Err(wrong()),
        },
        (Repeats::Once, holds, raw) => {
            if let Some(value) = value(holds, raw, depth)?
                && !(field.zero_is_absent && is_zero(&value))
            {
                out.insert(name.into(), value);
            }
            Ok(())
        }
        (Repeats::List, holds, raw) => {
            let Value::Array(items) = out.entry(name).or_insert_with(|| Value::Array(Vec::new())) else {
                return Err(wrong());
            };
            match (holds, raw) {
                (Holds::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::Flag), Raw::Bytes(packed)) => {
                    let mut numbers = Fields::of(packed);
                    while !numbers.is_empty() {
                        items.extend(value(holds, Raw::Number(numbers.varint()?), depth)?);
                    }
                }
                _ => items.push(value(holds, raw, depth)?.unwrap_or_default()),
            }
            Ok(())
        }
        (Repeats::Map, holds, Raw::Bytes(entry)) => {
            let (key, value) = entry_of(holds, entry, depth)?;
            let Value::Object(entries) = out.entry(name).or_insert_with(object) else { return Err(wrong()) };
            entries.insert(key, value);
            Ok(())
        }
        _ => Err(wrong()),
    }
}

/// A map's entry: key (1) and value (2), either of which may be missing when empty.
fn entry_of(holds: Holds, entry: &[u8], depth: usize) -> Result<(String, Value), String> {
    let (mut key, mut found) = (String::new(), Raw::Bytes(&[]));
    for field in Fields::of(entry) {
        match field? {
            (1, Raw::Bytes(text)) => key = wire::text(text)?,
            (2, raw) => found = raw,
            _ => {}
        }
    }
    let value = value(holds, found, depth)?.unwrap_or_default();
    Ok((key, value))
}

/// One value; nothing for what JSON writes as `null`.
fn value(holds: Holds, raw: Raw<'_>, depth: usize) -> Result<Option<Value>, String> {
    let mut inner = Map::new();
    match (holds, raw) {
        (Holds::Scalar(Scalar::Json), Raw::Bytes(bytes)) => json(bytes, depth),
        (Holds::Scalar(scalar), raw) => scalar::read(scalar, raw),
        (Holds::Message(shape), Raw::Bytes(bytes)) => {
            fields(shape, bytes, depth + 1, &mut inner)?;
            Ok(Some(Value::Object(inner)))
        }
        (Holds::List(item), Raw::Bytes(bytes)) => {
            fields(std::slice::from_ref(item), bytes, depth + 1, &mut inner)?;
            Ok(Some(inner.remove(item.name).unwrap_or_else(|| Value::Array(Vec::new()))))
        }
        (Holds::Either(shape), Raw::Bytes(bytes)) => {
            fields(shape, bytes, depth + 1, &mut inner)?;
            // A flag stands beside an object and means nothing then.
            let mut set = inner.into_iter().map(|(_, value)| value).collect::<Vec<_>>();
            let at = set.iter().position(|value| !value.is_boolean()).unwrap_or(0);
            let empty = if shape.iter().any(|field| field.repeats == Repeats::List) {
                Value::Array(Vec::new())
            } else {
                Value::Bool(false)
            };
            Ok(Some(if set.is_empty() { empty } else { set.swap_remove(at) }))
        }
        _ => Err(wrong()),
    }
}

/// `runtime.RawExtension` and its like: a document (1), as JSON or as a whole body of this form.
fn json(bytes: &[u8], depth: usize) -> Result<Option<Value>, String> {
    let mut raw = &[][..];
    for field in Fields::of(bytes) {
        if let (1, Raw::Bytes(found)) = field? {
            raw = found;
        }
    }
    match raw {
        [] => Ok(None),
        body if body.starts_with(MAGIC) => {
            let unknown = Unknown::of(body)?;
            let shape = unknown.shape().ok_or_else(|| format!("{} within it has no such form", unknown.name()))?;
            unknown.read(shape, depth + 1).map(Some)
        }
        text => match Document::read(text) {
            Ok(document) => Ok(Some(document.value).filter(|value| !value.is_null())),
            Err(error) => Err(format!("a document within it is no JSON: {error}")),
        },
    }
}

fn object() -> Value {
    Value::Object(Map::new())
}

fn wrong() -> String {
    "the field is of another type".into()
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}
