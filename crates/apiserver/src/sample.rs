//! The smallest object that a kind's schema allows, for questions about the kind as such. Pure.

use api::Kind;
use schemars::SchemaGenerator;
use serde_json::{Map, Value, json};

/// How deep required fields nest at most.
const MAX_DEPTH: usize = 16;

/// An object with the kind's required fields only, each with its emptiest value.
pub(crate) fn minimal(kind: &Kind) -> Value {
    let mut generator = SchemaGenerator::default();
    let schema = kind.schema(&mut generator);
    let definitions = Value::Object(generator.definitions().clone());
    let mut object = value(schema.as_value(), &definitions, 0);
    if let Some(fields) = object.as_object_mut() {
        fields.shift_remove("apiVersion");
        fields.shift_remove("kind");
        fields.insert("metadata".into(), json!({"name": "x"}));
    }
    object
}

fn value(schema: &Value, definitions: &Value, depth: usize) -> Value {
    if depth > MAX_DEPTH {
        return Value::Null;
    }
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        return value(&definitions[name], definitions, depth + 1);
    }
    for list in ["allOf", "anyOf", "oneOf"] {
        if let Some(first) = schema[list].get(0) {
            return value(first, definitions, depth + 1);
        }
    }
    if let Some(only) = schema.get("const").or_else(|| schema["enum"].get(0)) {
        return only.clone();
    }
    let of_type = |name: &str| {
        schema["type"] == name || schema["type"].as_array().is_some_and(|types| types.iter().any(|t| t == name))
    };
    if of_type("object") {
        let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let fields: Map<_, _> = required
            .map(|name| (name.to_owned(), value(&schema["properties"][name], definitions, depth + 1)))
            .collect();
        return Value::Object(fields);
    }
    match () {
        () if of_type("string") && schema["format"] == "date-time" => "1970-01-01T00:00:00Z".into(),
        () if of_type("string") => "".into(),
        () if of_type("integer") || of_type("number") => 0.into(),
        () if of_type("boolean") => false.into(),
        () if of_type("array") => json!([]),
        () => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_kind_accepts_its_smallest_object() {
        for kind in api::kinds::all() {
            let object = super::minimal(kind);
            assert!(kind.fields(&object).len() >= 2, "{kind:?} cannot read {object}");
        }
    }
}
