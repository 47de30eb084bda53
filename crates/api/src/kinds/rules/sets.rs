//! StatefulSet.

use super::*;

fn set() -> Sample {
    let object = json!({"metadata": {"name": "w", "namespace": "d"}, "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "serviceName": "w",
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
        "volumeClaimTemplates": [claim("data")]}});
    Sample::new("statefulsets", object)
}

fn claim(name: &str) -> Value {
    json!({"metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}})
}

fn spec(change: Value) -> Value {
    json!({"spec": change})
}

fn claims(list: Value) -> Value {
    spec(json!({"volumeClaimTemplates": list}))
}

#[test]
fn numbers_and_policies_are_those_that_are_served() {
    let expression = |change: Value| {
        let mut expression = json!({"key": "a", "operator": "Exists"});
        merge(&mut expression, &change);
        spec(json!({"selector": {"matchExpressions": [expression]}}))
    };
    set().refuses([
        (spec(json!({"replicas": -1})), "spec.replicas", INVALID),
        (spec(json!({"replicas": 10_001})), "spec.replicas", INVALID),
        (spec(json!({"replicas": 2_000_000_000})), "spec.replicas", INVALID),
        (spec(json!({"revisionHistoryLimit": 2_000_000_000})), "spec.revisionHistoryLimit", INVALID),
        (spec(json!({"minReadySeconds": -1})), "spec.minReadySeconds", INVALID),
        (spec(json!({"podManagementPolicy": "Bogus"})), "spec.podManagementPolicy", INVALID),
        (spec(json!({"serviceName": "A_b"})), "spec.serviceName", INVALID),
        (spec(json!({"updateStrategy": {"type": "Bogus"}})), "spec.updateStrategy", INVALID),
        (
            spec(json!({"updateStrategy": {"type": "OnDelete", "rollingUpdate": {"partition": 1}}})),
            "spec.updateStrategy.rollingUpdate",
            INVALID,
        ),
        (
            spec(json!({"updateStrategy": {"rollingUpdate": {"partition": -1}}})),
            "spec.updateStrategy.rollingUpdate.partition",
            INVALID,
        ),
        (
            spec(json!({"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Bogus"}})),
            "spec.persistentVolumeClaimRetentionPolicy.whenDeleted",
            UNSUPPORTED,
        ),
        (
            spec(json!({"template": {"spec": {"restartPolicy": "Never"}}})),
            "spec.template.spec.restartPolicy",
            UNSUPPORTED,
        ),
        (spec(json!({"selector": {"matchLabels": null}})), "spec.selector", REQUIRED),
        (spec(json!({"selector": {"matchLabels": {"x": "y"}}})), "spec.template.metadata.labels", INVALID),
        (spec(json!({"selector": {"matchLabels": {"a b": "c"}}})), "spec.selector.matchLabels", INVALID),
        (expression(json!({"key": "a b"})), "spec.selector.matchExpressions[0].key", INVALID),
        (expression(json!({"operator": "Bogus"})), "spec.selector.matchExpressions[0].operator", INVALID),
        (expression(json!({"operator": "In"})), "spec.selector.matchExpressions[0].values", REQUIRED),
        (expression(json!({"values": ["b"]})), "spec.selector.matchExpressions[0].values", FORBIDDEN),
        (
            expression(json!({"operator": "In", "values": ["b c"]})),
            "spec.selector.matchExpressions[0].values[0]",
            INVALID,
        ),
        (spec(json!({"template": {"metadata": {"labels": {"x": "y z"}}}})), "spec.template.labels", INVALID),
        (json!({"metadata": {"name": "a.b"}}), "metadata.name", INVALID),
        (json!({"metadata": {"name": "x".repeat(53)}}), "metadata.name", INVALID),
    ]);
    set().accepts([
        spec(json!({"replicas": 0})),
        spec(json!({"replicas": 10_000, "podManagementPolicy": "Parallel"})),
        spec(json!({"revisionHistoryLimit": -1})),
        spec(json!({"updateStrategy": {"type": "OnDelete"}})),
        spec(json!({"updateStrategy": {"rollingUpdate": {"partition": 3}}})),
        spec(json!({"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete"}})),
        spec(json!({"serviceName": null})),
        expression(json!({"operator": "In", "values": ["b"]})),
        json!({"metadata": {"name": "x".repeat(52)}}),
    ]);
}

#[test]
fn the_number_of_the_last_pod_is_a_number_too() {
    // Whether other ordinals are served is the table of fields' matter.
    let found = set().create(spec(json!({"ordinals": {"start": i32::MAX}})));
    assert!(found.contains(&("spec.ordinals.start".to_owned(), INVALID)), "{found:?}");
    let found = set().create(spec(json!({"ordinals": {"start": -1}})));
    assert!(found.contains(&("spec.ordinals.start".to_owned(), INVALID)), "{found:?}");
    let found = set().create(spec(json!({"template": {"spec": {"activeDeadlineSeconds": 5}}})));
    assert!(found.contains(&("spec.template.spec.activeDeadlineSeconds".to_owned(), FORBIDDEN)), "{found:?}");
}

