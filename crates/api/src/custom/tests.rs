use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{FieldError, Kind, Kinds, decode, kinds::CustomResourceDefinition};

fn schema() -> Value {
    json!({"type": "object", "properties": {
        "spec": {"type": "object", "required": ["cron"], "properties": {
            "cron": {"type": "string", "pattern": r"^\d+ \*$", "maxLength": 8},
            "image": {"type": "string", "enum": ["a", "b"], "default": "a"},
            "replicas": {"type": "integer", "minimum": 1, "maximum": 10, "default": 1},
            "port": {"x-kubernetes-int-or-string": true},
            "when": {"type": "string", "format": "date-time", "nullable": true},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                "properties": {"known": {"type": "object", "properties": {"a": {"type": "string"}}}}},
            "template": {"type": "object", "x-kubernetes-embedded-resource": true,
                "x-kubernetes-preserve-unknown-fields": true},
            "tags": {"type": "array", "maxItems": 3, "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                "items": {"type": "object", "required": ["name"],
                    "properties": {"name": {"type": "string"}, "port": {"type": "integer", "default": 80}}}},
            "one": {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
                "oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
        }},
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    }})
}

fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "crontabs.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "crontabs", "kind": "CronTab", "shortNames": ["ct"]},
            "versions": [
                {"name": "v1beta1", "served": true, "storage": false, "schema": {"openAPIV3Schema": schema()}},
                {"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema()},
                    "subresources": {"status": {},
                        "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.count"}},
                    "selectableFields": [{"jsonPath": ".spec.image"}],
                    "additionalPrinterColumns": [
                        {"name": "Cron", "type": "string", "jsonPath": ".spec.cron"},
                        {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas"},
                        {"name": "Ready", "type": "string", "priority": 1,
                            "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"},
                        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
                    ]},
                {"name": "v2", "served": false, "storage": false, "schema": {"openAPIV3Schema": schema()}},
            ],
        },
        "status": {"conditions": [{"type": "Established", "status": "True"}]},
    })
}

fn kinds() -> Vec<Kind> {
    super::kinds(&decode::<CustomResourceDefinition>(definition()).unwrap())
}

fn cron_tab(spec: Value) -> Value {
    let mut spec = spec;
    spec.as_object_mut().unwrap().entry("cron").or_insert_with(|| "1 *".into());
    json!({"apiVersion": "example.com/v1", "kind": "CronTab", "metadata": {"name": "a", "namespace": "d"}, "spec": spec})
}

fn errors(document: Value) -> Vec<String> {
    let found = kinds()[0].admit(document, None).err().unwrap_or_default();
    found.into_iter().map(|FieldError { field, message, .. }| format!("{field}: {message}")).collect()
}

#[test]
fn each_served_version_is_a_kind_and_the_preferred_one_comes_first() {
    let kinds = kinds();
    assert_eq!(kinds.iter().map(|kind| kind.version().to_owned()).collect::<Vec<_>>(), ["v1", "v1beta1"]);
    assert!(kinds.iter().all(|kind| kind.facts().custom.as_ref().unwrap().stored_as == "example.com/v1"));
    assert_eq!((kinds[0].singular(), kinds[0].list_kind()), ("crontab", "CronTabList"));
    let parts: Vec<_> = kinds[0].subresources().map(|part| part.name).collect();
    assert_eq!((parts, kinds[1].subresources().count()), (vec!["status", "scale"], 0));
    assert_eq!(kinds[0].facts().scale.status, "/status/count");
    let all = Kinds::builtin().with_custom(kinds);
    assert_eq!(all.find("ct").unwrap().api_version(), "example.com/v1");
    assert_eq!(all.resources().filter(|kind| kind.plural() == "crontabs").count(), 1);
    let mut waiting = definition();
    waiting["status"] = json!({});
    assert!(super::kinds(&decode::<CustomResourceDefinition>(waiting).unwrap()).is_empty(), "not established yet");
}

