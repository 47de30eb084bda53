//! What a definition must be.
//!
//! Source: `pkg/apis/apiextensions/validation` of `k8s.io/apiextensions-apiserver`. What is not done here, and what
//! would change which objects are accepted, is refused: conversion by webhooks, and rules in CEL.

use std::collections::BTreeSet;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceColumnDefinition, CustomResourceDefinition, CustomResourceDefinitionVersion, JSONSchemaProps,
    SelectableField,
};

use super::{
    names::{self, invalid, is_word},
    structural,
};
use crate::{
    FieldError, Path,
    custom::{ESTABLISHED, has_condition, json_path::JsonPath},
};

/// Objects are the same in all versions but for their `apiVersion`.
pub(super) const NO_CONVERSION: &str = "None";
/// Most versions of a definition.
const VERSIONS_MAX: usize = 64;
/// Most fields of a version that field selectors may name.
const SELECTABLE_MAX: usize = 8;

/// What is wrong with a definition by itself.
pub(super) fn definition(definition: &CustomResourceDefinition) -> Vec<FieldError> {
    let (spec, root) = (&definition.spec, Path::ROOT.field("spec"));
    let mut errors = names::check(definition);
    match spec.scope.as_str() {
        "Cluster" | "Namespaced" => {}
        "" => errors.push(FieldError::required("spec.scope", "Required value")),
        other => errors.push(FieldError::not_supported(
            "spec.scope",
            format!("Unsupported value: {other:?}: supported values: \"Cluster\", \"Namespaced\""),
        )),
    }
    if spec.preserve_unknown_fields == Some(true) {
        let detail = "must be false; set x-kubernetes-preserve-unknown-fields to true in the schema instead";
        errors.push(invalid(root.field("preserveUnknownFields"), "true", detail));
    }
    errors.extend(conversion(definition));
    let (versions, mut seen) = (root.field("versions"), BTreeSet::new());
    if spec.versions.iter().filter(|version| version.storage).count() != 1 {
        let detail = "must have exactly one version marked as storage version";
        errors.push(FieldError::invalid(versions, format!("Invalid value: {detail}")));
    }
    if spec.versions.len() > VERSIONS_MAX {
        errors.push(FieldError::too_many(versions, spec.versions.len(), VERSIONS_MAX));
    }
    for (at, version) in spec.versions.iter().enumerate() {
        let path = versions.index(at);
        if !is_word(&version.name) {
            errors.push(invalid(path.field("name"), &version.name, "must be a DNS-1035 label, such as v1"));
        } else if !seen.insert(&version.name) {
            errors.push(FieldError::duplicate(path.field("name"), format!("Duplicate value: {:?}", version.name)));
        }
        errors.extend(of_version(version, &path));
    }
    let stored = definition.status.iter().flat_map(|status| status.stored_versions.iter().flatten()).enumerate();
    for (at, name) in stored.filter(|(_, name)| !seen.contains(name)) {
        let detail = format!(
            "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions \
             until a storage migration ensures no data remains persisted in {name} and removes {name} from \
             status.storedVersions"
        );
        errors.push(invalid(format!("status.storedVersions[{at}]"), name, &detail));
    }
    errors
}

fn conversion(definition: &CustomResourceDefinition) -> Option<FieldError> {
    let conversion = definition.spec.conversion.as_ref()?;
    match conversion.strategy.as_str() {
        NO_CONVERSION if conversion.webhook.is_none() => None,
        NO_CONVERSION => Some(FieldError::forbidden(
            "spec.conversion.webhook",
            "Forbidden: should not be set when strategy is not set to Webhook",
        )),
        other => Some(FieldError::not_supported(
            "spec.conversion.strategy",
            format!(
                "Unsupported value: {other:?}: supported values: \"None\" (this server calls no webhooks; serve \
                 versions that differ in nothing that needs conversion)"
            ),
        )),
    }
}

fn of_version(version: &CustomResourceDefinitionVersion, path: &Path<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let root = path.field("schema.openAPIV3Schema");
    match version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref()) {
        Some(props) => errors.extend(structural::check(props, &root)),
        None => errors.push(FieldError::required(root, "Required value: schemas are required")),
    }
    if let Some(text) = version.deprecation_warning.as_deref().filter(|_| version.deprecated != Some(true)) {
        let detail = "can only be set for deprecated versions";
        errors.push(invalid(path.field("deprecationWarning"), text, detail));
    }
    errors.extend(scale(version, path));
    for (at, column) in version.additional_printer_columns.iter().flatten().enumerate() {
        let columns = path.field("additionalPrinterColumns");
        errors.extend(printed(column, &columns.index(at)));
    }
    let fields: Vec<&SelectableField> = version.selectable_fields.iter().flatten().collect();
    if fields.len() > SELECTABLE_MAX {
        errors.push(FieldError::too_many(path.field("selectableFields"), fields.len(), SELECTABLE_MAX));
    }
    for (at, field) in fields.into_iter().enumerate() {
        let fields = path.field("selectableFields");
        let item = fields.index(at);
        let path = item.field("jsonPath");
        let wrong = fields_only(&field.json_path, "", &path).or_else(|| {
            let props = version.schema.as_ref()?.open_api_v3_schema.as_ref()?;
            let detail = "is an invalid path: it must name a string, boolean or integer of the schema";
            (!is_selectable(props, &field.json_path)).then(|| invalid(path, &field.json_path, detail))
        });
        errors.extend(wrong);
    }
    errors
}

