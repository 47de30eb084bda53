//! Who may use which route: the matrix, deny by default.

use serde_json::json;
use trust::{Scopes, Subject};

use crate::server::{self, ask};

fn scoped(scopes: &str) -> Subject {
    Subject { scopes: Some(Scopes::parse(scopes).unwrap()), ..Subject::admin("scoped") }
}

/// The columns of the matrix.
fn subjects() -> [(&'static str, Option<Subject>); 7] {
    [
        ("anonymous", None),
        ("user", Some(Subject::authenticated("user", []))),
        ("node", Some(Subject::node("n1"))),
        ("scheduler", Some(Subject::scheduler())),
        ("pods.read", Some(scoped("pods.read"))),
        ("pods.exec", Some(scoped("pods.exec"))),
        ("admin", Some(Subject::admin("root"))),
    ]
}

const EVERYBODY: &[&str] = &["anonymous", "user", "node", "scheduler", "pods.read", "pods.exec", "admin"];
const AUTHENTICATED: &[&str] = &["user", "node", "scheduler", "pods.read", "pods.exec", "admin"];

/// Method, path, and who gets past authorisation.
const ROUTES: [(&str, &str, &[&str]); 60] = [
    ("GET", "/healthz", EVERYBODY),
    ("GET", "/livez", EVERYBODY),
    ("GET", "/readyz", EVERYBODY),
    ("GET", "/version", EVERYBODY),
    ("GET", "/", AUTHENTICATED),
    ("GET", "/api", AUTHENTICATED),
    ("GET", "/apis", AUTHENTICATED),
    ("GET", "/api/v1", AUTHENTICATED),
    ("GET", "/apis/apps", AUTHENTICATED),
    ("GET", "/apis/apps/v1", AUTHENTICATED),
    ("GET", "/openapi/v2", AUTHENTICATED),
    ("GET", "/openapi/v3", AUTHENTICATED),
    ("GET", "/openapi/v3/api/v1", AUTHENTICATED),
    ("GET", "/openapi/v3/apis/apps/v1", AUTHENTICATED),
    ("GET", "/metrics", &["admin"]),
    ("GET", "/api/v1/pods", &["node", "scheduler", "pods.read", "admin"]),
    ("GET", "/api/v1/namespaces/default/pods/p", &["node", "scheduler", "pods.read", "pods.exec", "admin"]),
    ("GET", "/api/v1/namespaces/default/pods/p/log", &["pods.read", "admin"]),
    ("GET", "/api/v1/namespaces/default/pods/p/exec", &["pods.exec", "admin"]),
    ("GET", "/api/v1/pods/p/exec", &["pods.exec", "admin"]),
    ("POST", "/api/v1/namespaces/default/pods", &["admin"]),
    ("POST", "/api/v1/namespaces/default/pods/p/binding", &["scheduler", "admin"]),
    ("PUT", "/api/v1/namespaces/default/pods/p", &["admin"]),
    ("DELETE", "/api/v1/namespaces/default/pods", &["admin"]),
    ("GET", "/api/v1/secrets", &["admin"]),
    ("GET", "/api/v1/namespaces/default/secrets?watch=nonsense", &["admin"]),
    ("GET", "/apis/nanocloud.io/v1/tokens", &["admin"]),
    ("GET", "/apis/nanocloud.io/v1/keyspace", &["admin"]),
    ("GET", "/apis/nanocloud.io/v1/keyspace/snapshot", &["admin"]),
    ("DELETE", "/apis/nanocloud.io/v1/keyspace/alarms", &["admin"]),
    ("POST", "/apis/nanocloud.io/v1/keyspace/defragment", &["admin"]),
    ("POST", "/apis/nanocloud.io/v1/tokens/issue", &["admin"]),
    ("POST", "/apis/nanocloud.io/v1/certificates", &["admin"]),
    ("POST", "/apis/nanocloud.io/v1/namespaces/default/bundles/b/actions/stop", &["admin"]),
    ("GET", "/apis/nanocloud.io/v1/keyspace/alarms", &["admin"]),
    ("POST", "/apis/nanocloud.io/v1/keyspace/compact", &["admin"]),
    ("GET", "/apis/nanocloud.io/v1/members", &["admin"]),
    ("GET", "/apis/nanocloud.io/v1/members/status", &["admin"]),
    ("POST", "/apis/nanocloud.io/v1/members/join", &["admin"]),
    ("POST", "/apis/nanocloud.io/v1/members/m/promote", &["admin"]),
    ("POST", "/apis/nanocloud.io/v1/members/m/remove", &["admin"]),
    ("POST", "/apis/nanocloud.io/v1/members/m/lead", &["admin"]),
    ("POST", "/apis/nanocloud.io/v1/tokens/exchange", &["admin"]),
    ("POST", "/apis/nanocloud.io/v1/namespaces/default/bundles/b/actions/start", &["admin"]),
    ("POST", "/apis/nanocloud.io/v1/namespaces/default/bundles/b/actions/restart", &["admin"]),
    ("POST", "/apis/nanocloud.io/v1/namespaces/default/bundles/b/actions/uninstall", &["admin"]),
    ("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", AUTHENTICATED),
    ("POST", "/apis/authentication.k8s.io/v1/tokenreviews", &["admin"]),
    ("POST", "/api/v1/namespaces/default/serviceaccounts/a/token", &["node", "admin"]),
    ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", AUTHENTICATED),
    ("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", AUTHENTICATED),
    ("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", &["admin"]),
    ("POST", "/api/v1/namespaces/default/pods/p/exec", &["pods.exec", "admin"]),
    ("GET", "/api/v1/namespaces/default/pods/p/attach", &["pods.exec", "admin"]),
    ("POST", "/api/v1/namespaces/default/pods/p/attach", &["pods.exec", "admin"]),
    ("GET", "/api/v1/namespaces/default/pods/p/portforward", &["pods.exec", "admin"]),
    ("POST", "/api/v1/namespaces/default/pods/p/portforward", &["pods.exec", "admin"]),
    ("GET", "/apis/apps/v1/namespaces/default/statefulsets/s/scale", &["admin"]),
    ("PUT", "/apis/apps/v1/namespaces/default/statefulsets/s/scale", &["admin"]),
    ("PATCH", "/apis/apps/v1/namespaces/default/statefulsets/s/scale", &["admin"]),
];

#[tokio::test]
async fn every_route_lets_in_who_the_matrix_names() {
    let server = server::start().await;
    for (method, path, allowed) in ROUTES {
        for (name, subject) in subjects() {
            let request = ask(method, path).json(&json!({}));
            let request = match subject {
                Some(subject) => request.by(subject),
                None => request.outside(),
            };
            let code = request.send(&server).await.code.as_u16();
            let wanted = allowed.contains(&name);
            let refused = if name == "anonymous" { code == 401 } else { code == 403 };
            assert_eq!(!refused, wanted, "{name} {method} {path}: {code}");
        }
    }
}

/// Whether a path is one of a pattern, whose segments in braces stand for anything.
fn fits(pattern: &str, path: &str) -> bool {
    let mut parts = path.split('/');
    let fits =
        pattern.split('/').all(|wanted| parts.next().is_some_and(|part| part == wanted || wanted.starts_with('{')));
    fits && parts.next().is_none()
}

#[test]
fn every_endpoint_that_is_no_kind_has_a_line_in_the_matrix() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json")).unwrap();
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap().iter().filter(|(method, _)| *method != "parameters") {
            let kind = operation.pointer("/x-kubernetes-group-version-kind/kind").and_then(|kind| kind.as_str());
            if kind.is_some_and(|kind| api::kinds::find(kind).is_some()) {
                continue;
            }
            let method = method.to_ascii_uppercase();
            // The scale of one kind is that of all: it is a fact of the kind.
            let is_scale = |path: &str| path.ends_with("/scale");
            let covers = |tested: &str| fits(path, tested) || is_scale(path) && is_scale(tested);
            let tested = ROUTES.iter().any(|(known, tested, _)| *known == method && covers(tested));
            assert!(tested, "{method} {path} has no line in ROUTES");
        }
    }
}

