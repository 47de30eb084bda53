//! Bad input and programs that crash: refused or shown, never half done.

use std::{fs, net::TcpListener};

use crate::node::Node;

#[test]
fn a_bad_option_is_refused_with_its_field_and_nothing_is_created() {
    let mut node = Node::new(155, &["redis"]);
    node.start();
    for (option, wanted) in [("colour=red", "spec.options.colour"), ("Memory=1", "spec.options.Memory")] {
        let output = node.run(&["install", "redis", "--option", option]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(wanted), "{output:?}");
    }
    let missing = node.run(&["install", "no-such-service"]);
    assert!(!missing.status.success());
    assert!(String::from_utf8_lossy(&missing.stderr).contains("no-such-service"), "{missing:?}");
    for kind in ["bundles", "statefulsets", "pods", "secrets", "persistentvolumeclaims"] {
        let items = node.json(&["get", kind, "-o", "json"]);
        assert_eq!(items["items"].as_array().unwrap().len(), 0, "{kind}: {items}");
    }
    node.finish();
}

#[test]
fn a_program_that_crashes_is_seen_in_status_and_events_with_its_last_words() {
    let mut node = Node::new(156, &["redis"]);
    node.start();
    let file = node.state().join("crash.yaml");
    fs::write(
        &file,
        "apiVersion: v1\nkind: Pod\nmetadata: {name: crash}\nspec:\n  containers:\n  - name: main\n    \
         image: registry.nanocloud.io/redis\n    command: [sh, -c, 'echo the last words; exit 7']\n    \
         terminationMessagePolicy: FallbackToLogsOnError\n",
    )
    .unwrap();
    node.ok(&["apply", "-f", file.to_str().unwrap()]);
    node.until("the crash loop is seen", |node| node.ok(&["get", "pods"]).contains("CrashLoopBackOff"));
    let pod = node.json(&["get", "pod", "crash", "-o", "json"]);
    let ended = &pod["status"]["containerStatuses"][0]["lastState"]["terminated"];
    assert_eq!(ended["exitCode"], 7, "{pod}");
    assert!(ended["message"].as_str().unwrap_or_default().contains("the last words"), "{pod}");
    node.until("the event is there", |node| node.ok(&["events", "--reason", "BackOff"]).contains("crash"));
    node.ok(&["delete", "pod", "crash"]);

    let greedy = "apiVersion: v1\nkind: Pod\nmetadata: {name: greedy}\nspec:\n  restartPolicy: Never\n  containers:\n  \
                  - name: main\n    image: registry.nanocloud.io/redis\n    \
                  command: [sh, -c, 'head -c 200000000 /dev/zero | tail']\n    resources: {limits: {memory: 32Mi}}\n";
    fs::write(&file, greedy).unwrap();
    node.ok(&["apply", "-f", file.to_str().unwrap()]);
    node.until("the memory limit has bitten", |node| node.ok(&["get", "pods"]).contains("OOMKilled"));
    node.ok(&["delete", "pod", "greedy"]);
    node.finish();
}

#[test]
fn a_taken_port_and_missing_keys_end_the_server_with_a_clear_line() {
    let node = Node::new(157, &["redis"]);
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap().to_string();
    let output = node.command(&["server", "--listen", &address]).output().unwrap();
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains(&format!("{address} is in use")), "{output:?}");

    fs::remove_dir_all(node.state().join("secure_assets")).unwrap();
    let output = node.run(&["server"]);
    assert_eq!(output.status.code(), Some(76), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("nanocloud setup"), "{output:?}");
}
