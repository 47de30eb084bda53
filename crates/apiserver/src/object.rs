//! Objects as JSON: the few fields of metadata that generic code reads and writes.

use jiff::Timestamp;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::limits;

/// Text at a JSON pointer, empty when there is none.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The object's name.
pub(crate) fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

/// The object's namespace, empty when it has none.
pub(crate) fn namespace(object: &Value) -> &str {
    text(object, "/metadata/namespace")
}

/// The object's uid.
pub(crate) fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

/// Whether deletion has been asked for.
pub(crate) fn is_deleting(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some_and(|time| !time.is_null())
}

/// The object's finalizers.
pub(crate) fn finalizers(object: &Value) -> Vec<&str> {
    strings(object.pointer("/metadata/finalizers"))
}

/// The strings of an array.
pub(crate) fn strings(array: Option<&Value>) -> Vec<&str> {
    array.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The object's metadata, created if it is missing; `None` for a document that is not an object.
pub(crate) fn meta_mut(object: &mut Value) -> Option<&mut Map<String, Value>> {
    let fields = object.as_object_mut()?;
    let meta = fields.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    if meta.is_null() {
        *meta = Value::Object(Map::new());
    }
    meta.as_object_mut()
}

/// Sets a field of the metadata, or removes it when there is no value.
pub(crate) fn set_meta(object: &mut Value, field: &str, value: Option<Value>) {
    let Some(meta) = meta_mut(object) else { return };
    match value {
        Some(value) => {
            meta.insert(field.into(), value);
        }
        None => {
            meta.shift_remove(field);
        }
    }
}

/// Sets a field of the object, or removes it when there is no value.
pub(crate) fn set(object: &mut Value, field: &str, value: Option<Value>) {
    let Some(fields) = object.as_object_mut() else { return };
    match value {
        Some(value) => {
            fields.insert(field.into(), value);
        }
        None => {
            fields.shift_remove(field);
        }
    }
}

/// Sets the value at a JSON pointer of names, with the maps that lead there.
pub(crate) fn set_at(object: &mut Value, pointer: &str, value: Value) {
    let mut at = object;
    for name in pointer.split('/').skip(1) {
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        at = &mut at[name.replace("~1", "/").replace("~0", "~").as_str()];
    }
    *at = value;
}

/// The compact JSON of a value. `Display` gives the same text, but checks and copies it piece by piece.
pub(crate) fn to_json(value: &Value) -> Vec<u8> {
    // A value has only text keys and finite numbers, and memory does not refuse a write.
    serde_json::to_vec(value).unwrap_or_else(|error| unreachable!("a JSON value that cannot be written: {error}"))
}

/// The labels, for selectors.
pub(crate) fn labels(object: &Value) -> std::collections::BTreeMap<String, String> {
    let labels = object.pointer("/metadata/labels").and_then(Value::as_object);
    labels.into_iter().flatten().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// A time as Kubernetes writes it: UTC, whole seconds.
pub(crate) fn time(at: Timestamp) -> Value {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into()
}

/// The object with its `resourceVersion`, as clients see it.
pub(crate) fn published(mut object: Value, revision: u64) -> Value {
    set_meta(&mut object, "resourceVersion", Some(revision.to_string().into()));
    object
}

/// Whether anything but `metadata` and `status` differs: what `generation` counts. It may count the status, too.
pub(crate) fn desired_differs(old: &Value, new: &Value, counts_status: bool) -> bool {
    let desired = |object: &Value| -> Map<String, Value> {
        let fields = object.as_object().into_iter().flatten();
        fields
            .filter(|(key, _)| key.as_str() != "metadata" && (counts_status || key.as_str() != "status"))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    };
    desired(old) != desired(new)
}

/// A base and random characters that form no words, as in Kubernetes.
pub(crate) fn generated_name(base: &str) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let room = api::meta::LABEL_MAX - limits::GENERATED_SUFFIX;
    let random = Uuid::new_v4();
    let suffix = random.as_bytes().iter().take(limits::GENERATED_SUFFIX);
    let base: String = base.chars().take(room).collect();
    base + &suffix.map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()])).collect::<String>()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_wishes_count_for_the_generation() {
        let object = json!({"metadata": {"name": "a"}, "spec": {"x": 1, "y": 2}, "status": {}});
        let mut other = json!({"metadata": {"name": "b"}, "spec": {"y": 2, "x": 1}, "status": {"z": 1}});
        assert!(!desired_differs(&object, &other, false));
        assert!(desired_differs(&object, &other, true));
        other["spec"]["x"] = 2.into();
        assert!(desired_differs(&object, &other, false));
    }

    #[test]
    fn times_are_whole_seconds_of_utc() {
        let at = Timestamp::from_millisecond(1_600_000_000_999).unwrap();
        assert_eq!(time(at), "2020-09-13T12:26:40Z");
    }
}
