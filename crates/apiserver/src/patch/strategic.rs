//! Strategic merge patch, after Kubernetes' API conventions ("strategic merge patch" in `sig-api-machinery`).

use serde_json::{Map, Value};

use super::{
    order::arrange,
    strategy::{Lists, of},
};
use crate::failure::{Failure, Outcome};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const ORDER: &str = "$setElementOrder/";
const DELETE_PRIMITIVES: &str = "$deleteFromPrimitiveList/";

/// The object after the patch.
pub(super) fn apply(object: Value, patch: &Value) -> Outcome<Value> {
    match (object, patch) {
        (Value::Object(object), Value::Object(patch)) => Ok(Value::Object(map(object, patch, "")?)),
        _ => Err(Failure::bad_request("a strategic merge patch must be a JSON object")),
    }
}

fn bad(message: String) -> Failure {
    Failure::bad_request(message).remedy("see the strategic merge patch section of Kubernetes' API conventions")
}

/// Merges two maps; `field` is the name of the field they are in.
fn map(mut object: Map<String, Value>, patch: &Map<String, Value>, field: &str) -> Outcome<Map<String, Value>> {
    match patch.get(DIRECTIVE).and_then(Value::as_str) {
        None | Some("merge") if patch.get(DIRECTIVE).is_none_or(Value::is_string) => {}
        Some("replace") => return Ok(bare(patch)),
        Some("delete") => return Ok(Map::new()),
        _ => return Err(bad(format!("{DIRECTIVE} of {field:?} must be merge, replace or delete"))),
    }
    if let Some(retained) = patch.get(RETAIN_KEYS) {
        let retained = crate::object::strings(Some(retained));
        object.retain(|name, _| retained.contains(&name.as_str()));
    }
    for (name, value) in patch {
        if let Some(list) = name.strip_prefix(DELETE_PRIMITIVES) {
            delete_primitives(&mut object, list, value);
        }
    }
    for (name, value) in patch.iter().filter(|(name, _)| !is_directive(name)) {
        match (object.get_mut(name).map(Value::take), value) {
            (_, Value::Null) => {
                object.shift_remove(name);
            }
            (found, Value::Object(patch)) => {
                let inner = match found {
                    Some(Value::Object(inner)) => inner,
                    _ => Map::new(),
                };
                object.insert(name.clone(), Value::Object(map(inner, patch, name)?));
            }
            (found, Value::Array(patch)) => {
                let before = match found {
                    Some(Value::Array(items)) => items,
                    _ => Vec::new(),
                };
                object.insert(name.clone(), Value::Array(list(before, patch, field, name)?));
            }
            (_, value) => {
                object.insert(name.clone(), value.clone());
            }
        }
    }
    for (name, wanted) in patch {
        if let Some(list) = name.strip_prefix(ORDER) {
            reorder(&mut object, list, wanted, field);
        }
    }
    Ok(object)
}

fn is_directive(name: &str) -> bool {
    name == DIRECTIVE || name == RETAIN_KEYS || name.starts_with(ORDER) || name.starts_with(DELETE_PRIMITIVES)
}

/// A patch's value without directives, for what it adds or replaces.
fn bare(patch: &Map<String, Value>) -> Map<String, Value> {
    patch
        .iter()
        .filter(|(name, value)| !is_directive(name) && !value.is_null())
        .map(|(k, v)| (k.clone(), plain(v)))
        .collect()
}

fn plain(value: &Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(bare(fields)),
        Value::Array(items) => Value::Array(items.iter().map(plain).collect()),
        other => other.clone(),
    }
}

/// Merges two lists; `parent` and `field` say how.
fn list(before: Vec<Value>, patch: &[Value], parent: &str, field: &str) -> Outcome<Vec<Value>> {
    let directive = |item: &Value| item.get(DIRECTIVE).and_then(Value::as_str).map(str::to_owned);
    if patch.iter().any(|item| directive(item).as_deref() == Some("replace")) {
        let items = patch.iter().filter(|item| directive(item).is_none());
        return Ok(items.map(plain).collect());
    }
    match of(parent, field) {
        Lists::Replace => Ok(patch.iter().map(plain).collect()),
        Lists::Union => {
            let mut merged = before;
            for value in patch {
                if !merged.contains(value) {
                    merged.push(value.clone());
                }
            }
            Ok(merged)
        }
        Lists::ByKey(key) => by_key(before, patch, field, key),
    }
}

