//! JSON in and out of typed objects.

use serde_json::{Map, Value};
use serde_path_to_error::Segment;

use crate::{field_error::FieldError, resource::Resource};

/// Why a JSON document is not an object of the wanted kind.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// `apiVersion` or `kind` name something else.
    #[error("{field} is {found:?}, but this endpoint takes {wanted:?}")]
    WrongType {
        /// `apiVersion` or `kind`.
        field: &'static str,
        /// What the document says.
        found: String,
        /// What it must say.
        wanted: String,
    },
    /// A field has a value of another type than the kind's.
    #[error("the document does not fit kind {kind}: {field}{}{message}", if field.is_empty() { "" } else { ": " })]
    Shape {
        /// The wanted kind.
        kind: &'static str,
        /// Path of the field that did not fit; empty for the document itself.
        field: String,
        /// Whether the field is missing.
        missing: bool,
        /// What did not fit, as the parser put it.
        message: String,
    },
}

impl DecodeError {
    /// The error as one of a field.
    pub fn into_field_error(self) -> FieldError {
        match self {
            Self::Shape { field, missing: true, message, .. } => FieldError::required(field, message),
            Self::Shape { field, message, .. } if !field.is_empty() => FieldError::invalid(field, message),
            Self::WrongType { field, .. } => FieldError::invalid(field, self.to_string()),
            Self::Shape { .. } => FieldError::invalid("", self.to_string()),
        }
    }
}

/// Turns an object into JSON with `apiVersion` and `kind` first.
///
/// Serialising our kinds cannot fail: they hold maps with string keys only.
pub fn encode<R: Resource>(object: &R) -> Value {
    let mut out = Map::new();
    out.insert("apiVersion".into(), R::api_version().into());
    out.insert("kind".into(), R::KIND.into());
    if let Ok(Value::Object(fields)) = serde_json::to_value(object) {
        out.extend(fields.into_iter().filter(|(key, _)| key != "apiVersion" && key != "kind"));
    }
    Value::Object(out)
}

/// Reads an object from JSON. `apiVersion` and `kind` may be missing, but not wrong.
pub fn decode<R: Resource>(value: Value) -> Result<R, DecodeError> {
    decode_from(&value)
}

/// Reads an object from JSON that is still needed.
pub fn decode_from<R: Resource>(value: &Value) -> Result<R, DecodeError> {
    expect(value.get("apiVersion"), "apiVersion", &R::api_version())?;
    expect(value.get("kind"), "kind", R::KIND)?;
    R::deserialize(value).map_err(|_| locate::<R>(value))
}

/// Most texts that are null and are read as empty ones in one object.
const NULL_TEXTS_MAX: usize = 32;

/// Reads an object from JSON as Kubernetes does: a null where a text must be (`data: {key: null}`) is an empty text.
pub(crate) fn decode_lenient<R: Resource>(value: &mut Value) -> Result<R, DecodeError> {
    for _ in 0..NULL_TEXTS_MAX {
        match decode_from(value) {
            Err(DecodeError::Shape { message, .. }) if message == NULL_TEXT => fill_null_text::<R>(value)?,
            other => return other,
        }
    }
    decode_from(value)
}

/// How the parser says that there is a null where a text must be.
const NULL_TEXT: &str = "invalid type: null, expected a string";

fn fill_null_text<R: Resource>(value: &mut Value) -> Result<(), DecodeError> {
    let Err(error) = serde_path_to_error::deserialize::<_, R>(&*value) else { return Ok(()) };
    let mut place = Some(&mut *value);
    for segment in error.path() {
        place = place.and_then(|value| match segment {
            Segment::Seq { index } => value.get_mut(*index),
            Segment::Map { key } => value.get_mut(key.as_str()),
            _ => None,
        });
    }
    match place {
        Some(place) if place.is_null() => *place = Value::String(String::new()),
        _ => return Err(locate::<R>(value)),
    }
    Ok(())
}

