use api::decode;
use serde_json::{Value, json};

use super::*;

const NOW: &str = "2026-01-01T01:00:00Z";

fn observed(volume: &str, phase: &str, node: &str, data: bool) -> Observed {
    let annotations = if node.is_empty() { json!({}) } else { json!({SELECTED_NODE: node}) };
    let finalizers = if data { json!([VOLUME_DATA.name()]) } else { json!([]) };
    let metadata =
        json!({"name": "data", "namespace": "n", "uid": "u1", "annotations": annotations, "finalizers": finalizers});
    let spec =
        json!({"volumeName": volume, "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    let claim = decode(json!({"metadata": metadata, "spec": spec, "status": {"phase": phase}})).unwrap();
    Observed { claim, node: None, nodes: Vec::new(), pods: Vec::new(), now: NOW.parse().unwrap() }
}

fn node(name: &str, ready: &str, since: &str) -> Node {
    decode(json!({"metadata": {"name": name},
        "status": {"conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": since}]}}))
    .unwrap()
}

fn pod(node: &str, phase: &str) -> Pod {
    decode(json!({"metadata": {"name": "p", "namespace": "n"}, "status": {"phase": phase},
        "spec": {"nodeName": node, "containers": [], "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]}}))
    .unwrap()
}

fn deleted(mut observed: Observed, at: &str) -> Observed {
    observed.claim.metadata.deletion_timestamp = serde_json::from_value(json!(at)).unwrap();
    observed
}

/// What the first step writes: the object and the events' reasons.
fn outcome(observed: &Observed) -> (Option<Value>, Vec<String>) {
    let (steps, _) = plan(observed);
    let written = steps.iter().find_map(|step| match step {
        Step::Replace { object, .. } | Step::ReplaceStatus { object, .. } => Some(object.clone()),
        _ => None,
    });
    let told = steps.iter().filter_map(|step| match step {
        Step::Notify(notice) => Some(notice.reason.clone()),
        _ => None,
    });
    (written, told.collect())
}

#[test]
fn a_claim_gets_a_name_then_is_bound_then_left_alone() {
    let (object, _) = outcome(&observed("", "Pending", "", false));
    assert_eq!(object.unwrap()["spec"]["volumeName"], "pvc-u1");
    let (object, told) = outcome(&observed("kept", "Pending", "", false));
    let object = object.unwrap();
    assert_eq!(
        (&object["status"]["phase"], &object["status"]["capacity"]["storage"]),
        (&json!("Bound"), &json!("1Gi"))
    );
    assert_eq!(told, ["ProvisioningSucceeded"]);
    assert!(plan(&observed("pvc-u1", "Bound", "", false)).0.is_empty());
}

#[test]
fn a_claim_is_lost_with_its_node_and_found_with_it() {
    let (object, told) = outcome(&observed("pvc-u1", "Bound", "a", true));
    assert_eq!((object.unwrap()["status"]["phase"].as_str(), told[0].as_str()), (Some("Lost"), "ClaimLost"));
    let lost = observed("pvc-u1", "Lost", "a", true);
    let (steps, next) = plan(&lost);
    assert!(steps.is_empty() && next == Next::After(RECHECK), "it is said once, and looked at again");
    let back = Observed { node: Some(node("a", "True", NOW)), ..lost };
    assert_eq!(outcome(&back).0.unwrap()["status"]["phase"], "Bound");
    // A node that is merely silent keeps its volumes.
    let silent = Observed { node: Some(node("a", "Unknown", NOW)), ..observed("pvc-u1", "Bound", "a", true) };
    assert!(plan(&silent).0.is_empty());
}

#[test]
fn a_volume_of_old_is_written_down_where_its_pod_runs() {
    let mut old = observed("pvc-u1", "Bound", "", true);
    assert!(plan(&old).0.is_empty(), "without a pod nobody knows");
    old.pods = vec![pod("b", "Succeeded")];
    assert!(plan(&old).0.is_empty());
    old.pods = vec![pod("b", "Running")];
    assert_eq!(outcome(&old).0.unwrap()["metadata"]["annotations"][SELECTED_NODE], "b");
}

#[test]
fn only_claims_that_no_node_will_release_are_released_here() {
    const EARLY: &str = "2026-01-01T00:10:00Z";
    const LATE: &str = "2026-01-01T00:59:00Z";
    const JUST_NOW: &str = "2026-01-01T00:59:30Z";
    let (up, new, down) = (node("a", "True", EARLY), node("b", "True", LATE), node("c", "Unknown", EARLY));
    let here = |claim: &str, at: &str| deleted(observed("pvc-u1", "Bound", claim, true), at);
    let mut cases = vec![
        ("its node is there", Observed { node: Some(up.clone()), ..here("a", EARLY) }, false),
        ("its node is silent", Observed { node: Some(down.clone()), ..here("c", EARLY) }, false),
        ("its node is gone", here("a", EARLY), true),
        ("its node is gone, and may register itself again", here("a", JUST_NOW), false),
        ("its node is gone, and has had the time to register itself again", here("a", LATE), true),
        ("no node has it", Observed { nodes: vec![up.clone()], ..here("", EARLY) }, true),
        ("it is deleted just now", Observed { nodes: vec![up.clone()], ..here("", LATE) }, false),
        ("a node is new", Observed { nodes: vec![up.clone(), new], ..here("", EARLY) }, false),
        ("a node is silent", Observed { nodes: vec![up.clone(), down], ..here("", EARLY) }, false),
        ("a pod uses it", Observed { nodes: vec![up], pods: vec![pod("a", "Running")], ..here("", EARLY) }, false),
    ];
    for (what, observed, released) in &mut cases {
        assert_eq!(outcome(observed).0.is_some(), *released, "{what}");
        observed.claim.metadata.finalizers = None;
        assert!(plan(observed).0.is_empty(), "{what}: without the finalizer it goes by itself");
    }
    let (object, told) = outcome(&here("a", EARLY));
    assert_eq!((&object.unwrap()["metadata"]["finalizers"], told[0].as_str()), (&json!([]), "VolumeLeftBehind"));
}
