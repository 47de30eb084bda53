//! Containers that are refused.

#![expect(clippy::too_many_lines, reason = "tables of cases")]

use serde_json::{Value, json};

use super::{one, refuses};

#[test]
fn containers() {
    let long = "a".repeat(64);
    refuses(vec![
        one("/containers", json!([]), "containers", "Required"),
        one("/containers/0/name", json!(""), "containers[0].name", "Required"),
        one("/containers/0/name", json!("a/b"), "containers[0].name", "Invalid"),
        one("/containers/0/name", json!("../x"), "containers[0].name", "Invalid"),
        one("/containers/0/name", json!(long), "containers[0].name", "Invalid"),
        one("/containers/1/name", json!("c"), "containers[1].name", "Duplicate"),
        one("/initContainers/0/name", json!("c"), "initContainers[0].name", "Duplicate"),
        one("/initContainers/0/name", json!("a/b"), "initContainers[0].name", "Invalid"),
        one("/containers/0/image", Value::Null, "containers[0].image", "Required"),
        one("/containers/0/image", json!(" i:1 "), "containers[0].image", "Invalid"),
        one("/containers/0/imagePullPolicy", json!("Sometimes"), "containers[0].imagePullPolicy", "NotSupported"),
        one(
            "/containers/0/terminationMessagePolicy",
            json!("Foo"),
            "containers[0].terminationMessagePolicy",
            "NotSupported",
        ),
        one("/containers/0/restartPolicy", json!("Always"), "containers[0].restartPolicy", "NotSupported"),
        one(
            "/containers/0/volumeDevices",
            json!([{"name": "data", "devicePath": "/d"}]),
            "containers[0].volumeDevices",
            "Forbidden",
        ),
        one(
            "/containers/0/resizePolicy",
            json!([{"resourceName": "x", "restartPolicy": "NotRequired"}]),
            "containers[0].resizePolicy[0].resourceName",
            "NotSupported",
        ),
        one("/initContainers/0/restartPolicy", json!("Always"), "initContainers[0].restartPolicy", "NotSupported"),
        one("/initContainers/0/restartPolicy", json!("Foo"), "initContainers[0].restartPolicy", "NotSupported"),
        one(
            "/initContainers/0/livenessProbe",
            json!({"tcpSocket": {"port": 1}}),
            "initContainers[0].livenessProbe",
            "Forbidden",
        ),
        one(
            "/initContainers/0/readinessProbe",
            json!({"tcpSocket": {"port": 1}}),
            "initContainers[0].readinessProbe",
            "Forbidden",
        ),
        one(
            "/initContainers/0/startupProbe",
            json!({"tcpSocket": {"port": 1}}),
            "initContainers[0].startupProbe",
            "Forbidden",
        ),
        one(
            "/initContainers/0/lifecycle",
            json!({"preStop": {"exec": {"command": ["a"]}}}),
            "initContainers[0].lifecycle",
            "Forbidden",
        ),
    ]);
}

