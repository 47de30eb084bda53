//! What maps and lists are: things with parts that have owners of their own, or single values.
//!
//! Source: `x-kubernetes-list-type`, `x-kubernetes-list-map-keys` and `x-kubernetes-map-type` in the OpenAPI document
//! of Kubernetes 1.36, for the kinds served here.

use std::{borrow::Cow, collections::BTreeMap};

use api::{
    Kind,
    custom::{List, Schema},
};
use serde_json::Value;

/// A field by which items of a list are told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) name: Cow<'static, str>,
    /// Its value where it is missing, as JSON.
    default: Option<Cow<'static, str>>,
}

/// A place in an object, as far as its shape depends on it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place<'a> {
    /// In an object of a built-in kind: the field, and the one it is in. Items of lists are where their list is.
    Known { parent: &'a str, field: &'a str },
    /// In an object with a schema; nothing where the schema says nothing.
    Of(Option<&'a Schema>),
}

impl<'a> Place<'a> {
    /// An object of a built-in kind.
    pub(super) const KNOWN: Self = Self::Known { parent: "", field: "" };

    /// The whole object of a kind.
    pub(crate) fn root(kind: &'a Kind) -> Self {
        kind.structure().map_or(Self::KNOWN, |schema| Self::Of(Some(schema)))
    }

    /// A field of what is here.
    pub(super) fn below(self, name: &'a str) -> Self {
        match self {
            Self::Known { field, .. } => Self::Known { parent: field, field: name },
            Self::Of(Some(schema)) if name == "metadata" && schema.is_object() => {
                Self::Known { parent: "", field: name }
            }
            Self::Of(schema) => Self::Of(schema.and_then(|schema| schema.field(name))),
        }
    }

    /// An item of the list that is here.
    pub(super) fn item(self) -> Self {
        match self {
            Self::Known { .. } => self,
            Self::Of(schema) => Self::Of(schema.and_then(Schema::item)),
        }
    }
}

/// What a value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A single value: number, text, or a map or list that is owned as a whole.
    Atomic,
    /// A map whose fields have owners of their own.
    Fields,
    /// A list of maps told apart by these fields.
    Keyed(Cow<'static, [Key]>),
    /// A list of distinct values.
    Set,
}

const fn key(name: &'static str) -> Key {
    Key { name: Cow::Borrowed(name), default: None }
}

const NAME: &[Key] = &[key("name")];
const KIND: &[Key] = &[key("type")];
const ADDRESS: &[Key] = &[key("ip")];
const OWNER: &[Key] = &[key("uid")];
const PROTOCOL: Key = Key { name: Cow::Borrowed("protocol"), default: Some(Cow::Borrowed("\"TCP\"")) };

/// What `value` is in its place: a single value when it is empty, because then it has no parts.
pub(super) fn of(place: Place<'_>, value: &Value) -> Shape {
    match value {
        Value::Object(fields) if fields.is_empty() => Shape::Atomic,
        Value::Array(items) if items.is_empty() => Shape::Atomic,
        _ => declared(place, value),
    }
}

/// As [`of`], but an empty map or list is what it would be with parts.
pub(super) fn declared(place: Place<'_>, value: &Value) -> Shape {
    match value {
        Value::Object(_) if is_atomic_map(place) => Shape::Atomic,
        Value::Object(_) => Shape::Fields,
        Value::Array(items) => match list(place) {
            // Admission refuses such items; until then they cannot be told apart.
            Shape::Keyed(keys) if items.iter().any(|item| name(&keys, item).is_none()) => Shape::Atomic,
            shape => shape,
        },
        _ => Shape::Atomic,
    }
}

/// The key of an item, as JSON text with sorted fields; nothing when it has none.
pub(super) fn name(keys: &[Key], item: &Value) -> Option<String> {
    let item = item.as_object()?;
    let parts = keys.iter().map(|key| {
        let default = || serde_json::from_str(key.default.as_deref()?).ok();
        let value = item.get(&*key.name).filter(|value| !value.is_null()).cloned().or_else(default)?;
        Some((key.name.clone().into_owned(), value))
    });
    let sorted: BTreeMap<String, Value> = parts.collect::<Option<_>>()?;
    Some(Value::Object(sorted.into_iter().collect()).to_string())
}

fn list(place: Place<'_>) -> Shape {
    match place {
        Place::Known { parent, field } => known_list(parent, field),
        Place::Of(None) => Shape::Atomic,
        Place::Of(Some(schema)) => match schema.list() {
            List::Atomic => Shape::Atomic,
            List::Set => Shape::Set,
            List::Map(names) => {
                let default = |name: &String| schema.item()?.field(name)?.default_value().map(Value::to_string);
                let key = |name: &String| Key { name: name.clone().into(), default: default(name).map(Cow::Owned) };
                Shape::Keyed(names.iter().map(key).collect())
            }
        },
    }
}

fn is_atomic_map(place: Place<'_>) -> bool {
    match place {
        Place::Known { parent, field } => is_known_atomic_map(parent, field),
        Place::Of(schema) => schema.is_some_and(Schema::is_atomic_map),
    }
}

fn known_list(parent: &str, field: &str) -> Shape {
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
    Shape::Keyed(Cow::Borrowed(keys))
}

fn is_known_atomic_map(parent: &str, field: &str) -> bool {
    matches!(
        (parent, field),
        ("spec", "selector" | "dataSource")
            | ("valueFrom", "secretKeyRef" | "configMapKeyRef" | "fieldRef" | "resourceFieldRef" | "fileKeyRef")
            | ("", "involvedObject" | "related")
            | ("nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution")
            | (_, "secretRef" | "nodePublishSecretRef" | "labelSelector")
    )
}
