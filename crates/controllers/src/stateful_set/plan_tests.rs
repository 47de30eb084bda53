use api::{Resource, decode};
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn set(replicas: i32, policy: &str, image: &str) -> StatefulSet {
    let mut set: StatefulSet = decode(json!({
        "metadata": {"name": "web", "namespace": "shop", "uid": "set-uid", "generation": 1},
        "spec": {"replicas": replicas, "podManagementPolicy": policy, "serviceName": "web",
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": image}]}},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "1Gi"}}}}]}
    }))
    .unwrap();
    set.apply_defaults();
    set
}

fn pod(set: &StatefulSet, ordinal: i32, ready: bool) -> Pod {
    let mut pod = desired_pod(set, ordinal, &revision(set));
    pod.metadata.uid = Some(format!("pod-{ordinal}"));
    let status =
        json!({"phase": "Running", "conditions": [{"type": "Ready", "status": if ready {"True"} else {"False"}}]});
    pod.status = serde_json::from_value(status).unwrap();
    pod
}

fn steps(set: &StatefulSet, pods: Vec<Pod>) -> Vec<String> {
    let all = plan(&Observed { set: set.clone(), pods, claims: Vec::new() });
    all.iter()
        .filter_map(|step| match step {
            Step::Create { kind, key, .. } => Some(format!("+{} {}", kind.singular, key.name)),
            Step::Delete { key, .. } => Some(format!("-{}", key.name)),
            _ => None,
        })
        .collect()
}

#[test]
fn pods_are_made_one_after_the_other_with_their_claims() {
    let set = set(2, "OrderedReady", "a:1");
    let first = ["+persistentvolumeclaim data-web-0", "+pod web-0"];
    assert_eq!(steps(&set, vec![]), first);
    assert!(steps(&set, vec![pod(&set, 0, false)]).is_empty());
    assert_eq!(steps(&set, vec![pod(&set, 0, true)]), ["+persistentvolumeclaim data-web-1", "+pod web-1"]);
    assert!(steps(&set, vec![pod(&set, 0, true), pod(&set, 1, true)]).is_empty());
}

#[test]
fn parallel_sets_make_all_at_once() {
    let set = set(3, "Parallel", "a:1");
    assert_eq!(steps(&set, vec![]).iter().filter(|step| step.starts_with("+pod")).count(), 3);
}

#[test]
fn scaling_down_takes_the_highest_first() {
    let set = set(1, "OrderedReady", "a:1");
    let mut pods: Vec<_> = (0..4).map(|ordinal| pod(&set, ordinal, true)).collect();
    assert_eq!(steps(&set, pods.clone()), ["-web-3"]);
    pods[3].metadata.deletion_timestamp = Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
    assert!(steps(&set, pods).is_empty(), "web-2 waits until web-3 is gone");
}

#[test]
fn a_new_template_replaces_from_the_top_and_keeps_to_the_partition() {
    let old = set(3, "OrderedReady", "a:1");
    let mut new = set(3, "OrderedReady", "a:2");
    let mut pods: Vec<_> = (0..3).map(|ordinal| pod(&old, ordinal, true)).collect();
    assert_eq!(steps(&new, pods.clone()), ["-web-2"]);
    pods[2] = pod(&new, 2, false);
    assert!(steps(&new, pods.clone()).is_empty());
    pods[2] = pod(&new, 2, true);
    assert_eq!(steps(&new, pods.clone()), ["-web-1"]);
    let spec = new.spec.as_mut().unwrap();
    spec.update_strategy =
        serde_json::from_value(json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 2}})).unwrap();
    assert!(steps(&new, pods.clone()).is_empty());
    spec_on_delete(&mut new);
    pods[2] = pod(&old, 2, true);
    assert!(steps(&new, pods).is_empty());
}

fn spec_on_delete(set: &mut StatefulSet) {
    set.spec.as_mut().unwrap().update_strategy = serde_json::from_value(json!({"type": "OnDelete"})).unwrap();
}

