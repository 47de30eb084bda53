//! What is refused of a pod beside its containers.

#![expect(clippy::too_many_lines, reason = "tables of cases")]

use serde_json::{Value, json};

use super::{one, refuses};
use crate::kinds::pod::tests::{changed, errors, pod, set};

#[test]
fn volumes() {
    let first = |volume: Value| -> Vec<(&'static str, Value)> { vec![("/volumes/0", volume)] };
    let item = |item: Value| -> Vec<(&'static str, Value)> { vec![("/volumes/1/configMap/items", json!([item]))] };
    let downward = |item: Value| first(json!({"name": "data", "downwardAPI": {"items": [item]}}));
    let projected = |source: Value| first(json!({"name": "data", "projected": {"sources": [source]}}));
    let secret = |secret: Value| first(json!({"name": "data", "secret": secret}));
    let mut cases = vec![
        (
            first(json!({"name": "data", "emptyDir": {}, "hostPath": {"path": "/x"}})),
            "volumes[0].hostPath",
            "Forbidden",
        ),
        (vec![("/volumes/1/name", json!("data"))], "volumes[1].name", "Duplicate"),
        (vec![("/volumes/1/name", json!(""))], "volumes[1].name", "Required"),
        (secret(json!({})), "volumes[0].secret.secretName", "Required"),
        (secret(json!({"secretName": "a/b"})), "volumes[0].secret.secretName", "Invalid"),
        (secret(json!({"secretName": "s", "defaultMode": 512})), "volumes[0].secret.defaultMode", "Invalid"),
        (secret(json!({"secretName": "s", "defaultMode": -1})), "volumes[0].secret.defaultMode", "Invalid"),
        (vec![("/volumes/1/configMap/name", json!(""))], "volumes[1].configMap.name", "Required"),
        (vec![("/volumes/1/configMap/name", json!("../m"))], "volumes[1].configMap.name", "Invalid"),
        (vec![("/volumes/1/configMap/defaultMode", json!(0o1000))], "volumes[1].configMap.defaultMode", "Invalid"),
        (item(json!({"key": "", "path": "p"})), "volumes[1].configMap.items[0].key", "Required"),
        (item(json!({"key": "a/b", "path": "p"})), "volumes[1].configMap.items[0].key", "Invalid"),
        (item(json!({"key": "k", "path": ""})), "volumes[1].configMap.items[0].path", "Required"),
        (item(json!({"key": "k", "path": "p", "mode": 512})), "volumes[1].configMap.items[0].mode", "Invalid"),
        (
            first(json!({"name": "data", "persistentVolumeClaim": {"claimName": ""}})),
            "volumes[0].persistentVolumeClaim.claimName",
            "Required",
        ),
        (
            first(json!({"name": "data", "persistentVolumeClaim": {"claimName": "../x"}})),
            "volumes[0].persistentVolumeClaim.claimName",
            "Invalid",
        ),
        (first(json!({"name": "data", "hostPath": {"path": ""}})), "volumes[0].hostPath.path", "Required"),
        (first(json!({"name": "data", "hostPath": {"path": "/a/../b"}})), "volumes[0].hostPath.path", "Invalid"),
        (
            first(json!({"name": "data", "hostPath": {"path": "/a", "type": "Foo"}})),
            "volumes[0].hostPath.type",
            "NotSupported",
        ),
        (first(json!({"name": "data", "emptyDir": {"sizeLimit": "-1"}})), "volumes[0].emptyDir.sizeLimit", "Forbidden"),
        (
            first(json!({"name": "data", "emptyDir": {"medium": "HugePages"}})),
            "volumes[0].emptyDir.medium",
            "NotSupported",
        ),
        (downward(json!({"path": "p"})), "volumes[0].downwardAPI.items[0]", "Required"),
        (
            downward(json!({"path": "p", "fieldRef": {"fieldPath": "status.podIP"}})),
            "volumes[0].downwardAPI.items[0].fieldRef.fieldPath",
            "NotSupported",
        ),
        (
            downward(json!({"path": "p", "resourceFieldRef": {"resource": "limits.cpu"}})),
            "volumes[0].downwardAPI.items[0].resourceFieldRef.containerName",
            "Required",
        ),
        (
            downward(json!({"path": "../p", "fieldRef": {"fieldPath": "metadata.name"}})),
            "volumes[0].downwardAPI.items[0].path",
            "Invalid",
        ),
        (projected(json!({})), "volumes[0].projected.sources[0]", "Required"),
        (
            projected(json!({"secret": {"name": "s"}, "configMap": {"name": "m"}})),
            "volumes[0].projected.sources[0]",
            "Forbidden",
        ),
        (projected(json!({"secret": {"name": ""}})), "volumes[0].projected.sources[0].secret.name", "Required"),
        (
            projected(json!({"secret": {"name": "s", "items": [{"key": "k", "path": "/p"}]}})),
            "volumes[0].projected.sources[0].secret.items[0].path",
            "Invalid",
        ),
        (
            projected(json!({"serviceAccountToken": {"path": "p", "expirationSeconds": 60}})),
            "volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds",
            "Invalid",
        ),
        (first(json!({"name": "data", "nfs": {"server": "s", "path": "/"}})), "volumes[0].nfs", "Forbidden"),
        (first(json!({"name": "data", "flocker": {}})), "volumes[0].flocker", "Forbidden"),
        (first(json!({"name": "data", "ephemeral": {}})), "volumes[0].ephemeral", "Forbidden"),
        (first(json!({"name": "data", "csi": {"driver": "d"}})), "volumes[0].csi", "Forbidden"),
    ];
    for name in ["a/b", "../x", "/etc", "a.b", "A", "..", "a\u{0}"] {
        cases.push((vec![("/volumes/1/name", json!(name))], "volumes[1].name", "Invalid"));
    }
    for path in ["/p", "../p", "a/../p", "..data", "a/..b", ".", "./", "a\u{0}"] {
        cases.push((item(json!({"key": "k", "path": path})), "volumes[1].configMap.items[0].path", "Invalid"));
    }
    refuses(cases);
}

#[test]
fn names_and_resolution() {
    let many = |count: usize| json!((0..count).map(|n| format!("192.0.2.{n}")).collect::<Vec<_>>());
    let domains = json!((0..33).map(|n| format!("d{n}")).collect::<Vec<_>>());
    refuses(vec![
        one("/dnsPolicy", json!("Foo"), "dnsPolicy", "NotSupported"),
        one("/dnsPolicy", json!("None"), "dnsConfig", "Required"),
        (vec![("/dnsPolicy", json!("None")), ("/dnsConfig", json!({}))], "dnsConfig.nameservers", "Required"),
        one("/dnsConfig/nameservers", many(4), "dnsConfig.nameservers", "Invalid"),
        one("/dnsConfig/nameservers", json!(["ns.example"]), "dnsConfig.nameservers[0]", "Invalid"),
        one("/dnsConfig/searches", json!(["a b"]), "dnsConfig.searches[0]", "Invalid"),
        one("/dnsConfig/searches", json!(["a\nnameserver 192.0.2.1"]), "dnsConfig.searches[0]", "Invalid"),
        one("/dnsConfig/searches", domains, "dnsConfig.searches", "Invalid"),
        one("/dnsConfig/options", json!([{"value": "1"}]), "dnsConfig.options[0]", "Required"),
        one("/hostname", json!("a.b"), "hostname", "Invalid"),
        one("/hostname", json!("../x"), "hostname", "Invalid"),
        one("/hostname", json!("a".repeat(64)), "hostname", "Invalid"),
        one("/subdomain", json!("a.b"), "subdomain", "Invalid"),
        one("/hostAliases", json!([{"ip": "x", "hostnames": ["a"]}]), "hostAliases[0].ip", "Invalid"),
        one("/hostAliases", json!([{"ip": "192.0.2.1", "hostnames": ["a b"]}]), "hostAliases[0].hostnames", "Invalid"),
        one(
            "/hostAliases",
            json!([{"ip": "192.0.2.1", "hostnames": ["a\n127.0.0.1 b"]}]),
            "hostAliases[0].hostnames",
            "Invalid",
        ),
    ]);
}

#[test]
fn the_pod_as_a_whole() {
    refuses(vec![
        one("/restartPolicy", json!("Sometimes"), "restartPolicy", "NotSupported"),
        one("/activeDeadlineSeconds", json!(0), "activeDeadlineSeconds", "Invalid"),
        one("/activeDeadlineSeconds", json!(i64::from(i32::MAX) + 1), "activeDeadlineSeconds", "Invalid"),
        one("/serviceAccountName", json!("a/b"), "serviceAccountName", "Invalid"),
        one("/ephemeralContainers", json!([{"name": "e", "image": "i"}]), "ephemeralContainers", "Forbidden"),
        one("/os", json!({"name": "windows"}), "os.name", "NotSupported"),
        one("/hostPID", json!(true), "hostPID", "Forbidden"),
        one("/hostIPC", json!(true), "hostIPC", "Forbidden"),
        one("/hostUsers", json!(false), "hostUsers", "Forbidden"),
        one("/shareProcessNamespace", json!(true), "shareProcessNamespace", "Forbidden"),
        one("/runtimeClassName", json!("gvisor"), "runtimeClassName", "Forbidden"),
        one("/overhead", json!({"cpu": "1"}), "overhead", "Forbidden"),
        one("/resourceClaims", json!([{"name": "a"}]), "resourceClaims", "Forbidden"),
        one("/priorityClassName", json!("mine"), "priorityClassName", "Forbidden"),
        one("/priority", json!(5), "priority", "NotSupported"),
        one("/priority", json!(2_000_000_000), "priority", "Forbidden"),
        one("/preemptionPolicy", json!("Never"), "preemptionPolicy", "NotSupported"),
    ]);
}

#[test]
fn security() {
    let own = |field: &'static str, value: Value, at: &'static str, reason| {
        let mut context = json!({});
        context[field] = value;
        one("/containers/0/securityContext", context, at, reason)
    };
    let whole = |field: &'static str, value: Value, at: &'static str, reason| {
        let mut context = json!({});
        context[field] = value;
        one("/securityContext", context, at, reason)
    };
    let localhost = |profile: Value| json!({"type": "Localhost", "localhostProfile": profile});
    refuses(vec![
        own("runAsUser", json!(-1), "containers[0].securityContext.runAsUser", "Invalid"),
        own("runAsGroup", json!(4_294_967_296_i64), "containers[0].securityContext.runAsGroup", "Invalid"),
        own("privileged", json!(true), "containers[0].securityContext.privileged", "Forbidden"),
        own("procMount", json!("Unmasked"), "containers[0].securityContext.procMount", "NotSupported"),
        own("procMount", json!("Foo"), "containers[0].securityContext.procMount", "NotSupported"),
        own(
            "capabilities",
            json!({"add": ["MKNOD"]}),
            "containers[0].securityContext.capabilities.add",
            "NotSupported",
        ),
        own("capabilities", json!({"add": ["ALL"]}), "containers[0].securityContext.capabilities.add", "NotSupported"),
        own("capabilities", json!({"add": ["a b"]}), "containers[0].securityContext.capabilities.add", "Invalid"),
        own("seLinuxOptions", json!({"level": "s0"}), "containers[0].securityContext.seLinuxOptions", "Forbidden"),
        own(
            "windowsOptions",
            json!({"runAsUserName": "x"}),
            "containers[0].securityContext.windowsOptions",
            "Forbidden",
        ),
        own(
            "appArmorProfile",
            json!({"type": "RuntimeDefault"}),
            "containers[0].securityContext.appArmorProfile.type",
            "NotSupported",
        ),
        own(
            "seccompProfile",
            json!({"type": "Foo"}),
            "containers[0].securityContext.seccompProfile.type",
            "NotSupported",
        ),
        own(
            "seccompProfile",
            json!({"type": "Unconfined"}),
            "containers[0].securityContext.seccompProfile.type",
            "NotSupported",
        ),
        own(
            "seccompProfile",
            json!({"type": "Localhost"}),
            "containers[0].securityContext.seccompProfile.localhostProfile",
            "Required",
        ),
        own(
            "seccompProfile",
            localhost(json!("../x")),
            "containers[0].securityContext.seccompProfile.localhostProfile",
            "Invalid",
        ),
        own(
            "seccompProfile",
            localhost(json!("a/b.json")),
            "containers[0].securityContext.seccompProfile.localhostProfile",
            "Invalid",
        ),
        own(
            "seccompProfile",
            json!({"type": "RuntimeDefault", "localhostProfile": "x"}),
            "containers[0].securityContext.seccompProfile.localhostProfile",
            "Invalid",
        ),
        one(
            "/containers/0/securityContext",
            json!({"privileged": true, "allowPrivilegeEscalation": false}),
            "containers[0].securityContext",
            "Invalid",
        ),
        whole("runAsUser", json!(-1), "securityContext.runAsUser", "Invalid"),
        whole("fsGroup", json!(-1), "securityContext.fsGroup", "Invalid"),
        whole("supplementalGroups", json!([1, -1]), "securityContext.supplementalGroups[1]", "Invalid"),
        whole("fsGroupChangePolicy", json!("Foo"), "securityContext.fsGroupChangePolicy", "NotSupported"),
        whole("supplementalGroupsPolicy", json!("Foo"), "securityContext.supplementalGroupsPolicy", "NotSupported"),
        whole(
            "sysctls",
            json!([{"name": "net.ipv4.ip_forward", "value": "1"}]),
            "securityContext.sysctls",
            "Forbidden",
        ),
        whole(
            "seccompProfile",
            json!({"type": "Localhost"}),
            "securityContext.seccompProfile.localhostProfile",
            "Required",
        ),
        whole("seLinuxChangePolicy", json!("Recursive"), "securityContext.seLinuxChangePolicy", "Forbidden"),
    ]);
}

#[test]
fn scheduling() {
    let node = |required: Value| -> Vec<(&'static str, Value)> {
        vec![("/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution", required)]
    };
    let expression = |expression: Value| node(json!({"nodeSelectorTerms": [{"matchExpressions": [expression]}]}));
    let toleration = |toleration: Value| -> Vec<(&'static str, Value)> { vec![("/tolerations", json!([toleration]))] };
    let spread = |field: &str, value: Value| -> Vec<(&'static str, Value)> {
        let mut constraint = json!({"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"});
        constraint[field] = value;
        vec![("/topologySpreadConstraints", json!([constraint]))]
    };
    let pods = |term: Value| -> Vec<(&'static str, Value)> {
        vec![("/affinity/podAffinity/preferredDuringSchedulingIgnoredDuringExecution", json!([term]))]
    };
    refuses(vec![
        one("/nodeName", json!("a b"), "nodeName", "Invalid"),
        one("/nodeSelector", json!({"a b": "c"}), "nodeSelector", "Invalid"),
        one("/nodeSelector", json!({"a": "b c"}), "nodeSelector", "Invalid"),
        (
            node(json!({"nodeSelectorTerms": []})),
            "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms",
            "Required",
        ),
        (
            expression(json!({"key": "a", "operator": "In"})),
            "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].values",
            "Required",
        ),
        (
            expression(json!({"key": "a", "operator": "Exists", "values": ["b"]})),
            "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].values",
            "Forbidden",
        ),
        (
            expression(json!({"key": "a", "operator": "Gt", "values": []})),
            "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].values",
            "Required",
        ),
        (
            expression(json!({"key": "a", "operator": "Foo"})),
            "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].operator",
            "Invalid",
        ),
        (
            expression(json!({"key": "a b", "operator": "Exists"})),
            "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].key",
            "Invalid",
        ),
        (
            vec![(
                "/affinity/nodeAffinity/preferredDuringSchedulingIgnoredDuringExecution",
                json!([{"weight": 0, "preference": {}}]),
            )],
            "affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight",
            "Invalid",
        ),
        (
            pods(json!({"weight": 101, "podAffinityTerm": {"topologyKey": "a"}})),
            "affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight",
            "Invalid",
        ),
        (
            pods(json!({"weight": 1, "podAffinityTerm": {"topologyKey": ""}})),
            "affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.topologyKey",
            "Required",
        ),
        (
            vec![(
                "/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution",
                json!([{"topologyKey": "a"}]),
            )],
            "affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution",
            "Forbidden",
        ),
        (spread("maxSkew", json!(0)), "topologySpreadConstraints[0].maxSkew", "Invalid"),
        (spread("topologyKey", json!("")), "topologySpreadConstraints[0].topologyKey", "Required"),
        (spread("whenUnsatisfiable", json!("Foo")), "topologySpreadConstraints[0].whenUnsatisfiable", "NotSupported"),
        (
            spread("whenUnsatisfiable", json!("DoNotSchedule")),
            "topologySpreadConstraints[0].whenUnsatisfiable",
            "NotSupported",
        ),
        (toleration(json!({"key": "a", "operator": "Foo"})), "tolerations[0].operator", "NotSupported"),
        (
            toleration(json!({"key": "a", "operator": "Exists", "effect": "Foo"})),
            "tolerations[0].effect",
            "NotSupported",
        ),
        (toleration(json!({"key": "a", "operator": "Exists", "value": "b"})), "tolerations[0].operator", "Invalid"),
        (toleration(json!({"operator": "Equal", "value": "b"})), "tolerations[0].operator", "Invalid"),
        (toleration(json!({"key": "a b", "operator": "Exists"})), "tolerations[0].key", "Invalid"),
        (
            toleration(json!({"key": "a", "operator": "Exists", "tolerationSeconds": 5})),
            "tolerations[0].effect",
            "Invalid",
        ),
        (vec![("/schedulingGates", json!([{"name": "a"}])), ("/nodeName", json!("n"))], "nodeName", "Forbidden"),
        one("/schedulingGates", json!([{"name": "a"}, {"name": "a"}]), "schedulingGates[1]", "Duplicate"),
        one("/schedulingGates", json!([{"name": "a b"}]), "schedulingGates[0]", "Invalid"),
        one("/readinessGates", json!([{"conditionType": "a b"}]), "readinessGates[0].conditionType", "Invalid"),
    ]);
}

#[test]
fn only_templates_and_only_pods() {
    let mut template = set(changed(&[]));
    template["spec"]["template"]["metadata"]["annotations"] = json!({"a b": "c"});
    assert_eq!(errors("statefulsets", template, None), [("spec.template.annotations".into(), "Invalid")]);
    let app_armor = "container.apparmor.security.beta.kubernetes.io/c";
    let pids = "nanocloud.io/pids-limit";
    for (key, value, reason) in [
        (pids, "0", "Invalid"),
        (pids, "-1", "Invalid"),
        (pids, "many", "Invalid"),
        (pids, "", "Invalid"),
        (app_armor, "runtime/default", "NotSupported"),
        (app_armor, "localhost/mine", "NotSupported"),
    ] {
        let (mut object, mut template) = (pod(changed(&[])), set(changed(&[])));
        object["metadata"]["annotations"] = json!({key: value});
        template["spec"]["template"]["metadata"]["annotations"] = json!({key: value});
        assert_eq!(errors("pods", object, None), [(format!("metadata.annotations[{key}]"), reason)], "{value:?}");
        let wanted = [(format!("spec.template.metadata.annotations[{key}]"), reason)];
        assert_eq!(errors("statefulsets", template, None), wanted, "{value:?}");
    }
}
