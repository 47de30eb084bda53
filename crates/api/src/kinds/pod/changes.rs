//! What may change while a pod exists.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{PodSpec, Toleration};
use serde_json::{Map, Value, json};

use super::rules::{Errors, unless};
use crate::{FieldError, Path};

/// Fields of a spec with rules of their own.
const RULED: [&str; 4] = ["activeDeadlineSeconds", "nodeName", "schedulingGates", "tolerations"];

/// Refuses changes that a pod would not follow: what runs is what it was created with. As in Kubernetes, images of
/// containers may change, which a container gets when it is started the next time; a deadline may come earlier;
/// tolerations may be added; and gates may be opened.
pub(super) fn check(before: &PodSpec, after: &PodSpec, path: &Path<'_>) -> Errors {
    if before == after {
        return Errors::new();
    }
    let mut paths = Vec::new();
    differences(&json!(before), &json!(after), path, &mut |field| paths.push(field.to_string()));
    let start = path.to_string().len() + 1;
    let field_of = |path: &str| path[start..].split(['.', '[']).next().unwrap_or_default().to_owned();
    let may_change = |path: &str| match field_of(path).as_str() {
        "containers" | "initContainers" => path.ends_with("].image"),
        field => RULED.contains(&field),
    };
    let message = "cannot change while the pod exists: delete the pod and create it again";
    let mut errors: Errors = paths
        .iter()
        .filter(|path| !may_change(path))
        .map(|path| FieldError::forbidden(path.clone(), message))
        .collect();
    errors.extend(node(before, after, path.field("nodeName")));
    errors.extend(deadline(before, after, path.field("activeDeadlineSeconds")));
    errors.extend(tolerations(before, after, path.field("tolerations")));
    errors.extend(gates(before, after, &path.field("schedulingGates")));
    errors
}

/// A pod gets its node when it is created or by a binding, which is not admitted as a change.
fn node(before: &PodSpec, after: &PodSpec, path: Path<'_>) -> Errors {
    unless(before.node_name == after.node_name, || {
        FieldError::forbidden(path, "cannot be changed: the scheduler sets it by the subresource pods/binding")
    })
}

/// A deadline is a limit: it can be set and come earlier, and neither end nor come later.
fn deadline(before: &PodSpec, after: &PodSpec, path: Path<'_>) -> Errors {
    let Some(before) = before.active_deadline_seconds else { return Errors::new() };
    match after.active_deadline_seconds {
        Some(after) => {
            unless(after <= before, || FieldError::invalid(path, format!("must be at most what it is, {before}")))
        }
        None => vec![FieldError::invalid(path, "cannot be taken away once it is set")],
    }
}

/// Tolerations may be added, and their seconds may change.
fn tolerations(before: &PodSpec, after: &PodSpec, path: Path<'_>) -> Errors {
    let same = |one: &Toleration, other: &Toleration| {
        let timeless = |toleration: &Toleration| Toleration { toleration_seconds: None, ..toleration.clone() };
        timeless(one) == timeless(other)
    };
    let kept = |old: &Toleration| after.tolerations.iter().flatten().any(|new| same(old, new));
    unless(before.tolerations.iter().flatten().all(kept), || {
        FieldError::forbidden(path, "tolerations can be added and not taken away")
    })
}

/// Gates can be opened and not closed again.
fn gates(before: &PodSpec, after: &PodSpec, path: &Path<'_>) -> Errors {
    let known: BTreeSet<&str> = before.scheduling_gates.iter().flatten().map(|gate| gate.name.as_str()).collect();
    let added =
        after.scheduling_gates.iter().flatten().enumerate().filter(|(_, gate)| !known.contains(gate.name.as_str()));
    let message = "gates can be taken away and not added";
    added.map(|(index, _)| FieldError::forbidden(path.index(index), message)).collect()
}

/// Calls back with the paths of fields that differ: down to lists of another length, and to what is no object.
fn differences(before: &Value, after: &Value, path: &Path<'_>, found: &mut dyn FnMut(&Path<'_>)) {
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for name in names {
                let field = |object: &Map<String, Value>| object.get(name).cloned().unwrap_or_default();
                differences(&field(old), &field(new), &path.field(name), found);
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (index, (old, new)) in old.iter().zip(new).enumerate() {
                differences(old, new, &path.index(index), found);
            }
        }
        (old, new) if old == new => {}
        _ => found(path),
    }
}