#[tokio::test]
async fn no_header_makes_a_subject() {
    let server = server::start().await;
    for header in ["x-remote-user", "impersonate-user", "x-subject", "x-forwarded-client-cert"] {
        ask("GET", "/api/v1/secrets").outside().header(header, "system:masters").send(&server).await.expect(401);
    }
}

#[tokio::test]
async fn administrators_become_whom_they_name_and_others_do_not() {
    let server = server::start().await;
    let pods = "/api/v1/pods";
    let as_bob = |subject: Subject| ask("GET", pods).by(subject).header("impersonate-user", "bob");
    let refused = as_bob(Subject::admin("root")).send(&server).await.expect(403);
    assert!(refused.body["message"].as_str().unwrap().contains("\"bob\""), "{:#}", refused.body);
    let group = as_bob(Subject::admin("root")).header("impersonate-group", "system:monitoring");
    group.send(&server).await.expect(200);
    as_bob(scoped("cluster.read")).send(&server).await.expect(403);
    as_bob(Subject::authenticated("eve", [])).send(&server).await.expect(403);
    as_bob(Subject::admin("root")).header("impersonate-uid", "1").send(&server).await.expect(400);
    ask("GET", pods).header("impersonate-group", "system:monitoring").send(&server).await.expect(400);
}

