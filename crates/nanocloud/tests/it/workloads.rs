//! Deployments, jobs and daemon sets, as kubectl makes, changes and watches them.

use std::fs;

use crate::node::Node;

const FILE: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: c, image: redis, command: [sleep, "1000"]}]
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: c, image: redis, command: [sleep, "1000"]}]
"#;

#[test]
fn kubectl_rolls_workloads_out_and_back() {
    let mut node = Node::new(168, &["redis"]);
    node.start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("workloads.yaml");
    fs::write(&file, FILE).unwrap();
    let file = file.to_str().unwrap();
    let rolled_out = |workload: &str| node.kubectl(&["rollout", "status", workload, "--timeout=60s"]);
    let sets = || node.kubectl(&["get", "rs", "-l", "app=web", "-o", "name"]).lines().count();

    node.kubectl(&["apply", "-f", file]);
    assert!(rolled_out("deployment/web").contains("successfully rolled out"));
    assert!(rolled_out("daemonset/agent").contains("successfully rolled out"));
    node.kubectl(&["expose", "deployment", "web", "--port", "80"]);
    node.until("the service leads to both pods", |node| {
        let slices = ["get", "endpointslices", "-l", "kubernetes.io/service-name=web", "-o"];
        node.kubectl(&[&slices[..], &["jsonpath={.items[*].endpoints[*].conditions.ready}"]].concat()) == "true true"
    });

    // An image that is not there stops the change half-way: what ran before goes on.
    node.kubectl(&["set", "image", "deployment/web", "c=nosuch:1"]);
    node.kubectl_refused(&["rollout", "status", "deployment/web", "--timeout=1s"]);
    let available = ["get", "deployment/web", "-o", "jsonpath={.status.availableReplicas}"];
    assert_eq!((node.kubectl(&available).as_str(), sets()), ("2", 2));
    assert_eq!(node.kubectl(&["rollout", "history", "deployment/web"]).matches("<none>").count(), 2);
    node.kubectl(&["rollout", "undo", "deployment/web"]);
    assert!(rolled_out("deployment/web").contains("successfully rolled out"));
    assert_eq!(sets(), 2, "the set that was there is used again");

    node.kubectl(&["rollout", "pause", "deployment/web"]);
    node.kubectl(&["set", "env", "deployment/web", "A=b"]);
    node.kubectl(&["scale", "deployment/web", "--replicas=3"]);
    node.kubectl(&["wait", "--for=jsonpath={.status.availableReplicas}=3", "deployment/web", "--timeout=60s"]);
    assert_eq!(sets(), 2, "what is paused is scaled, not changed");
    node.kubectl(&["rollout", "resume", "deployment/web"]);
    assert!(rolled_out("deployment/web").contains("successfully rolled out"));
    let env = ["get", "pods", "-l", "app=web", "--field-selector=status.phase=Running", "-o"];
    node.until("all pods have the variable", |node| {
        let found = node.kubectl(&[&env[..], &["jsonpath={.items[*].spec.containers[0].env[0].value}"]].concat());
        found == "b b b"
    });
    node.kubectl(&["rollout", "restart", "daemonset/agent"]);
    assert!(rolled_out("daemonset/agent").contains("successfully rolled out"));

    node.kubectl(&["create", "job", "once", "--image=redis", "--", "sh", "-c", "echo done"]);
    node.kubectl(&["wait", "--for=condition=complete", "job/once", "--timeout=60s"]);
    assert_eq!(node.kubectl(&["logs", "job/once"]), "done\n");
    node.kubectl(&["create", "cronjob", "tick", "--image=redis", "--schedule=0 0 1 1 *", "--", "true"]);
    node.kubectl(&["create", "job", "--from=cronjob/tick", "now"]);
    node.kubectl(&["wait", "--for=condition=complete", "job/now", "--timeout=60s"]);

    node.kubectl(&["delete", "deployment/web", "daemonset/agent", "cronjob/tick", "job/once", "service/web"]);
    node.until("nothing is left", |node| {
        node.kubectl(&["get", "deploy,rs,ds,jobs,cronjobs,pods,endpointslices", "-o", "name"])
            .lines()
            .all(|name| name.contains("kubernetes"))
    });
    node.finish();
}
