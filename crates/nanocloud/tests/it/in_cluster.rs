//! Clients in pods: where the API is, whom to trust, and who they are.

use std::fs;

use crate::node::Node;

const POD: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  containers:
  - name: client
    image: registry.nanocloud.io/redis
    command: [sleep, infinity]
"#;

/// What is mounted, and an attempt at the API by its name over TLS. The server does not speak this client's protocol, and
/// says so once both trust the connection.
const SCRIPT: &str = "cd /var/run/secrets/kubernetes.io/serviceaccount && cat namespace && echo && head -n 1 ca.crt && \
                      tr -cd . <token | wc -c && echo $KUBERNETES_SERVICE_PORT && \
                      redis-cli --tls --cacert ca.crt --sni kubernetes.default.svc -h kubernetes.default.svc \
                      -p $KUBERNETES_SERVICE_PORT PING 2>&1";

#[test]
fn a_pod_has_a_token_and_reaches_the_api_of_its_node() {
    let mut node = Node::new(171, &["redis"]);
    node.start();
    let file = node.state().join("pod.yaml");
    fs::write(&file, POD).unwrap();
    node.ok(&["apply", "-f", file.to_str().unwrap()]);
    let is_running = |node: &Node| node.json(&["get", "pod", "client", "-o", "json"])["status"]["phase"] == "Running";
    node.until("the client runs", is_running);
    let output = node.run(&["exec", "client", "--", "sh", "-c", SCRIPT]);
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    assert_eq!(lines[..4], ["default", "-----BEGIN CERTIFICATE-----", "2", "443"], "{text}");
    assert!(text.contains("Protocol error") || text.contains("closed the connection"), "{text}");
    node.ok(&["delete", "pod", "client"]);
    node.until("no process is left", |node| node.container_processes().is_empty());
    node.finish();
}
