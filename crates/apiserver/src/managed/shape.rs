//! What maps and lists are: things with parts that have owners of their own, or single values.
//!
//! Source: `x-kubernetes-list-type`, `x-kubernetes-list-map-keys` and `x-kubernetes-map-type` in the OpenAPI document
//! of Kubernetes 1.36, for the kinds served here.

use serde_json::Value;

/// A field by which items of a list are told apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) name: &'static str,
    /// Its value where it is missing.
    default: Option<&'static str>,
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A single value: number, text, or a map or list that is owned as a whole.
    Atomic,
    /// A map whose fields have owners of their own.
    Fields,
    /// A list of maps told apart by these fields.
    Keyed(&'static [Key]),
    /// A list of distinct values.
    Set,
}

const fn key(name: &'static str) -> Key {
    Key { name, default: None }
}

const NAME: &[Key] = &[key("name")];
const KIND: &[Key] = &[key("type")];
const ADDRESS: &[Key] = &[key("ip")];
const OWNER: &[Key] = &[key("uid")];
const PROTOCOL: Key = Key { name: "protocol", default: Some("TCP") };

/// What `value` is as the field `field` of something in the field `parent`: a single value when it is empty, because
/// then it has no parts. List items do not count as parents; at the top of an object `parent` is empty.
pub(super) fn of(parent: &str, field: &str, value: &Value) -> Shape {
    match value {
        Value::Object(fields) if fields.is_empty() => Shape::Atomic,
        Value::Array(items) if items.is_empty() => Shape::Atomic,
        _ => declared(parent, field, value),
    }
}

/// As [`of`], but an empty map or list is what it would be with parts.
pub(super) fn declared(parent: &str, field: &str, value: &Value) -> Shape {
    match value {
        Value::Object(_) if is_atomic_map(parent, field) => Shape::Atomic,
        Value::Object(_) => Shape::Fields,
        Value::Array(items) => match list(parent, field) {
            // Admission refuses such items; until then they cannot be told apart.
            Shape::Keyed(keys) if items.iter().any(|item| name(keys, item).is_none()) => Shape::Atomic,
            shape => shape,
        },
        _ => Shape::Atomic,
    }
}

/// The key of an item, as JSON text with sorted fields; nothing when it has none.
pub(super) fn name(keys: &[Key], item: &Value) -> Option<String> {
    let item = item.as_object()?;
    let parts = keys.iter().map(|key| {
        let default = || key.default.map(Value::from);
        Some((key.name.to_owned(), item.get(key.name).filter(|value| !value.is_null()).cloned().or_else(default)?))
    });
    // The tables name keys in alphabetical order.
    Some(Value::Object(parts.collect::<Option<_>>()?).to_string())
}

fn list(parent: &str, field: &str) -> Shape {
    let keys: &[Key] = match (parent, field) {
        ("containers" | "initContainers" | "ephemeralContainers", "ports") => {
            const { &[key("containerPort"), PROTOCOL] }
        }
        ("containers" | "initContainers" | "ephemeralContainers", "env") => NAME,
        ("containers" | "initContainers" | "ephemeralContainers", "volumeMounts") => const { &[key("mountPath")] },
        ("containers" | "initContainers" | "ephemeralContainers", "volumeDevices") => const { &[key("devicePath")] },
        ("resources", "claims") => NAME,
        (
            "spec",
            "containers"
            | "initContainers"
            | "ephemeralContainers"
            | "volumes"
            | "schedulingGates"
            | "resourceClaims"
            | "imagePullSecrets",
        )
        | ("", "secrets") => NAME,
        ("spec", "hostAliases") | ("status", "podIPs") => ADDRESS,
        ("spec", "topologySpreadConstraints") => const { &[key("topologyKey"), key("whenUnsatisfiable")] },
        ("spec", "ports") => const { &[key("port"), PROTOCOL] },
        ("status", "conditions" | "addresses") => KIND,
        ("metadata", "ownerReferences") => OWNER,
        ("metadata", "finalizers") | ("spec", "podCIDRs") => return Shape::Set,
        _ => return Shape::Atomic,
    };
    Shape::Keyed(keys)
}

fn is_atomic_map(parent: &str, field: &str) -> bool {
    matches!(
        (parent, field),
        ("spec", "selector" | "dataSource")
            | ("valueFrom", "secretKeyRef" | "configMapKeyRef" | "fieldRef" | "resourceFieldRef" | "fileKeyRef")
            | ("", "involvedObject" | "related")
            | ("nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution")
            | (_, "secretRef" | "nodePublishSecretRef" | "labelSelector")
    )
}