#[tokio::test]
async fn a_node_reaches_its_own_pods_and_their_secrets_only() {
    let server = server::start().await;
    let pods = "/api/v1/namespaces/default/pods";
    for (name, node, secret) in [("mine", "n1", "mine"), ("other", "n2", "other")] {
        let pod = json!({"metadata": {"name": name}, "spec": {
            "nodeName": node, "containers": [{"name": "c", "image": "i"}],
            "volumes": [{"name": "v", "secret": {"secretName": secret}}],
        }});
        ask("POST", pods).json(&pod).send(&server).await.expect(201);
        let secret = json!({"metadata": {"name": secret}});
        ask("POST", "/api/v1/namespaces/default/secrets").json(&secret).send(&server).await.expect(201);
    }
    for (name, read, write) in [("mine", 200, 200), ("other", 403, 403)] {
        let secret = format!("/api/v1/namespaces/default/secrets/{name}");
        ask("GET", &secret).by(Subject::node("n1")).send(&server).await.expect(read);
        let patch = json!({"status": {"phase": "Running"}});
        let status = ask("PATCH", &format!("{pods}/{name}/status")).by(Subject::node("n1"));
        status.typed("application/merge-patch+json", &patch).send(&server).await.expect(write);
    }
}

#[tokio::test]
async fn a_node_changes_claims_and_bindings_of_its_own_only() {
    let server = server::start().await;
    let claims = "/api/v1/namespaces/default/persistentvolumeclaims";
    for (name, node) in [("free", ""), ("mine", "n1"), ("other", "n2")] {
        let claim = json!({"metadata": {"name": name, "annotations": {"volume.kubernetes.io/selected-node": node}},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
        ask("POST", claims).json(&claim).send(&server).await.expect(201);
    }
    let (pods, bindings) = ("/api/v1/namespaces/default/pods", "/apis/nanocloud.io/v1/namespaces/default/bindings");
    for (target, node) in [("here", "n1"), ("there", "n2")] {
        let pod = json!({"metadata": {"name": format!("{target}-0")},
            "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}]}});
        ask("POST", pods).json(&pod).send(&server).await.expect(201);
        let binding = json!({"metadata": {"name": target}, "spec": {"bundle": "b", "bindingId": "i", "command": ["x"],
            "target": {"bundle": target, "service": "s"}}});
        ask("POST", bindings).json(&binding).send(&server).await.expect(201);
    }
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    let phase = json!({"status": {"phase": "Running"}});
    for (path, body, wanted) in [
        (format!("{claims}/free"), &label, 200),
        (format!("{claims}/mine"), &label, 200),
        (format!("{claims}/other"), &label, 403),
        (format!("{claims}/mine/status"), &phase, 200),
        (format!("{claims}/other/status"), &phase, 403),
        (format!("{bindings}/here/status"), &phase, 200),
        (format!("{bindings}/there/status"), &phase, 403),
    ] {
        let patch = ask("PATCH", &path).by(Subject::node("n1")).typed("application/merge-patch+json", body);
        patch.send(&server).await.expect(wanted);
    }
}

#[tokio::test]
async fn reviews_answer_as_requests_are_decided() {
    let server = server::start().await;
    let group = "/apis/authorization.k8s.io/v1";
    let own = format!("{group}/selfsubjectaccessreviews");
    let asked = |verb: &str, resource: &str, subresource: &str| {
        json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {
                "namespace": "default", "verb": verb, "resource": resource, "subresource": subresource,
            }},
        })
    };
    let cases = [
        ("pods.read", "list", "pods", "", true),
        ("pods.read", "get", "pods", "log", true),
        ("pods.read", "delete", "pods", "", false),
        ("pods.read", "get", "secrets", "", false),
        ("cluster.admin", "*", "*", "", true),
    ];
    for (scope, verb, resource, subresource, wanted) in cases {
        let review = ask("POST", &own).by(scoped(scope)).json(&asked(verb, resource, subresource));
        let answer = review.send(&server).await.expect(201);
        let status = &answer.body["status"];
        assert_eq!(status["allowed"], wanted, "{scope} {verb} {resource}/{subresource}: {status}");
        assert_eq!(answer.body["spec"]["resourceAttributes"]["verb"], verb);
        assert!(status["reason"].as_str().is_some_and(|reason| !reason.is_empty()));
    }
    let path = json!({"spec": {"nonResourceAttributes": {"verb": "get", "path": "/metrics"}}});
    let answer = ask("POST", &own).by(scoped("pods.read")).json(&path).send(&server).await.expect(201);
    assert_eq!(answer.body["status"]["allowed"], false);
    ask("POST", &own).json(&json!({"spec": {}})).send(&server).await.expect(400);
    ask("POST", &own).json(&json!({"kind": "Pod", "spec": {}})).send(&server).await.expect(400);
    ask("POST", &own).outside().json(&path).send(&server).await.expect(401);
    ask("GET", &own).send(&server).await.expect(405);
}

#[tokio::test]
async fn rules_name_what_a_subject_may_do_and_others_are_asked_about_by_administrators() {
    let server = server::start().await;
    let group = "/apis/authorization.k8s.io/v1";
    let rules = format!("{group}/selfsubjectrulesreviews");
    let review = json!({"spec": {"namespace": "default"}});
    let all = ask("POST", &rules).json(&review).send(&server).await.expect(201);
    let rule = json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]);
    assert_eq!(all.body["status"]["resourceRules"], rule);
    let some = ask("POST", &rules).by(scoped("pods.exec")).json(&review).send(&server).await.expect(201);
    let listed = some.body["status"]["resourceRules"].as_array().unwrap();
    let verbs = |resource: &str| {
        let found = listed.iter().find(|rule| rule["resources"] == json!([resource]));
        found.map(|rule| rule["verbs"].clone()).unwrap_or_default()
    };
    assert_eq!(verbs("pods"), json!(["get"]));
    assert_eq!(verbs("pods/exec"), json!(["create", "get"]));
    assert_eq!(verbs("secrets"), json!(null));
    let paths = some.body["status"]["nonResourceRules"].as_array().unwrap();
    assert!(paths.iter().any(|rule| rule["nonResourceURLs"] == json!(["/version"])));
    assert!(!paths.iter().any(|rule| rule["nonResourceURLs"] == json!(["/metrics"])));
    ask("POST", &rules).json(&json!({"spec": {}})).send(&server).await.expect(400);

    let others = format!("{group}/subjectaccessreviews");
    let attributes = json!({"verb": "get", "resource": "pods"});
    let node = json!({"spec": {"user": "system:node:n", "groups": ["system:nodes"], "resourceAttributes": attributes}});
    let answer = ask("POST", &others).json(&node).send(&server).await.expect(201);
    assert_eq!(answer.body["status"]["allowed"], true);
    ask("POST", &others).by(scoped("cluster.read")).json(&node).send(&server).await.expect(403);
    ask("POST", &others).json(&json!({"spec": {"resourceAttributes": attributes}})).send(&server).await.expect(400);

    let identity = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let me = ask("POST", identity).by(scoped("pods.read")).json(&json!({})).send(&server).await.expect(201);
    let user = &me.body["status"]["userInfo"];
    assert_eq!((&user["username"], &user["extra"]["nanocloud.io/scopes"]), (&json!("scoped"), &json!(["pods.read"])));
}
