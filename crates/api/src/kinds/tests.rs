use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{KindVisitor, Resource, Scope, decode, encode};

struct Each<'a>(&'a mut dyn FnMut(&'static str, Value, Value));

impl KindVisitor for Each<'_> {
    fn visit<R: Resource>(&mut self) {
        let mut meta = json!({"name": "x"});
        if R::SCOPE == Scope::Namespaced {
            meta["namespace"] = "default".into();
        }
        let mut document = json!({"metadata": meta});
        if R::GROUP == crate::names::group::NANOCLOUD {
            document["spec"] = match R::KIND {
                "Bundle" => json!({"service": "redis"}),
                "Binding" => {
                    json!({"bundle": "wordpress", "bindingId": "create_user", "target": {"bundle": "mariadb", "service": "mariadb"}, "command": ["/bin/true"]})
                }
                _ => json!({"user": "admin", "expiresAt": "2030-01-01T00:00:00Z", "digest": "00"}),
            };
        }
        let mut once: R = decode(document).unwrap();
        once.apply_defaults();
        let mut twice = once.clone();
        twice.apply_defaults();
        (self.0)(R::KIND, encode(&once), encode(&twice));
    }
}

#[test]
fn defaults_are_idempotent_and_survive_json() {
    let mut seen = 0;
    super::for_each_kind(&mut Each(&mut |kind, once, twice| {
        assert_eq!(once, twice, "{kind}");
        seen += 1;
    }));
    assert_eq!(seen, super::all().len());
}

#[test]
fn names_are_unique_and_findable() {
    let mut names = BTreeSet::new();
    for kind in super::all() {
        for name in [kind.plural(), kind.singular()].into_iter().chain(kind.short_names().iter().map(|name| &**name)) {
            assert!(names.insert(name) || kind.plural() == kind.singular(), "{name} names two kinds");
            assert_eq!(super::find(name).map(|k| k.kind()), Some(kind.kind()), "{name}");
        }
        assert_eq!(super::find(&kind.resource()).map(|k| k.kind()), Some(kind.kind()));
    }
    assert!(super::find("widgets").is_none());
}

#[test]
fn what_is_being_deleted_says_so_in_its_row() {
    let ending = |phase: &str| json!({"metadata": {"name": "x", "deletionTimestamp": "2026-01-01T00:00:00Z"}, "status": {"phase": phase}});
    for (plural, phase) in [("persistentvolumeclaims", "Bound"), ("pods", "Running"), ("namespaces", "Terminating")] {
        let kind = super::find(plural).unwrap();
        let status = kind.columns().iter().position(|column| column.name == "Status").unwrap();
        let row = kind.row(&ending(phase), jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(row[status], "Terminating", "{plural}");
    }
}

#[test]
fn every_kind_has_a_schema() {
    for kind in super::all() {
        let mut generator = schemars::SchemaGenerator::default();
        let _ = kind.schema(&mut generator);
        assert!(!generator.definitions().is_empty(), "{kind:?}");
    }
}

#[test]
fn containers_of_a_stateful_set_may_mount_its_claims() {
    let set = |mount: &str| {
        json!({"metadata": {"name": "db"}, "spec": {"selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [
                {"name": "c", "image": "i", "volumeMounts": [{"name": mount, "mountPath": "/data"}]}]}},
            "volumeClaimTemplates": [{"metadata": {"name": "data"},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}]}})
    };
    let kind = super::find("statefulsets").unwrap();
    assert!(kind.admit(set("data"), None).is_ok());
    let errors = kind.admit(set("other"), None).unwrap_err();
    assert_eq!(errors[0].field, "spec.template.spec.containers[0].volumeMounts[0].name");
}

#[test]
fn a_bundle_is_told_of_capabilities_that_nodes_withhold() {
    let bundle = |names: &[&str]| json!({"metadata": {"name": "b"}, "spec": {"service": "redis", "security": {"allowPrivileged": true, "extraCapabilities": names}}});
    let warned = |names: &[&str]| super::find("bundles").unwrap().admit(bundle(names), None).unwrap().warnings;
    assert!(warned(&["NET_BIND_SERVICE"]).is_empty());
    assert_eq!(
        warned(&["NET_RAW"]),
        ["spec.security.extraCapabilities: only nodes whose owner allows CAP_NET_RAW run the bundle"]
    );
}
