//! Namespaces, service addresses, pods' grace, bundles' actions and scale.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::server::{self, ask};

#[tokio::test]
async fn objects_are_made_in_open_namespaces_only() {
    let server = server::start().await;
    let map = json!({"metadata": {"name": "m"}});
    ask("POST", "/api/v1/namespaces/none/configmaps").json(&map).send(&server).await.expect(404);
    ask("POST", "/api/v1/namespaces").json(&json!({"metadata": {"name": "n"}})).send(&server).await.expect(201);
    ask("POST", "/api/v1/namespaces/n/configmaps").json(&map).send(&server).await.expect(201);
    ask("DELETE", "/api/v1/namespaces/n").send(&server).await.expect(200);
    let late = json!({"metadata": {"name": "late"}});
    let refused = ask("POST", "/api/v1/namespaces/n/configmaps").json(&late).send(&server).await.expect(403);
    assert_eq!(refused.body["details"]["causes"][0]["reason"], "NamespaceTerminating");
    ask("DELETE", "/api/v1/namespaces/default").send(&server).await.expect(403);
    ask("POST", "/api/v1/namespaces/default/configmaps")
        .json(&json!({"metadata": {"name": "m", "namespace": "other"}}))
        .send(&server)
        .await
        .expect(400);
}

#[tokio::test]
async fn no_two_services_share_an_address_and_deleted_ones_give_it_back() {
    let server = server::start().await;
    let path = "/api/v1/namespaces/default/services";
    let service = |name: &str| json!({"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}});
    let requests = (0..30).map(|n| {
        let (server, body) = (&server, service(&format!("s{n}")));
        async move { ask("POST", path).json(&body).send(server).await.expect(201).body }
    });
    let made = futures::future::join_all(requests).await;
    let addresses: BTreeSet<&str> = made.iter().map(|s| s["spec"]["clusterIP"].as_str().unwrap()).collect();
    assert_eq!(addresses.len(), 30);
    let mut wish = service("again");
    wish["spec"]["clusterIP"] = made[0]["spec"]["clusterIP"].clone();
    ask("POST", path).json(&wish).send(&server).await.expect(422);
    ask("DELETE", &format!("{path}/s0")).send(&server).await.expect(200);
    ask("POST", path).json(&wish).send(&server).await.expect(201);
    let mut headless = service("headless");
    headless["spec"]["clusterIP"] = "None".into();
    let headless = ask("POST", path).json(&headless).send(&server).await.expect(201);
    assert_eq!(headless.body["spec"]["clusterIP"], "None");
}

#[tokio::test]
async fn a_running_pod_ends_in_grace_and_its_kubelet_finishes() {
    let server = server::start().await;
    let path = "/api/v1/namespaces/default/pods";
    let pod =
        json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]}});
    ask("POST", path).json(&pod).send(&server).await.expect(201);
    let ending = ask("DELETE", &format!("{path}/p")).send(&server).await.expect(200);
    assert_eq!(ending.body["metadata"]["deletionGracePeriodSeconds"], 30);
    ask("GET", &format!("{path}/p")).send(&server).await.expect(200);
    ask("DELETE", &format!("{path}/p?gracePeriodSeconds=0")).send(&server).await.expect(200);
    ask("GET", &format!("{path}/p")).send(&server).await.expect(404);
}

#[tokio::test]
async fn finalizers_hold_an_object_until_the_last_is_removed() {
    let server = server::start().await;
    let path = "/api/v1/namespaces/default/configmaps";
    let map = json!({"metadata": {"name": "m", "finalizers": ["a.b/c"]}});
    ask("POST", path).json(&map).send(&server).await.expect(201);
    let path = format!("{path}/m");
    let held = ask("DELETE", &path).send(&server).await.expect(200);
    assert!(held.body["metadata"]["deletionTimestamp"].is_string());
    let more = json!({"metadata": {"finalizers": ["a.b/c", "d.e/f"]}});
    ask("PATCH", &path).typed("application/merge-patch+json", &more).send(&server).await.expect(422);
    let none = json!({"metadata": {"finalizers": null}});
    ask("PATCH", &path).typed("application/merge-patch+json", &none).send(&server).await.expect(200);
    ask("GET", &path).send(&server).await.expect(404);
}

#[tokio::test]
async fn bundles_obey_actions_and_sets_scale() {
    let server = server::start().await;
    let path = "/apis/nanocloud.io/v1/namespaces/default/bundles";
    ask("POST", path).json(&json!({"spec": {"service": "redis"}})).send(&server).await.expect(201);
    let act = async |action: &str| -> Value {
        ask("POST", &format!("{path}/redis/actions/{action}")).send(&server).await.expect(202).body
    };
    assert_eq!(act("stop").await["spec"]["start"], false);
    let restarted = act("restart").await;
    assert_eq!(restarted["spec"]["start"], true);
    assert!(restarted["metadata"]["annotations"]["nanocloud.io/restarted-at"].is_string());
    ask("POST", &format!("{path}/redis/actions/uninstall")).send(&server).await.expect(200);
    ask("GET", &format!("{path}/redis")).send(&server).await.expect(404);
    ask("POST", &format!("{path}/redis/actions/start")).send(&server).await.expect(404);

    let kind = api::kinds::find("sts").unwrap();
    let sets = crate::sample::collection(kind);
    ask("POST", &sets).json(&crate::sample::object(kind, "s")).send(&server).await.expect(201);
    let patch = json!({"spec": {"replicas": 3}});
    let scale = format!("{sets}/s/scale");
    let scaled = ask("PATCH", &scale).typed("application/merge-patch+json", &patch).send(&server).await.expect(200);
    assert_eq!((&scaled.body["kind"], &scaled.body["spec"]["replicas"]), (&json!("Scale"), &json!(3)));
    assert_eq!(scaled.body["status"]["selector"], "app=x");
    let set = ask("GET", &format!("{sets}/s")).send(&server).await.expect(200);
    assert_eq!((&set.body["spec"]["replicas"], &set.body["metadata"]["generation"]), (&json!(3), &json!(2)));
}

#[tokio::test]
async fn a_pod_needs_its_service_account_and_takes_its_logins() {
    let server = server::start().await;
    let namespace = "/api/v1/namespaces/default";
    let pod = |name: &str, account: &str| {
        json!({"metadata": {"name": name},
            "spec": {"serviceAccountName": account, "containers": [{"name": "c", "image": "i"}]}})
    };
    let pods = format!("{namespace}/pods");
    let refused = ask("POST", &pods).json(&pod("p", "builder")).send(&server).await.expect(403);
    let message = refused.body["message"].as_str().unwrap();
    assert!(message.contains("serviceaccount \"builder\" not found"), "{message}");
    let account = json!({"metadata": {"name": "builder"}, "imagePullSecrets": [{"name": "registry"}]});
    ask("POST", &format!("{namespace}/serviceaccounts")).json(&account).send(&server).await.expect(201);
    let made = ask("POST", &pods).json(&pod("p", "builder")).send(&server).await.expect(201);
    assert_eq!(made.body["spec"]["imagePullSecrets"], json!([{"name": "registry"}]));
    let plain = json!({"metadata": {"name": "q"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let made = ask("POST", &pods).json(&plain).send(&server).await.expect(201);
    assert_eq!(made.body["spec"]["imagePullSecrets"], Value::Null);
    let sources = &made.body["spec"]["volumes"][0]["projected"]["sources"];
    assert_eq!(sources[0]["serviceAccountToken"], json!({"expirationSeconds": 3607, "path": "token"}));
    assert_eq!(made.headers.get("warning"), None, "everything that is mounted is served");
}