#[test]
fn ports() {
    let twice = json!([{"name": "web", "containerPort": 80}, {"name": "web", "containerPort": 81}]);
    let host =
        json!([{"containerPort": 80, "hostPort": 8080}, {"containerPort": 81, "hostPort": 8080, "hostIP": "0.0.0.0"}]);
    let mut cases = vec![
        one("/containers/0/ports/0/name", json!("more-than-fifteen"), "containers[0].ports[0].name", "Invalid"),
        one("/containers/0/ports/0/name", json!("80"), "containers[0].ports[0].name", "Invalid"),
        one("/containers/0/ports/0/name", json!("A_B"), "containers[0].ports[0].name", "Invalid"),
        one("/containers/0/ports/0/name", json!("a--b"), "containers[0].ports[0].name", "Invalid"),
        one("/containers/0/ports/0/name", json!("../x"), "containers[0].ports[0].name", "Invalid"),
        one("/containers/0/ports", twice, "containers[0].ports[1].name", "Duplicate"),
        one("/containers/0/ports/0/containerPort", json!(0), "containers[0].ports[0].containerPort", "Required"),
        one("/containers/0/ports/0/containerPort", json!(65_536), "containers[0].ports[0].containerPort", "Invalid"),
        one("/containers/0/ports/0/hostPort", json!(-1), "containers[0].ports[0].hostPort", "Invalid"),
        one("/containers/0/ports/0/hostPort", json!(65_536), "containers[0].ports[0].hostPort", "Invalid"),
        one("/containers/0/ports/0/protocol", json!("ICMP"), "containers[0].ports[0].protocol", "NotSupported"),
        one("/containers/0/ports", host, "containers[0].ports[1].hostPort", "Duplicate"),
        (
            vec![("/hostNetwork", json!(true)), ("/containers/0/ports/0/hostPort", json!(81))],
            "containers[0].ports[0].containerPort",
            "Invalid",
        ),
        (
            vec![
                ("/containers/0/ports/0/hostPort", json!(80)),
                ("/containers/1/ports", json!([{"containerPort": 1, "hostPort": 80}])),
            ],
            "containers[1].ports[0].hostPort",
            "Duplicate",
        ),
    ];
    for address in ["::1", "localhost", "300.1.1.1", "127.0.0.1 ", " 127.0.0.1", "0127.0.0.1", "127.1"] {
        cases.push(one("/containers/0/ports/0/hostIP", json!(address), "containers[0].ports[0].hostIP", "Invalid"));
    }
    refuses(cases);
}

#[test]
fn environment() {
    let value = |from: Value| json!([{"name": "A", "valueFrom": from}]);
    let field = |path: &str| value(json!({"fieldRef": {"fieldPath": path}}));
    let resource = |of: Value| value(json!({"resourceFieldRef": of}));
    let at = "containers[0].env[0].valueFrom";
    refuses(vec![
        one("/containers/0/env/0/name", json!(""), "containers[0].env[0].name", "Required"),
        one("/containers/0/env/0/name", json!("a=b"), "containers[0].env[0].name", "Invalid"),
        one("/containers/0/env/0/name", json!("a\u{0}b"), "containers[0].env[0].name", "Invalid"),
        one("/containers/0/env/0/valueFrom", json!({"fieldRef": {"fieldPath": "metadata.name"}}), at, "Invalid"),
        one("/containers/0/env", value(json!({})), at, "Invalid"),
        one(
            "/containers/0/env",
            value(json!({"fieldRef": {"fieldPath": "metadata.name"}, "secretKeyRef": {"name": "s", "key": "k"}})),
            at,
            "Invalid",
        ),
        one("/containers/0/env", field("spec.foo"), "containers[0].env[0].valueFrom.fieldRef.fieldPath", "Invalid"),
        one(
            "/containers/0/env",
            field("metadata.labels"),
            "containers[0].env[0].valueFrom.fieldRef.fieldPath",
            "NotSupported",
        ),
        one(
            "/containers/0/env",
            field("status.phase['x']"),
            "containers[0].env[0].valueFrom.fieldRef.fieldPath",
            "Invalid",
        ),
        one(
            "/containers/0/env",
            field("metadata.labels['a b']"),
            "containers[0].env[0].valueFrom.fieldRef.fieldPath",
            "Invalid",
        ),
        one("/containers/0/env", field(""), "containers[0].env[0].valueFrom.fieldRef.fieldPath", "Required"),
        one(
            "/containers/0/env",
            resource(json!({"resource": "limits.foo"})),
            "containers[0].env[0].valueFrom.resourceFieldRef.resource",
            "NotSupported",
        ),
        one(
            "/containers/0/env",
            resource(json!({"resource": ""})),
            "containers[0].env[0].valueFrom.resourceFieldRef.resource",
            "Required",
        ),
        one(
            "/containers/0/env",
            resource(json!({"resource": "limits.cpu", "divisor": "1Mi"})),
            "containers[0].env[0].valueFrom.resourceFieldRef.divisor",
            "Invalid",
        ),
        one(
            "/containers/0/env",
            value(json!({"secretKeyRef": {"name": "s", "key": ""}})),
            "containers[0].env[0].valueFrom.secretKeyRef.key",
            "Required",
        ),
        one(
            "/containers/0/env",
            value(json!({"secretKeyRef": {"name": "s", "key": "../k"}})),
            "containers[0].env[0].valueFrom.secretKeyRef.key",
            "Invalid",
        ),
        one(
            "/containers/0/env",
            value(json!({"secretKeyRef": {"name": "a/b", "key": "k"}})),
            "containers[0].env[0].valueFrom.secretKeyRef.name",
            "Invalid",
        ),
        one(
            "/containers/0/env",
            value(json!({"configMapKeyRef": {"name": "m", "key": ""}})),
            "containers[0].env[0].valueFrom.configMapKeyRef.key",
            "Required",
        ),
        one("/containers/0/envFrom", json!([{}]), "containers[0].envFrom[0]", "Invalid"),
        one(
            "/containers/0/envFrom",
            json!([{"secretRef": {"name": "s"}, "configMapRef": {"name": "m"}}]),
            "containers[0].envFrom[0]",
            "Invalid",
        ),
        one(
            "/containers/0/envFrom",
            json!([{"secretRef": {"name": ""}}]),
            "containers[0].envFrom[0].secretRef.name",
            "Required",
        ),
        one(
            "/containers/0/envFrom",
            json!([{"configMapRef": {"name": "A B"}}]),
            "containers[0].envFrom[0].configMapRef.name",
            "Invalid",
        ),
        one(
            "/containers/0/envFrom",
            json!([{"prefix": "a=", "configMapRef": {"name": "m"}}]),
            "containers[0].envFrom[0].prefix",
            "Invalid",
        ),
    ]);
}

