//! Pods as such: what they share, what is put into them, how they are reached, and names while the server is away.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::node::Node;

const SECRET: &str = "correct-horse-battery";

/// A server that another pod reaches by name only, again and again, and that a host port leads to.
const OBJECTS: &str = r#"
apiVersion: v1
kind: Secret
metadata: {name: s}
stringData: {pw: correct-horse-battery}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: c}
data: {redis.conf: "save \"\"\nport 6379\nprotected-mode no\nset-proc-title no\n"}
---
apiVersion: v1
kind: Service
metadata: {name: cache}
spec: {selector: {app: cache}, ports: [{port: 80, targetPort: redis}]}
---
apiVersion: v1
kind: Pod
metadata: {name: cache-0, labels: {app: cache}}
spec:
  initContainers:
  - name: before
    image: registry.nanocloud.io/redis
    command: [sh, -c, "echo prepared >/shared/file"]
    volumeMounts: [{name: shared, mountPath: /shared}]
  containers:
  - name: redis
    image: registry.nanocloud.io/redis
    command: [redis-server, /conf/redis.conf]
    ports: [{name: redis, containerPort: 6379, hostPort: 18091, hostIP: 127.0.0.1}]
    readinessProbe: {tcpSocket: {port: redis}, periodSeconds: 1}
    env:
    - {name: PW, valueFrom: {secretKeyRef: {name: s, key: pw}}}
    - {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    volumeMounts:
    - {name: s, mountPath: /secrets, readOnly: true}
    - {name: c, mountPath: /conf}
    - {name: shared, mountPath: /shared}
  - name: beside
    image: registry.nanocloud.io/redis
    command: [sleep, infinity]
  volumes:
  - {name: s, secret: {secretName: s, defaultMode: 256}}
  - {name: c, configMap: {name: c}}
  - {name: shared, emptyDir: {medium: Memory, sizeLimit: 1Mi}}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  containers:
  - name: client
    image: registry.nanocloud.io/redis
    command: [sh, -c, "while sleep 0.1; do redis-cli -h cache.default.svc.cluster.local -p 80 INCR beats; done"]
"#;

/// How often the client has reached the server, asked through the host port.
fn beats() -> Option<u64> {
    let mut stream = TcpStream::connect("127.0.0.1:18091").ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(b"GET beats\r\n").ok()?;
    let mut lines = BufReader::new(stream).lines();
    // The length of what follows; -1 alone when the client was not there yet.
    let _length: usize = lines.next()?.ok()?.strip_prefix('$')?.parse().ok()?;
    lines.next()?.ok()?.parse().ok()
}

/// Waits until names have been resolved some more times from now on.
fn names_resolve(node: &Node, when: &str) {
    // One that was under way does not count, hence more than one.
    let wanted = beats().unwrap_or_default() + 5;
    node.until(when, |_| beats().is_some_and(|beats| beats >= wanted));
}

fn pod_is_ready(node: &Node, name: &str) -> bool {
    let pod = node.json(&["get", "pod", name, "-o", "json"]);
    let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

#[test]
fn pods_share_are_given_and_reach_what_they_should_and_names_outlive_the_server() {
    let mut node = Node::new(158, &["redis"]);
    node.start();
    let file = node.state().join("pods.yaml");
    fs::write(&file, OBJECTS).unwrap();
    node.ok(&["apply", "-f", file.to_str().unwrap()]);
    node.until("the server is ready", |node| pod_is_ready(node, "cache-0"));

    let script = "cat /shared/file; stat -c '%u %a' /secrets/..data/pw; cat /secrets/pw; echo; echo $PW; \
                  cat /proc/sys/kernel/hostname; test \"$IP\" = \"$(hostname -i 2>/dev/null || echo $IP)\" && echo ok; \
                  grep -c '^redis.conf\\|^save' /conf/redis.conf";
    let text = node.ok(&["exec", "cache-0", "-c", "redis", "--", "sh", "-c", script]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines, ["prepared", "6379 400", SECRET, SECRET, "cache-0", "ok", "1"], "{text}");
    let beside = ["exec", "cache-0", "-c", "beside", "--", "redis-cli", "-h", "127.0.0.1", "PING"];
    assert_eq!(node.ok(&beside).trim(), "PONG", "containers of a pod share its network");
    assert!(!node.run(&["exec", "cache-0", "--", "true"]).status.success(), "which container?");

    names_resolve(&node, "the client reaches the server by its name");
    let helper = node.dns_helper().unwrap();
    let status = fs::read_to_string(format!("/proc/{helper}/status")).unwrap();
    for line in ["Uid:\t65534\t65534\t65534\t65534", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000"] {
        assert!(status.contains(line), "{line}: {status}");
    }
    assert!(status.contains("NoNewPrivs:\t1") && status.contains("Seccomp:\t2"), "{status}");

    node.kill();
    names_resolve(&node, "names resolve while no server runs");
    node.start();
    node.until("the helper was adopted", |node| node.log().contains("DNS helper adopted"));
    assert_eq!(node.dns_helper(), Some(helper));

    kill(Pid::from_raw(helper), Signal::SIGKILL).unwrap();
    node.until("another helper runs", |node| node.dns_helper().is_some_and(|now| now != helper));
    names_resolve(&node, "names resolve again");

    // Both gone at once, as after a crash of all but the containers; and the next server is another program.
    let helper = node.dns_helper().unwrap();
    node.kill();
    node.replace_program();
    node.start();
    node.until("the helper was replaced", |node| node.dns_helper().is_some_and(|now| now != helper));
    names_resolve(&node, "names resolve with the new program");
    let helper = node.dns_helper().unwrap();
    node.kill();
    kill(Pid::from_raw(helper), Signal::SIGKILL).unwrap();
    node.start();
    names_resolve(&node, "names resolve after both were killed");

    for pod in ["client", "cache-0"] {
        node.ok(&["delete", "pod", pod]);
    }
    node.until("no process is left", |node| node.container_processes().is_empty());
    node.finish();
}
