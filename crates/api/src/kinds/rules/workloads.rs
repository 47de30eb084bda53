//! ReplicaSet, ReplicationController, Deployment and DaemonSet.

use super::*;

fn sample(plural: &'static str, name: &str) -> Sample {
    let selector =
        if plural == "replicationcontrollers" { json!({"a": "b"}) } else { json!({"matchLabels": {"a": "b"}}) };
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    Sample::new(
        plural,
        json!({"metadata": {"name": name, "namespace": "d"}, "spec": {"selector": selector, "template": template}}),
    )
}

fn spec(change: Value) -> Value {
    json!({"spec": change})
}

#[test]
fn numbers_selectors_and_templates_are_checked() {
    for plural in ["replicasets", "replicationcontrollers", "deployments"] {
        sample(plural, "w").refuses([
            (spec(json!({"replicas": -1})), "spec.replicas", INVALID),
            (spec(json!({"replicas": 2_000_000_000})), "spec.replicas", INVALID),
            (spec(json!({"minReadySeconds": -1})), "spec.minReadySeconds", INVALID),
            (
                spec(json!({"template": {"spec": {"restartPolicy": "Never"}}})),
                "spec.template.spec.restartPolicy",
                UNSUPPORTED,
            ),
            (
                spec(json!({"template": {"spec": {"activeDeadlineSeconds": 5}}})),
                "spec.template.spec.activeDeadlineSeconds",
                FORBIDDEN,
            ),
            (spec(json!({"template": {"metadata": {"labels": {"a": "c"}}}})), "spec.template.metadata.labels", INVALID),
            (json!({"status": {"replicas": 1, "readyReplicas": 2}}), "status.readyReplicas", INVALID),
            (json!({"status": {"replicas": 1, "observedGeneration": -1}}), "status.observedGeneration", INVALID),
        ]);
    }
    for plural in ["replicasets", "deployments"] {
        let sample = sample(plural, "w");
        sample.refuses([
            (spec(json!({"selector": {"matchLabels": null}})), "spec.selector", REQUIRED),
            (spec(json!({"selector": {"matchLabels": {"a b": "c"}}})), "spec.selector.matchLabels", INVALID),
        ]);
        let other = json!({"selector": {"matchLabels": {"x": "y"}}, "template": {"metadata": {"labels": {"x": "y"}}}});
        assert_eq!(sample.update(json!({}), spec(other)), [("spec.selector".to_owned(), INVALID)]);
    }
    for plural in ["replicasets", "replicationcontrollers"] {
        let found = sample(plural, "w").create(spec(json!({"template": null})));
        assert!(found.contains(&("spec.template".to_owned(), REQUIRED)), "{found:?}");
    }
}

