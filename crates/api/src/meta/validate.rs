//! Metadata that every kind shares, checked.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::names::{LABEL_MAX, NameRule, is_dns_label, is_label_value, is_qualified_name};
use crate::{field_error::FieldError, names::finalizer, resource::Scope};

/// Most bytes of all annotations of one object, as Kubernetes allows.
pub const ANNOTATIONS_MAX_BYTES: usize = 256 * 1024;
/// Most labels of one object.
pub const LABELS_MAX: usize = 1_000;
/// Most owners of one object.
pub const OWNERS_MAX: usize = 256;
/// Most finalizers of one object.
pub const FINALIZERS_MAX: usize = 256;
/// Most entries of `managedFields` of one object.
pub const MANAGED_FIELDS_MAX: usize = 1_000;

/// Finalizers that are known by a name without a prefix.
const STANDARD_FINALIZERS: [&str; 3] = [finalizer::NAMESPACE_CONTENTS.name(), ORPHAN, FOREGROUND];
const ORPHAN: &str = finalizer::ORPHAN.name();
const FOREGROUND: &str = finalizer::FOREGROUND.name();

/// Checks the metadata every kind shares.
pub fn validate(meta: &ObjectMeta, scope: Scope, rule: NameRule) -> Vec<FieldError> {
    let mut errors: Vec<_> = name_errors(meta, rule).into_iter().collect();
    errors.extend(namespace_errors(meta, scope));
    if meta.generation.is_some_and(i64::is_negative) {
        errors.push(FieldError::invalid("metadata.generation", "must not be negative"));
    }
    errors.extend(meta.labels.iter().flat_map(|labels| label_errors(labels, "metadata.labels")));
    errors.extend(meta.annotations.iter().flat_map(annotation_errors));
    errors.extend(meta.owner_references.iter().flat_map(|owners| owner_errors(owners)));
    errors.extend(meta.finalizers.iter().flat_map(|list| finalizer_errors(list, "metadata.finalizers")));
    let managers = meta.managed_fields.iter().flatten().count();
    if managers > MANAGED_FIELDS_MAX {
        errors.push(FieldError::too_many("metadata.managedFields", managers, MANAGED_FIELDS_MAX));
    }
    errors
}

fn name_errors(meta: &ObjectMeta, rule: NameRule) -> Option<FieldError> {
    let base = meta.generate_name.as_deref().unwrap_or_default();
    if !base.is_empty() && !rule.fits_as_base(base) {
        return Some(FieldError::invalid("metadata.generateName", format!("{base:?} {}", rule.words())));
    }
    match meta.name.as_deref() {
        None | Some("") if base.is_empty() => {
            Some(FieldError::required("metadata.name", "name or generateName is required"))
        }
        Some(name) if !name.is_empty() && !rule.fits(name) => {
            Some(FieldError::invalid("metadata.name", format!("{name:?} {}", rule.words())))
        }
        _ => None,
    }
}

fn namespace_errors(meta: &ObjectMeta, scope: Scope) -> Option<FieldError> {
    let namespace = meta.namespace.as_deref()?;
    match scope {
        Scope::Namespaced if !is_dns_label(namespace) => {
            Some(FieldError::invalid("metadata.namespace", format!("{namespace:?} {}", NameRule::Label.words())))
        }
        Scope::Cluster if !namespace.is_empty() => {
            Some(FieldError::forbidden("metadata.namespace", "must be empty: the kind is cluster-wide"))
        }
        _ => None,
    }
}

/// What is wrong with labels, of an object, a template or a selector.
pub fn label_errors(labels: &BTreeMap<String, String>, field: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if labels.len() > LABELS_MAX {
        errors.push(FieldError::too_many(field, labels.len(), LABELS_MAX));
    }
    for (key, value) in labels {
        if !is_qualified_name(key) {
            errors.push(FieldError::invalid(
                field,
                format!("key {key:?} must be [prefix/]name of letters, digits, '-', '_' or '.'"),
            ));
        }
        if !is_label_value(value) {
            errors.push(FieldError::invalid(
                field,
                format!("value {value:?} of {key:?} must be at most {LABEL_MAX} letters, digits, '-', '_' or '.'"),
            ));
        }
    }
    errors
}

