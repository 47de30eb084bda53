use api::{
    Resource, decode,
    kinds::{ReplicaSet, ReplicationController},
};
use serde_json::{Value, json};

use super::{
    super::status::{Failure, status},
    *,
};

fn set(replicas: i32) -> ReplicaSet {
    let template = json!({"metadata": {"labels": {"app": "web", "pod-template-hash": "1"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let mut set: ReplicaSet = decode(json!({
        "metadata": {"name": "web", "namespace": "d", "uid": "u", "resourceVersion": "7", "generation": 2},
        "spec": {"replicas": replicas, "minReadySeconds": 10, "selector": {"matchLabels": {"app": "web"}},
            "template": template}
    }))
    .unwrap();
    set.apply_defaults();
    set
}

fn pod(name: &str, change: Value) -> Pod {
    let mut pod = json!({
        "metadata": {"name": name, "namespace": "d", "uid": format!("uid-{name}"), "labels": {"app": "web"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "u", "controller": true}]},
        "spec": {"nodeName": "a", "containers": [{"name": "c", "image": "i"}]},
        "status": {"phase": "Running", "conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
    });
    for (pointer, value) in change.as_object().unwrap() {
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        pod.pointer_mut(parent).unwrap()[field] = value.clone();
    }
    decode(pod).unwrap()
}

fn observed(set: ReplicaSet, pods: Vec<Pod>, now: &str) -> Observed<ReplicaSet> {
    Observed { set, pods, now: now.parse().unwrap() }
}

const LATER: &str = "2026-01-01T00:01:00Z";

/// What happens to pods; names that are made are left out.
fn steps(plan: &Plan) -> Vec<String> {
    let text = |step: &Step| match step {
        Step::Create { .. } => Some("+".to_owned()),
        Step::Delete { key, .. } => Some(format!("-{}", key.name)),
        Step::Replace { key, object, .. } => {
            let owners = object["metadata"]["ownerReferences"].as_array().map_or(0, Vec::len);
            Some(format!("{} has {owners} owners", key.name))
        }
        _ => None,
    };
    plan.steps.iter().filter_map(text).collect()
}

#[test]
fn the_number_of_active_pods_is_brought_to_what_is_wanted() {
    let ended = |name: &str| pod(name, json!({"/status/phase": "Failed"}));
    let ending = |name: &str| pod(name, json!({"/metadata/deletionTimestamp": "2026-01-01T00:00:00Z"}));
    let waiting = |name: &str| pod(name, json!({"/status/phase": "Pending", "/spec/nodeName": null}));
    let good = |name: &str| pod(name, json!({}));
    for (replicas, pods, wanted) in [
        (2, vec![], vec!["+", "+"]),
        (2, vec![good("a"), good("b")], vec![]),
        (2, vec![good("a"), ended("b"), ending("c")], vec!["+"]),
        (1, vec![good("a"), waiting("b")], vec!["-b"]),
        (0, vec![good("a"), ending("b")], vec!["-a"]),
    ] {
        let shown: Vec<_> = pods.iter().map(|pod| pod.metadata.name.clone()).collect();
        assert_eq!(steps(&plan(&observed(set(replicas), pods, LATER))), wanted, "{replicas} of {shown:?}");
    }
    let many = plan(&observed(set(10_000), vec![], LATER));
    assert_eq!(steps(&many).len(), BURST);
}

#[test]
fn pods_are_adopted_and_released_by_their_labels() {
    let free = |name: &str, change: Value| {
        let mut free = pod(name, change);
        free.metadata.owner_references = None;
        free
    };
    let other =
        json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "before", "controller": true}]);
    for (pods, wanted) in [
        (vec![free("a", json!({}))], vec!["a has 1 owners"]),
        (vec![free("a", json!({"/metadata/labels": {"app": "db"}}))], vec!["+"]),
        (vec![free("a", json!({"/status/phase": "Failed"}))], vec!["+"]),
        (vec![free("a", json!({"/metadata/deletionTimestamp": LATER}))], vec!["+"]),
        (vec![pod("a", json!({"/metadata/labels": {"app": "db"}}))], vec!["a has 0 owners"]),
        // A namesake that was deleted had it; the garbage collector knows what becomes of it.
        (vec![pod("a", json!({"/metadata/ownerReferences": other}))], vec!["+"]),
    ] {
        assert_eq!(steps(&plan(&observed(set(1), pods, LATER))), wanted);
    }
    let mut leaving = set(1);
    leaving.metadata.deletion_timestamp = Some(api::Time(LATER.parse().unwrap()));
    assert!(plan(&observed(leaving, vec![free("a", json!({}))], LATER)).steps.is_empty());
}

#[test]
fn the_names_of_pods_follow_from_the_version_of_the_set() {
    let names = |pods: &[Pod]| {
        let plan = plan(&observed(set(2), pods.to_vec(), LATER));
        let name = |step: &Step| match step {
            Step::Create { object, .. } => Some(decode::<Pod>(object.clone()).unwrap()),
            _ => None,
        };
        plan.steps.iter().filter_map(name).collect::<Vec<_>>()
    };
    let first = names(&[]);
    assert_eq!(first, names(&[]), "an answer that was lost makes no more pods");
    let again = names(&first[..1]);
    assert_eq!(again.len(), 1);
    assert_ne!(again[0].metadata.name, first[0].metadata.name);
    assert_eq!(first[0].metadata.generate_name.as_deref(), Some("web-"));
    assert_eq!(first[0].metadata.name.as_ref().unwrap().len(), "web-".len() + 5);
}

#[test]
fn the_status_counts_and_tells_of_refusals() {
    let fresh = json!({"/status/conditions": [
        {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:55Z"}]});
    let full = pod("full", json!({"/metadata/labels": {"app": "web", "pod-template-hash": "1"}}));
    let ending = pod("ending", json!({"/metadata/deletionTimestamp": LATER}));
    let seen = observed(set(3), vec![full, pod("fresh", fresh), ending], LATER);
    let done = plan(&seen);
    assert_eq!(done.next, Next::After(std::time::Duration::from_secs(5)));
    let found = status(&seen, done.owned.as_deref().unwrap(), None).unwrap();
    let counts = (
        found.replicas,
        found.fully_labeled_replicas.unwrap(),
        found.ready_replicas.unwrap(),
        found.available_replicas.unwrap(),
        found.terminating_replicas.unwrap(),
    );
    assert_eq!((counts, found.observed_generation), ((2, 1, 2, 1, 1), Some(2)));
    let again = Observed { set: seen.set.with_status(found), ..observed(set(3), seen.pods.clone(), LATER) };
    assert_eq!(status(&again, &seen.pods, None), None, "nothing to write");

    let failure = |message: &str| Failure { reason: "FailedCreate", doing: "creating", message: message.into() };
    let refused = status(&seen, &seen.pods, Some(&failure("quota"))).unwrap();
    let condition = &refused.conditions.as_ref().unwrap()[0];
    assert_eq!((&*condition.type_, &*condition.status), ("ReplicaFailure", "True"));
    assert_eq!((condition.reason.as_deref(), condition.message.as_deref()), (Some("FailedCreate"), Some("quota")));
    let failed = Observed { set: seen.set.with_status(refused), ..observed(set(3), seen.pods.clone(), LATER) };
    assert_eq!(status(&failed, &seen.pods, Some(&failure("quota again"))), None, "the first refusal is kept");
    assert_eq!(status(&failed, &seen.pods, None).unwrap().conditions, None);
}

#[test]
fn a_replication_controller_is_a_replica_set_by_another_name() {
    let mut controller: ReplicationController = decode(json!({
        "metadata": {"name": "web", "namespace": "d", "uid": "u"},
        "spec": {"replicas": 1, "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}}}
    }))
    .unwrap();
    controller.apply_defaults();
    let seen =
        Observed { set: controller, pods: vec![pod("a", json!({})), pod("b", json!({}))], now: LATER.parse().unwrap() };
    let done = plan(&seen);
    assert_eq!(steps(&done), ["-a"]);
    let found = status(&seen, done.owned.as_deref().unwrap(), None).unwrap();
    let stored = seen.set.with_status(found);
    assert_eq!(stored.status.as_ref().unwrap().replicas, 2);
    assert_eq!(status(&Observed { set: stored, ..seen }, &done.owned.unwrap(), None), None, "nothing to write");
}