#[test]
fn versions_are_ordered_as_kubernetes_prefers_them() {
    let mut versions = ["foo1", "v1beta1", "v10", "v1alpha2", "v2", "v11beta2", "v1", "v1beta3"];
    versions.sort_by_cached_key(|version| super::by_priority(version));
    assert_eq!(versions, ["v10", "v2", "v1", "v11beta2", "v1beta3", "v1beta1", "v1alpha2", "foo1"]);
}

#[test]
fn unknown_fields_go_and_defaults_come() {
    let mut document = cron_tab(json!({
        "odd": 1, "image": null, "any": {"x": 1, "known": {"a": "a", "b": 1}}, "labels": {"k": "v"},
        "template": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"x": 1}},
        "ports": [{"name": "a"}, {"name": "b", "port": 1, "odd": 1}], "when": null,
    }));
    document["metadata"]["odd"] = 1.into();
    document["top"] = 1.into();
    let admitted = kinds()[0].admit(document, None).unwrap();
    let wanted = ["metadata.odd", "spec.odd", "spec.any.known.b", "spec.ports[1].odd", "top"];
    assert_eq!(admitted.unknown, wanted);
    let spec = &admitted.object["spec"];
    assert_eq!((&spec["image"], &spec["replicas"], &spec["when"]), (&json!("a"), &json!(1), &Value::Null));
    assert_eq!(spec["ports"], json!([{"name": "a", "port": 80}, {"name": "b", "port": 1}]));
    assert_eq!(spec["any"], json!({"x": 1, "known": {"a": "a"}}));
    assert_eq!(spec["template"]["spec"], json!({"x": 1}));
    let again = kinds()[0].admit(admitted.object.clone(), Some(&admitted.object)).unwrap();
    assert_eq!((again.object, again.unknown), (admitted.object.clone(), Vec::new()));
    let shown = kinds()[1].shown(admitted.object);
    assert_eq!(shown["apiVersion"], "example.com/v1beta1");
}

