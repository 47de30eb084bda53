//! Ranges of limits fill and refuse new pods and claims.

use serde_json::{Value, json};

use crate::server::{self, ask};

const PODS: &str = "/api/v1/namespaces/default/pods";
const RANGES: &str = "/api/v1/namespaces/default/limitranges";

fn pod(name: &str, resources: Value) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i", "resources": resources}]}})
}

fn range(name: &str, item: Value) -> Value {
    json!({"metadata": {"name": name}, "spec": {"limits": [item]}})
}

#[tokio::test]
async fn a_new_pod_gets_defaults_and_keeps_to_the_range() {
    let server = server::start().await;
    let item = json!({"type": "Container", "default": {"cpu": "500m"}, "defaultRequest": {"cpu": "100m"},
        "max": {"cpu": "1"}});
    ask("POST", RANGES).json(&range("l", item)).send(&server).await.expect(201);
    let made = ask("POST", PODS).json(&pod("plain", json!({}))).send(&server).await.expect(201).body;
    let container = &made["spec"]["containers"][0];
    assert_eq!(container["resources"], json!({"limits": {"cpu": "500m"}, "requests": {"cpu": "100m"}}));
    let said = "LimitRanger plugin set: cpu request for container c; cpu limit for container c";
    assert_eq!(made["metadata"]["annotations"]["kubernetes.io/limit-ranger"], said);
    let owned = made["metadata"]["managedFields"].to_string();
    assert!(!owned.contains("f:cpu"), "defaults belong to no manager: {owned}");

    let limited = pod("limited", json!({"limits": {"cpu": "300m"}}));
    let made = ask("POST", PODS).json(&limited).send(&server).await.expect(201).body;
    let requests = &made["spec"]["containers"][0]["resources"]["requests"];
    assert_eq!(*requests, json!({"cpu": "300m"}), "its own limit comes before the default request");

    let large = pod("large", json!({"limits": {"cpu": "2"}}));
    let refused = ask("POST", PODS).json(&large).send(&server).await.expect(403).body;
    let text = "pods \"large\" is forbidden: maximum cpu usage per Container is 1, but limit is 2";
    assert_eq!((&refused["message"], &refused["reason"]), (&json!(text), &json!("Forbidden")));
    assert_eq!((&refused["details"]["name"], &refused["details"]["kind"]), (&json!("large"), &json!("pods")));
    ask("POST", &format!("{PODS}?dryRun=All")).json(&large).send(&server).await.expect(403);
    let apply = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "large"}, "spec": large["spec"]});
    let applied = ask("PATCH", &format!("{PODS}/large?fieldManager=m"));
    applied.typed("application/apply-patch+yaml", &apply).send(&server).await.expect(403);

    // More is requested than the default limits: what comes of both is not valid.
    let uneven = pod("uneven", json!({"requests": {"cpu": "700m"}}));
    ask("POST", PODS).json(&uneven).send(&server).await.expect(422);
    ask("DELETE", &format!("{RANGES}/l")).send(&server).await.expect(200);
    ask("POST", PODS).json(&large).send(&server).await.expect(201);
}

#[tokio::test]
async fn every_range_is_kept_and_all_faults_are_named() {
    let server = server::start().await;
    let item = json!({"type": "Pod", "min": {"cpu": "1", "memory": "1Gi"}});
    ask("POST", RANGES).json(&range("pods", item)).send(&server).await.expect(201);
    let small = pod("small", json!({"requests": {"cpu": "100m"}}));
    let refused = ask("POST", PODS).json(&small).send(&server).await.expect(403).body;
    assert_eq!(
        refused["message"],
        "pods \"small\" is forbidden: [minimum cpu usage per Pod is 1, but request is 100m, minimum memory usage per \
         Pod is 1Gi.  No request is specified]"
    );
    let item = json!({"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}});
    ask("POST", RANGES).json(&range("claims", item)).send(&server).await.expect(201);
    let claims = "/api/v1/namespaces/default/persistentvolumeclaims";
    let claim = |storage: &str| {
        json!({"metadata": {"name": "c"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": storage}}}})
    };
    let refused = ask("POST", claims).json(&claim("2Gi")).send(&server).await.expect(403).body;
    assert_eq!(
        refused["message"],
        "persistentvolumeclaims \"c\" is forbidden: maximum storage usage per PersistentVolumeClaim is 1Gi, but \
         request is 2Gi"
    );
    ask("POST", claims).json(&claim("1Gi")).send(&server).await.expect(201);
}
