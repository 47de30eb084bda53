//! JSON in and out of typed objects.

use serde_json::{Map, Value};

use crate::resource::Resource;

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
    #[error("the document does not fit kind {kind}: {message}")]
    Shape {
        /// The wanted kind.
        kind: &'static str,
        /// What did not fit, as the parser put it.
        message: String,
    },
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
pub fn decode<R: Resource>(mut value: Value) -> Result<R, DecodeError> {
    if let Value::Object(fields) = &mut value {
        expect(fields.shift_remove("apiVersion"), "apiVersion", &R::api_version())?;
        expect(fields.shift_remove("kind"), "kind", R::KIND)?;
    }
    serde_json::from_value(value).map_err(|error| DecodeError::Shape { kind: R::KIND, message: error.to_string() })
}

fn expect(found: Option<Value>, field: &'static str, wanted: &str) -> Result<(), DecodeError> {
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
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    use super::*;

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
    fn unknown_fields_are_named_by_path() {
        let input = json!({"spec": {"a": 1, "list": [{"x": 1, "y": 2}], "gone": null}, "odd": {"z": 1}});
        let output = json!({"spec": {"a": 1, "list": [{"x": 1}]}});
        assert_eq!(unknown_fields(&input, &output), ["spec.list[0].y", "odd"]);
    }
}
