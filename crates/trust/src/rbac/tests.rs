use api::decode_from;
use serde_json::{Value, json};

use super::*;
use crate::{Decision, authorize, scope::Scopes};

fn rule(verbs: &[&str], groups: &[&str], resources: &[&str]) -> Value {
    json!({"verbs": verbs, "apiGroups": groups, "resources": resources})
}

fn policies() -> Policies {
    let mut all = Policies::default();
    let meta = |namespace: Option<&str>, name: &str| json!({"namespace": namespace, "name": name});
    let pods = json!([rule(&["get", "list"], &[""], &["pods", "pods/log"])]);
    let role = |namespace, name, rules: Value| json!({"metadata": meta(namespace, name), "rules": rules});
    all.put_role(decode_from(&role(Some("a"), "pods", pods)).unwrap());
    let named = json!([{"verbs": ["update"], "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["m"]}]);
    all.put_role(decode_from(&role(Some("a"), "named", named)).unwrap());
    let scales = json!([
        rule(&["*"], &["apps"], &["*/scale"]),
        {"verbs": ["get"], "nonResourceURLs": ["/metrics", "/debug/*"]},
    ]);
    all.put_cluster_role(decode_from(&role(None, "scales", scales)).unwrap());
    all.put_cluster_role(decode_from(&role(None, "all", json!([rule(&["*"], &["*"], &["*"])]))).unwrap());
    let binding = |namespace, name: &str, kind: &str, role: &str, subjects: Value| {
        let reference = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role});
        json!({"metadata": meta(namespace, name), "roleRef": reference, "subjects": subjects})
    };
    let of_namespace = [
        ("pods", "Role", "pods", json!([{"kind": "User", "name": "jane"}, {"kind": "ServiceAccount", "name": "web"}])),
        ("named", "Role", "named", json!([{"kind": "Group", "name": "writers"}])),
        ("all", "ClusterRole", "all", json!([{"kind": "ServiceAccount", "name": "web", "namespace": "b"}])),
        ("dangling", "Role", "gone", json!([{"kind": "User", "name": "eve"}])),
        ("scales", "ClusterRole", "scales", json!([{"kind": "User", "name": "eve"}])),
    ];
    for (name, kind, role, subjects) in of_namespace {
        all.put_role_binding(decode_from(&binding(Some("a"), name, kind, role, subjects)).unwrap());
    }
    let subjects = json!([{"kind": "User", "name": "ops"}, {"kind": "Group", "name": "system:unauthenticated"}]);
    all.put_cluster_role_binding(decode_from(&binding(None, "scales", "ClusterRole", "scales", subjects)).unwrap());
    all
}

/// `verb resource[/subresource][.group] [namespace/]name`, or `verb /path`.
fn request(text: &str) -> Attributes<'_> {
    let mut words = text.split_whitespace();
    let (verb, what) = (words.next().unwrap(), words.next().unwrap());
    if what.starts_with('/') {
        return Attributes { verb, non_resource_path: Some(what), ..Attributes::default() };
    }
    let (resource, group) = what.split_once('.').unwrap_or((what, ""));
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let (namespace, name) = words.next().map_or(("", ""), |place| place.split_once('/').unwrap_or((place, "")));
    Attributes { verb, group, resource, subresource, namespace, name, non_resource_path: None }
}