fn by_key(mut merged: Vec<Value>, patch: &[Value], field: &str, key: &str) -> Outcome<Vec<Value>> {
    for item in patch {
        let Value::Object(wanted) = item else {
            return Err(bad(format!("items of {field:?} must be objects with the key {key:?}")));
        };
        let Some(id) = wanted.get(key) else {
            return Err(bad(format!("map does not contain declared merge key: {key} (in an item of {field:?})")));
        };
        let found = merged.iter().position(|item| item.get(key) == Some(id));
        match (wanted.get(DIRECTIVE).and_then(Value::as_str), found) {
            (Some("delete"), _) => merged.retain(|item| item.get(key) != Some(id)),
            (_, Some(at)) => {
                if let Value::Object(current) = merged[at].take() {
                    merged[at] = Value::Object(map(current, wanted, field)?);
                }
            }
            (_, None) => merged.push(Value::Object(map(Map::new(), wanted, field)?)),
        }
    }
    Ok(merged)
}

fn delete_primitives(object: &mut Map<String, Value>, list: &str, gone: &Value) {
    if let (Some(Value::Array(items)), Some(gone)) = (object.get_mut(list), gone.as_array()) {
        items.retain(|item| !gone.contains(item));
    }
}

/// Brings a merged list into the order the patch wants.
fn reorder(object: &mut Map<String, Value>, field: &str, wanted: &Value, parent: &str) {
    let (Some(Value::Array(items)), Some(wanted)) = (object.get_mut(field), wanted.as_array()) else { return };
    let id = |item: &Value| match of(parent, field) {
        Lists::ByKey(key) => item.get(key).cloned().unwrap_or_default(),
        Lists::Union | Lists::Replace => item.clone(),
    };
    let before: Vec<Value> = items.iter().map(id).collect();
    let wanted: Vec<Value> = wanted.iter().map(id).collect();
    let tagged = std::mem::take(items).into_iter().map(|item| (id(&item), item)).collect();
    *items = arrange(tagged, &wanted, &before);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn patches_merge_as_kubernetes_merges_them() {
        let pod = || {
            json!({"metadata": {"labels": {"a": "1", "b": "2"}, "finalizers": ["x"]}, "spec": {
                "containers": [
                    {"name": "web", "image": "w:1", "args": ["a"], "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
                    {"name": "side", "image": "s:1"},
                ],
                "volumes": [{"name": "v", "emptyDir": {}}],
                "tolerations": [{"key": "k"}],
            }})
        };
        let at =
            |patch: Value, pointer: &str| apply(pod(), &patch).unwrap().pointer(pointer).cloned().unwrap_or_default();
        for (patch, pointer, wanted) in [
            (json!({"metadata": {"labels": {"a": null, "c": "3"}}}), "/metadata/labels", json!({"b": "2", "c": "3"})),
            (json!({"metadata": {"labels": {"$patch": "replace", "z": "1"}}}), "/metadata/labels", json!({"z": "1"})),
            (json!({"metadata": {"finalizers": ["y", "x"]}}), "/metadata/finalizers", json!(["x", "y"])),
            (json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["x"]}}), "/metadata/finalizers", json!([])),
            (
                json!({"spec": {"containers": [{"name": "web", "image": "w:2"}]}}),
                "/spec/containers/0/image",
                json!("w:2"),
            ),
            (
                json!({"spec": {"containers": [{"name": "web", "image": "w:2"}]}}),
                "/spec/containers/1/name",
                json!("side"),
            ),
            (
                json!({"spec": {"containers": [{"name": "web", "args": ["b", "c"]}]}}),
                "/spec/containers/0/args",
                json!(["b", "c"]),
            ),
            (
                json!({"spec": {"containers": [{"name": "web", "env": [{"name": "A", "$patch": "delete"}, {"name": "C", "value": "3"}]}]}}),
                "/spec/containers/0/env",
                json!([{"name": "B", "value": "2"}, {"name": "C", "value": "3"}]),
            ),
            (
                json!({"spec": {"$setElementOrder/containers": [{"name": "side"}, {"name": "web"}], "containers": [{"name": "web", "image": "w:3"}]}}),
                "/spec/containers/0/name",
                json!("side"),
            ),
            (
                json!({"spec": {"containers": [{"$patch": "replace"}, {"name": "only"}]}}),
                "/spec/containers",
                json!([{"name": "only"}]),
            ),
            (
                json!({"spec": {"volumes": [{"name": "v", "$retainKeys": ["name", "secret"], "secret": {"secretName": "s"}}]}}),
                "/spec/volumes/0",
                json!({"name": "v", "secret": {"secretName": "s"}}),
            ),
            (json!({"spec": {"tolerations": []}}), "/spec/tolerations", json!([])),
        ] {
            assert_eq!(at(patch.clone(), pointer), wanted, "{patch}");
        }
        assert!(apply(pod(), &json!({"spec": {"containers": [{"image": "w"}]}})).is_err(), "no merge key");
        assert!(apply(pod(), &json!({"spec": {"$patch": "explode"}})).is_err());
    }
}
