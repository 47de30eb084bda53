//! What a pod gets that says nothing else.

use serde_json::{Value, json};

use super::{changed, pod, set};
use crate::kinds;

fn admitted(kind: &str, object: Value) -> Value {
    kinds::find(kind).unwrap().admit(object, None).unwrap().object
}

#[test]
fn a_pod_gets_what_kubernetes_gives() {
    let env = json!([{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "B", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}]);
    for (changes, pointer, wanted) in [
        (
            vec![(
                "/containers/0/resources",
                json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}),
            )],
            "/containers/0/resources/requests",
            json!({"cpu": "500m", "memory": "1Gi"}),
        ),
        (
            vec![("/initContainers/0/resources", json!({"limits": {"ex.org/gpu": "1"}}))],
            "/initContainers/0/resources/requests",
            json!({"ex.org/gpu": "1"}),
        ),
        (vec![], "/containers/0/resources", json!({})),
        (vec![("/serviceAccount", json!("sa1"))], "/serviceAccountName", json!("sa1")),
        (
            vec![("/serviceAccount", json!("sa1")), ("/serviceAccountName", json!("sa2"))],
            "/serviceAccount",
            json!("sa2"),
        ),
        (vec![], "/serviceAccount", json!("default")),
        (vec![("/volumes/0", json!({"name": "data"}))], "/volumes/0/emptyDir", json!({})),
        (
            vec![("/volumes/0", json!({"name": "data", "projected": {}}))],
            "/volumes/0/projected",
            json!({"defaultMode": 420, "sources": []}),
        ),
        (
            vec![("/volumes/0", json!({"name": "data", "downwardAPI": {}}))],
            "/volumes/0/downwardAPI/defaultMode",
            json!(420),
        ),
        (
            vec![("/volumes/0", json!({"name": "data", "hostPath": {"path": "/x"}}))],
            "/volumes/0/hostPath/type",
            json!(""),
        ),
        (vec![("/containers/0/env", env.clone())], "/containers/0/env/0/valueFrom/fieldRef/apiVersion", json!("v1")),
        (vec![("/containers/0/env", env)], "/containers/0/env/1/valueFrom/resourceFieldRef/divisor", json!("0")),
        (vec![("/hostNetwork", json!(true))], "/containers/0/ports/0/hostPort", json!(80)),
        (vec![("/terminationGracePeriodSeconds", json!(-1))], "/terminationGracePeriodSeconds", json!(1)),
        (
            vec![("/containers/0/readinessProbe", json!({"tcpSocket": {"port": 1}, "timeoutSeconds": 0}))],
            "/containers/0/readinessProbe/timeoutSeconds",
            json!(1),
        ),
    ] {
        let found = admitted("pods", pod(changed(&changes)));
        assert_eq!(found["spec"].pointer(pointer), Some(&wanted), "{changes:?}");
    }
}

#[test]
fn a_service_of_a_grpc_probe_is_never_missing() {
    use crate::Resource as _;
    let probe = json!({"grpc": {"port": 9}});
    let mut pod: super::Pod = serde_json::from_value(pod(changed(&[("/containers/0/readinessProbe", probe)]))).unwrap();
    pod.apply_defaults();
    let container = pod.spec.unwrap().containers.remove(0);
    assert_eq!(container.readiness_probe.unwrap().grpc.unwrap().service.as_deref(), Some(""));
}

#[test]
fn a_template_gets_what_it_always_got() {
    // The revision of a set is made of its template: another default would restart its pods at the next change.
    let template = admitted(
        "statefulsets",
        set(
            json!({"volumes": [{"name": "h", "hostPath": {"path": "/x"}}, {"name": "s", "secret": {"secretName": "s"}}],
        "containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 1}],
            "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "readinessProbe": {"httpGet": {"port": 1}}, "resources": {"limits": {"cpu": "1"}}}]}),
        ),
    );
    let wanted = json!({
        "containers": [{"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}], "image": "i",
            "imagePullPolicy": "Always", "name": "c", "ports": [{"containerPort": 1, "protocol": "TCP"}],
            "readinessProbe": {"failureThreshold": 3, "httpGet": {"path": "/", "port": 1, "scheme": "HTTP"},
                "periodSeconds": 10, "successThreshold": 1, "timeoutSeconds": 1},
            "resources": {"limits": {"cpu": "1"}},
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}],
        "dnsPolicy": "ClusterFirst", "enableServiceLinks": true, "restartPolicy": "Always",
        "schedulerName": "default-scheduler", "securityContext": {}, "serviceAccountName": "default",
        "terminationGracePeriodSeconds": 30,
        "volumes": [{"hostPath": {"path": "/x"}, "name": "h"}, {"name": "s", "secret": {"defaultMode": 420, "secretName": "s"}}],
    });
    assert_eq!(template["spec"]["template"]["spec"], wanted);
}
