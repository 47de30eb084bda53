//! Whether a schema is structural: it gives every field a type outside `allOf`, `anyOf`, `oneOf` and `not`, which only
//! restrict values.
//!
//! Source: `pkg/apiserver/schema/validation.go` and `pkg/apis/apiextensions/validation` of
//! `k8s.io/apiextensions-apiserver`.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

use super::names::invalid;
use crate::{
    FieldError, Path,
    custom::{
        format,
        schema::{Schema, pattern},
        validate::validate,
    },
};

/// How deep schemas nest at most.
const DEPTH_MAX: usize = 48;
const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];

/// What is wrong with the schema of a version.
pub(super) fn check(root: &JSONSchemaProps, path: &Path<'_>) -> Vec<FieldError> {
    let mut check = Check { errors: Vec::new() };
    match root.type_.as_deref() {
        None | Some("") => check.required(path.field("type"), "must not be empty at the root"),
        Some("object") => {}
        Some(other) => check.errors.push(invalid(path.field("type"), other, "must be object at the root")),
    }
    if root.nullable == Some(true) {
        check.forbidden(path.field("nullable"), "nullable cannot be true at the root");
    }
    if let Some(metadata) = root.properties.as_ref().and_then(|all| all.get("metadata")) {
        let named = metadata.properties.iter().flatten().all(|(name, _)| name == "name" || name == "generateName");
        let plain = JSONSchemaProps { type_: None, description: None, properties: None, ..metadata.clone() };
        if !named || plain != JSONSchemaProps::default() {
            let detail =
                "must not specify anything other than name and generateName, but metadata is implicitly specified";
            let properties = path.field("properties");
            check.forbidden(properties.key("metadata"), detail);
        }
    }
    check.schema(root, true, path, 0);
    check.errors
}

/// Formats that are named and not checked.
pub(super) fn warnings(root: &JSONSchemaProps, path: &Path<'_>) -> Vec<String> {
    let mut found = Vec::new();
    each(root, path, 0, &mut |props, path| {
        if let Some(name) = props.format.as_deref().filter(|name| !name.is_empty() && !format::is_known(name)) {
            found.push(format!("{path}.format: unrecognized format {name:?}: values are not checked"));
        }
    });
    found
}

struct Check {
    errors: Vec<FieldError>,
}

impl Check {
    fn required(&mut self, path: Path<'_>, detail: &str) {
        self.errors.push(FieldError::required(path, format!("Required value: {detail}")));
    }

    fn forbidden(&mut self, path: Path<'_>, detail: &str) {
        self.errors.push(FieldError::forbidden(path, format!("Forbidden: {detail}")));
    }

    /// A schema that gives types.
    fn schema(&mut self, props: &JSONSchemaProps, is_root: bool, path: &Path<'_>, depth: usize) {
        if depth > DEPTH_MAX {
            return self.forbidden(*path, &format!("schemas nest at most {DEPTH_MAX} deep"));
        }
        self.unsupported(props, path);
        self.extensions(props, path);
        self.values(props, path);
        let (of_any, preserves) = (props.x_kubernetes_int_or_string == Some(true), preserves(props));
        match props.type_.as_deref().unwrap_or_default() {
            "" if of_any || preserves || is_root => {}
            "" => self.required(path.field("type"), "must not be empty for specified object fields"),
            _ if of_any => self.forbidden(path.field("type"), "must be empty if x-kubernetes-int-or-string is true"),
            "array" if props.items.is_none() => self.required(path.field("items"), "must be specified"),
            word if !TYPES.contains(&word) => {
                let list = TYPES.map(|word| format!("{word:?}")).join(", ");
                let message = format!("Unsupported value: {word:?}: supported values: {list}");
                self.errors.push(FieldError::not_supported(path.field("type"), message));
            }
            _ => {}
        }
        self.restrictions(props, of_any, path, depth);
        let properties = path.field("properties");
        for (name, props) in props.properties.iter().flatten() {
            self.schema(props, false, &properties.key(name), depth + 1);
        }
        if let Some(JSONSchemaPropsOrBool::Schema(values)) = &props.additional_properties {
            self.schema(values, false, &path.field("additionalProperties"), depth + 1);
        }
        if let Some(JSONSchemaPropsOrArray::Schema(items)) = &props.items {
            self.schema(items, false, &path.field("items"), depth + 1);
        }
    }

