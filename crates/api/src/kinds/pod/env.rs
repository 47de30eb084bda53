//! Environment variables, and the fields and resources they may take their values from.

use std::collections::BTreeSet;

use k8s_openapi::{
    api::core::v1::{
        Container, EnvFromSource, EnvVar, EnvVarSource, ObjectFieldSelector, PodSpec, ResourceFieldSelector,
    },
    apimachinery::pkg::api::resource::Quantity,
};

use super::rules::{Errors, argument, name, qualified, required_key, required_name, text, unless, variable};
use crate::{FieldError, Path};

/// Fields of a pod that its own environment and files may show.
const KNOWN_FIELDS: [&str; 13] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.serviceAccountName",
    "spec.schedulerName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// Of these, the ones a variable may have.
const VARIABLE_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// Of these, the ones a file may have.
const FILE_FIELDS: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];
/// Resources of a container that can be shown.
const SHOWN_RESOURCES: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
/// Divisors of CPU.
const CPU_DIVISORS: [&str; 3] = ["0", "1", "1m"];
/// Divisors of amounts of bytes.
const BYTE_DIVISORS: [&str; 14] =
    ["0", "1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];

/// Where a value is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// In a variable of the container itself.
    Variable,
    /// In a file of a volume, which no container owns.
    File,
}

/// Names of the containers whose resources can be shown.
pub(super) fn container_names(spec: &PodSpec) -> BTreeSet<&str> {
    let all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    all.map(|container| container.name.as_str()).collect()
}

/// Checks `env` and `envFrom` of a container; `containers` are the names of those in its pod.
pub(super) fn check(container: &Container, containers: &BTreeSet<&str>, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    let list = path.field("env");
    for (index, variable) in container.env.iter().flatten().enumerate() {
        errors.extend(one(variable, containers, &list.index(index)));
    }
    let list = path.field("envFrom");
    for (index, source) in container.env_from.iter().flatten().enumerate() {
        errors.extend(from(source, &list.index(index)));
    }
    errors
}

fn one(wanted: &EnvVar, containers: &BTreeSet<&str>, path: &Path<'_>) -> Errors {
    let mut errors = match wanted.name.as_str() {
        "" => vec![FieldError::required(path.field("name"), "name the variable")],
        name => variable(name, path.field("name")),
    };
    // The program gets `name=value` as one string.
    errors.extend(argument(wanted.value.as_deref().unwrap_or_default(), wanted.name.len() + 1, path.field("value")));
    if let Some(source) = &wanted.value_from {
        let path = path.field("valueFrom");
        if text(&wanted.value).is_some() {
            errors.push(FieldError::invalid(path, "give value or valueFrom, not both"));
        }
        errors.extend(value_from(source, containers, &path));
    }
    errors
}

fn value_from(source: &EnvVarSource, containers: &BTreeSet<&str>, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    let mut sources = 0;
    if let Some(reference) = &source.field_ref {
        sources += 1;
        errors.extend(field(reference, Shown::Variable, &path.field("fieldRef")));
    }
    if let Some(reference) = &source.resource_field_ref {
        sources += 1;
        errors.extend(resource(reference, Shown::Variable, containers, &path.field("resourceFieldRef")));
    }
    let maps = [
        ("configMapKeyRef", source.config_map_key_ref.as_ref().map(|map| (&map.name, &map.key))),
        ("secretKeyRef", source.secret_key_ref.as_ref().map(|secret| (&secret.name, &secret.key))),
    ];
    for (kind, (object, key)) in maps.into_iter().filter_map(|(kind, named)| Some((kind, named?))) {
        sources += 1;
        let path = path.field(kind);
        errors.extend(name(object, path.field("name")));
        errors.extend(required_key(key, path.field("key")));
    }
    errors.extend(unless(sources == 1, || {
        FieldError::invalid(path, "name one of fieldRef, resourceFieldRef, configMapKeyRef and secretKeyRef")
    }));
    errors
}

fn from(source: &EnvFromSource, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    errors.extend(text(&source.prefix).map(|prefix| variable(prefix, path.field("prefix"))).unwrap_or_default());
    if let Some(map) = &source.config_map_ref {
        errors.extend(required_name(&map.name, path.field("configMapRef").field("name")));
    }
    if let Some(secret) = &source.secret_ref {
        errors.extend(required_name(&secret.name, path.field("secretRef").field("name")));
    }
    errors.extend(unless(source.config_map_ref.is_some() != source.secret_ref.is_some(), || {
        FieldError::invalid(path, "name one of configMapRef and secretRef")
    }));
    errors
}

/// Checks a reference to a field of the pod.
pub(super) fn field(reference: &ObjectFieldSelector, shown: Shown, path: &Path<'_>) -> Errors {
    let wanted = reference.field_path.as_str();
    let path_field = path.field("fieldPath");
    if !matches!(reference.api_version.as_deref(), None | Some("" | "v1")) {
        return vec![FieldError::invalid(path_field, "fields are those of apiVersion v1")];
    }
    if wanted.is_empty() {
        return vec![FieldError::required(path_field, "name the field, such as metadata.name")];
    }
    if let Some((map, key)) = wanted.strip_suffix("']").and_then(|start| start.split_once("['")) {
        return match map {
            "metadata.annotations" => qualified(&key.to_ascii_lowercase(), path_field),
            "metadata.labels" => qualified(key, path_field),
            _ => vec![FieldError::invalid(path_field, format!("{map:?} has no keys to choose from"))],
        };
    }
    let allowed: &[&str] = if shown == Shown::File { &FILE_FIELDS } else { &VARIABLE_FIELDS };
    if allowed.contains(&wanted) {
        return Errors::new();
    }
    let message = format!("{wanted:?} must be one of {}, or a key such as metadata.labels['app']", allowed.join(", "));
    let known = KNOWN_FIELDS.contains(&wanted);
    vec![if known { FieldError::not_supported(path_field, message) } else { FieldError::invalid(path_field, message) }]
}

/// Checks a reference to a resource of a container.
pub(super) fn resource(
    reference: &ResourceFieldSelector,
    shown: Shown,
    containers: &BTreeSet<&str>,
    path: &Path<'_>,
) -> Errors {
    let mut errors = match text(&reference.container_name) {
        None => {
            unless(shown == Shown::Variable, || FieldError::required(path.field("containerName"), "name the container"))
        }
        Some(name) => unless(containers.contains(name), || {
            FieldError::not_found(path.field("containerName"), format!("the pod has no container {name:?}"))
        }),
    };
    if reference.resource.is_empty() {
        errors.push(FieldError::required(path.field("resource"), "name the resource, such as limits.cpu"));
    } else if !SHOWN_RESOURCES.contains(&reference.resource.as_str()) {
        let message = format!("{:?} must be one of {}", reference.resource, SHOWN_RESOURCES.join(", "));
        errors.push(FieldError::not_supported(path.field("resource"), message));
    } else {
        errors.extend(divisor(reference.divisor.as_ref(), &reference.resource, path.field("divisor")));
    }
    errors
}

fn divisor(divisor: Option<&Quantity>, resource: &str, path: Path<'_>) -> Errors {
    let allowed: &[&str] = if resource.ends_with(".cpu") { &CPU_DIVISORS } else { &BYTE_DIVISORS };
    let text = divisor.map_or("0", |divisor| divisor.0.as_str());
    unless(allowed.contains(&text), || {
        FieldError::invalid(path, format!("{text:?} must be one of {}", allowed[1..].join(", ")))
    })
}
