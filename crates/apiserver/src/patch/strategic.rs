//! Strategic merge patch, after Kubernetes' API conventions ("strategic merge patch" in `sig-api-machinery`).

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::{
    order::arrange,
    strategy::{Lists, of},
};
use crate::api_error::{ApiError, Result};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const ORDER: &str = "$setElementOrder/";
const DELETE_PRIMITIVES: &str = "$deleteFromPrimitiveList/";

/// The object after the patch.
pub(super) fn apply(object: Value, patch: &Value) -> Result<Value> {
    match (object, patch) {
        (Value::Object(object), Value::Object(patch)) => Ok(Value::Object(map(object, patch, "")?)),
        _ => Err(ApiError::bad_request("a strategic merge patch must be a JSON object")),
    }
}

fn bad(message: String) -> ApiError {
    ApiError::bad_request(message).remedy("see the strategic merge patch section of Kubernetes' API conventions")
}

/// Merges two maps; `field` is the name of the field they are in.
fn map(mut object: Map<String, Value>, patch: &Map<String, Value>, field: &str) -> Result<Map<String, Value>> {
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
    // What is ordered explicitly is ordered beside the list as it was stored.
    let ordered: Vec<(&str, &Value, Vec<String>)> = patch
        .iter()
        .filter_map(|(name, wanted)| name.strip_prefix(ORDER).map(|list| (list, wanted)))
        .map(|(list, wanted)| (list, wanted, left(&object, patch, field, list)))
        .collect();
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
    for (list, wanted, stored) in ordered {
        reorder(&mut object, field, list, wanted, &stored);
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

/// Merges two lists; `parent` and `field` say how. Items of the patch are in its order, and new ones come before those
/// that only the server has.
fn list(before: Vec<Value>, patch: &[Value], parent: &str, field: &str) -> Result<Vec<Value>> {
    let directive = |item: &Value| item.get(DIRECTIVE).and_then(Value::as_str).map(str::to_owned);
    if patch.iter().any(|item| directive(item).as_deref() == Some("replace")) {
        let items = patch.iter().filter(|item| directive(item).is_none());
        return Ok(items.map(plain).collect());
    }
    match of(parent, field) {
        Lists::Replace => Ok(patch.iter().map(plain).collect()),
        Lists::Union => {
            let (stored, wanted) = (ids(Some(&before), parent, field), ids(Some(patch), parent, field));
            let all = stored.iter().chain(&wanted).cloned().zip(before.iter().chain(patch));
            let mut seen = HashSet::new();
            let merged = all.filter(|(id, _)| seen.insert(id.clone())).map(|(id, value)| (id, value.clone()));
            Ok(arrange(merged.collect(), &wanted, &stored))
        }
        Lists::ByKey(key) => by_key(before, patch, field, key),
    }
}

/// What identifies each item of a list.
fn ids<'a>(items: Option<impl IntoIterator<Item = &'a Value>>, parent: &str, field: &str) -> Vec<String> {
    let id = |item: &Value| match of(parent, field) {
        Lists::ByKey(key) => id(item.get(key)),
        Lists::Union | Lists::Replace => id(Some(item)),
    };
    items.into_iter().flatten().map(id).collect()
}

/// What a list that is ordered explicitly is ordered beside: the stored one without what is deleted, where new items
/// have taken the places of deleted ones at its end.
///
/// Kubernetes' library deletes and appends in the memory of the stored list and then looks for the order there, so that
/// an item that is new stands behind the stored ones if another was deleted, and else before them.
fn left(object: &Map<String, Value>, patch: &Map<String, Value>, parent: &str, field: &str) -> Vec<String> {
    let mut stored = ids(object.get(field).and_then(Value::as_array), parent, field);
    let Lists::ByKey(key) = of(parent, field) else { return stored };
    let (gone, kept): (Vec<&Value>, Vec<&Value>) = patch
        .get(field)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .partition(|item| item.get(DIRECTIVE).and_then(Value::as_str) == Some("delete"));
    let gone: HashSet<String> = gone.into_iter().map(|item| id(item.get(key))).collect();
    let before = stored.len();
    stored.retain(|id| !gone.contains(id));
    let free = before - stored.len();
    let known: HashSet<String> = stored.iter().cloned().collect();
    let new = kept.into_iter().map(|item| id(item.get(key))).filter(|id| !known.contains(id));
    stored.extend(new.take(free));
    stored
}

fn id(value: Option<&Value>) -> String {
    value.map(Value::to_string).unwrap_or_default()
}

fn by_key(before: Vec<Value>, patch: &[Value], field: &str, key: &str) -> Result<Vec<Value>> {
    let mut wanted = Vec::with_capacity(patch.len());
    let mut gone = HashSet::new();
    for item in patch {
        let Value::Object(item) = item else {
            return Err(bad(format!("items of {field:?} must be objects with the key {key:?}")));
        };
        if !item.contains_key(key) {
            return Err(bad(format!("map does not contain declared merge key: {key} (in an item of {field:?})")));
        }
        match item.get(DIRECTIVE).and_then(Value::as_str) {
            Some("delete") => drop(gone.insert(id(item.get(key)))),
            _ => wanted.push((id(item.get(key)), item)),
        }
    }
    let mut merged: Vec<(String, Value)> = before.into_iter().map(|item| (id(item.get(key)), item)).collect();
    merged.retain(|(id, _)| !gone.contains(id));
    let stored: Vec<String> = merged.iter().map(|(id, _)| id.clone()).collect();
    let mut places = HashMap::with_capacity(merged.len());
    for (place, id) in stored.iter().enumerate() {
        places.entry(id.clone()).or_insert(place);
    }
    for (id, item) in &wanted {
        match places.get(id).copied() {
            Some(at) => {
                if let Value::Object(current) = merged[at].1.take() {
                    merged[at].1 = Value::Object(map(current, item, field)?);
                }
            }
            None => {
                places.insert(id.clone(), merged.len());
                merged.push((id.clone(), Value::Object(map(Map::new(), item, field)?)));
            }
        }
    }
    let wanted: Vec<String> = wanted.into_iter().map(|(id, _)| id).collect();
    Ok(arrange(merged, &wanted, &stored))
}

fn delete_primitives(object: &mut Map<String, Value>, list: &str, gone: &Value) {
    if let (Some(Value::Array(items)), Some(gone)) = (object.get_mut(list), gone.as_array()) {
        let gone: HashSet<String> = gone.iter().map(Value::to_string).collect();
        items.retain(|item| !gone.contains(&item.to_string()));
    }
}

/// Brings a merged list into the order the patch wants; `stored` identifies the items of the list before.
fn reorder(object: &mut Map<String, Value>, parent: &str, field: &str, wanted: &Value, stored: &[String]) {
    let (Some(Value::Array(items)), Some(wanted)) = (object.get_mut(field), wanted.as_array()) else { return };
    let wanted = ids(Some(wanted), parent, field);
    let names = ids(Some(items.iter()), parent, field);
    *items = arrange(names.into_iter().zip(std::mem::take(items)).collect(), &wanted, stored);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_long_patch_takes_no_longer_than_it_is() {
        let items: Vec<_> = (0..100_000).map(|n| json!({"name": n.to_string()})).collect();
        let set = |items: Vec<Value>| json!({"spec": {"containers": [{"name": "c", "env": items}]}});
        let order: Vec<_> = items.iter().rev().cloned().collect();
        let mut patch = set(items.clone());
        patch["spec"]["containers"][0]["$setElementOrder/env"] = order.into();
        // With a search for each item this takes minutes.
        let patched = apply(set(items), &patch).unwrap();
        assert_eq!(patched.pointer("/spec/containers/0/env/0/name"), Some(&json!("99999")));
    }

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
            (json!({"metadata": {"finalizers": ["y", "x"]}}), "/metadata/finalizers", json!(["y", "x"])),
            (json!({"metadata": {"finalizers": ["z", "y"]}}), "/metadata/finalizers", json!(["z", "y", "x"])),
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
                json!([{"name": "C", "value": "3"}, {"name": "B", "value": "2"}]),
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
        // A container in front of those that are there, and what `kubectl apply` sends beside injected ones.
        let names = |patch: Value| {
            let containers = at(patch, "/spec/containers");
            containers.as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(json!({"spec": {"containers": [{"name": "x", "image": "x"}]}})), ["x", "web", "side"]);
        let order = json!([{"name": "new"}, {"name": "web"}]);
        let applied = json!({"$setElementOrder/containers": order, "containers": [{"name": "new", "image": "n"}]});
        assert_eq!(names(json!({"spec": applied})), ["new", "web", "side"]);
        assert!(apply(pod(), &json!({"spec": {"containers": [{"image": "w"}]}})).is_err(), "no merge key");
        assert!(apply(pod(), &json!({"spec": {"$patch": "explode"}})).is_err());
    }
}
