//! What no node could run is refused before a node is asked: paths, sizes and references that Linux or the kubelet
//! would not take.

use serde_json::{Value, json};

use super::{Case, one, refuses};
use crate::kinds::{
    self,
    pod::tests::{changed, errors, pod},
};

fn mount(place: &str) -> Vec<(&'static str, Value)> {
    vec![("/containers/0/volumeMounts", json!([{"name": "data", "mountPath": place}]))]
}

#[test]
fn mounts_leave_the_container_what_it_needs() {
    let at = "containers[0].volumeMounts[0].mountPath";
    let long = format!("/{}", "x".repeat(256));
    let deep = "/x".repeat(2_048);
    let mut cases: Vec<Case> = Vec::new();
    for place in ["/.", "//", "/./", "/proc", "/proc/sys", "//proc/./self", "/dev", "/dev/", "/dev/pts", "/dev/pts/0"] {
        cases.push((mount(place), at, "Invalid"));
    }
    cases.push((mount("/dev/termination-log"), at, "Invalid"));
    cases.extend([&long, &deep].map(|place| (mount(place), at, "TooLong")));
    for message in ["/proc/x", "/dev", "/dev/./", "/sys/x", "/."] {
        cases.push(one(
            "/containers/0/terminationMessagePath",
            json!(message),
            "containers[0].terminationMessagePath",
            "Invalid",
        ));
    }
    let same = json!({"name": "c", "image": "i", "terminationMessagePath": "/run/./end",
        "volumeMounts": [{"name": "data", "mountPath": "/run/end/"}]});
    cases.push(one("/containers/0", same, at, "Invalid"));
    for (one_place, other) in [("/a//b", "/a/b"), ("/a/./b", "/a/b/")] {
        let mounts = json!([{"name": "data", "mountPath": one_place}, {"name": "map", "mountPath": other}]);
        cases.push(one("/containers/0/volumeMounts", mounts, "containers[0].volumeMounts[1].mountPath", "Invalid"));
    }
    for (field, at) in [
        ("/containers/0/workingDir", "containers[0].workingDir"),
        ("/containers/0/terminationMessagePath", "containers[0].terminationMessagePath"),
    ] {
        cases.push((vec![(field, json!(long))], at, "TooLong"));
    }
    cases.push(one(
        "/containers/0/volumeMounts/0/subPath",
        json!(&long[1..]),
        "containers[0].volumeMounts[0].subPath",
        "TooLong",
    ));
    for host in ["srv", "./srv", "/srv\0"] {
        let volume = json!({"name": "data", "hostPath": {"path": host}});
        cases.push((vec![("/volumes/0", volume)], "volumes[0].hostPath.path", "Invalid"));
    }
    refuses(cases);
    for place in ["/etc/hosts", "/etc/resolv.conf", "/etc/hostname", "/dev/shm", "/sys/fs/x", "/processes", "/a..b"] {
        assert_eq!(errors("pods", pod(changed(&mount(place))), None), [], "{place}");
    }
}

