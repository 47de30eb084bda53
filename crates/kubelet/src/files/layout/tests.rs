use std::{net::Ipv4Addr, path::Component};

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn layout() -> Layout {
    Layout::new(&Config::new("n", Ipv4Addr::LOCALHOST, "/run/root", "/var/root"))
}

fn pod(namespace: &str, name: &str, uid: &str) -> Pod {
    serde_json::from_value(json!({"metadata": {"namespace": namespace, "name": name, "uid": uid}})).unwrap()
}

/// Names as people and attackers write them: plain ones, tricks with paths, anything.
fn any_name() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?",
        2 => "(/|\\.|\\.\\.|[a-zA-Z0-9_-]{0,3}){0,6}",
        1 => prop_oneof![Just("/"), Just(".."), Just("../x"), Just("/etc"), Just("A_B/../x"), Just("a/..")].prop_map(str::to_owned),
        1 => ".{0,20}",
        1 => "[a-z0-9.-]{200,253}",
    ]
}

fn below(path: &Path, root: &str, depth: usize) -> bool {
    let Ok(rest) = path.strip_prefix(root) else { return false };
    let parts: Vec<_> = rest.components().collect();
    let plain = |part: &Component<'_>| matches!(part, Component::Normal(name) if name.len() <= FILE_NAME_MAX);
    parts.len() == depth && parts.iter().all(plain)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000.max(ProptestConfig::default().cases)))]

    /// Whatever pods, volumes and containers are called, each path is as deep below its root as it should be.
    #[test]
    fn every_path_stays_below_its_root(
        uid in any_name(), volume in any_name(), container in any_name(), namespace in any_name(), name in any_name(),
        attempt in any::<u32>(), index in any::<usize>(),
    ) {
        let layout = layout();
        let (run, state, logs) = ("/run/root/pods", "/var/root/pods", "/var/root/logs/pods");
        if let Ok(dir) = layout.logs(&pod(&namespace, &name, &uid)) {
            prop_assert!(below(dir.path(), logs, 1), "{dir:?}");
            if let Ok(container) = ContainerName::new(container.clone(), "") {
                prop_assert!(below(&dir.file(&container, attempt), logs, 3));
            }
        }
        let Ok(uid) = PodUid::new(uid, "") else { return Ok(()) };
        prop_assert!(below(&layout.run(&uid), run, 1) && below(&layout.state(&uid), state, 1));
        prop_assert!(below(&layout.namespaces(&uid), run, 2));
        for file in EtcFile::ALL {
            prop_assert!(below(&layout.etc(&uid, file), run, 3));
        }
        if let Ok(volume) = VolumeName::new(volume, "") {
            prop_assert!(below(&layout.memory_volume(&uid, &volume), run, 3));
            prop_assert!(below(&layout.disk_volume(&uid, &volume), state, 3));
        }
        if let Ok(container) = ContainerName::new(container, "") {
            prop_assert!(below(&layout.sub_path(&uid, &container, index), run, 4));
            prop_assert!(below(&layout.termination_message(&uid, &container, attempt), run, 3));
            prop_assert!(below(&layout.layer(&uid, &container, attempt), state, 3));
        }
    }
}

#[test]
fn a_long_pod_name_keeps_its_uid_and_fits_a_file_name() {
    let uid = "6f1c2d3e-0000-4000-8000-123456789abc";
    let dir = layout().logs(&pod(&"n".repeat(63), &"p".repeat(253), uid)).unwrap();
    let name = dir.path().file_name().unwrap().to_str().unwrap();
    assert_eq!(name.len(), FILE_NAME_MAX);
    assert!(name.ends_with(&format!("p_{uid}")));
}

#[test]
fn the_logs_of_a_pod_are_found_by_its_name_or_by_its_uid_alone() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(&Config::new("n", Ipv4Addr::LOCALHOST, dir.path().join("run"), dir.path().join("state")));
    layout.prepare().unwrap();
    let known = pod("default", "a", "u-1");
    assert!(layout.log_dirs(&known).is_empty());
    let path = layout.logs(&known).unwrap().path().to_owned();
    fs::create_dir(&path).unwrap();
    fs::create_dir(layout.logs(&pod("default", "b", "u-2")).unwrap().path()).unwrap();
    assert_eq!(layout.log_dirs(&known), std::slice::from_ref(&path));
    let ghost: Pod = serde_json::from_value(json!({"metadata": {"uid": "u-1"}})).unwrap();
    assert_eq!(layout.log_dirs(&ghost), [path]);
    fs::create_dir(dir.path().join("state/pods/lost+found")).unwrap();
    let uids: Vec<String> = layout.uids().iter().map(ToString::to_string).collect();
    assert_eq!(uids, ["u-1", "u-2"]);
}
