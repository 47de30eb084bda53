//! Two nodes of one cluster, on one host: a volume stays where it is, and so does the pod that uses it.

use std::fs;

use serde_json::Value;

use crate::node::Node;

const DATABASE: &str = "mariadb";
const POD: &str = "mariadb-0";

fn sql(node: &Node, statement: &str) -> Option<String> {
    let ran = node.run(&["exec", DATABASE, "--", "mariadb", "--skip-column-names", "--execute", statement]);
    ran.status.success().then(|| String::from_utf8_lossy(&ran.stdout).trim().to_owned())
}

fn object(node: &Node, kind: &str, name: &str) -> Value {
    serde_json::from_slice(&node.run(&["get", kind, name, "-o", "json"]).stdout).unwrap_or_default()
}

fn is_ready_node(node: &Node, name: &str) -> bool {
    let conditions = object(node, "node", name)["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// Waits until the database is up on that node, with what was written at first.
fn keeps_its_data(asked: &Node, on: &str, after: &str) {
    asked.until(&format!("the data are there after {after}"), |node| {
        sql(node, "SELECT v FROM kept.t").as_deref() == Some("precious")
    });
    assert_eq!(object(asked, "pod", POD)["spec"]["nodeName"], on, "after {after}");
}

/// Deletes the pod and waits until it is another one.
fn delete_pod(node: &Node) {
    let uid = object(node, "pod", POD)["metadata"]["uid"].clone();
    node.ok(&["delete", "pod", POD]);
    node.until("there is another pod", |node| {
        let found = object(node, "pod", POD)["metadata"]["uid"].clone();
        !found.is_null() && found != uid
    });
}

/// Waits until the pod is held back, for a reason that names volumes or the node, and is on no node.
fn waits_with_a_reason(node: &Node, reason: &str) {
    node.until(&format!("the pod waits: {reason}"), |node| {
        let pod = object(node, "pod", POD);
        let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let told = conditions.iter().any(|condition| {
            condition["type"] == "PodScheduled"
                && condition["status"] == "False"
                && condition["message"].as_str().is_some_and(|text| text.contains(reason))
        });
        told && pod["spec"]["nodeName"].is_null()
    });
}

fn cordon(node: &Node, name: &str, cordoned: bool) {
    let file = node.state().join("cordon.yaml");
    let text = format!("apiVersion: v1\nkind: Node\nmetadata: {{name: {name}}}\nspec: {{unschedulable: {cordoned}}}\n");
    fs::write(&file, text).unwrap();
    node.ok(&["apply", "--server-side", "--force-conflicts", "-f", file.to_str().unwrap()]);
}

fn volumes(node: &Node) -> usize {
    fs::read_dir(node.state().join("storage/csi/volumes")).map_or(0, Iterator::count)
}

#[test]
fn a_database_stays_with_its_volume() {
    let mut a = Node::first("a", 171, &[DATABASE]);
    a.start();
    a.ok(&["install", DATABASE]);
    sql(&a, "CREATE DATABASE kept; CREATE TABLE kept.t (v TEXT); INSERT INTO kept.t VALUES ('precious')").unwrap();
    let b = Node::join(&a, "b", 172, &[DATABASE]);
    b.until("both nodes are ready", |node| is_ready_node(node, "a") && is_ready_node(node, "b"));

    delete_pod(&b);
    keeps_its_data(&a, "a", "the pod was deleted");
    a.ok(&["restart", DATABASE]);
    keeps_its_data(&a, "a", "a restart of the service");
    a.kill();
    a.start();
    keeps_its_data(&a, "a", "a crash of the node's server");

    // Drained: the other node is free, and has no such volume.
    cordon(&a, "a", true);
    delete_pod(&a);
    waits_with_a_reason(&b, "volume");
    cordon(&b, "a", false);
    keeps_its_data(&a, "a", "the node was drained and came back");

    // The node leaves for good, with its disk.
    b.ok(&["member", "promote", "b"]);
    b.ok(&["member", "lead", "b"]);
    b.ok(&["member", "remove", "a"]);
    a.ended();
    b.kubectl(&["delete", "node", "a", "--ignore-not-found"]);
    b.kubectl(&["delete", "pod", POD, "--grace-period=0", "--force", "--ignore-not-found"]);
    waits_with_a_reason(&b, "volume");
    assert_eq!(volumes(&b), 0, "no empty volume took its place");
    assert!(volumes(&a) > 0, "the data are where they were");
    b.finish();
    a.finish();
}