#[test]
fn a_pod_that_never_becomes_ready_does_not_block_its_own_repair() {
    let (old, new) = (set(2, "OrderedReady", "broken"), set(2, "OrderedReady", "fixed"));
    assert_eq!(steps(&new, vec![pod(&old, 0, false)]), ["-web-0"]);
}

#[test]
fn ended_pods_are_replaced_and_strangers_left_alone() {
    let set = set(1, "OrderedReady", "a:1");
    let mut ended = pod(&set, 0, false);
    ended.status.as_mut().unwrap().phase = Some("Failed".into());
    assert_eq!(steps(&set, vec![ended]), ["-web-0"]);
    let mut stranger = pod(&set, 0, true);
    stranger.metadata.owner_references.as_mut().unwrap()[0].uid = "another".into();
    assert!(steps(&set, vec![stranger]).is_empty());
}

#[test]
fn status_counts_and_keeps_the_current_revision_until_all_is_new() {
    let (old, new) = (set(2, "OrderedReady", "a:1"), set(2, "OrderedReady", "a:2"));
    let (first, second) = (revision(&old), revision(&new));
    let pods = [pod(&old, 0, true), pod(&new, 1, true)];
    let mut observed = new.clone();
    observed.status = Some(status(&old, &[(0, &pods[0])], &first));
    observed.status.as_mut().unwrap().current_revision = Some(first.clone());
    let during = status(&observed, &[(0, &pods[0]), (1, &pods[1])], &second);
    assert_eq!((during.ready_replicas, during.updated_replicas, during.current_replicas), (Some(2), Some(1), Some(1)));
    assert_eq!(during.current_revision.as_deref(), Some(first.as_str()));
    let done = [pod(&new, 0, true), pod(&new, 1, true)];
    let after = status(&observed, &[(0, &done[0]), (1, &done[1])], &second);
    assert_eq!(after.current_revision.as_deref(), Some(second.as_str()));
}

proptest! {
    /// From any mixture of pods, doing what the plan says and letting pods become ready ends at
    /// exactly the wanted pods of the wanted revision, and in order never has two steps at once.
    #[test]
    fn every_start_converges(replicas in 0..5_i32, parallel: bool, start in proptest::collection::vec((0..7_i32, 0..4_u8), 0..7)) {
        let policy = if parallel { "Parallel" } else { "OrderedReady" };
        let (old, new) = (set(replicas, policy, "a:1"), set(replicas, policy, "a:2"));
        let mut pods: BTreeMap<String, Pod> = BTreeMap::new();
        for (ordinal, how) in start {
            let mut made = pod(if how & 1 == 0 { &old } else { &new }, ordinal, how & 2 == 0);
            if how == 3 { made.status.as_mut().unwrap().phase = Some("Failed".into()); }
            pods.insert(pod_name(&new, ordinal), made);
        }
        for _ in 0..64 {
            let all = plan(&Observed { set: new.clone(), pods: pods.values().cloned().collect(), claims: vec![] });
            let changes = all.iter().filter(|step| match step {
                Step::Create { kind, .. } => kind.kind == "Pod",
                Step::Delete { .. } => true,
                _ => false,
            }).count();
            prop_assert!(parallel || changes <= 1);
            for step in &all {
                match step {
                    Step::Create { kind, key, .. } if kind.kind == "Pod" => {
                        let number = key.name.rsplit('-').next().unwrap().parse().unwrap();
                        prop_assert!(!pods.contains_key(&key.name));
                        pods.insert(key.name.clone(), pod(&new, number, false));
                    }
                    Step::Delete { key, .. } => { prop_assert!(pods.remove(&key.name).is_some()); }
                    _ => {}
                }
            }
            if changes == 0 {
                for made in pods.values_mut().filter(|made| !health::has_ended(made)) {
                    made.status = pod(&new, 0, true).status;
                }
            }
        }
        let names: Vec<_> = pods.keys().cloned().collect();
        prop_assert_eq!(names, (0..replicas).map(|ordinal| pod_name(&new, ordinal)).collect::<Vec<_>>());
        prop_assert!(pods.values().all(|made| revision_of(made) == Some(revision(&new).as_str())));
    }
}