#[test]
fn resources() {
    let of = |resources: Value| -> Vec<(&'static str, Value)> { vec![("/containers/0/resources", resources)] };
    let at = "containers[0].resources";
    refuses(vec![
        (of(json!({"limits": {"cpu": "1"}, "requests": {"cpu": "2"}})), "containers[0].resources.requests", "Invalid"),
        (
            of(json!({"limits": {"memory": "1Gi"}, "requests": {"memory": "1025Mi"}})),
            "containers[0].resources.requests",
            "Invalid",
        ),
        (of(json!({"limits": {"foo": "1"}})), "containers[0].resources.limits[foo]", "Invalid"),
        (of(json!({"requests": {"storage": "1Gi"}})), "containers[0].resources.requests[storage]", "Invalid"),
        (of(json!({"requests": {"a b": "1Gi"}})), "containers[0].resources.requests[a b]", "Invalid"),
        (of(json!({"limits": {"cpu": "-1"}})), "containers[0].resources.limits[cpu]", "Invalid"),
        (of(json!({"limits": {"cpu": "much"}})), "containers[0].resources.limits[cpu]", "Invalid"),
        (
            of(json!({"limits": {"ex.org/gpu": "500m"}, "requests": {"ex.org/gpu": "500m"}})),
            "containers[0].resources.limits[ex.org/gpu]",
            "Invalid",
        ),
        (
            of(json!({"limits": {"ex.org/gpu": "2"}, "requests": {"ex.org/gpu": "1"}})),
            "containers[0].resources.requests",
            "Invalid",
        ),
        (of(json!({"requests": {"ex.org/gpu": "1"}})), "containers[0].resources.limits", "Required"),
        (of(json!({"limits": {"hugepages-2Mi": "4Mi"}, "requests": {"hugepages-2Mi": "4Mi"}})), at, "Forbidden"),
        (of(json!({"claims": [{"name": "gpu"}]})), "containers[0].resources.claims", "Forbidden"),
        (vec![("/resources", json!({"limits": {"cpu": "1"}}))], "resources", "Forbidden"),
    ]);
}

#[test]
fn probes_and_hooks() {
    let live = |probe: Value| -> Vec<(&'static str, Value)> { vec![("/containers/0/livenessProbe", probe)] };
    let ready = |probe: Value| -> Vec<(&'static str, Value)> { vec![("/containers/0/readinessProbe", probe)] };
    let stop = |hook: Value| -> Vec<(&'static str, Value)> { vec![("/containers/0/lifecycle/preStop", hook)] };
    let start = |hook: Value| -> Vec<(&'static str, Value)> { vec![("/containers/0/lifecycle/postStart", hook)] };
    let at = "containers[0].livenessProbe";
    refuses(vec![
        (live(json!({})), at, "Required"),
        (live(json!({"exec": {"command": ["a"]}, "tcpSocket": {"port": 1}})), at, "Forbidden"),
        (
            live(json!({"exec": {"command": ["a"]}, "successThreshold": 2})),
            "containers[0].livenessProbe.successThreshold",
            "Invalid",
        ),
        (
            vec![("/containers/0/startupProbe", json!({"exec": {"command": ["a"]}, "successThreshold": 2}))],
            "containers[0].startupProbe.successThreshold",
            "Invalid",
        ),
        (
            live(json!({"exec": {"command": ["a"]}, "periodSeconds": -1})),
            "containers[0].livenessProbe.periodSeconds",
            "Invalid",
        ),
        (
            live(json!({"exec": {"command": ["a"]}, "timeoutSeconds": -1})),
            "containers[0].livenessProbe.timeoutSeconds",
            "Invalid",
        ),
        (
            live(json!({"exec": {"command": ["a"]}, "initialDelaySeconds": -1})),
            "containers[0].livenessProbe.initialDelaySeconds",
            "Invalid",
        ),
        (
            live(json!({"exec": {"command": ["a"]}, "failureThreshold": -1})),
            "containers[0].livenessProbe.failureThreshold",
            "Invalid",
        ),
        (
            live(json!({"exec": {"command": ["a"]}, "terminationGracePeriodSeconds": 0})),
            "containers[0].livenessProbe.terminationGracePeriodSeconds",
            "Invalid",
        ),
        (
            ready(json!({"exec": {"command": ["a"]}, "terminationGracePeriodSeconds": 5})),
            "containers[0].readinessProbe.terminationGracePeriodSeconds",
            "Invalid",
        ),
        (ready(json!({"exec": {}})), "containers[0].readinessProbe.exec.command", "Required"),
        (ready(json!({"httpGet": {"port": 0}})), "containers[0].readinessProbe.httpGet.port", "Invalid"),
        (ready(json!({"httpGet": {"port": "A_B"}})), "containers[0].readinessProbe.httpGet.port", "Invalid"),
        (ready(json!({"tcpSocket": {"port": 65_536}})), "containers[0].readinessProbe.tcpSocket.port", "Invalid"),
        (
            ready(json!({"httpGet": {"port": 80, "scheme": "ftp"}})),
            "containers[0].readinessProbe.httpGet.scheme",
            "NotSupported",
        ),
        (
            ready(json!({"httpGet": {"port": 80, "httpHeaders": [{"name": "a b", "value": ""}]}})),
            "containers[0].readinessProbe.httpGet.httpHeaders",
            "Invalid",
        ),
        (ready(json!({"grpc": {"port": 0}})), "containers[0].readinessProbe.grpc.port", "Invalid"),
        (ready(json!({"grpc": {"port": 9}})), "containers[0].readinessProbe.grpc", "Forbidden"),
        (stop(json!({})), "containers[0].lifecycle.preStop", "Required"),
        (stop(json!({"sleep": {"seconds": 31}})), "containers[0].lifecycle.preStop.sleep", "Invalid"),
        (stop(json!({"sleep": {"seconds": -1}})), "containers[0].lifecycle.preStop.sleep", "Invalid"),
        (stop(json!({"exec": {"command": []}})), "containers[0].lifecycle.preStop.exec.command", "Required"),
        (
            stop(json!({"exec": {"command": ["a"]}, "sleep": {"seconds": 1}})),
            "containers[0].lifecycle.preStop",
            "Forbidden",
        ),
        (stop(json!({"httpGet": {"port": 80}})), "containers[0].lifecycle.preStop.httpGet", "Forbidden"),
        (start(json!({"httpGet": {"port": 80}})), "containers[0].lifecycle.postStart.httpGet", "Forbidden"),
        (start(json!({"sleep": {"seconds": 1}})), "containers[0].lifecycle.postStart.sleep", "Forbidden"),
    ]);
}

#[test]
fn mounts() {
    let mount = |field: &'static str, value: Value, at: &'static str, reason| {
        let mut mount = json!({"name": "data", "mountPath": "/data"});
        mount[field] = value;
        one("/containers/0/volumeMounts/0", mount, at, reason)
    };
    let twice = json!([{"name": "data", "mountPath": "/a"}, {"name": "map", "mountPath": "/a"}]);
    let slashed = json!([{"name": "data", "mountPath": "/a"}, {"name": "map", "mountPath": "/a/"}]);
    let mut cases = vec![
        mount("name", json!("other"), "containers[0].volumeMounts[0].name", "NotFound"),
        mount("name", json!(""), "containers[0].volumeMounts[0].name", "Required"),
        mount("mountPath", json!(""), "containers[0].volumeMounts[0].mountPath", "Required"),
        mount("mountPath", json!("data"), "containers[0].volumeMounts[0].mountPath", "Invalid"),
        mount("mountPath", json!("/"), "containers[0].volumeMounts[0].mountPath", "Invalid"),
        mount("mountPath", json!("/a/../../x"), "containers[0].volumeMounts[0].mountPath", "Invalid"),
        mount("mountPath", json!("/a\0b"), "containers[0].volumeMounts[0].mountPath", "Invalid"),
        mount("subPath", json!("a\0b"), "containers[0].volumeMounts[0].subPath", "Invalid"),
        one("/containers/0/volumeMounts", slashed, "containers[0].volumeMounts[1].mountPath", "Invalid"),
        one("/containers/0/workingDir", json!("tmp"), "containers[0].workingDir", "Invalid"),
        one("/containers/0/workingDir", json!("/../../tmp"), "containers[0].workingDir", "Invalid"),
        one("/containers/0/command", json!(["a", "b\0"]), "containers[0].command[1]", "Invalid"),
        one("/containers/0/args", json!(["\0"]), "containers[0].args[0]", "Invalid"),
        one("/containers/0/env/0/value", json!("\0"), "containers[0].env[0].value", "Invalid"),
        one("/containers/0/terminationMessagePath", json!("/"), "containers[0].terminationMessagePath", "Invalid"),
        one("/containers/0/terminationMessagePath", json!("a/b"), "containers[0].terminationMessagePath", "Invalid"),
        one("/containers/0/volumeMounts", twice, "containers[0].volumeMounts[1].mountPath", "Invalid"),
        mount("mountPropagation", json!("Foo"), "containers[0].volumeMounts[0].mountPropagation", "NotSupported"),
        mount(
            "mountPropagation",
            json!("Bidirectional"),
            "containers[0].volumeMounts[0].mountPropagation",
            "NotSupported",
        ),
        mount("recursiveReadOnly", json!("Enabled"), "containers[0].volumeMounts[0].recursiveReadOnly", "Forbidden"),
        (
            vec![
                ("/containers/0/volumeMounts/0/subPath", json!("a")),
                ("/containers/0/volumeMounts/0/subPathExpr", json!("b")),
            ],
            "containers[0].volumeMounts[0].subPathExpr",
            "Invalid",
        ),
    ];
    for bad in ["/a", "../a", "a/../b", ".."] {
        cases.push(mount("subPath", json!(bad), "containers[0].volumeMounts[0].subPath", "Invalid"));
        cases.push(mount("subPathExpr", json!(bad), "containers[0].volumeMounts[0].subPathExpr", "Invalid"));
    }
    refuses(cases);
}
