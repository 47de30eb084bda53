//! CustomResourceDefinitions.

use super::*;

fn definition() -> Sample {
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "a": {"type": "string"}, "list": {"type": "array", "items": {"type": "object", "properties": {"k": {"type": "string"}}}},
    }}}});
    let version = json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}});
    Sample::new(
        "customresourcedefinitions",
        json!({"metadata": {"name": "widgets.example.com"}, "spec": {
            "group": "example.com", "scope": "Namespaced", "versions": [version],
            "names": {"plural": "widgets", "kind": "Widget"},
        }}),
    )
}

/// What is wrong with a definition whose spec has this property instead.
fn property(property: Value) -> Findings {
    let mut object = definition().object;
    object["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["x"] = property;
    definition().admit(object, None)
}

const X: &str = "spec.versions[0].schema.openAPIV3Schema.properties[spec].properties[x]";

#[test]
fn names_follow_the_rules() {
    let sample = definition();
    for (patch, field, reason) in [
        (json!({"metadata": {"name": "other.example.com"}}), "metadata.name", INVALID),
        (json!({"metadata": {"name": "widgets.x"}, "spec": {"group": "x"}}), "spec.group", INVALID),
        (json!({"spec": {"names": {"singular": "W"}}}), "spec.names.singular", INVALID),
        (json!({"spec": {"names": {"kind": ""}}}), "spec.names.singular", REQUIRED),
        (json!({"spec": {"names": {"listKind": "Widget"}}}), "spec.names.listKind", INVALID),
        (json!({"spec": {"names": {"shortNames": ["w", "W"]}}}), "spec.names.shortNames[1]", INVALID),
        (json!({"spec": {"scope": "Global"}}), "spec.scope", UNSUPPORTED),
        (json!({"spec": {"versions": []}}), "spec.versions", INVALID),
        (json!({"spec": {"preserveUnknownFields": true}}), "spec.preserveUnknownFields", INVALID),
        (
            json!({"spec": {"conversion": {"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"]}}}}),
            "spec.conversion.strategy",
            UNSUPPORTED,
        ),
    ] {
        let found = sample.create(patch.clone());
        assert_eq!(found.first(), Some(&(field.to_owned(), reason)), "{patch}: {found:?}");
    }
    let protected = json!({"metadata": {"name": "widgets.x.k8s.io"}, "spec": {"group": "x.k8s.io"}});
    let place = "metadata.annotations[api-approved.kubernetes.io]".to_owned();
    assert_eq!(sample.create(protected.clone()), [(place, REQUIRED)]);
    let mut approved = protected;
    approved["metadata"]["annotations"] = json!({"api-approved.kubernetes.io": "https://github.com/x"});
    assert_eq!(sample.create(approved), []);
}

