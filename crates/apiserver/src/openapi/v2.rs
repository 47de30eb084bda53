//! OpenAPI 2.0, for `kubectl create` of lists and for older clients: as JSON, and as the protobuf that they ask for.
//!
//! In protobuf the document holds the schemas, and of the paths what clients look up: kinds, media types, and
//! parameters of the query.
//!
//! Source: `OpenAPIv2.proto` of gnostic, and `k8s.io/kube-openapi/pkg/util/proto`.

use serde_json::{Map, Value};

use crate::protobuf::Message;

/// Turns a schema of OpenAPI 3 into one of 2.0: without alternatives, and with references that stand alone.
pub(super) fn schema(value: &Value) -> Value {
    let Value::Object(fields) = value else { return value.clone() };
    if let Some(only) = only_meaning(fields) {
        let mut plain = schema(only);
        if let (Some(description), Value::Object(plain)) = (fields.get("description"), &mut plain) {
            plain.insert("description".into(), description.clone());
        }
        return plain;
    }
    let mut out = Map::new();
    for (name, value) in fields {
        match (name.as_str(), value) {
            ("nullable" | "anyOf" | "oneOf" | "allOf" | "const", _) => {}
            ("properties", Value::Object(all)) => {
                let all = all.iter().map(|(name, value)| (name.clone(), schema(value))).collect();
                out.insert(name.clone(), Value::Object(all));
            }
            ("items" | "additionalProperties", value) => drop(out.insert(name.clone(), schema(value))),
            (_, value) => drop(out.insert(name.clone(), value.clone())),
        }
    }
    Value::Object(out)
}

/// The one schema among alternatives that says something: references, and what may be null beside.
fn only_meaning(fields: &Map<String, Value>) -> Option<&Value> {
    let alternatives = ["allOf", "anyOf", "oneOf"].iter().find_map(|name| fields.get(*name)?.as_array())?;
    let is_null = |schema: &&Value| schema.get("enum") == Some(&Value::Array(vec![Value::Null]));
    let mut meant = alternatives.iter().filter(|schema| !is_null(schema));
    meant.next().filter(|_| meant.next().is_none())
}

/// The document in protobuf.
pub(super) fn protobuf(document: &Value) -> Vec<u8> {
    let mut out = Message::default();
    texts(&mut out, 1, document.get("swagger"));
    let mut info = Message::default();
    texts(&mut info, 1, document.pointer("/info/title"));
    texts(&mut info, 2, document.pointer("/info/version"));
    out.message(2, &info);
    let mut paths = Message::default();
    for (path, item) in entries(document.get("paths")) {
        named(&mut paths, 2, path, &path_item(item));
    }
    out.message(8, &paths);
    let mut definitions = Message::default();
    for (name, schema) in entries(document.get("definitions")) {
        named(&mut definitions, 1, name, &schema_message(schema));
    }
    out.message(9, &definitions);
    out.into_bytes()
}

fn entries(value: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    value.and_then(Value::as_object).into_iter().flatten()
}

fn items(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}

fn path_item(item: &Value) -> Message {
    let mut out = Message::default();
    for (method, number) in [("get", 2), ("put", 3), ("post", 4), ("delete", 5), ("patch", 8)] {
        if let Some(found) = item.get(method) {
            out.message(number, &operation(found));
        }
    }
    out
}

fn operation(operation: &Value) -> Message {
    let mut out = Message::default();
    texts(&mut out, 5, operation.get("operationId"));
    for media_type in items(operation.get("consumes")) {
        texts(&mut out, 7, Some(media_type));
    }
    for parameter in items(operation.get("parameters")).filter(|parameter| parameter["in"] == "query") {
        let mut query = Message::default();
        texts(&mut query, 2, parameter.get("in"));
        texts(&mut query, 4, parameter.get("name"));
        texts(&mut query, 6, parameter.get("type"));
        // ParametersItem, Parameter, NonBodyParameter, QueryParameterSubSchema.
        out.message(8, &Message::of(1, &Message::of(2, &Message::of(3, &query))));
    }
    extensions(&mut out, 13, operation);
    out
}

