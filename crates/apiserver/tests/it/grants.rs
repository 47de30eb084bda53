//! Roles and bindings: what they allow, and who may write which.

use serde_json::{Value, json};
use trust::Subject;

use crate::server::{self, Answer, Server, ask};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const PODS: &str = "/api/v1/namespaces/default/pods";
/// How often a change is looked for until it has its effect.
const LOOKS: usize = 1_000;

fn user(name: &str) -> Subject {
    Subject::authenticated(name, ["team".to_owned()])
}

fn rule(verbs: &[&str], groups: &[&str], resources: &[&str]) -> Value {
    json!({"verbs": verbs, "apiGroups": groups, "resources": resources})
}

fn role(name: &str, rules: Value) -> Value {
    json!({"metadata": {"name": name}, "rules": rules})
}

fn binding(name: &str, (kind, role): (&str, &str), user: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
        "subjects": [{"kind": "User", "name": user}],
    })
}

async fn make(server: &Server, plural: &str, object: &Value) -> Answer {
    ask("POST", &path(plural)).json(object).send(server).await.expect(201)
}

/// The collection of a kind; in namespace `default` for kinds that have one.
fn path(plural: &str) -> String {
    let place = if plural.starts_with("cluster") { "" } else { "/namespaces/default" };
    format!("{RBAC}{place}/{plural}")
}

/// Waits until a request of the subject is answered with the code.
async fn until(server: &Server, (method, path): (&str, &str), subject: &Subject, code: u16) -> Answer {
    for _ in 0..LOOKS {
        let answer = ask(method, path).by(subject.clone()).send(server).await;
        if answer.code.as_u16() == code {
            return answer;
        }
        tokio::task::yield_now().await;
    }
    ask(method, path).by(subject.clone()).send(server).await.expect(code)
}

#[tokio::test]
async fn a_bound_role_allows_what_its_rules_say_where_it_is_bound_and_until_it_is_not() {
    let server = server::start().await;
    let jane = user("jane");
    let refused = ask("GET", PODS).by(jane.clone()).send(&server).await.expect(403);
    assert_eq!(
        refused.body["message"],
        "pods is forbidden: User \"jane\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\""
    );
    assert_eq!(refused.body["details"], json!({"kind": "pods"}));
    make(&server, "roles", &role("reader", json!([rule(&["get", "list"], &[""], &["pods", "pods/log"])]))).await;
    make(&server, "rolebindings", &binding("jane", ("Role", "reader"), "jane")).await;
    until(&server, ("GET", PODS), &jane, 200).await;
    for (method, path, message) in [
        (
            "GET",
            "/api/v1/pods",
            "pods is forbidden: User \"jane\" cannot list resource \"pods\" in API group \"\" at the cluster scope",
        ),
        (
            "DELETE",
            "/api/v1/namespaces/default/pods/p",
            "pods \"p\" is forbidden: User \"jane\" cannot delete resource \"pods\" in API group \"\" in the namespace \"default\"",
        ),
        (
            "GET",
            "/apis/apps/v1/namespaces/default/deployments/d/scale",
            "deployments.apps \"d\" is forbidden: User \"jane\" cannot get resource \"deployments/scale\" in API group \"apps\" in the namespace \"default\"",
        ),
        ("GET", "/metrics", "forbidden: User \"jane\" cannot get path \"/metrics\""),
    ] {
        let refused = ask(method, path).by(jane.clone()).send(&server).await.expect(403);
        assert_eq!(refused.body["message"], message);
    }
    // A changed role counts as it is now; so does a role that is gone.
    let narrower = role("reader", json!([rule(&["get"], &[""], &["pods"])]));
    ask("PUT", &format!("{}/reader", path("roles"))).json(&narrower).send(&server).await.expect(200);
    until(&server, ("GET", PODS), &jane, 403).await;
    ask("GET", &format!("{PODS}/p")).by(jane.clone()).send(&server).await.expect(404);
    ask("DELETE", &format!("{}/jane", path("rolebindings"))).send(&server).await.expect(200);
    until(&server, ("GET", &format!("{PODS}/p")), &jane, 403).await;
}