#[test]
fn schemas_are_structural() {
    for (schema, field, reason) in [
        (json!({}), "type", REQUIRED),
        (json!({"type": "text"}), "type", UNSUPPORTED),
        (json!({"type": "array"}), "items", REQUIRED),
        (json!({"type": "object", "additionalProperties": false}), "additionalProperties", FORBIDDEN),
        (json!({"type": "string", "pattern": "("}), "pattern", INVALID),
        (json!({"type": "integer", "default": "x"}), "default", INVALID),
        (json!({"type": "string", "$ref": "#/x"}), "$ref", FORBIDDEN),
        (json!({"type": "array", "items": {"type": "string"}, "uniqueItems": true}), "uniqueItems", FORBIDDEN),
        (
            json!({"type": "string", "x-kubernetes-validations": [{"rule": "self != ''"}]}),
            "x-kubernetes-validations",
            FORBIDDEN,
        ),
        (
            json!({"type": "object", "x-kubernetes-preserve-unknown-fields": false}),
            "x-kubernetes-preserve-unknown-fields",
            INVALID,
        ),
        (json!({"type": "string", "x-kubernetes-int-or-string": true}), "type", FORBIDDEN),
        (json!({"type": "object", "x-kubernetes-embedded-resource": true}), "properties", REQUIRED),
        (json!({"type": "string", "anyOf": [{"type": "string"}]}), "anyOf[0].type", FORBIDDEN),
        (
            json!({"type": "object", "anyOf": [{"properties": {"b": {"minimum": 1}}}]}),
            "anyOf[0].properties[b]",
            REQUIRED,
        ),
        (
            json!({"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "map"}),
            "x-kubernetes-list-map-keys",
            REQUIRED,
        ),
        (
            json!({"type": "array", "items": {"type": "object", "properties": {"k": {"type": "string"}}},
                "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]}),
            "items.properties[k].default",
            REQUIRED,
        ),
        (json!({"type": "object", "x-kubernetes-list-type": "set"}), "type", INVALID),
        (json!({"type": "object", "x-kubernetes-map-type": "odd"}), "x-kubernetes-map-type", UNSUPPORTED),
    ] {
        assert_eq!(property(schema.clone()), [(format!("{X}.{field}"), reason)], "{schema}");
    }
    for schema in [
        json!({"x-kubernetes-preserve-unknown-fields": true}),
        json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]}),
        json!({"x-kubernetes-int-or-string": true, "allOf": [{"anyOf": [{"type": "integer"}, {"type": "string"}]}, {"pattern": "a"}]}),
        json!({"type": "object", "properties": {"b": {"type": "integer"}}, "anyOf": [{"properties": {"b": {"minimum": 1}}}]}),
        json!({"type": "object", "additionalProperties": {"type": "string"}}),
    ] {
        assert_eq!(property(schema.clone()), [], "{schema}");
    }
}

#[test]
fn names_of_an_established_definition_stay() {
    let sample = definition();
    let established = json!({"status": {"conditions": [{"type": "Established", "status": "True"}]}});
    let renamed = json!({"spec": {"names": {"kind": "Other", "singular": "other", "listKind": "OtherList"}}});
    assert_eq!(sample.update(json!({}), renamed.clone()), []);
    assert_eq!(sample.update(established.clone(), renamed), [("spec.names.kind".to_owned(), INVALID)]);
    let stored = json!({"status": {"storedVersions": ["v0"]}});
    assert_eq!(sample.create(stored), [("status.storedVersions[0]".to_owned(), INVALID)]);
}

#[test]
fn paths_lead_into_the_schema() {
    let with = |field: &str, value: Value| {
        let mut object = definition().object;
        object["spec"]["versions"][0][field] = value;
        definition().admit(object, None)
    };
    let at = |field: &str| format!("spec.versions[0].{field}");
    assert_eq!(with("selectableFields", json!([{"jsonPath": ".spec.a"}])), []);
    for path in [".spec.list", ".spec.none", ".metadata.name", ".spec.list[0].k", "spec"] {
        let wanted = (at("selectableFields[0].jsonPath"), INVALID);
        assert_eq!(with("selectableFields", json!([{"jsonPath": path}])), [wanted], "{path}");
    }
    let scale = |spec: &str| json!({"scale": {"specReplicasPath": spec, "statusReplicasPath": ".status.replicas"}});
    assert_eq!(with("subresources", scale(".spec.replicas")), []);
    let wanted = (at("subresources.scale.specReplicasPath"), INVALID);
    assert_eq!(with("subresources", scale(".status.replicas")), [wanted]);
    let column = |kind: &str, path: &str| json!([{"name": "A", "type": kind, "jsonPath": path}]);
    assert_eq!(
        with("additionalPrinterColumns", column("text", ".spec")),
        [(at("additionalPrinterColumns[0].type"), INVALID)]
    );
    assert_eq!(
        with("additionalPrinterColumns", column("string", "spec")),
        [(at("additionalPrinterColumns[0].jsonPath"), INVALID)]
    );
}