fn schema_message(schema: &Value) -> Message {
    let mut out = Message::default();
    for (field, number) in [("$ref", 1), ("format", 2), ("title", 3), ("description", 4)] {
        texts(&mut out, number, schema.get(field));
    }
    if let Some(value) = schema.get("default") {
        out.message(5, &any(value));
    }
    for name in items(schema.get("required")) {
        texts(&mut out, 19, Some(name));
    }
    for value in items(schema.get("enum")) {
        out.message(20, &any(value));
    }
    match schema.get("additionalProperties") {
        Some(Value::Bool(allowed)) => {
            let mut allows = Message::default();
            allows.number(2, (*allowed).into());
            out.message(21, &allows);
        }
        Some(values) => out.message(21, &Message::of(1, &schema_message(values))),
        None => {}
    }
    if let Some(kind) = schema.get("type") {
        let mut kinds = Message::default();
        texts(&mut kinds, 1, Some(kind));
        out.message(22, &kinds);
    }
    if let Some(values) = schema.get("items") {
        out.message(23, &Message::of(1, &schema_message(values)));
    }
    if let Some(all) = schema.get("properties") {
        let mut properties = Message::default();
        for (name, value) in entries(Some(all)) {
            named(&mut properties, 1, name, &schema_message(value));
        }
        out.message(25, &properties);
    }
    extensions(&mut out, 31, schema);
    out
}

/// A value as YAML, of which JSON is a part.
fn any(value: &Value) -> Message {
    let mut out = Message::default();
    out.bytes(2, value.to_string().as_bytes());
    out
}

fn texts(out: &mut Message, number: u32, text: Option<&Value>) {
    if let Some(text) = text.and_then(Value::as_str) {
        out.bytes(number, text.as_bytes());
    }
}

/// An entry of a map that is written as a list.
fn named(out: &mut Message, number: u32, name: &str, value: &Message) {
    let mut entry = Message::default();
    entry.bytes(1, name.as_bytes());
    entry.message(2, value);
    out.message(number, &entry);
}

fn extensions(out: &mut Message, number: u32, value: &Value) {
    for (name, value) in entries(Some(value)).filter(|(name, _)| name.starts_with("x-")) {
        named(out, number, name, &any(value));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn references_stand_alone_and_alternatives_are_left_out() {
        let reference = json!({"$ref": "#/definitions/A"});
        let described = json!({"description": "d", "allOf": [reference]});
        assert_eq!(schema(&described), json!({"description": "d", "$ref": "#/definitions/A"}));
        let optional = json!({"anyOf": [reference, {"enum": [null], "nullable": true}]});
        assert_eq!(schema(&optional), reference);
        let either = json!({"oneOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": true});
        assert_eq!(schema(&either), json!({"x-kubernetes-int-or-string": true}));
        let nested =
            json!({"type": "object", "properties": {"a": {"type": "array", "items": described, "nullable": true}}});
        assert_eq!(schema(&nested)["properties"]["a"]["items"]["$ref"], "#/definitions/A");
        assert!(schema(&nested)["properties"]["a"].get("nullable").is_none());
    }

    #[test]
    fn documents_are_messages() {
        let document = json!({
            "swagger": "2.0",
            "definitions": {"A": {"type": "object", "additionalProperties": true, "x-k": 1}},
        });
        let mut wanted = b"\x0a\x032.0\x12\0\x42\0\x4a\x24\x0a\x22".to_vec();
        wanted.extend(b"\x0a\x01A\x12\x1d");
        wanted.extend(b"\xaa\x01\x02\x10\x01\xb2\x01\x08\x0a\x06object\xfa\x01\x0a\x0a\x03x-k\x12\x03\x12\x011");
        assert_eq!(protobuf(&document), wanted);
    }
}