fn annotation_errors(annotations: &BTreeMap<String, String>) -> Vec<FieldError> {
    // Prefixes of annotations may have upper-case letters (Kubernetes).
    let odd = annotations.keys().filter(|key| !is_qualified_name(&key.to_ascii_lowercase()));
    let mut errors: Vec<_> = odd
        .map(|key| {
            let message = format!("key {key:?} must be [prefix/]name of letters, digits, '-', '_' or '.'");
            FieldError::invalid("metadata.annotations", message)
        })
        .collect();
    let size: usize = annotations.iter().map(|(key, value)| key.len() + value.len()).sum();
    if size > ANNOTATIONS_MAX_BYTES {
        errors.push(FieldError::too_long(
            "metadata.annotations",
            format!("{size} bytes in all, at most {ANNOTATIONS_MAX_BYTES} are allowed"),
        ));
    }
    errors
}

fn owner_errors(owners: &[OwnerReference]) -> Vec<FieldError> {
    const FIELD: &str = "metadata.ownerReferences";
    let mut errors = Vec::new();
    if owners.len() > OWNERS_MAX {
        errors.push(FieldError::too_many(FIELD, owners.len(), OWNERS_MAX));
    }
    for owner in owners {
        let version = owner.api_version.rsplit('/').next().unwrap_or_default();
        let parts = [("apiVersion", version), ("kind", &owner.kind), ("name", &owner.name), ("uid", &owner.uid)];
        let missing = parts.into_iter().filter(|(_, value)| value.is_empty());
        errors.extend(missing.map(|(field, _)| FieldError::invalid(format!("{FIELD}.{field}"), "must not be empty")));
        if owner.api_version.matches('/').count() > 1 {
            let message = format!("{:?} is neither a version nor group/version", owner.api_version);
            errors.push(FieldError::invalid(format!("{FIELD}.apiVersion"), message));
        }
        if owner.kind == "Event" && matches!(owner.api_version.as_str(), "v1" | "events.k8s.io/v1") {
            errors.push(FieldError::invalid(FIELD, "an Event cannot own objects"));
        }
    }
    let mut controllers = owners.iter().filter(|owner| owner.controller == Some(true));
    if let (Some(one), Some(other)) = (controllers.next(), controllers.next()) {
        let message = format!("only one owner can be the controller, but {:?} and {:?} are", one.name, other.name);
        errors.push(FieldError::invalid(FIELD, message));
    }
    errors
}

/// Leaves the first of owners that are named more than once. Answers a warning for each that went.
pub fn drop_repeated_owners(meta: &mut ObjectMeta) -> Vec<String> {
    let Some(owners) = meta.owner_references.as_mut().filter(|owners| (2..=OWNERS_MAX).contains(&owners.len())) else {
        return Vec::new();
    };
    let mut kept: Vec<OwnerReference> = Vec::with_capacity(owners.len());
    let mut warnings = Vec::new();
    for owner in owners.drain(..) {
        if kept.contains(&owner) {
            warnings.push(format!(
                "metadata.ownerReferences names {} {:?} (uid {}) more than once; one reference is kept",
                owner.kind, owner.name, owner.uid
            ));
        } else {
            kept.push(owner);
        }
    }
    *owners = kept;
    warnings
}

/// What is wrong with finalizers, of an object or of a namespace's contents.
pub fn finalizer_errors(finalizers: &[String], field: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if finalizers.len() > FINALIZERS_MAX {
        errors.push(FieldError::too_many(field, finalizers.len(), FINALIZERS_MAX));
    }
    for name in finalizers {
        if !is_qualified_name(name) {
            let message = format!("{name:?} must be prefix/name of letters, digits, '-', '_' or '.'");
            errors.push(FieldError::invalid(field, message));
        } else if !name.contains('/') && !STANDARD_FINALIZERS.contains(&name.as_str()) {
            let message = format!(
                "{name:?} is neither a standard finalizer ({}) nor does it have a prefix, as in example.com/{name}",
                STANDARD_FINALIZERS.join(", ")
            );
            errors.push(FieldError::invalid(field, message));
        }
    }
    let has = |wanted: &str| finalizers.iter().any(|name| name == wanted);
    if has(ORPHAN) && has(FOREGROUND) {
        errors.push(FieldError::invalid(field, format!("{ORPHAN} and {FOREGROUND} exclude each other: keep one")));
    }
    errors
}

#[cfg(test)]
mod tests;