    /// What no structural schema has, and what is not done here.
    fn unsupported(&mut self, props: &JSONSchemaProps, path: &Path<'_>) {
        let has = |list: &Option<BTreeMap<String, JSONSchemaProps>>| list.as_ref().is_some_and(|all| !all.is_empty());
        for (field, is_set) in [
            ("$ref", props.ref_path.as_ref().is_some_and(|text| !text.is_empty())),
            ("$schema", props.schema.as_ref().is_some_and(|text| !text.is_empty())),
            ("id", props.id.as_ref().is_some_and(|text| !text.is_empty())),
            ("definitions", has(&props.definitions)),
            ("patternProperties", has(&props.pattern_properties)),
            ("dependencies", props.dependencies.as_ref().is_some_and(|all| !all.is_empty())),
            ("additionalItems", props.additional_items.is_some()),
        ] {
            if is_set {
                self.forbidden(path.field(field), &format!("{field} is not supported"));
            }
        }
        if props.unique_items == Some(true) {
            let detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
            self.forbidden(path.field("uniqueItems"), detail);
        }
        if props.x_kubernetes_validations.as_ref().is_some_and(|rules| !rules.is_empty()) {
            let detail =
                "rules in CEL are not evaluated by this server, and none is ignored: express them by the schema";
            self.forbidden(path.field("x-kubernetes-validations"), detail);
        }
        if matches!(props.items, Some(JSONSchemaPropsOrArray::Schemas(_))) {
            self.forbidden(path.field("items"), "items must be a schema object and not an array");
        }
        match &props.additional_properties {
            Some(JSONSchemaPropsOrBool::Bool(false)) => {
                self.forbidden(path.field("additionalProperties"), "additionalProperties cannot be set to false");
            }
            Some(_) if props.properties.as_ref().is_some_and(|all| !all.is_empty()) => self.forbidden(
                path.field("additionalProperties"),
                "additionalProperties and properties are mutual exclusive",
            ),
            _ => {}
        }
    }

    fn extensions(&mut self, props: &JSONSchemaProps, path: &Path<'_>) {
        let kind = props.type_.as_deref().unwrap_or_default();
        if props.x_kubernetes_preserve_unknown_fields == Some(false) {
            let detail = "must be true or undefined";
            self.errors.push(invalid(path.field("x-kubernetes-preserve-unknown-fields"), "false", detail));
        }
        if props.x_kubernetes_embedded_resource == Some(true) {
            if kind != "object" {
                self.errors.push(invalid(
                    path.field("type"),
                    kind,
                    "must be object if x-kubernetes-embedded-resource is true",
                ));
            }
            if !preserves(props) && props.properties.as_ref().is_none_or(BTreeMap::is_empty) {
                let detail = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
                self.required(path.field("properties"), detail);
            }
        }
        let map = props.x_kubernetes_map_type.as_deref();
        if map.is_some_and(|word| !["granular", "atomic"].contains(&word)) {
            let list = "\"atomic\", \"granular\"";
            let message = format!("Unsupported value: {:?}: supported values: {list}", map.unwrap_or_default());
            self.errors.push(FieldError::not_supported(path.field("x-kubernetes-map-type"), message));
        }
        if map.is_some() && kind != "object" {
            self.errors.push(invalid(path.field("type"), kind, "must be object if x-kubernetes-map-type is specified"));
        }
        self.list(props, kind, path);
    }

    fn list(&mut self, props: &JSONSchemaProps, kind: &str, path: &Path<'_>) {
        let keys = props.x_kubernetes_list_map_keys.as_deref().unwrap_or_default();
        let place = path.field("x-kubernetes-list-type");
        let items = match &props.items {
            Some(JSONSchemaPropsOrArray::Schema(items)) => Some(&**items),
            _ => None,
        };
        let Some(word) = props.x_kubernetes_list_type.as_deref() else {
            if !keys.is_empty() {
                self.required(place, "must be map if x-kubernetes-list-map-keys is non-empty");
            }
            return;
        };
        if kind != "array" {
            self.errors.push(invalid(path.field("type"), kind, "must be array if x-kubernetes-list-type is specified"));
        }
        let listed = path.field("x-kubernetes-list-map-keys");
        match word {
            "map" if keys.is_empty() => self.required(listed, "must not be empty if x-kubernetes-list-type is map"),
            "map" => {
                let known = items.and_then(|items| items.properties.as_ref());
                for (at, key) in keys.iter().enumerate() {
                    let found = known.and_then(|all| all.get(key));
                    let required = items.is_some_and(|items| items.required.iter().flatten().any(|name| name == key));
                    match found {
                        None => self.errors.push(invalid(
                            listed.index(at),
                            key,
                            "entries must all be names of item properties",
                        )),
                        Some(field) if !required && field.default.is_none() => {
                            let place = path.field("items.properties");
                            let place = place.key(key);
                            self.required(place.field("default"), "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property");
                        }
                        Some(_) => {}
                    }
                }
            }
            "set" | "atomic" if !keys.is_empty() => {
                self.forbidden(listed, "must be empty unless x-kubernetes-list-type is map");
            }
            "set" | "atomic" => {}
            other => {
                let message = format!("Unsupported value: {other:?}: supported values: \"atomic\", \"map\", \"set\"");
                self.errors.push(FieldError::not_supported(place, message));
            }
        }
    }

    /// The pattern, and the default, which the schema itself must accept.
    fn values(&mut self, props: &JSONSchemaProps, path: &Path<'_>) {
        if let Some(text) = &props.pattern
            && let Err(why) = pattern(text)
        {
            let detail = format!("must be a valid regular expression, but isn't: {why}");
            self.errors.push(invalid(path.field("pattern"), text, &detail));
        }
        if let Some(default) = &props.default {
            let place = path.field("default");
            let wrong = validate(&default.0, &Schema::of(props), &place);
            self.errors.extend(wrong);
        }
    }