#[test]
fn claim_templates_are_claims() {
    let with = |change: Value| {
        let mut template = claim("data");
        merge(&mut template, &change);
        claims(json!([template]))
    };
    let many: Vec<_> = (0..65).map(|n| claim(&format!("v{n}"))).collect();
    // The claims of a pod are volumes of it, too.
    let full = |count: usize| {
        let volumes: Vec<_> = (0..250).map(|n| json!({"name": format!("e{n}"), "emptyDir": {}})).collect();
        let templates: Vec<_> = (0..count).map(|n| claim(&format!("v{n}"))).collect();
        spec(json!({"template": {"spec": {"volumes": volumes}}, "volumeClaimTemplates": templates}))
    };
    set().refuses([
        (with(json!({"metadata": {"name": null}})), "spec.volumeClaimTemplates[0].metadata.name", REQUIRED),
        (with(json!({"metadata": {"name": "a/b"}})), "spec.volumeClaimTemplates[0].metadata.name", INVALID),
        (with(json!({"spec": {"accessModes": null}})), "spec.volumeClaimTemplates[0].spec.accessModes", REQUIRED),
        (with(json!({"spec": {"resources": null}})), "spec.volumeClaimTemplates[0].spec.resources[storage]", REQUIRED),
        (with(json!({"spec": {"volumeName": "x"}})), "spec.volumeClaimTemplates[0].spec.volumeName", FORBIDDEN),
        (with(json!({"spec": {"volumeMode": "Block"}})), "spec.volumeClaimTemplates[0].spec.volumeMode", UNSUPPORTED),
        (claims(json!([claim("a"), claim("a")])), "spec.volumeClaimTemplates[1].metadata.name", DUPLICATE),
        (claims(many.into()), "spec.volumeClaimTemplates", TOO_MANY),
        (full(7), "spec.template.spec.volumes", TOO_MANY),
    ]);
    set().accepts([full(6)]);
    set().accepts([claims(json!(null)), claims(json!([claim("a"), claim("b")]))]);
}

#[test]
fn only_what_a_controller_can_follow_changes() {
    for after in [
        spec(json!({"serviceName": "other"})),
        spec(json!({"podManagementPolicy": "Parallel"})),
        spec(json!({"selector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}})),
        claims(json!([claim("data"), claim("more")])),
        claims(json!(null)),
    ] {
        assert_eq!(set().update(json!({}), after.clone()), [("spec".to_owned(), FORBIDDEN)], "{after}");
    }
    for after in [
        spec(json!({"replicas": 3})),
        spec(json!({"template": {"spec": {"containers": [{"name": "c", "image": "other"}]}}})),
        spec(json!({"updateStrategy": {"rollingUpdate": {"partition": 2}}})),
        spec(json!({"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"}})),
        spec(json!({"minReadySeconds": 5})),
        spec(json!({"revisionHistoryLimit": 5})),
        json!({"metadata": {"labels": {"x": "y"}}}),
    ] {
        assert_eq!(set().update(json!({}), after.clone()), [], "{after}");
    }
    // A set of a version that filled in less.
    let old = set().with(&json!({}));
    assert_eq!(set().admit(set().stored(spec(json!({"replicas": 2}))), Some(&old)), []);
}

#[test]
fn a_status_counts_pods() {
    let status = |change: Value| {
        let mut status = json!({"replicas": 2, "readyReplicas": 1, "availableReplicas": 1});
        merge(&mut status, &change);
        json!({"status": status})
    };
    set().refuses([
        (status(json!({"readyReplicas": -1, "availableReplicas": null})), "status.readyReplicas", INVALID),
        (status(json!({"readyReplicas": 3})), "status.readyReplicas", INVALID),
        (status(json!({"currentReplicas": 3})), "status.currentReplicas", INVALID),
        (status(json!({"updatedReplicas": -1})), "status.updatedReplicas", INVALID),
        (status(json!({"availableReplicas": 2})), "status.availableReplicas", INVALID),
        (status(json!({"collisionCount": -1})), "status.collisionCount", INVALID),
        (status(json!({"observedGeneration": -1})), "status.observedGeneration", INVALID),
    ]);
    set().accepts([
        status(json!({})),
        status(json!({"readyReplicas": 2, "availableReplicas": 2, "updatedReplicas": 2})),
    ]);
}

#[test]
fn omitted_fields_get_kubernetes_values() {
    let stored = set().stored(json!({}));
    let retain = json!({"whenDeleted": "Retain", "whenScaled": "Retain"});
    assert_eq!(stored["spec"]["persistentVolumeClaimRetentionPolicy"], retain);
    assert_eq!(stored["spec"]["updateStrategy"], json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}));
    assert_eq!(stored["spec"]["volumeClaimTemplates"][0]["spec"]["volumeMode"], "Filesystem");
    let half = set().stored(spec(json!({"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain"}})));
    assert_eq!(half["spec"]["persistentVolumeClaimRetentionPolicy"], retain);
}
