//! From install to uninstall, with crashes of the server in between.

use std::process::Stdio;

use serde_json::Value;

use crate::node::Node;

#[test]
fn a_crash_of_the_server_loses_neither_writes_nor_containers() {
    let mut node = Node::new(152, &["redis"]);
    node.start();

    // Killed while it installs: the next start goes on from the objects.
    node.ok(&["install", "redis", "--no-wait"]);
    node.kill();
    node.start();
    node.until("redis is ready", |node| node.is_ready("redis"));

    // Killed afterwards: the same processes, the same objects.
    let before = (node.container_processes(), node.json(&["get", "bundle", "redis", "-o", "json"]));
    assert!(!before.0.is_empty());
    node.kill();
    assert_eq!(node.container_processes(), before.0, "containers outlive the server");
    node.start();
    assert!(node.ok(&["logs", "redis"]).contains("Ready to accept connections"), "at once, before all is adopted");
    assert_eq!(node.container_processes(), before.0);
    let after = node.json(&["get", "bundle", "redis", "-o", "json"]);
    assert_eq!(after["metadata"]["uid"], before.1["metadata"]["uid"]);
    assert_eq!(after["spec"], before.1["spec"]);

    node.ok(&["stop", "redis"]);
    node.until("redis has stopped", |node| node.container_processes().is_empty());
    node.ok(&["start", "redis"]);
    node.until("redis runs again", |node| !node.container_processes().is_empty() && node.is_ready("redis"));

    node.ok(&["uninstall", "redis"]);
    assert!(node.ok(&["uninstall", "redis"]).contains("not installed"), "twice is no error");
    node.until("nothing is left", |node| {
        let kinds = ["pods", "statefulsets", "services", "persistentvolumeclaims", "secrets"];
        // The service of the API stays.
        let is_left = |object: &Value| object["metadata"]["name"] != "kubernetes";
        let are_gone = |list: Value| !list["items"].as_array().unwrap().iter().any(is_left);
        kinds.iter().all(|kind| are_gone(node.json(&["get", kind, "-o", "json"])))
    });
    assert_eq!(node.container_processes(), Vec::<u32>::new());
    node.finish();
}

#[test]
fn programs_in_containers_have_no_privilege_and_keep_to_their_limits() {
    let mut node = Node::new(153, &["redis"]);
    node.start();
    node.ok(&["install", "redis"]);
    for process in ["self", "1"] {
        let status = node.ok(&["exec", "redis", "--", "cat", &format!("/proc/{process}/status")]);
        let field =
            |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned();
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
            assert_eq!(field(set), "0000000000000000", "{set} of {process}");
        }
        assert_eq!((field("Seccomp:").as_str(), field("NoNewPrivs:").as_str()), ("2", "1"), "{process}");
    }
    let refused = node.run(&["exec", "redis", "--", "unshare", "-U", "true"]);
    assert!(!refused.status.success());
    assert_eq!(node.run(&["exec", "redis", "--", "sh", "-c", "exit 7"]).status.code(), Some(7));
    node.finish();
}

#[test]
fn of_two_installs_at_once_one_wins_and_the_other_says_so() {
    let mut node = Node::new(154, &["redis"]);
    node.start();
    let start = || node.command(&["install", "redis"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let both = [start(), start()].map(|child| child.wait_with_output().unwrap());
    let winners = both.iter().filter(|output| output.status.success()).count();
    assert_eq!(winners, 1, "{both:?}");
    let loser = both.iter().find(|output| !output.status.success()).unwrap();
    assert!(String::from_utf8_lossy(&loser.stderr).contains("already installed"), "{loser:?}");
    assert!(node.is_ready("redis"));
    node.finish();
}
