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

/// Method, path, and who gets past authorisation.
const ROUTES: [(&str, &str, &[&str]); 23] = [
    ("GET", "/healthz", &["anonymous", "user", "node", "scheduler", "pods.read", "pods.exec", "admin"]),
    ("GET", "/version", &["anonymous", "user", "node", "scheduler", "pods.read", "pods.exec", "admin"]),
    ("GET", "/api", &["user", "node", "scheduler", "pods.read", "pods.exec", "admin"]),
    ("GET", "/openapi/v3", &["user", "node", "scheduler", "pods.read", "pods.exec", "admin"]),
    ("GET", "/metrics", &["admin"]),
    ("GET", "/api/v1/pods", &["node", "scheduler", "pods.read", "admin"]),
    ("GET", "/api/v1/namespaces/default/pods/p", &["node", "scheduler", "pods.read", "pods.exec", "admin"]),
    ("GET", "/api/v1/namespaces/default/pods/p/log", &["pods.read", "admin"]),
    ("GET", "/api/v1/namespaces/default/pods/p/exec", &["pods.exec", "admin"]),
    ("GET", "/api/v1/pods/p/exec", &["pods.exec", "admin"]),
    ("POST", "/api/v1/namespaces/default/pods", &["admin"]),
    ("PUT", "/api/v1/namespaces/default/pods/p", &["scheduler", "admin"]),
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

#[tokio::test]
async fn no_header_makes_a_subject() {
    let server = server::start().await;
    for header in ["x-remote-user", "impersonate-user", "x-subject", "x-forwarded-client-cert"] {
        ask("GET", "/api/v1/secrets").outside().header(header, "system:masters").send(&server).await.expect(401);
    }
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