/// Whether a path of fields leads to a single value, outside of metadata.
fn is_selectable(root: &JSONSchemaProps, text: &str) -> bool {
    let Ok(path) = JsonPath::parse(text) else { return false };
    let fields = path.fields().unwrap_or_default();
    let step = |props: &'_ JSONSchemaProps, name: &&str| props.properties.as_ref()?.get(*name).cloned();
    let found = fields.iter().try_fold(root.clone(), |props, name| step(&props, name));
    let kind = found.as_ref().and_then(|props| props.type_.as_deref());
    fields.first() != Some(&"metadata") && kind.is_some_and(|kind| ["string", "boolean", "integer"].contains(&kind))
}

/// What is wrong with a path that must name fields alone, below one of these.
fn fields_only(text: &str, below: &str, path: &Path<'_>) -> Option<FieldError> {
    let wrong = |detail: &str| Some(invalid(path, text, detail));
    match JsonPath::parse(text) {
        Err(why) => wrong(&format!("is an invalid path: it {why}")),
        Ok(found) if found.fields().is_none() => wrong("should be a json path of fields, without items or filters"),
        Ok(_) if !text.starts_with(below) => wrong(&format!("should be a json path under {below}")),
        Ok(_) => None,
    }
}

fn scale(version: &CustomResourceDefinitionVersion, path: &Path<'_>) -> Vec<FieldError> {
    let Some(scale) = version.subresources.as_ref().and_then(|parts| parts.scale.as_ref()) else { return Vec::new() };
    let path = path.field("subresources.scale");
    let spec = fields_only(&scale.spec_replicas_path, ".spec", &path.field("specReplicasPath"));
    let status = fields_only(&scale.status_replicas_path, ".status", &path.field("statusReplicasPath"));
    let selector = scale.label_selector_path.as_deref().filter(|text| !text.is_empty()).and_then(|text| {
        let below = if text.starts_with(".spec") { ".spec" } else { ".status" };
        fields_only(text, below, &path.field("labelSelectorPath"))
    });
    [spec, status, selector].into_iter().flatten().collect()
}

fn printed(column: &CustomResourceColumnDefinition, path: &Path<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if column.name.is_empty() {
        errors.push(FieldError::required(path.field("name"), "Required value"));
    }
    let types = ["integer", "number", "string", "boolean", "date"];
    if !types.contains(&column.type_.as_str()) {
        let message = format!("Invalid value: {:?}: must be one of {}", column.type_, types.join(","));
        errors.push(FieldError::invalid(path.field("type"), message));
    }
    if let Err(why) = JsonPath::parse(&column.json_path) {
        errors.push(invalid(path.field("jsonPath"), &column.json_path, &format!("is an invalid path: it {why}")));
    }
    errors
}

/// What is wrong with a change of a definition.
pub(super) fn change(new: &CustomResourceDefinition, old: &CustomResourceDefinition) -> Vec<FieldError> {
    let (was, is) = (&old.spec, &new.spec);
    let mut fields = vec![("spec.group", was.group != is.group, &is.group)];
    if has_condition(old, ESTABLISHED) {
        fields.push(("spec.scope", was.scope != is.scope, &is.scope));
        fields.push(("spec.names.kind", was.names.kind != is.names.kind, &is.names.kind));
        fields.push(("spec.names.plural", was.names.plural != is.names.plural, &is.names.plural));
    }
    let changed = fields.into_iter().filter(|(_, changed, _)| *changed);
    changed.map(|(field, _, value)| invalid(field, value, "field is immutable")).collect()
}

/// What is accepted and not checked.
pub(super) fn warnings(definition: &CustomResourceDefinition) -> Vec<String> {
    let versions = Path::ROOT.field("spec.versions");
    let mut found = Vec::new();
    for (at, version) in definition.spec.versions.iter().enumerate() {
        if let Some(props) = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref()) {
            let version = versions.index(at);
            found.extend(structural::warnings(props, &version.field("schema.openAPIV3Schema")));
        }
    }
    found
}