#[test]
fn a_request_is_allowed_by_a_rule_of_a_role_that_is_bound_where_it_is_made() {
    let (policies, jane) = (policies(), Subject::authenticated("jane", []));
    let (web, other) = (Subject::service_account("a", "web"), Subject::service_account("b", "web"));
    let (writer, ops) = (Subject::authenticated("w", ["writers".to_owned()]), Subject::authenticated("ops", []));
    let (eve, nobody) = (Subject::authenticated("eve", []), Subject::anonymous());
    for (subject, text, wanted) in [
        (&jane, "list pods a", true),
        (&jane, "get pods/log a/p", true),
        (&jane, "get pods/exec a/p", false),
        (&jane, "delete pods a/p", false),
        (&jane, "list pods b", false),
        (&jane, "list pods", false),
        (&jane, "list pods.metrics.k8s.io a", false),
        (&web, "list pods a", true),
        (&web, "list secrets a", false),
        (&other, "list pods b", false),
        (&other, "list secrets a", true),
        (&other, "create deployments.apps a", true),
        (&other, "get secrets b/s", false),
        (&writer, "update configmaps a/m", true),
        (&writer, "update configmaps a/n", false),
        (&writer, "update configmaps a", false),
        (&ops, "update deployments/scale.apps b/d", true),
        (&ops, "update deployments.apps b/d", false),
        (&ops, "get /metrics", true),
        (&ops, "get /debug/pprof", true),
        (&ops, "get /debug", false),
        (&ops, "post /metrics", false),
        (&nobody, "get /metrics", true),
        // Paths are of no namespace, so a binding of one cannot grant them.
        (&eve, "get /metrics", false),
        (&eve, "update deployments/scale.apps a/d", true),
        (&eve, "get pods a/p", false),
    ] {
        let decision = authorize(subject, &request(text), &policies);
        assert_eq!(decision.is_allowed(), wanted, "{subject} {text}: {}", decision.reason());
    }
    let reason = "RBAC: allowed by RoleBinding \"pods/a\" of Role \"pods\" to User \"jane\"";
    assert_eq!(authorize(&jane, &request("list pods a"), &policies), Decision::Allow { reason: reason.into() });
}

#[test]
fn a_token_of_scopes_gains_nothing_by_roles() {
    let limited = Subject { scopes: Some(Scopes::parse("events.read").unwrap()), ..Subject::authenticated("jane", []) };
    assert!(!authorize(&limited, &request("list pods a"), &policies()).is_allowed());
    assert_eq!(policies().rules(&limited, "a").count(), 0);
}

#[test]
fn what_is_removed_grants_nothing() {
    let (mut policies, jane) = (policies(), Subject::authenticated("jane", []));
    let may = |policies: &Policies| authorize(&jane, &request("list pods a"), policies).is_allowed();
    let before = policies.clone();
    policies.remove_role(Some("a".into()), "pods");
    assert!(may(&before) && !may(&policies), "a clone stays as it was");
    let mut policies = before;
    policies.remove_binding(Some("a".into()), "pods");
    policies.remove_binding(Some("z".into()), "pods");
    assert!(!may(&policies));
}

#[test]
fn rules_cover_what_says_no_more() {
    let parse = |rules: &Value| -> Vec<PolicyRule> { serde_json::from_value(rules.clone()).unwrap() };
    let names =
        |names: &[&str]| json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": names});
    let path = |path: &str| json!({"verbs": ["get"], "nonResourceURLs": [path]});
    for (held, wanted, left) in [
        (json!([rule(&["get", "list"], &["", "apps"], &["pods"])]), json!([rule(&["get"], &[""], &["pods"])]), 0),
        (json!([rule(&["get"], &[""], &["pods"])]), json!([rule(&["get", "list"], &[""], &["pods", "nodes"])]), 3),
        (json!([rule(&["*"], &["*"], &["*"])]), json!([rule(&["get"], &["x"], &["a", "b/c", "*"])]), 0),
        (json!([rule(&["get"], &[""], &["pods"])]), json!([rule(&["*"], &[""], &["pods"])]), 1),
        (json!([rule(&["get"], &[""], &["*/scale"])]), json!([rule(&["get"], &[""], &["a/scale", "a/log", "a"])]), 2),
        (json!([rule(&["get"], &[""], &["pods"])]), json!([names(&["a", "b"])]), 0),
        (json!([names(&["a"])]), json!([names(&["a", "b"])]), 1),
        (json!([names(&["a"])]), json!([rule(&["get"], &[""], &["pods"])]), 1),
        (json!([path("/a/*")]), json!([path("/a/b"), path("/a/*"), path("/a"), path("*")]), 2),
        (json!([path("*")]), json!([path("/a/*"), path("*")]), 0),
        // Two rules together cover one.
        (
            json!([rule(&["get"], &[""], &["pods"]), rule(&["list"], &[""], &["pods"])]),
            json!([rule(&["get", "list"], &[""], &["pods"])]),
            0,
        ),
        (json!([]), json!([]), 0),
    ] {
        let found = uncovered(&parse(&held), &parse(&wanted));
        assert_eq!(found.len(), left, "{held} {wanted} {found:?}");
    }
    let one = parse(&json!([rule(&["get"], &[""], &["pods"])]));
    assert_eq!(written(&one[0]), r#"{APIGroups:[""], Resources:["pods"], Verbs:["get"]}"#);
}