#[tokio::test]
async fn cluster_roles_are_bound_everywhere_or_in_one_namespace() {
    let server = server::start().await;
    let rules = json!([rule(&["list"], &[""], &["pods"]), {"verbs": ["get"], "nonResourceURLs": ["/metrics"]}]);
    make(&server, "clusterroles", &role("lister", rules)).await;
    make(&server, "rolebindings", &binding("one", ("ClusterRole", "lister"), "one")).await;
    make(&server, "clusterrolebindings", &binding("all", ("ClusterRole", "lister"), "all")).await;
    for (name, pods, everywhere, metrics) in [("one", 200, 403, 403), ("all", 200, 200, 200)] {
        until(&server, ("GET", PODS), &user(name), pods).await;
        ask("GET", "/api/v1/pods").by(user(name)).send(&server).await.expect(everywhere);
        ask("GET", "/metrics").by(user(name)).send(&server).await.expect(metrics);
    }
    // Service accounts have what their bindings say, and discovery.
    let account = Subject::service_account("default", "web");
    for path in [PODS, "/api/v1/namespaces/default/secrets/s", "/api/v1/nodes", "/metrics"] {
        ask("GET", path).by(account.clone()).send(&server).await.expect(403);
    }
    ask("GET", "/apis").by(account.clone()).send(&server).await.expect(200);
    let subject = json!([{"kind": "ServiceAccount", "name": "web", "namespace": "default"}]);
    let mut bound = binding("web", ("ClusterRole", "lister"), "");
    bound["subjects"] = subject;
    make(&server, "clusterrolebindings", &bound).await;
    until(&server, ("GET", "/api/v1/pods"), &account, 200).await;
}

#[tokio::test]
async fn a_role_in_a_namespace_may_be_about_the_namespace() {
    let server = server::start().await;
    make(&server, "roles", &role("own", json!([rule(&["get"], &[""], &["namespaces"])]))).await;
    make(&server, "rolebindings", &binding("own", ("Role", "own"), "jane")).await;
    until(&server, ("GET", "/api/v1/namespaces/default"), &user("jane"), 200).await;
    ask("GET", "/api/v1/namespaces/kube-system").by(user("jane")).send(&server).await.expect(403);
    ask("GET", "/api/v1/namespaces").by(user("jane")).send(&server).await.expect(403);
}

