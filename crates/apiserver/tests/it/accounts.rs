//! Service accounts: their tokens, and what these are bound to.

use serde_json::{Value, json};
use trust::Subject;

use crate::server::{self, Answer, Server, ask};

const NAMESPACE: &str = "/api/v1/namespaces/default";
const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";

fn account(path: &str) -> String {
    format!("{NAMESPACE}/serviceaccounts/{path}")
}

/// An account `web`, and a pod of it on node `n1`.
async fn prepared() -> Server {
    let server = server::start().await;
    let made = json!({"metadata": {"name": "web"}});
    ask("POST", &format!("{NAMESPACE}/serviceaccounts")).json(&made).send(&server).await.expect(201);
    for (name, node) in [("here", "n1"), ("there", "n2")] {
        let container = json!({"name": "c", "image": "i"});
        let spec = json!({"serviceAccountName": "web", "nodeName": node, "containers": [container]});
        let pod = json!({"metadata": {"name": name}, "spec": spec});
        ask("POST", &format!("{NAMESPACE}/pods")).json(&pod).send(&server).await.expect(201);
    }
    server
}

async fn token(server: &Server, spec: Value) -> String {
    let made = ask("POST", &account("web/token")).json(&json!({"spec": spec})).send(server).await.expect(201);
    assert_eq!((&made.body["kind"], &made.body["metadata"]["name"]), (&json!("TokenRequest"), &json!("web")));
    made.body["status"]["token"].as_str().unwrap().to_owned()
}

async fn whose(server: &Server, token: &str, audiences: Value) -> Value {
    let asked = json!({"spec": {"token": token, "audiences": audiences}});
    ask("POST", REVIEWS).json(&asked).send(server).await.expect(201).body["status"].clone()
}

async fn with(server: &Server, token: &str) -> Answer {
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    ask("POST", path).outside().header("authorization", &format!("Bearer {token}")).json(&json!({})).send(server).await
}

#[tokio::test]
async fn a_token_is_good_as_long_as_its_account_and_its_pod_are_there() {
    let server = prepared().await;
    let plain = token(&server, json!({})).await;
    let bound = json!({"kind": "Pod", "apiVersion": "v1", "name": "here"});
    let of_pod = token(&server, json!({"boundObjectRef": bound, "expirationSeconds": 3607})).await;
    for good in [&plain, &of_pod] {
        let user = with(&server, good).await.expect(201).body["status"]["userInfo"].clone();
        assert_eq!(user["username"], "system:serviceaccount:default:web");
        assert_eq!(
            user["groups"],
            json!(["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"])
        );
    }
    let status = whose(&server, &of_pod, Value::Null).await;
    assert_eq!((&status["authenticated"], &status["audiences"]), (&json!(true), &json!(["nanocloud.io"])));
    assert_eq!(status["user"]["extra"]["authentication.kubernetes.io/pod-name"], json!(["here"]));
    ask("DELETE", &format!("{NAMESPACE}/pods/here?gracePeriodSeconds=0")).send(&server).await;
    with(&server, &of_pod).await.expect(401);
    assert_eq!(whose(&server, &of_pod, Value::Null).await["authenticated"], Value::Null);
    with(&server, &plain).await.expect(201);
    ask("DELETE", &account("web")).send(&server).await.expect(200);
    with(&server, &plain).await.expect(401);
    // Another account of that name is another account.
    let again = json!({"metadata": {"name": "web"}});
    ask("POST", &format!("{NAMESPACE}/serviceaccounts")).json(&again).send(&server).await.expect(201);
    with(&server, &plain).await.expect(401);
}

#[tokio::test]
async fn a_token_is_for_its_audiences() {
    let server = prepared().await;
    let vault = token(&server, json!({"audiences": ["vault", "other"]})).await;
    with(&server, &vault).await.expect(401);
    assert!(whose(&server, &vault, Value::Null).await["error"].as_str().unwrap().contains("audience"));
    let status = whose(&server, &vault, json!(["vault", "nobody"])).await;
    assert_eq!((&status["authenticated"], &status["audiences"]), (&json!(true), &json!(["vault"])));
}

#[tokio::test]
async fn what_cannot_be_bound_is_refused_and_nodes_make_tokens_for_their_own_pods() {
    let server = prepared().await;
    let path = account("web/token");
    let bound = |kind: &str, name: &str, uid: &str| {
        let reference = json!({"kind": kind, "apiVersion": "v1", "name": name, "uid": uid});
        json!({"spec": {"boundObjectRef": reference}})
    };
    for (asked, code) in [
        (json!({"spec": {"expirationSeconds": 599}}), 422),
        (json!({"spec": {"expirationSeconds": 5_000_000_000_i64}}), 422),
        (bound("Pod", "here", "other"), 409),
        (bound("Pod", "gone", ""), 404),
        (bound("Node", "n1", ""), 400),
        (json!({"spec": 1}), 400),
    ] {
        ask("POST", &path).json(&asked).send(&server).await.expect(code);
    }
    ask("POST", &account("gone/token")).json(&json!({})).send(&server).await.expect(404);
    for (asked, code) in [(bound("Pod", "here", ""), 201), (bound("Pod", "there", ""), 403), (json!({}), 403)] {
        ask("POST", &path).by(Subject::node("n1")).json(&asked).send(&server).await.expect(code);
    }
}
