use serde_json::{Value, json};

use super::Pod;
use crate::{FieldError, kinds};

mod changes;
mod defaults;
mod invalid;
mod names;
mod status;
mod valid;

/// A pod that is valid as it is, to be changed.
fn spec() -> Value {
    json!({
        "volumes": [{"name": "data", "emptyDir": {}}, {"name": "map", "configMap": {"name": "settings"}}],
        "initContainers": [{"name": "init", "image": "i:1"}],
        "containers": [
            {"name": "c", "image": "i:1", "ports": [{"name": "web", "containerPort": 80}],
             "env": [{"name": "A", "value": "1"}], "volumeMounts": [{"name": "data", "mountPath": "/data"}]},
            {"name": "d", "image": "i:1"},
        ],
    })
}

/// Puts a value at a JSON pointer, making what is missing on the way.
fn put(into: &mut Value, pointer: &str, value: Value) {
    let mut at = into;
    for step in pointer.split('/').skip(1) {
        if at.is_null() {
            *at = if step.parse::<usize>().is_ok() { json!([]) } else { json!({}) };
        }
        at = match at {
            Value::Array(items) => {
                let index: usize = step.parse().unwrap();
                while items.len() <= index {
                    items.push(Value::Null);
                }
                &mut items[index]
            }
            other => &mut other[step],
        };
    }
    *at = value;
}

/// A valid spec with changes at JSON pointers.
fn changed(changes: &[(&str, Value)]) -> Value {
    let mut spec = spec();
    for (pointer, value) in changes {
        put(&mut spec, pointer, value.clone());
    }
    spec
}

fn pod(spec: Value) -> Value {
    json!({"metadata": {"name": "p", "namespace": "d"}, "spec": spec})
}

fn set(spec: Value) -> Value {
    json!({"metadata": {"name": "s", "namespace": "d"}, "spec": {"serviceName": "s", "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": spec}}})
}

/// What admission says of an object, by field and reason without its prefix.
fn errors(kind: &str, object: Value, old: Option<&Value>) -> Vec<(String, &'static str)> {
    let short = |error: FieldError| (error.field, error.reason.trim_start_matches("FieldValue"));
    let admitted = kinds::find(kind).unwrap().admit(object, old);
    admitted.err().into_iter().flatten().map(short).collect()
}
