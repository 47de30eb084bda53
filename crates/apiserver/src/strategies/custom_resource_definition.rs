//! A definition goes after its objects, and remembers in which versions objects were stored.

use api::names::finalizer::CUSTOM_RESOURCES;
use serde_json::{Value, json};

use super::strategy::Strategy;
use crate::object;

pub(super) struct Definitions;

impl Strategy for Definitions {
    fn complete(&self, definition: &mut Value) {
        let version = storage_version(definition);
        definition["status"] = json!({"storedVersions": [version], "conditions": []});
    }

    /// From the moment on in which another version is the one that is stored, objects may be stored in it.
    fn keep(&self, document: &mut Value, current: &Value) {
        let version = storage_version(document);
        let mut stored = object::strings(current.pointer("/status/storedVersions"));
        if !version.is_empty() && !stored.contains(&version.as_str()) {
            stored.push(&version);
            document["status"]["storedVersions"] = json!(stored);
        }
    }

    fn begin_deletion(&self, definition: &mut Value) {
        let mut all = object::finalizers(definition);
        if !all.contains(&CUSTOM_RESOURCES.name()) {
            all.push(CUSTOM_RESOURCES.name());
        }
        let all = json!(all);
        object::set_meta(definition, "finalizers", Some(all));
    }
}

fn storage_version(definition: &Value) -> String {
    let versions = definition.pointer("/spec/versions").and_then(Value::as_array).into_iter().flatten();
    let stored = versions.into_iter().find(|version| version["storage"] == true);
    stored.and_then(|version| version["name"].as_str()).unwrap_or_default().to_owned()
}