#[tokio::test]
async fn nobody_grants_what_they_do_not_hold() {
    let server = server::start().await;
    let writes = rule(&["create", "update", "patch"], &["rbac.authorization.k8s.io"], &["*"]);
    make(&server, "clusterroles", &role("author", json!([writes, rule(&["get"], &[""], &["pods"])]))).await;
    make(&server, "clusterrolebindings", &binding("author", ("ClusterRole", "author"), "jane")).await;
    let jane = user("jane");
    let held = role("held", json!([rule(&["get"], &[""], &["pods"])]));
    until(&server, ("POST", &format!("{}?dryRun=All", path("roles"))), &jane, 400).await;
    let by_jane = |method: &str, path: &str, body: &Value| ask(method, path).by(jane.clone()).json(body);
    by_jane("POST", &path("roles"), &held).send(&server).await.expect(201);
    let more = role("more", json!([rule(&["get", "delete"], &[""], &["pods"])]));
    let refused = by_jane("POST", &path("roles"), &more).send(&server).await.expect(403);
    assert_eq!(
        refused.body["message"],
        "roles.rbac.authorization.k8s.io \"more\" is forbidden: user \"jane\" (groups=[\"team\" \
         \"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n\
         {APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"delete\"]}"
    );
    // Neither by a change, nor by what a controller would fill in, nor by a binding.
    let grown = role("held", json!([rule(&["*"], &[""], &["pods"])]));
    by_jane("PUT", &format!("{}/held", path("roles")), &grown).send(&server).await.expect(403);
    let mut aggregated = role("sum", json!([]));
    aggregated["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]});
    by_jane("POST", &path("clusterroles"), &aggregated).send(&server).await.expect(403);
    make(&server, "roles", &more).await;
    let bindings = path("rolebindings");
    by_jane("POST", &bindings, &binding("more", ("Role", "more"), "jane")).send(&server).await.expect(403);
    by_jane("POST", &bindings, &binding("gone", ("Role", "gone"), "jane")).send(&server).await.expect(404);
    by_jane("POST", &bindings, &binding("held", ("Role", "held"), "eve")).send(&server).await.expect(201);
    // A change that grants nothing is let pass, and the role of a binding stays.
    let mut labelled = more.clone();
    labelled["metadata"]["labels"] = json!({"a": "b"});
    by_jane("PUT", &format!("{}/more", path("roles")), &labelled).send(&server).await.expect(200);
    let other = binding("held", ("Role", "more"), "eve");
    let refused = ask("PUT", &format!("{bindings}/held")).json(&other).send(&server).await.expect(422);
    assert_eq!(refused.body["details"]["causes"][0]["field"], "roleRef");

    // The verbs `escalate` and `bind` say otherwise.
    let beyond = json!([{
        "verbs": ["escalate", "bind"], "apiGroups": ["rbac.authorization.k8s.io"],
        "resources": ["roles"], "resourceNames": ["more"],
    }]);
    make(&server, "clusterroles", &role("beyond", beyond)).await;
    make(&server, "clusterrolebindings", &binding("beyond", ("ClusterRole", "beyond"), "jane")).await;
    let wide = role("more", json!([rule(&["*"], &["*"], &["*"])]));
    let patch = |look: usize| {
        let path = format!("{}/more", path("roles"));
        ask("PUT", &path).by(jane.clone()).header("x-look", &look.to_string()).json(&wide)
    };
    let mut code = 0;
    for look in 0..LOOKS {
        code = patch(look).send(&server).await.code.as_u16();
        if code == 200 {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(code, 200);
    by_jane("POST", &bindings, &binding("more", ("Role", "more"), "jane")).send(&server).await.expect(201);
    by_jane("PUT", &format!("{}/held", path("roles")), &grown).send(&server).await.expect(403);
}

#[tokio::test]
async fn who_is_impersonated_is_allowed_name_by_name() {
    let server = server::start().await;
    let named = |resource: &str, name: &str| json!({"verbs": ["impersonate"], "apiGroups": [""], "resources": [resource], "resourceNames": [name]});
    let rules = json!([named("users", "bob"), named("groups", "system:monitoring"), named("serviceaccounts", "web")]);
    make(&server, "clusterroles", &role("actor", rules)).await;
    make(&server, "clusterrolebindings", &binding("actor", ("ClusterRole", "actor"), "jane")).await;
    let review = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let act = |user: &str, groups: &[&str]| {
        let request = ask("POST", review).by(Subject::authenticated("jane", [])).header("impersonate-user", user);
        groups.iter().fold(request, |request, group| request.header("impersonate-group", group)).json(&json!({}))
    };
    for _ in 0..LOOKS {
        if act("bob", &[]).send(&server).await.code == 201 {
            break;
        }
        tokio::task::yield_now().await;
    }
    act("bob", &[]).send(&server).await.expect(201);
    act("bob", &["system:monitoring"]).send(&server).await.expect(201);
    act("bob", &["system:masters"]).send(&server).await.expect(403);
    act("bob", &["system:monitoring", "system:masters"]).send(&server).await.expect(403);
    act("root", &[]).send(&server).await.expect(403);
    act("system:serviceaccount:n:other", &[]).send(&server).await.expect(403);
    // A token is as good as its user, so it asks for the same.
    let issuer = json!([rule(&["create"], &["nanocloud.io"], &["tokens", "tokens/issue"])]);
    make(&server, "clusterroles", &role("issuer", issuer)).await;
    make(&server, "clusterrolebindings", &binding("issuer", ("ClusterRole", "issuer"), "jane")).await;
    let issue = "/apis/nanocloud.io/v1/tokens/issue";
    until(&server, ("POST", issue), &Subject::authenticated("jane", []), 400).await;
    for (user, group, code) in [("bob", "system:monitoring", 201), ("bob", "system:masters", 403), ("root", "x", 403)] {
        let wanted = json!({"user": user, "groups": [group]});
        let request = ask("POST", issue).by(Subject::authenticated("jane", [])).json(&wanted);
        request.send(&server).await.expect(code);
        let spec = json!({"user": user, "groups": [group], "expiresAt": "2040-01-01T00:00:00Z", "digest": "00"});
        let token = json!({"metadata": {"name": format!("{user}-{code}")}, "spec": spec});
        let request = ask("POST", "/apis/nanocloud.io/v1/tokens").by(Subject::authenticated("jane", []));
        request.json(&token).send(&server).await.expect(code);
    }
    let web = act("system:serviceaccount:n:web", &[]).send(&server).await.expect(201);
    let groups = json!(["system:serviceaccounts", "system:serviceaccounts:n", "system:authenticated"]);
    assert_eq!(web.body["status"]["userInfo"]["groups"], groups);
}
