//! What becomes of an object before it is judged: fields that the schema does not name go, and defaults are filled in.
//!
//! Source: `pkg/apiserver/schema/pruning` and `defaulting` of `k8s.io/apiextensions-apiserver`.

use serde_json::Value;

use super::schema::{Additional, Schema};
use crate::path::Path;

/// What every whole object has, whether its schema names it or not.
const OF_OBJECTS: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Removes what a schema does not name from a whole object; answers the paths.
pub(super) fn prune(object: &mut Value, schema: &Schema) -> Vec<String> {
    let mut gone = Vec::new();
    prune_at(object, schema, &Path::ROOT, &mut gone);
    gone
}

fn prune_at(value: &mut Value, schema: &Schema, path: &Path<'_>, gone: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.retain(|name, value| {
            if schema.embeds && OF_OBJECTS.contains(&name.as_str()) {
                return true;
            }
            let path = path.field(name);
            if let Some(schema) = schema.field(name) {
                prune_at(value, schema, &path, gone);
                return true;
            }
            let kept = schema.preserves || matches!(schema.additional, Additional::Any);
            if !kept {
                gone.push(path.to_string());
            }
            kept
        }),
        Value::Array(items) => {
            if let Some(schema) = &schema.items {
                for (index, item) in items.iter_mut().enumerate() {
                    prune_at(item, schema, &path.index(index), gone);
                }
            }
        }
        _ => {}
    }
}

/// Fills in defaults. A null where none may be is as if it were not there.
pub(super) fn default(value: &mut Value, schema: &Schema) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, value| {
                let stays = |schema: &Schema| schema.nullable || schema.default.is_some();
                !value.is_null() || schema.field(name).is_none_or(stays)
            });
            for (name, schema) in &schema.properties {
                if let Some(default) = &schema.default
                    && fields.get(name).is_none_or(|value| value.is_null() && !schema.nullable)
                {
                    fields.insert(name.clone(), default.clone());
                }
            }
            for (name, value) in fields {
                if let Some(schema) = schema.field(name) {
                    fill(value, schema);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = &schema.items {
                items.iter_mut().for_each(|item| fill(item, schema));
            }
        }
        _ => {}
    }
}

fn fill(value: &mut Value, schema: &Schema) {
    if let Some(default) = schema.default.as_ref().filter(|_| value.is_null() && !schema.nullable) {
        *value = default.clone();
    }
    default(value, schema);
}