    /// `allOf` and its like.
    fn restrictions(&mut self, props: &JSONSchemaProps, of_any: bool, path: &Path<'_>, depth: usize) {
        for (name, list) in [("allOf", &props.all_of), ("anyOf", &props.any_of), ("oneOf", &props.one_of)] {
            let list = list.as_deref().unwrap_or_default();
            if of_any && name != "oneOf" && is_int_or_string(list) {
                continue;
            }
            let path = path.field(name);
            for (at, inner) in list.iter().enumerate() {
                let nested = inner.any_of.as_deref().unwrap_or_default();
                if !(of_any && name == "allOf" && is_int_or_string(nested)) {
                    self.restriction(inner, props, &path.index(at), depth + 1);
                }
            }
        }
        if let Some(inner) = &props.not {
            self.restriction(inner, props, &path.field("not"), depth + 1);
        }
    }

    /// A schema that only restricts what `outer` types.
    fn restriction(&mut self, props: &JSONSchemaProps, outer: &JSONSchemaProps, path: &Path<'_>, depth: usize) {
        if depth > DEPTH_MAX {
            return self.forbidden(*path, &format!("schemas nest at most {DEPTH_MAX} deep"));
        }
        self.unsupported(props, path);
        for (field, is_set) in [
            ("type", props.type_.as_ref().is_some_and(|word| !word.is_empty())),
            ("title", props.title.as_ref().is_some_and(|text| !text.is_empty())),
            ("description", props.description.as_ref().is_some_and(|text| !text.is_empty())),
            ("default", props.default.is_some()),
            ("nullable", props.nullable == Some(true)),
            ("additionalProperties", props.additional_properties.is_some()),
            ("x-kubernetes-preserve-unknown-fields", preserves(props)),
            ("x-kubernetes-embedded-resource", props.x_kubernetes_embedded_resource == Some(true)),
            ("x-kubernetes-int-or-string", props.x_kubernetes_int_or_string == Some(true)),
            ("x-kubernetes-list-type", props.x_kubernetes_list_type.is_some()),
            ("x-kubernetes-map-type", props.x_kubernetes_map_type.is_some()),
        ] {
            if is_set {
                self.forbidden(path.field(field), "must be empty to be structural");
            }
        }
        self.values(&JSONSchemaProps { default: None, ..props.clone() }, path);
        let properties = path.field("properties");
        for (name, inner) in props.properties.iter().flatten() {
            let path = properties.key(name);
            match outer.properties.as_ref().and_then(|all| all.get(name)).or(values_of(outer)) {
                Some(outer) => self.restriction(inner, outer, &path, depth + 1),
                None => self.required(path, "it must be defined outside allOf, anyOf, oneOf and not, too"),
            }
        }
        if let Some(JSONSchemaPropsOrArray::Schema(inner)) = &props.items {
            match &outer.items {
                Some(JSONSchemaPropsOrArray::Schema(outer)) => {
                    self.restriction(inner, outer, &path.field("items"), depth + 1);
                }
                _ => self.required(path.field("items"), "it must be defined outside allOf, anyOf, oneOf and not, too"),
            }
        }
        let nested = [("allOf", &props.all_of), ("anyOf", &props.any_of), ("oneOf", &props.one_of)];
        for (name, list) in nested {
            let path = path.field(name);
            for (at, inner) in list.iter().flatten().enumerate() {
                self.restriction(inner, outer, &path.index(at), depth + 1);
            }
        }
        if let Some(inner) = &props.not {
            self.restriction(inner, outer, &path.field("not"), depth + 1);
        }
    }
}

fn preserves(props: &JSONSchemaProps) -> bool {
    props.x_kubernetes_preserve_unknown_fields == Some(true)
}

fn values_of(props: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match &props.additional_properties {
        Some(JSONSchemaPropsOrBool::Schema(values)) => Some(values),
        _ => None,
    }
}

/// Whether these are the alternatives that `x-kubernetes-int-or-string` stands for.
fn is_int_or_string(list: &[JSONSchemaProps]) -> bool {
    let of = |word: &str| JSONSchemaProps { type_: Some(word.into()), ..JSONSchemaProps::default() };
    list == [of("integer"), of("string")]
}

/// Calls for a schema and every one within it.
fn each(props: &JSONSchemaProps, path: &Path<'_>, depth: usize, call: &mut dyn FnMut(&JSONSchemaProps, &Path<'_>)) {
    if depth > DEPTH_MAX {
        return;
    }
    call(props, path);
    let properties = path.field("properties");
    for (name, inner) in props.properties.iter().flatten() {
        each(inner, &properties.key(name), depth + 1, call);
    }
    if let Some(values) = values_of(props) {
        each(values, &path.field("additionalProperties"), depth + 1, call);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &props.items {
        each(items, &path.field("items"), depth + 1, call);
    }
}