/// Reads a document that cannot be read once more, to learn which field is to blame.
fn locate<R: Resource>(value: &Value) -> DecodeError {
    let Err(error) = serde_path_to_error::deserialize::<_, R>(value) else {
        return DecodeError::Shape {
            kind: R::KIND,
            field: String::new(),
            missing: false,
            message: "unreadable".into(),
        };
    };
    let mut field = match error.path().to_string() {
        root if root == "." => String::new(),
        path => path,
    };
    let message = error.inner().to_string();
    let absent = message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`'));
    if let Some(name) = absent {
        if !field.is_empty() {
            field.push('.');
        }
        field.push_str(name);
    }
    DecodeError::Shape { kind: R::KIND, field, missing: absent.is_some(), message }
}

fn expect(found: Option<&Value>, field: &'static str, wanted: &str) -> Result<(), DecodeError> {
    match found {
        None => Ok(()),
        Some(Value::String(found)) if found == wanted => Ok(()),
        Some(other) => Err(DecodeError::WrongType {
            field,
            found: other.as_str().map_or_else(|| other.to_string(), str::to_owned),
            wanted: wanted.to_owned(),
        }),
    }
}

/// Paths of fields that `input` has and its typed round trip `output` lost: the kind does not know them.
///
/// Fields with null, and empty lists or maps, are the same as absent ones.
pub fn unknown_fields(input: &Value, output: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare(input, output, String::new(), &mut found);
    found
}

fn compare(input: &Value, output: &Value, path: String, found: &mut Vec<String>) {
    match (input, output) {
        (Value::Object(input), Value::Object(output)) => {
            for (key, value) in input {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                match output.get(key) {
                    Some(kept) => compare(value, kept, path, found),
                    None if is_void(value) => {}
                    None => found.push(path),
                }
            }
        }
        (Value::Array(input), Value::Array(output)) if input.len() == output.len() => {
            for (index, (value, kept)) in input.iter().zip(output).enumerate() {
                compare(value, kept, format!("{path}[{index}]"), found);
            }
        }
        _ => {}
    }
}

fn is_void(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::{Bundle, ConfigMap, Pod};

    #[test]
    fn type_meta_is_added_and_checked() {
        let map: ConfigMap = decode(json!({"kind": "ConfigMap", "metadata": {"name": "a"}})).unwrap();
        let value = encode(&map);
        assert_eq!(value["apiVersion"], "v1");
        assert_eq!(value["kind"], "ConfigMap");
        let wrong = decode::<ConfigMap>(json!({"kind": "Secret"})).unwrap_err();
        assert_eq!(wrong.to_string(), r#"kind is "Secret", but this endpoint takes "ConfigMap""#);
    }

    #[test]
    fn what_does_not_fit_is_named_by_path() {
        fn finding<R: Resource>(document: Value) -> (String, &'static str) {
            let error = decode::<R>(document).unwrap_err().into_field_error();
            (error.field, error.reason)
        }
        let bundle = |spec: Value| finding::<Bundle>(json!({"metadata": {"name": "a"}, "spec": spec}));
        for (found, field, reason) in [
            (bundle(json!({})), "spec.service", "FieldValueRequired"),
            (bundle(json!({"service": "a", "start": "yes"})), "spec.start", "FieldValueInvalid"),
            (bundle(json!({"service": "a", "options": {"x": 3}})), "spec.options.x", "FieldValueInvalid"),
            (bundle(json!({"service": "a", "snapshot": {}})), "spec.snapshot.source", "FieldValueRequired"),
            (bundle(json!([])), "spec", "FieldValueInvalid"),
            (finding::<Bundle>(json!({})), "spec", "FieldValueRequired"),
            (finding::<Bundle>(json!({"metadata": {"labels": {"a": 1}}})), "metadata.labels.a", "FieldValueInvalid"),
            (finding::<Bundle>(json!("text")), "", "FieldValueInvalid"),
            (finding::<Bundle>(json!({"kind": "Secret"})), "kind", "FieldValueInvalid"),
            (finding::<Bundle>(json!({"apiVersion": 1})), "apiVersion", "FieldValueInvalid"),
            (finding::<ConfigMap>(json!({"data": {"k": 1}})), "data.k", "FieldValueInvalid"),
            (
                finding::<Pod>(json!({"spec": {"containers": [{"name": "c", "ports": [{"containerPort": "x"}]}]}})),
                "spec.containers[0].ports[0].containerPort",
                "FieldValueInvalid",
            ),
        ] {
            assert_eq!(found, (field.to_owned(), reason));
        }
    }

    #[test]
    fn a_null_where_a_text_must_be_is_an_empty_text() {
        let read = |mut document: Value| decode_lenient::<ConfigMap>(&mut document);
        let map = read(json!({"metadata": {"labels": {"a": null}}, "data": {"k": null, "l": "v", "m": null}})).unwrap();
        assert_eq!(map.data.unwrap(), [("k", ""), ("l", "v"), ("m", "")].map(|(k, v)| (k.into(), v.into())).into());
        assert_eq!(map.metadata.labels.unwrap()["a"], "");
        let many: Map<String, Value> = (0..=NULL_TEXTS_MAX).map(|n| (n.to_string(), Value::Null)).collect();
        let error = read(json!({"data": many})).unwrap_err();
        assert!(error.to_string().contains("data."), "{error}");
        assert!(read(json!({"immutable": null, "data": null})).is_ok());
    }

    #[test]
    fn unknown_fields_are_named_by_path() {
        let input = json!({"spec": {"a": 1, "list": [{"x": 1, "y": 2}], "gone": null}, "odd": {"z": 1}});
        let output = json!({"spec": {"a": 1, "list": [{"x": 1}]}});
        assert_eq!(unknown_fields(&input, &output), ["spec.list[0].y", "odd"]);
    }
}