#[test]
fn values_are_refused_in_the_words_of_kubernetes() {
    for (spec, wanted) in [
        (
            json!({"replicas": "x"}),
            r#"spec.replicas: Invalid value: "string": spec.replicas in body must be of type integer: "string""#,
        ),
        (
            json!({"replicas": 0}),
            "spec.replicas: Invalid value: 0: spec.replicas in body should be greater than or equal to 1",
        ),
        (
            json!({"replicas": 11}),
            "spec.replicas: Invalid value: 11: spec.replicas in body should be less than or equal to 10",
        ),
        (json!({"image": "c"}), r#"spec.image: Unsupported value: "c": supported values: "a", "b""#),
        (json!({"cron": "x"}), r#"spec.cron: Invalid value: "x": spec.cron in body should match '^\d+ \*$'"#),
        (json!({"cron": "12345678 *"}), "spec.cron: Too long: may not be more than 8 bytes"),
        (
            json!({"port": true}),
            r#"spec.port: Invalid value: "boolean": spec.port in body must be of type integer,string: "boolean""#,
        ),
        (
            json!({"when": "now"}),
            r#"spec.when: Invalid value: "now": spec.when in body must be of type date-time: "now""#,
        ),
        (
            json!({"labels": {"a": 1}}),
            r#"spec.labels.a: Invalid value: "integer": spec.labels.a in body must be of type string: "integer""#,
        ),
        (json!({"tags": ["a", "a"]}), r#"spec.tags[1]: Duplicate value: "a""#),
        (json!({"tags": ["a", "b", "c", "d"]}), "spec.tags: Too many: 4: must have at most 3 items"),
        (json!({"ports": [{"name": "a"}, {"name": "a"}]}), r#"spec.ports[1]: Duplicate value: {"name":"a"}"#),
        (json!({"ports": [{}]}), "spec.ports[0].name: Required value"),
        (
            json!({"one": {}}),
            r#"spec.one: Invalid value: {}: "spec.one" must validate one and only one schema (oneOf). Found none valid"#,
        ),
        (json!({"template": {"kind": "Pod"}}), "spec.template.apiVersion: Required value: must not be empty"),
    ] {
        assert_eq!(errors(cron_tab(spec.clone())), [wanted], "{spec}");
    }
    let mut bare = cron_tab(json!({}));
    bare["spec"] = json!({});
    assert_eq!(errors(bare), ["spec.cron: Required value"]);
    let mut other = cron_tab(json!({}));
    other["kind"] = "Other".into();
    assert_eq!(errors(other), [r#"kind: kind is "Other", but this endpoint takes "CronTab""#]);
    assert_eq!(errors(cron_tab(json!({"port": 1, "one": {"b": 1}}))), [""; 0]);
    assert_eq!(errors(cron_tab(json!({"port": "http"}))), [""; 0]);
}

#[test]
fn what_was_stored_under_another_schema_may_stay() {
    let old = cron_tab(json!({"replicas": 99}));
    let mut new = old.clone();
    new["metadata"]["labels"] = json!({"a": "b"});
    assert!(kinds()[0].admit(new.clone(), Some(&old)).is_ok());
    new["spec"]["replicas"] = 98.into();
    assert!(kinds()[0].admit(new, Some(&old)).is_err());
}

#[test]
fn tables_have_the_columns_of_the_version() {
    let mut object = cron_tab(json!({"replicas": 3}));
    object["metadata"]["creationTimestamp"] = "1970-01-01T00:00:00Z".into();
    object["status"] = json!({"conditions": [{"type": "Ready", "status": "True"}]});
    let now = Timestamp::from_second(60).unwrap();
    let names = |kind: &Kind| kind.columns().into_iter().map(|column| column.name.into_owned()).collect::<Vec<_>>();
    let kinds = kinds();
    assert_eq!(names(&kinds[0]), ["Name", "Cron", "Replicas", "Ready", "Age"]);
    assert_eq!(kinds[0].row(&object, now), [json!("a"), json!("1 *"), json!(3), json!("True"), json!("60s")]);
    assert_eq!(names(&kinds[1]), ["Name", "Age"]);
    assert_eq!(kinds[1].row(&object, now), [json!("a"), json!("60s")]);
    assert!(kinds[0].fields(&cron_tab(json!({"image": "b"}))).contains(&("spec.image".into(), "b".into())));
}

#[test]
fn restrictions_are_looked_at_once_however_deep_they_nest() {
    let mut restriction = json!({"minimum": 5});
    for _ in 0..40 {
        restriction = json!({"allOf": [restriction]});
    }
    let mut object = definition();
    let schema = &mut object["spec"]["versions"][1]["schema"]["openAPIV3Schema"];
    schema["properties"]["spec"]["properties"]["replicas"] = json!({"type": "integer", "allOf": [restriction]});
    let kinds = super::kinds(&decode::<CustomResourceDefinition>(object).unwrap());
    let found = kinds[0].admit(cron_tab(json!({"replicas": 1})), None).unwrap_err();
    assert_eq!(
        found.last().unwrap().message,
        "Invalid value: 1: spec.replicas in body should be greater than or equal to 5"
    );
    assert!(kinds[0].admit(cron_tab(json!({"replicas": 5})), None).is_ok());
}

proptest! {
    #[test]
    fn no_text_of_a_definition_is_too_odd(text in r"[.a\[\]*?()@=!'\\\x22 0-9é-]{0,24}|\PC{0,16}") {
        let _ = super::json_path::JsonPath::parse(&text).map(|path| path.first(&json!({"a": [{"a": 1}]})).cloned());
        let _ = super::schema::pattern(&text);
        for format in ["date-time", "date", "cidr", "email", "uri", "mac", "duration", "uuid", "hostname", "byte"] {
            let _ = super::format::fits(format, &text);
        }
        let _ = super::by_priority(&text);
    }
}
