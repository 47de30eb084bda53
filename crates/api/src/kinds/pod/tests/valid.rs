//! Pods that Kubernetes accepts, and that stay accepted.

#![expect(clippy::too_many_lines, reason = "tables of cases")]

use serde_json::{Value, json};

use super::{changed, errors, pod, set};
use crate::kinds;

fn accepted() -> Vec<(&'static str, Value)> {
    let exec = json!({"exec": {"command": ["true"]}});
    vec![
        ("/restartPolicy", json!("Never")),
        ("/volumes/0", json!({"name": "data"})),
        ("/volumes/0", json!({"name": "data", "projected": {}})),
        ("/volumes/0", json!({"name": "data", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}})),
        ("/volumes/0", json!({"name": "data", "persistentVolumeClaim": {"claimName": "db.data-0", "readOnly": true}})),
        ("/volumes/0", json!({"name": "data", "hostPath": {"path": "/srv", "type": "Directory"}})),
        (
            "/volumes/0",
            json!({"name": "data", "secret": {"secretName": "s", "defaultMode": 0o777, "items": [{"key": "tls.crt", "path": "deep/x..y/z", "mode": 0}]}}),
        ),
        ("/volumes/1/configMap/items", json!([{"key": "a..b", "path": "p"}])),
        ("/volumes/1/configMap/items", json!([{"key": "k", "path": "a/b.c/d..e"}])),
        (
            "/volumes/0",
            json!({"name": "data", "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}, {"path": "cpu", "resourceFieldRef": {"containerName": "c", "resource": "limits.cpu", "divisor": "1m"}}]}}),
        ),
        ("/containers/0/volumeMounts/0/subPath", json!("a/..b/c")),
        ("/containers/0/volumeMounts/0/subPathExpr", json!("$(A)/x")),
        ("/containers/0/volumeMounts/0/mountPropagation", json!("None")),
        ("/containers/0/volumeMounts/0/recursiveReadOnly", json!("Disabled")),
        (
            "/containers/0/ports",
            json!([{"containerPort": 80, "hostPort": 80, "hostIP": "127.0.0.1"}, {"containerPort": 80, "hostPort": 80, "protocol": "UDP"}, {"containerPort": 81, "hostPort": 80, "hostIP": "192.0.2.1"}]),
        ),
        ("/containers/0/ports", json!([{"containerPort": 80, "hostPort": 0, "hostIP": ""}])),
        ("/containers/0/env", json!([{"name": "a.b-c d", "value": ""}, {"name": "EMPTY"}])),
        (
            "/containers/0/env",
            json!([{"name": "A", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.annotations['Ex.org/A']"}}}]),
        ),
        (
            "/containers/0/env",
            json!([{"name": "A", "value": "", "valueFrom": {"resourceFieldRef": {"resource": "requests.memory", "divisor": "1Mi"}}}]),
        ),
        (
            "/containers/0/envFrom",
            json!([{"prefix": "P_", "configMapRef": {"name": "m", "optional": true}}, {"secretRef": {"name": "s"}}]),
        ),
        (
            "/containers/0/livenessProbe",
            json!({"httpGet": {"port": "web", "httpHeaders": [{"name": "X-A", "value": "b"}]}, "successThreshold": 0, "terminationGracePeriodSeconds": 1}),
        ),
        (
            "/containers/0/readinessProbe",
            json!({"tcpSocket": {"port": 65_535}, "successThreshold": 3, "timeoutSeconds": 0}),
        ),
        ("/containers/0/startupProbe", exec.clone()),
        (
            "/containers/0/lifecycle",
            json!({"postStart": exec, "preStop": {"sleep": {"seconds": 30}}, "stopSignal": "SIGINT"}),
        ),
        ("/containers/0/lifecycle", json!({})),
        (
            "/containers/0/resources",
            json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "0.5", "memory": "1024Mi"}}),
        ),
        ("/containers/0/resources", json!({"limits": {"ex.org/gpu": "2"}, "requests": {"cpu": "1"}})),
        ("/containers/0/resources", json!({"limits": {"hugepages-2Mi": "4Mi", "memory": "1Gi"}})),
        (
            "/containers/0/securityContext",
            json!({"runAsUser": 0, "allowPrivilegeEscalation": true, "privileged": false, "procMount": "Default", "seLinuxOptions": {}}),
        ),
        (
            "/containers/0/securityContext",
            json!({"capabilities": {"drop": ["ALL"], "add": ["net_admin", "CAP_SYS_TIME"]}, "seccompProfile": {"type": "Localhost", "localhostProfile": "audit.json"}}),
        ),
        ("/containers/0/securityContext", json!({"appArmorProfile": {"type": "Unconfined"}})),
        ("/containers/0/terminationMessagePolicy", json!("FallbackToLogsOnError")),
        ("/containers/0/resizePolicy", json!([{"resourceName": "cpu", "restartPolicy": "NotRequired"}])),
        (
            "/securityContext",
            json!({"runAsUser": 2_147_483_647, "fsGroup": 0, "fsGroupChangePolicy": "OnRootMismatch", "supplementalGroups": [1, 2], "supplementalGroupsPolicy": "Merge", "sysctls": []}),
        ),
        ("/dnsPolicy", json!("ClusterFirstWithHostNet")),
        (
            "/dnsConfig",
            json!({"nameservers": ["192.0.2.1", "2001:db8::1"], "searches": [".", "_tcp.a_b.example."], "options": [{"name": "ndots", "value": "2"}, {"name": "rotate"}]}),
        ),
        ("/hostAliases", json!([{"ip": "::1", "hostnames": ["a.b"]}, {"ip": "192.0.2.1"}])),
        ("/hostname", json!("h")),
        ("/subdomain", json!("")),
        (
            "/tolerations",
            json!([{"operator": "Exists"}, {"key": "a", "value": "b", "effect": "NoSchedule"}, {"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": -1}]),
        ),
        (
            "/affinity",
            json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}, {"key": "n", "operator": "Gt", "values": ["5"]}], "matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}]}}}),
        ),
        (
            "/affinity",
            json!({"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"a": "b"}}}}]}}),
        ),
        (
            "/topologySpreadConstraints",
            json!([{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}]),
        ),
        ("/schedulingGates", json!([{"name": "ex.org/wait"}])),
        ("/readinessGates", json!([{"conditionType": "ex.org/ready"}])),
        ("/priorityClassName", json!("system-node-critical")),
        ("/priority", json!(0)),
        ("/preemptionPolicy", json!("PreemptLowerPriority")),
        ("/serviceAccountName", json!("a.b")),
        ("/imagePullSecrets", json!([{"name": "registry"}])),
        ("/os", json!({"name": "linux"})),
        ("/hostUsers", json!(true)),
        ("/hostNetwork", json!(false)),
        ("/enableServiceLinks", json!(true)),
        ("/automountServiceAccountToken", json!(false)),
        ("/activeDeadlineSeconds", json!(1)),
        ("/terminationGracePeriodSeconds", json!(0)),
        ("/nodeName", json!("node.example")),
        ("/schedulerName", json!("mine")),
        ("/setHostnameAsFQDN", json!(false)),
    ]
}

#[test]
fn what_kubernetes_accepts_is_accepted() {
    for (pointer, value) in accepted() {
        let spec = changed(&[(pointer, value.clone())]);
        // A set says of its own what its pods may not: when they end.
        if !["/restartPolicy", "/activeDeadlineSeconds"].contains(&pointer) {
            let volumeless = pointer == "/volumes/0" && value.as_object().is_some_and(|volume| volume.len() == 1);
            if !volumeless {
                assert_eq!(errors("statefulsets", set(spec.clone()), None), [], "{pointer} {value}");
            }
        }
        assert_eq!(errors("pods", pod(spec), None), [], "{pointer} {value}");
    }
    let in_host_network = changed(&[("/hostNetwork", json!(true))]);
    assert_eq!(errors("pods", pod(in_host_network), None), []);
}

#[test]
fn defaults_twice_are_defaults_once() {
    let kind = kinds::find("pods").unwrap();
    for (pointer, value) in accepted() {
        let once = kind.admit(pod(changed(&[(pointer, value.clone())])), None).unwrap().object;
        let twice = kind.admit(once.clone(), Some(&once)).unwrap().object;
        assert_eq!(once, twice, "{pointer} {value}");
    }
}

#[test]
fn what_is_accepted_and_does_not_happen_is_said() {
    let kind = kinds::find("pods").unwrap();
    let warned = |changes: &[(&str, Value)]| {
        let warnings = kind.admit(pod(changed(changes)), None).unwrap().warnings;
        warnings.into_iter().map(|text| text.split(": ").next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(warned(&[]), [""; 0]);
    for (pointer, value, field) in [
        ("/containers/0/env", json!([{"name": "A"}, {"name": "A"}]), "spec.containers[0].env[1]"),
        ("/containers/1/ports", json!([{"containerPort": 80}]), "spec.containers[1].ports[0]"),
        (
            "/containers/0/resources",
            json!({"limits": {"memory": "1500m"}, "requests": {"memory": "1"}}),
            "spec.containers[0].resources.limits[memory]",
        ),
        (
            "/containers/0/resources",
            json!({"limits": {"ephemeral-storage": "1Gi"}}),
            "spec.containers[0].resources.limits[ephemeral-storage]",
        ),
        (
            "/containers/0/securityContext",
            json!({"allowPrivilegeEscalation": true}),
            "spec.containers[0].securityContext.allowPrivilegeEscalation",
        ),
        ("/volumes/0", json!({"name": "data", "emptyDir": {"sizeLimit": "1Gi"}}), "spec.volumes[0].emptyDir.sizeLimit"),
        (
            "/volumes/0",
            json!({"name": "data", "hostPath": {"path": "/srv", "type": ""}}),
            "spec.volumes[0].hostPath.path",
        ),
        ("/hostNetwork", json!(true), "spec.hostNetwork"),
        (
            "/containers/0/livenessProbe",
            json!({"httpGet": {"port": 80, "host": "127.0.0.1"}}),
            "spec.containers[0].livenessProbe.httpGet.host",
        ),
        (
            "/containers/0/readinessProbe",
            json!({"tcpSocket": {"port": 80, "host": "192.0.2.1"}}),
            "spec.containers[0].readinessProbe.tcpSocket.host",
        ),
        (
            "/containers/0/securityContext",
            json!({"capabilities": {"add": ["NET_BIND_SERVICE", "NET_RAW"]}}),
            "spec.containers[0].securityContext.capabilities.add",
        ),
        (
            "/tolerations",
            json!([{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}]),
            "spec.tolerations[0].tolerationSeconds",
        ),
        ("/priorityClassName", json!("system-cluster-critical"), "spec.priorityClassName"),
    ] {
        assert_eq!(warned(&[(pointer, value.clone())]), [field], "{pointer} {value}");
    }
    let mut annotated = pod(changed(&[]));
    annotated["metadata"]["annotations"] = json!({"container.apparmor.security.beta.kubernetes.io/c": "unconfined",
        "seccomp.security.alpha.kubernetes.io/pod": "runtime/default"});
    assert_eq!(kind.admit(annotated, None).unwrap().warnings.len(), 2);
    let mut dotted = pod(changed(&[]));
    dotted["metadata"]["name"] = "a.b".into();
    let warnings = kind.admit(dotted, None).unwrap().warnings;
    assert!(warnings[0].starts_with("metadata.name: this is used in the Pod's hostname"), "{warnings:?}");
}
