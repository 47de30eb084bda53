use serde_json::{Value, json};

use super::*;

fn findings(meta: Value, scope: Scope, rule: NameRule) -> Vec<(String, &'static str)> {
    let meta: ObjectMeta = serde_json::from_value(meta).unwrap();
    validate(&meta, scope, rule).into_iter().map(|error| (error.field, error.reason)).collect()
}

const INVALID: &str = "FieldValueInvalid";

/// Metadata of a valid object with one member set.
fn with(member: &str, value: Value) -> Value {
    let mut meta = json!({"name": "a", "namespace": "d"});
    meta[member] = value;
    meta
}

fn owner(change: Value) -> Value {
    let mut owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "u"});
    for (key, value) in change.as_object().unwrap() {
        owner[key] = value.clone();
    }
    owner
}

#[test]
fn what_is_wrong_is_named_with_kubernetes_field_and_reason() {
    let many = |count: usize| (0..count).map(|n| format!("example.com/f{n}")).collect::<Vec<_>>();
    let owners = |count: usize| (0..count).map(|n| owner(json!({"uid": n.to_string()}))).collect::<Vec<_>>();
    let labels = |count: usize| (0..count).map(|n| (format!("l{n}"), "v".into())).collect::<serde_json::Map<_, _>>();
    for (meta, field, reason) in [
        (with("name", json!("")), "metadata.name", "FieldValueRequired"),
        (with("name", json!("Bad")), "metadata.name", INVALID),
        (with("name", json!("x".repeat(254))), "metadata.name", INVALID),
        (with("generateName", json!("a_")), "metadata.generateName", INVALID),
        (with("namespace", json!("also bad")), "metadata.namespace", INVALID),
        (with("namespace", json!("a.b")), "metadata.namespace", INVALID),
        (with("generation", json!(-1)), "metadata.generation", INVALID),
        (with("labels", json!({"a b": "v"})), "metadata.labels", INVALID),
        (with("labels", json!({"a": "no good"})), "metadata.labels", INVALID),
        (with("labels", json!({"a": "v".repeat(64)})), "metadata.labels", INVALID),
        (with("labels", labels(LABELS_MAX + 1).into()), "metadata.labels", "FieldValueTooMany"),
        (with("annotations", json!({"a b": "v"})), "metadata.annotations", INVALID),
        (with("annotations", json!({"a/b/c": "v"})), "metadata.annotations", INVALID),
        (
            with("annotations", json!({"a": "v".repeat(ANNOTATIONS_MAX_BYTES)})),
            "metadata.annotations",
            "FieldValueTooLong",
        ),
        (
            with("ownerReferences", json!([owner(json!({"apiVersion": ""}))])),
            "metadata.ownerReferences.apiVersion",
            INVALID,
        ),
        (
            with("ownerReferences", json!([owner(json!({"apiVersion": "apps/"}))])),
            "metadata.ownerReferences.apiVersion",
            INVALID,
        ),
        (
            with("ownerReferences", json!([owner(json!({"apiVersion": "a/b/c"}))])),
            "metadata.ownerReferences.apiVersion",
            INVALID,
        ),
        (with("ownerReferences", json!([owner(json!({"kind": ""}))])), "metadata.ownerReferences.kind", INVALID),
        (with("ownerReferences", json!([owner(json!({"name": ""}))])), "metadata.ownerReferences.name", INVALID),
        (with("ownerReferences", json!([owner(json!({"uid": ""}))])), "metadata.ownerReferences.uid", INVALID),
        (with("ownerReferences", json!([owner(json!({"kind": "Event"}))])), "metadata.ownerReferences", INVALID),
        (
            with(
                "ownerReferences",
                json!([owner(json!({"controller": true})), owner(json!({"controller": true, "uid": "w"}))]),
            ),
            "metadata.ownerReferences",
            INVALID,
        ),
        (with("ownerReferences", owners(OWNERS_MAX + 1).into()), "metadata.ownerReferences", "FieldValueTooMany"),
        (with("finalizers", json!(["foo"])), "metadata.finalizers", INVALID),
        (with("finalizers", json!(["ex.org/f/x"])), "metadata.finalizers", INVALID),
        (with("finalizers", json!([""])), "metadata.finalizers", INVALID),
        (with("finalizers", json!(["orphan", "foregroundDeletion"])), "metadata.finalizers", INVALID),
        (with("finalizers", many(FINALIZERS_MAX + 1).into()), "metadata.finalizers", "FieldValueTooMany"),
        (
            with("managedFields", vec![json!({}); MANAGED_FIELDS_MAX + 1].into()),
            "metadata.managedFields",
            "FieldValueTooMany",
        ),
    ] {
        let shown = meta.to_string().chars().take(120).collect::<String>();
        assert_eq!(findings(meta, Scope::Namespaced, NameRule::Subdomain), [(field.to_owned(), reason)], "{shown}");
    }
    let cluster = findings(with("name", json!("a")), Scope::Cluster, NameRule::Subdomain);
    assert_eq!(cluster, [("metadata.namespace".to_owned(), "FieldValueForbidden")]);
    let dotted = findings(with("name", json!("a.b")), Scope::Namespaced, NameRule::Label);
    assert_eq!(dotted, [("metadata.name".to_owned(), INVALID)]);
}

#[test]
fn what_kubernetes_takes_stays_accepted() {
    for meta in [
        with("name", json!("x".repeat(253))),
        with("name", json!("a.b-c.0")),
        json!({"generateName": "a-", "namespace": "d"}),
        with("labels", json!({"example.com/A_b": "", "a": "V-1_2.3"})),
        with("annotations", json!({"Example.COM/A": "anything at all: ☃", "a": ""})),
        with(
            "ownerReferences",
            json!([owner(json!({"controller": true})), owner(json!({"controller": false, "uid": "w"}))]),
        ),
        with("ownerReferences", json!([owner(json!({"apiVersion": "apps/v1", "kind": "Event"}))])),
        with("finalizers", json!(["kubernetes", "orphan", "example.com/f", "nanocloud.io/volume"])),
        with("finalizers", json!(["foregroundDeletion"])),
    ] {
        assert_eq!(findings(meta.clone(), Scope::Namespaced, NameRule::Subdomain), [], "{meta}");
    }
}

#[test]
fn an_owner_that_is_named_twice_is_kept_once() {
    let twice = json!([owner(json!({})), owner(json!({"uid": "w"})), owner(json!({}))]);
    let mut meta: ObjectMeta = serde_json::from_value(with("ownerReferences", twice)).unwrap();
    let warnings = drop_repeated_owners(&mut meta);
    assert_eq!(warnings.len(), 1);
    let uids: Vec<_> = meta.owner_references.iter().flatten().map(|owner| owner.uid.as_str()).collect();
    assert_eq!(uids, ["u", "w"]);
    assert!(drop_repeated_owners(&mut meta).is_empty());
}