#[test]
fn a_strategy_can_always_replace_a_pod() {
    let rolling = |surge: Value, missing: Value| {
        spec(json!({"strategy": {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": missing}}}))
    };
    sample("deployments", "w").refuses([
        (rolling(json!(0), json!(0)), "spec.strategy.rollingUpdate.maxUnavailable", INVALID),
        (rolling(json!("0%"), json!("0%")), "spec.strategy.rollingUpdate.maxUnavailable", INVALID),
        (rolling(json!(1), json!("101%")), "spec.strategy.rollingUpdate.maxUnavailable", INVALID),
        (rolling(json!(-1), json!(1)), "spec.strategy.rollingUpdate.maxSurge", INVALID),
        (rolling(json!("a lot"), json!(1)), "spec.strategy.rollingUpdate.maxSurge", INVALID),
        (spec(json!({"strategy": {"type": "Bogus"}})), "spec.strategy.type", UNSUPPORTED),
        (
            spec(json!({"strategy": {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}})),
            "spec.strategy.rollingUpdate",
            FORBIDDEN,
        ),
        (spec(json!({"revisionHistoryLimit": -1})), "spec.revisionHistoryLimit", INVALID),
        (spec(json!({"progressDeadlineSeconds": 5, "minReadySeconds": 5})), "spec.progressDeadlineSeconds", INVALID),
    ]);
    sample("deployments", "w").accepts([
        rolling(json!("200%"), json!(0)),
        rolling(json!(0), json!("100%")),
        spec(json!({"strategy": {"type": "Recreate"}})),
        spec(json!({"progressDeadlineSeconds": i32::MAX})),
        spec(json!({"paused": true, "revisionHistoryLimit": 0})),
    ]);
}

#[test]
fn omitted_fields_get_kubernetes_values() {
    let stored = sample("deployments", "w").stored(json!({}));
    let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}});
    assert_eq!(stored["spec"]["strategy"], strategy);
    for (field, value) in [("replicas", 1), ("revisionHistoryLimit", 10), ("progressDeadlineSeconds", 600)] {
        assert_eq!(stored["spec"][field], value, "{field}");
    }
    assert_eq!(stored["spec"]["template"]["spec"]["restartPolicy"], "Always");
    let controller = sample("replicationcontrollers", "w").stored(json!({"spec": {"selector": null}}));
    assert_eq!(controller["spec"]["selector"], json!({"a": "b"}));
    assert_eq!(controller["metadata"]["labels"], json!({"a": "b"}));
    assert_eq!(controller["spec"]["replicas"], 1);
}

#[test]
fn a_daemon_set_replaces_pods_or_doubles_them() {
    let rolling = |missing: Value, surge: Value| {
        spec(json!({"updateStrategy": {"rollingUpdate": {"maxUnavailable": missing, "maxSurge": surge}}}))
    };
    sample("daemonsets", "w").refuses([
        (rolling(json!(0), json!(0)), "spec.updateStrategy.rollingUpdate.maxUnavailable", INVALID),
        (rolling(json!(1), json!(1)), "spec.updateStrategy.rollingUpdate.maxSurge", INVALID),
        (rolling(json!("101%"), json!(0)), "spec.updateStrategy.rollingUpdate.maxUnavailable", INVALID),
        (spec(json!({"updateStrategy": {"type": "Bogus"}})), "spec.updateStrategy.type", UNSUPPORTED),
        (spec(json!({"revisionHistoryLimit": -1})), "spec.revisionHistoryLimit", INVALID),
        (spec(json!({"selector": {"matchLabels": null}})), "spec.selector", REQUIRED),
        (json!({"status": {"numberReady": -1}}), "status.numberReady", INVALID),
    ]);
    sample("daemonsets", "w")
        .accepts([rolling(json!(0), json!("50%")), spec(json!({"updateStrategy": {"type": "OnDelete"}}))]);
    let stored = sample("daemonsets", "w").stored(json!({}));
    let update = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}});
    assert_eq!(stored["spec"]["updateStrategy"], update);
    let other = json!({"selector": {"matchLabels": {"x": "y"}}, "template": {"metadata": {"labels": {"x": "y"}}}});
    assert_eq!(sample("daemonsets", "w").update(json!({}), spec(other)), [("spec.selector".to_owned(), INVALID)]);
}

#[test]
fn a_pod_template_is_one_of_any_pods() {
    let spec = json!({"containers": [{"name": "c", "image": "i"}]});
    let object = json!({"metadata": {"name": "t", "namespace": "d"}, "template": {"spec": spec}});
    let template = Sample::new("podtemplates", object);
    template.refuses([
        (json!({"template": null}), "template", REQUIRED),
        (json!({"template": {"spec": null}}), "template.spec", REQUIRED),
        (json!({"template": {"spec": {"restartPolicy": "Bogus"}}}), "template.spec.restartPolicy", UNSUPPORTED),
        (json!({"template": {"spec": {"hostPID": true}}}), "template.spec.hostPID", FORBIDDEN),
    ]);
    template.accepts([json!({"template": {"spec": {"restartPolicy": "Never"}}})]);
    assert_eq!(template.stored(json!({}))["template"]["spec"]["dnsPolicy"], "ClusterFirst");
    let change = json!({"template": {"spec": {"containers": [{"name": "d", "image": "j"}]}}});
    assert_eq!(template.update(json!({}), change), []);
}
