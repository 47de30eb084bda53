//! Roles and their bindings.

use super::*;

fn role() -> Sample {
    let rule = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]});
    Sample::new("roles", json!({"metadata": {"name": "system:r", "namespace": "d"}, "rules": [rule]}))
}

fn cluster_role() -> Sample {
    let rule = json!({"verbs": ["get"], "nonResourceURLs": ["/metrics"]});
    Sample::new("clusterroles", json!({"metadata": {"name": "r"}, "rules": [rule]}))
}

fn binding(plural: &'static str, namespace: Value) -> Sample {
    let subject = json!({"kind": "User", "name": "jane"});
    let role = json!({"kind": "ClusterRole", "name": "view"});
    let metadata = json!({"name": "b:c", "namespace": namespace});
    Sample::new(plural, json!({"metadata": metadata, "roleRef": role, "subjects": [subject]}))
}

#[test]
fn rules_say_what_and_what_it_is_done_to() {
    let rule = |verbs: Value, groups: Value, resources: Value| json!({"rules": [{"verbs": verbs, "apiGroups": groups, "resources": resources}]});
    let all = json!(["*"]);
    for sample in [role(), cluster_role()] {
        sample.refuses([
            (rule(json!([]), all.clone(), all.clone()), "rules[0].verbs", REQUIRED),
            (rule(all.clone(), json!([]), all.clone()), "rules[0].apiGroups", REQUIRED),
            (rule(all.clone(), all.clone(), Value::Null), "rules[0].resources", REQUIRED),
            (json!({"metadata": {"name": "a/b"}}), "metadata.name", INVALID),
            (json!({"metadata": {"name": ".."}}), "metadata.name", INVALID),
        ]);
        let many: Vec<_> = (0..129).map(|number| format!("r{number}")).collect();
        sample.refuses([(rule(json!(many), all.clone(), json!(many)), "rules", TOO_MANY)]);
        sample.accepts([json!({"rules": null}), json!({"rules": []}), rule(all.clone(), all.clone(), all.clone())]);
    }
    let path = json!({"rules": [{"verbs": ["get"], "nonResourceURLs": ["/x"]}]});
    role().refuses([(path, "rules[0].nonResourceURLs", INVALID)]);
    let both = json!({"rules": [{"verbs": ["get"], "nonResourceURLs": ["/x"], "resources": ["pods"]}]});
    cluster_role().refuses([(both, "rules[0].nonResourceURLs", INVALID)]);
}

#[test]
fn what_is_aggregated_is_selected() {
    let rule = |selectors: Value| json!({"aggregationRule": {"clusterRoleSelectors": selectors}});
    let field = "aggregationRule.clusterRoleSelectors";
    cluster_role().refuses([(rule(json!([])), field, REQUIRED), (json!({"aggregationRule": {}}), field, REQUIRED)]);
    let odd = json!([{"matchExpressions": [{"key": "a", "operator": "Near"}]}]);
    let field = "aggregationRule.clusterRoleSelectors[0].matchExpressions[0].operator";
    cluster_role().refuses([(rule(odd), field, INVALID)]);
    cluster_role().accepts([rule(json!([{"matchLabels": {"a": "b"}}]))]);
}

#[test]
fn a_binding_names_its_role_for_good_and_subjects_that_can_be() {
    for sample in [binding("rolebindings", json!("d")), binding("clusterrolebindings", Value::Null)] {
        let stored = sample.stored(json!({}));
        assert_eq!(stored["roleRef"]["apiGroup"], "rbac.authorization.k8s.io");
        assert_eq!(stored["subjects"][0]["apiGroup"], "rbac.authorization.k8s.io");
        let subject = |subject: Value| json!({"subjects": [subject]});
        sample.refuses([
            (json!({"roleRef": {"apiGroup": "x"}}), "roleRef.apiGroup", UNSUPPORTED),
            (json!({"roleRef": {"kind": "Pod"}}), "roleRef.kind", UNSUPPORTED),
            (json!({"roleRef": {"name": null}}), "roleRef.name", REQUIRED),
            (json!({"roleRef": {"name": "a/b"}}), "roleRef.name", INVALID),
            (subject(json!({"kind": "User"})), "subjects[0].name", REQUIRED),
            (subject(json!({"kind": "User", "name": "a", "apiGroup": "x"})), "subjects[0].apiGroup", UNSUPPORTED),
            (subject(json!({"kind": "Robot", "name": "a"})), "subjects[0].kind", UNSUPPORTED),
            (subject(json!({"kind": "ServiceAccount", "name": "A", "namespace": "n"})), "subjects[0].name", INVALID),
            (
                subject(json!({"kind": "ServiceAccount", "name": "a", "namespace": "n", "apiGroup": "x"})),
                "subjects[0].apiGroup",
                UNSUPPORTED,
            ),
        ]);
        sample.accepts([
            json!({"subjects": null}),
            subject(json!({"kind": "Group", "name": "system:masters"})),
            subject(json!({"kind": "ServiceAccount", "name": "a", "namespace": "n"})),
        ]);
        let changed = sample.update(json!({}), json!({"roleRef": {"name": "edit"}}));
        assert_eq!(changed, [("roleRef".to_owned(), INVALID)]);
        assert_eq!(sample.update(json!({}), json!({"subjects": []})), []);
    }
    let account = json!({"subjects": [{"kind": "ServiceAccount", "name": "a"}]});
    binding("rolebindings", json!("d")).accepts([account.clone(), json!({"roleRef": {"kind": "Role"}})]);
    binding("clusterrolebindings", Value::Null).refuses([
        (account, "subjects[0].namespace", REQUIRED),
        (json!({"roleRef": {"kind": "Role"}}), "roleRef.kind", UNSUPPORTED),
    ]);
}