#[test]
fn files_of_a_volume_fit_beside_each_other() {
    let items = |paths: &[&str]| paths.iter().map(|path| json!({"key": "k", "path": path})).collect::<Value>();
    let map = |paths: &[&str]| -> Vec<(&'static str, Value)> { vec![("/volumes/1/configMap/items", items(paths))] };
    let (wide, deep) = ("x".repeat(300), ["a"; 2_100].join("/"));
    let last = "volumes[1].configMap.items[1].path";
    let sources = |one: Value, other: Value| -> Vec<(&'static str, Value)> {
        vec![("/volumes/1", json!({"name": "map", "projected": {"sources": [one, other]}}))]
    };
    let secret = |path: &str| json!({"secret": {"name": "s", "items": items(&[path])}});
    let downward =
        |path: &str| json!({"downwardAPI": {"items": [{"path": path, "fieldRef": {"fieldPath": "metadata.name"}}]}});
    refuses(vec![
        (map(&[&wide]), "volumes[1].configMap.items[0].path", "TooLong"),
        (map(&[&deep]), "volumes[1].configMap.items[0].path", "TooLong"),
        (map(&["a", "a/b"]), last, "Invalid"),
        (map(&["./a", "a//b"]), last, "Invalid"),
        (map(&["a/b", "a", "a-b"]), "volumes[1].configMap.items[0].path", "Invalid"),
        (sources(secret("a"), secret("a")), "volumes[1].projected.sources[1].secret.items[0].path", "Invalid"),
        (sources(secret("a"), downward("./a")), "volumes[1].projected.sources[1].downwardAPI.items[0].path", "Invalid"),
        (sources(downward("a/b"), secret("a")), "volumes[1].projected.sources[0].downwardAPI.items[0].path", "Invalid"),
    ]);
    for changes in [map(&["./c"]), map(&["a", "ab", "b/a"]), map(&["a", "a"]), sources(secret("a"), downward("b/a"))] {
        assert_eq!(errors("pods", pod(changed(&changes)), None), [], "{changes:?}");
    }
}

#[test]
fn programs_are_started_with_what_linux_takes() {
    let (most, long) = ("x".repeat(128 * 1024 - 1), "x".repeat(128 * 1024));
    let many = Value::Array(vec![json!("x".repeat(100_000)); 11]);
    let variable = |value: &str| json!([{"name": "A", "value": value}]);
    let live = |words: Value| one("/containers/0/livenessProbe", json!({"exec": {"command": words}}), "", "");
    let hook = |words: Value| one("/containers/0/lifecycle/preStop", json!({"exec": {"command": words}}), "", "");
    let mut cases = vec![
        one("/containers/0/command", json!([""]), "containers[0].command[0]", "Invalid"),
        one("/containers/0/command", json!(["a", long]), "containers[0].command[1]", "TooLong"),
        one("/containers/0/args", json!([long]), "containers[0].args[0]", "TooLong"),
        one("/containers/0/env", variable(&most), "containers[0].env[0].value", "TooLong"),
        one("/containers/0/args", many.clone(), "containers[0]", "TooLong"),
        one("/containers/0/args", Value::Array(vec![json!(""); 120_000]), "containers[0]", "TooLong"),
    ];
    for (words, index, reason) in
        [(json!([""]), 0, "Invalid"), (json!(["a", "b\0"]), 1, "Invalid"), (json!(["a", long]), 1, "TooLong")]
    {
        let probe = ["containers[0].livenessProbe.exec.command[0]", "containers[0].livenessProbe.exec.command[1]"];
        cases.push((live(words.clone()).0, probe[index], reason));
        let stop =
            ["containers[0].lifecycle.preStop.exec.command[0]", "containers[0].lifecycle.preStop.exec.command[1]"];
        cases.push((hook(words).0, stop[index], reason));
    }
    refuses(cases);
    for (pointer, value) in [
        ("/containers/0/args", json!(["", most])),
        ("/containers/0/env", variable(&most[2..])),
        ("/containers/0/command", json!([])),
    ] {
        assert_eq!(errors("pods", pod(changed(&[(pointer, value)])), None), [], "{pointer}");
    }
}

#[test]
fn what_is_named_is_there() {
    let get = |port: &str| json!({"httpGet": {"port": port}});
    let shown =
        json!([{"name": "A", "valueFrom": {"resourceFieldRef": {"containerName": "x", "resource": "limits.cpu"}}}]);
    let file = json!([{"path": "p", "resourceFieldRef": {"containerName": "x", "resource": "limits.cpu"}}]);
    refuses(vec![
        one("/containers/0/readinessProbe", get("other"), "containers[0].readinessProbe.httpGet.port", "NotFound"),
        one("/containers/1/startupProbe", get("web"), "containers[1].startupProbe.httpGet.port", "NotFound"),
        one(
            "/containers/0/livenessProbe",
            json!({"tcpSocket": {"port": "other"}}),
            "containers[0].livenessProbe.tcpSocket.port",
            "NotFound",
        ),
        one("/containers/0/env", shown, "containers[0].env[0].valueFrom.resourceFieldRef.containerName", "NotFound"),
        one(
            "/volumes/0",
            json!({"name": "data", "downwardAPI": {"items": file}}),
            "volumes[0].downwardAPI.items[0].resourceFieldRef.containerName",
            "NotFound",
        ),
        one(
            "/containers/0/lifecycle",
            json!({"stopSignal": "SIGNONE"}),
            "containers[0].lifecycle.stopSignal",
            "NotSupported",
        ),
    ]);
}

#[test]
fn names_are_resolved_by_what_the_pod_says_and_nothing_else() {
    let option = |name: &str, value: Value| json!([{"name": name, "value": value}]);
    let mut cases = Vec::new();
    for odd in ["a b", "a\nnameserver 192.0.2.1", "\t", "ä"] {
        cases.push(one("/dnsConfig/options", option(odd, Value::Null), "dnsConfig.options[0].name", "Invalid"));
        cases.push(one("/dnsConfig/options", option("ndots", json!(odd)), "dnsConfig.options[0].value", "Invalid"));
        cases.push(one("/dnsConfig/nameservers", json!([odd]), "dnsConfig.nameservers[0]", "Invalid"));
        cases.push(one("/dnsConfig/searches", json!([odd]), "dnsConfig.searches[0]", "Invalid"));
    }
    refuses(cases);
}

#[test]
fn numbers_are_ones_that_can_be_counted() {
    let cpu = |amount: &str| json!({"limits": {"cpu": amount}});
    let year_10000 = i64::from(i32::MAX) + 1;
    let probe = |seconds: i64| json!({"exec": {"command": ["a"]}, "terminationGracePeriodSeconds": seconds});
    refuses(vec![
        one("/containers/0/resources", cpu("9999999999999999999"), "containers[0].resources.limits[cpu]", "Invalid"),
        one("/containers/0/resources", cpu("18446744073709552"), "containers[0].resources.limits[cpu]", "Invalid"),
        one("/terminationGracePeriodSeconds", json!(year_10000), "terminationGracePeriodSeconds", "Invalid"),
        one("/terminationGracePeriodSeconds", json!(i64::MAX), "terminationGracePeriodSeconds", "Invalid"),
        one(
            "/containers/0/livenessProbe",
            probe(year_10000),
            "containers[0].livenessProbe.terminationGracePeriodSeconds",
            "Invalid",
        ),
    ]);
    let error = kinds::find("pods")
        .unwrap()
        .admit(pod(changed(&[("/containers/0/resources", cpu("9999999999999999999"))])), None)
        .unwrap_err();
    assert!(error[0].message.ends_with("is too large: at most 18446744073709551 can be counted"), "{error:?}");
}

#[test]
fn a_pod_has_a_bounded_number_of_parts() {
    let containers =
        |count: usize| (0..count).map(|n| json!({"name": format!("c{n}"), "image": "i"})).collect::<Value>();
    let init = |count: usize| (0..count).map(|n| json!({"name": format!("i{n}"), "image": "i"})).collect::<Value>();
    let volumes = |count: usize| {
        let names = ["data".to_owned(), "map".to_owned()].into_iter().chain((2..count).map(|n| format!("v{n}")));
        names.map(|name| json!({"name": name, "emptyDir": {}})).collect::<Value>()
    };
    let mounts =
        |count: usize| (0..count).map(|n| json!({"name": "data", "mountPath": format!("/m{n}")})).collect::<Value>();
    refuses(vec![
        one("/containers", containers(129), "containers", "TooMany"),
        one("/initContainers", init(129), "initContainers", "TooMany"),
        one("/volumes", volumes(257), "volumes", "TooMany"),
        one("/containers/0/volumeMounts", mounts(501), "containers[0].volumeMounts", "TooMany"),
    ]);
    for (pointer, value) in [
        ("/containers", containers(128)),
        ("/initContainers", init(128)),
        ("/volumes", volumes(256)),
        ("/containers/0/volumeMounts", mounts(500)),
    ] {
        assert_eq!(errors("pods", pod(changed(&[(pointer, value)])), None), [], "{pointer}");
    }
}
