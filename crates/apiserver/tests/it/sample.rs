//! A valid object of every kind, and where it lives.

use api::Kind;
use serde_json::{Value, json};

/// A valid object. A kind without a line here must be valid with metadata alone.
pub fn object(kind: &Kind, name: &str) -> Value {
    let pod = json!({"containers": [{"name": "main", "image": "redis:7"}]});
    let mut ending = pod.clone();
    ending["restartPolicy"] = json!("Never");
    let mut object = match kind.kind() {
        "Pod" => json!({"spec": pod}),
        "Service" => json!({"spec": {"ports": [{"port": 80}], "selector": {"app": "x"}}}),
        "PersistentVolumeClaim" => {
            json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}})
        }
        "StatefulSet" | "ReplicaSet" | "Deployment" | "DaemonSet" => json!({"spec": {
            "selector": {"matchLabels": {"app": "x"}},
            "template": {"metadata": {"labels": {"app": "x"}}, "spec": pod},
        }}),
        "Job" => json!({"spec": {"template": {"spec": ending}}}),
        "CronJob" => json!({"spec": {"schedule": "@daily", "jobTemplate": {"spec": {"template": {"spec": ending}}}}}),
        "ReplicationController" => {
            json!({"spec": {"template": {"metadata": {"labels": {"app": "x"}}, "spec": pod}}})
        }
        "PodTemplate" => json!({"template": {"metadata": {"labels": {"app": "x"}}, "spec": pod}}),
        "ControllerRevision" => json!({"data": {"spec": {}}, "revision": 1}),
        "Event" => json!({"involvedObject": {"kind": "Pod", "name": "p"}, "reason": "Started", "message": "m"}),
        "EndpointSlice" => json!({"addressType": "IPv4", "endpoints": [{"addresses": ["10.9.8.7"]}]}),
        "RoleBinding" | "ClusterRoleBinding" => json!({"roleRef": {"kind": "ClusterRole", "name": "view"}}),
        "Bundle" => json!({"spec": {"service": "redis"}}),
        "Binding" => json!({"spec": {
            "bundle": "wordpress", "bindingId": "create_user", "command": ["/bin/true"],
            "target": {"bundle": "mariadb", "service": "mariadb"},
        }}),
        "CustomResourceDefinition" => {
            let version = json!({"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object"}}});
            let (plural, group) = name.split_once('.').unwrap_or((name, ""));
            let names = json!({"plural": plural, "kind": "Widget"});
            json!({"spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [version]}})
        }
        "Token" => json!({"spec": {"user": "u", "expiresAt": "2040-01-01T00:00:00Z", "digest": "00"}}),
        _ => json!({}),
    };
    object["metadata"] = json!({"name": name, "labels": {"suite": "conformance"}});
    object
}

/// A name that an object of the kind may have.
pub fn name(kind: &Kind) -> &'static str {
    if kind.kind() == "CustomResourceDefinition" { "xs.example.com" } else { "x" }
}

/// The collection's path in namespace `default`.
pub fn collection(kind: &Kind) -> String {
    let base = if kind.group().is_empty() { "/api".to_owned() } else { format!("/apis/{}", kind.group()) };
    let place = if kind.is_namespaced() { "/namespaces/default" } else { "" };
    format!("{base}/{}{place}/{}", kind.version(), kind.plural())
}
