use std::time::Duration;

use api::{Resource, decode};
use proptest::prelude::*;
use serde_json::json;

use super::{super::revision::revision_name, *};

const NOW: &str = "2026-01-01T00:00:00Z";

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

fn partitioned(mut set: StatefulSet, partition: i32) -> StatefulSet {
    let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": partition}});
    set.spec.as_mut().unwrap().update_strategy = serde_json::from_value(strategy).unwrap();
    set
}

fn pod(set: &StatefulSet, ordinal: i64, ready: bool) -> Pod {
    let template = set.spec.as_ref().unwrap().template.clone();
    let mut pod = desired_pod(set, ordinal, &template, &revision_name(set, 0));
    pod.metadata.uid = Some(format!("pod-{ordinal}"));
    pod.spec.as_mut().unwrap().node_name = Some("a".into());
    let status =
        json!({"phase": "Running", "conditions": [{"type": "Ready", "status": if ready {"True"} else {"False"}}]});
    pod.status = serde_json::from_value(status).unwrap();
    pod
}

/// A set with its objects; what the plan says of them happens.
struct Game {
    set: StatefulSet,
    pods: BTreeMap<String, Pod>,
    claims: BTreeMap<String, PersistentVolumeClaim>,
    revisions: BTreeMap<String, ControllerRevision>,
}

impl Game {
    fn new(set: StatefulSet, pods: Vec<Pod>) -> Self {
        let pods = pods.into_iter().map(|pod| (pod.metadata.name.clone().unwrap(), pod)).collect();
        Self { set, pods, claims: BTreeMap::new(), revisions: BTreeMap::new() }
    }

    fn plan(&self) -> (Vec<Step>, Next) {
        plan(&Observed {
            set: self.set.clone(),
            pods: self.pods.values().cloned().collect(),
            claims: self.claims.values().cloned().collect(),
            revisions: self.revisions.values().cloned().collect(),
            now: NOW.parse().unwrap(),
        })
    }

    /// Carries a plan out; answers what it makes and deletes.
    fn step(&mut self) -> Vec<String> {
        let (steps, _) = self.plan();
        let mut told = Vec::new();
        for step in &steps {
            match step {
                Step::Create { kind, key, object } | Step::Replace { kind, key, object } => {
                    let name = key.name.clone();
                    match kind.kind() {
                        "Pod" => drop(self.pods.insert(name, ready(decode(object.clone()).unwrap()))),
                        "PersistentVolumeClaim" => drop(self.claims.insert(name, decode(object.clone()).unwrap())),
                        "ControllerRevision" => drop(self.revisions.insert(name, decode(object.clone()).unwrap())),
                        other => panic!("{other}"),
                    }
                    let sign = if matches!(step, Step::Create { .. }) { '+' } else { '~' };
                    told.push(format!("{sign}{} {}", kind.singular(), key.name));
                }
                Step::Delete { kind, key, .. } => {
                    match kind.kind() {
                        "Pod" => drop(self.pods.remove(&key.name).unwrap()),
                        "ControllerRevision" => drop(self.revisions.remove(&key.name).unwrap()),
                        other => panic!("{other}"),
                    }
                    told.push(format!("-{} {}", kind.singular(), key.name));
                }
                Step::ReplaceStatus { object, .. } => self.set = decode(object.clone()).unwrap(),
                _ => {}
            }
        }
        told
    }

    /// Goes on until there is nothing to do; answers all of it.
    fn settle(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        for _ in 0..64 {
            let (steps, _) = self.plan();
            if steps.is_empty() {
                return told;
            }
            told.extend(self.step());
        }
        panic!("it never ends: {told:?}");
    }

    fn update(&mut self, change: impl FnOnce(&mut StatefulSet)) {
        change(&mut self.set);
    }

    fn image(&self, pod: &str) -> String {
        self.pods[pod].spec.as_ref().unwrap().containers[0].image.clone().unwrap()
    }

    fn status(&self) -> k8s_openapi::api::apps::v1::StatefulSetStatus {
        self.set.status.clone().unwrap()
    }
}

fn ready(mut pod: Pod) -> Pod {
    pod.spec.as_mut().unwrap().node_name = Some("a".into());
    pod.status =
        serde_json::from_value(json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}))
            .unwrap();
    pod.metadata.uid.get_or_insert_with(|| "made".into());
    pod
}

fn image(set: &mut StatefulSet, image: &str) {
    set.spec.as_mut().unwrap().template.spec.as_mut().unwrap().containers[0].image = Some(image.into());
}

/// What happens to pods and claims now.
fn steps(set: &StatefulSet, pods: Vec<Pod>) -> Vec<String> {
    let all = Game::new(set.clone(), pods).plan().0;
    all.iter()
        .filter_map(|step| match step {
            Step::Create { kind, key, .. } if kind.kind() != "ControllerRevision" => {
                Some(format!("+{} {}", kind.singular(), key.name))
            }
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
fn a_pod_that_waits_for_a_node_gets_the_claim_that_is_gone() {
    let set = set(1, "OrderedReady", "a:1");
    let mut waiting = pod(&set, 0, false);
    waiting.spec.as_mut().unwrap().node_name = None;
    assert_eq!(steps(&set, vec![waiting]), ["+persistentvolumeclaim data-web-0"]);
}

#[test]
fn parallel_sets_make_all_at_once_but_no_more_than_a_pass_may() {
    let few = set(3, "Parallel", "a:1");
    assert_eq!(steps(&few, vec![]).iter().filter(|step| step.starts_with("+pod")).count(), 3);
    let many = set(2_000_000_000, "Parallel", "a:1");
    assert!(steps(&many, vec![]).len() <= STEPS_MAX + 2);
    let mut later = set(2_000_000_000, "Parallel", "a:1");
    later.spec.as_mut().unwrap().ordinals = serde_json::from_value(json!({"start": 2_000_000_000})).unwrap();
    assert!(steps(&later, vec![]).len() <= STEPS_MAX + 2);
}

#[test]
fn scaling_down_takes_the_highest_first() {
    let set = set(1, "OrderedReady", "a:1");
    let mut pods: Vec<_> = (0..4).map(|ordinal| pod(&set, ordinal, true)).collect();
    assert_eq!(steps(&set, pods.clone()), ["-web-3"]);
    pods[3].metadata.deletion_timestamp = Some(serde_json::from_value(json!(NOW)).unwrap());
    assert!(steps(&set, pods).is_empty(), "web-2 waits until web-3 is gone");
}

#[test]
fn ordinals_begin_where_the_set_says() {
    let mut set = partitioned(set(2, "OrderedReady", "a:1"), 1);
    set.spec.as_mut().unwrap().ordinals = serde_json::from_value(json!({"start": 5})).unwrap();
    let mut game = Game::new(set.clone(), vec![pod(&set, 0, true)]);
    let told = game.settle();
    assert!(told.contains(&"-pod web-0".into()), "{told:?}");
    assert_eq!(game.pods.keys().collect::<Vec<_>>(), ["web-5", "web-6"]);
    game.update(|set| image(set, "a:2"));
    game.settle();
    assert_eq!(
        (game.image("web-5"), game.image("web-6")),
        ("a:1".into(), "a:2".into()),
        "the partition counts from the first"
    );
}

#[test]
fn a_new_template_replaces_from_the_top_and_on_delete_replaces_nothing() {
    let old = set(3, "OrderedReady", "a:1");
    let mut new = set(3, "OrderedReady", "a:2");
    let mut pods: Vec<_> = (0..3).map(|ordinal| pod(&old, ordinal, true)).collect();
    assert_eq!(steps(&new, pods.clone()), ["-web-2"]);
    pods[2] = pod(&new, 2, false);
    assert!(steps(&new, pods.clone()).is_empty());
    pods[2] = pod(&new, 2, true);
    assert_eq!(steps(&new, pods.clone()), ["-web-1"]);
    assert!(steps(&partitioned(new.clone(), 2), pods.clone()).is_empty());
    new.spec.as_mut().unwrap().update_strategy = serde_json::from_value(json!({"type": "OnDelete"})).unwrap();
    pods[2] = pod(&old, 2, true);
    assert!(steps(&new, pods).is_empty());
}

#[test]
fn pods_below_the_partition_come_back_as_they_were() {
    let mut game = Game::new(partitioned(set(3, "OrderedReady", "a:1"), 2), vec![]);
    game.settle();
    game.update(|set| image(set, "a:2"));
    game.settle();
    let images = |game: &Game| ["web-0", "web-1", "web-2"].map(|pod| game.image(pod));
    assert_eq!(images(&game), ["a:1", "a:1", "a:2"]);
    for pod in ["web-0", "web-1", "web-2"] {
        game.pods.remove(pod);
        game.settle();
        assert_eq!(images(&game), ["a:1", "a:1", "a:2"], "{pod}");
    }
    let status = game.status();
    assert_eq!((status.current_replicas, status.updated_replicas), (Some(2), Some(1)));
    assert_ne!(status.current_revision, status.update_revision);
    // None, and back: what was held back is held back still.
    game.update(|set| set.spec.as_mut().unwrap().replicas = Some(0));
    game.settle();
    game.update(|set| set.spec.as_mut().unwrap().replicas = Some(3));
    game.settle();
    assert_eq!(images(&game), ["a:1", "a:1", "a:2"]);
    game.update(|set| *set = partitioned(set.clone(), 0));
    game.settle();
    assert_eq!(images(&game), ["a:2", "a:2", "a:2"]);
    let status = game.status();
    assert_eq!(status.current_revision, status.update_revision);
    assert_eq!((status.current_replicas, status.updated_replicas), (Some(3), Some(3)));
}

#[test]
fn history_is_kept_renewed_and_pruned() {
    let mut game = Game::new(set(1, "OrderedReady", "a:0"), vec![]);
    game.update(|set| set.spec.as_mut().unwrap().revision_history_limit = Some(2));
    for number in 0..6 {
        game.update(|set| image(set, &format!("a:{number}")));
        game.settle();
    }
    let history = |game: &Game| {
        let mut all: Vec<_> = game
            .revisions
            .values()
            .map(|kept| {
                let template = crate::workloads::history::template_of(kept).unwrap();
                (kept.revision, template.spec.unwrap().containers[0].image.clone().unwrap())
            })
            .collect();
        all.sort();
        all
    };
    let of = |all: &[(i64, &str)]| all.iter().map(|(number, image)| (*number, (*image).to_owned())).collect::<Vec<_>>();
    assert_eq!(history(&game), of(&[(4, "a:3"), (5, "a:4"), (6, "a:5")]));
    // Back to what was: an old revision becomes the newest.
    game.update(|set| image(set, "a:4"));
    game.settle();
    assert_eq!(history(&game), of(&[(4, "a:3"), (6, "a:5"), (7, "a:4")]));
    let kept = game.revisions.values().next().unwrap();
    let data = &kept.data.as_ref().unwrap().0;
    assert_eq!(data["spec"]["template"]["$patch"], "replace", "clients go back by a strategic merge patch");
    assert_eq!(kept.metadata.labels.as_ref().unwrap()["app"], "web", "clients find it by the set's selector");
}

#[test]
fn a_name_that_is_taken_by_another_template_is_not_used() {
    let set = set(1, "OrderedReady", "a:1");
    let mut game = Game::new(set.clone(), vec![]);
    let name = revision_name(&set, 0);
    let stranger = json!({"metadata": {"name": name, "namespace": "shop"}, "data": {"x": 1}, "revision": 9});
    game.revisions.insert(name.clone(), decode(stranger).unwrap());
    game.settle();
    assert_eq!(game.status().collision_count, Some(1));
    assert_ne!(game.status().update_revision, Some(name.clone()));
    assert_eq!(game.revisions[&name].revision, 9);
}

#[test]
fn pods_from_before_revisions_were_kept_stay() {
    // What an earlier version stored: no revision, and templates without the defaults of today.
    let mut old = set(2, "OrderedReady", "a:1");
    let bare =
        json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "a:1"}]}});
    old.spec.as_mut().unwrap().template = serde_json::from_value(bare).unwrap();
    let name = revision_name(&old, 0);
    let mut now = set(2, "OrderedReady", "a:1");
    now.status =
        serde_json::from_value(json!({"replicas": 2, "currentRevision": name, "updateRevision": name})).unwrap();
    assert_ne!(revision_name(&now, 0), name);
    let mut game = Game::new(now, vec![pod(&old, 0, true), pod(&old, 1, true)]);
    let told = game.settle();
    assert_eq!(told, [format!("+controllerrevision {name}")]);
    game.update(|set| image(set, "a:2"));
    assert!(game.settle().contains(&"-pod web-1".to_owned()), "a real change is rolled out");
}

#[test]
fn a_default_of_a_new_version_is_no_new_template() {
    let mut game = Game::new(set(1, "OrderedReady", "a:1"), vec![]);
    game.update(|set| {
        let bare =
            json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "a:1"}]}});
        set.spec.as_mut().unwrap().template = serde_json::from_value(bare).unwrap();
    });
    game.settle();
    game.update(|set| set.apply_defaults());
    assert!(game.settle().is_empty());
}

#[test]
fn pods_are_adopted_and_released_by_selector_name_and_controller() {
    let set = set(2, "OrderedReady", "a:1");
    let orphan = |ordinal| {
        let mut orphan = pod(&set, ordinal, true);
        orphan.metadata.owner_references = None;
        orphan
    };
    let mut other = orphan(7);
    other.metadata.name = Some("web-x".into());
    let mut stranger = orphan(1);
    stranger.metadata.owner_references = pod(&set, 0, true).metadata.owner_references;
    stranger.metadata.owner_references.as_mut().unwrap()[0].uid = "another".into();
    let mut game = Game::new(set.clone(), vec![orphan(0), other.clone(), stranger.clone()]);
    let told = game.settle();
    assert_eq!(told.iter().filter(|step| step.contains("pod ")).collect::<Vec<_>>(), ["~pod web-0"]);
    assert_eq!(game.pods["web-0"].metadata.owner_references.as_ref().unwrap()[0].uid, "set-uid");
    assert_eq!((&game.pods["web-x"], &game.pods["web-1"]), (&other, &stranger));
    // A label is taken off: the pod is set free, and in the way until it is gone.
    game.pods.get_mut("web-0").unwrap().metadata.labels.as_mut().unwrap().remove("app");
    assert_eq!(game.settle(), ["~pod web-0"]);
    assert_eq!(game.pods["web-0"].metadata.owner_references.as_deref(), Some(&[][..]));
    assert_eq!(game.status().replicas, 0);
}

#[test]
fn revisions_that_were_orphaned_with_the_pods_are_adopted() {
    let mut game = Game::new(set(1, "OrderedReady", "a:1"), vec![]);
    game.settle();
    game.revisions.values_mut().for_each(|kept| kept.metadata.owner_references = None);
    game.pods.values_mut().for_each(|pod| pod.metadata.owner_references = None);
    game.set.status = None;
    let told = game.settle();
    assert!(told.iter().all(|step| step.starts_with('~')), "{told:?}");
    assert!(game.revisions.values().all(|kept| kept.metadata.owner_references.is_some()));
}

#[test]
fn claims_go_with_whom_the_set_says() {
    let policy = |deleted: &str, scaled: &str| {
        let mut set = set(1, "OrderedReady", "a:1");
        let policy = json!({"whenDeleted": deleted, "whenScaled": scaled});
        set.spec.as_mut().unwrap().persistent_volume_claim_retention_policy = serde_json::from_value(policy).unwrap();
        set
    };
    let owners = |game: &Game, claim: &str| -> Vec<String> {
        let owners = game.claims[claim].metadata.owner_references.iter().flatten();
        owners.map(|owner| owner.kind.clone()).collect()
    };
    let cases = [
        ("Retain", "Retain", vec![], vec![]),
        ("Delete", "Retain", vec!["StatefulSet"], vec!["StatefulSet"]),
        ("Retain", "Delete", vec![], vec!["Pod"]),
        ("Delete", "Delete", vec!["StatefulSet"], vec!["Pod"]),
    ];
    for (deleted, scaled, kept, excess) in cases {
        let mut game = Game::new(policy(deleted, scaled), vec![]);
        game.update(|set| set.spec.as_mut().unwrap().replicas = Some(2));
        game.settle();
        assert_eq!(owners(&game, "data-web-0"), kept, "{deleted} {scaled}");
        game.update(|set| set.spec.as_mut().unwrap().replicas = Some(1));
        game.settle();
        assert!(!game.pods.contains_key("web-1"));
        assert_eq!(
            (owners(&game, "data-web-0"), owners(&game, "data-web-1")),
            (kept.iter().map(ToString::to_string).collect(), excess.iter().map(ToString::to_string).collect()),
            "{deleted} {scaled}"
        );
    }
    // Others' claims on a claim are theirs.
    let mut game = Game::new(policy("Retain", "Retain"), vec![]);
    game.settle();
    let bundle =
        json!([{"apiVersion": "nanocloud.io/v1", "kind": "Bundle", "name": "web", "uid": "b", "controller": true}]);
    let claim = game.claims.get_mut("data-web-0").unwrap();
    claim.metadata.owner_references = serde_json::from_value(bundle).unwrap();
    assert!(game.settle().is_empty());
}

#[test]
fn a_pod_counts_only_after_it_was_ready_long_enough() {
    let mut set = set(2, "OrderedReady", "a:1");
    set.spec.as_mut().unwrap().min_ready_seconds = Some(30);
    let since = |at: &str| {
        let mut pod = pod(&set, 0, true);
        let conditions = json!([{"type": "Ready", "status": "True", "lastTransitionTime": at}]);
        pod.status.as_mut().unwrap().conditions = serde_json::from_value(conditions).unwrap();
        Game::new(set.clone(), vec![pod])
    };
    let mut game = since("2025-12-31T23:59:50Z");
    assert_eq!(game.plan().1, Next::After(Duration::from_secs(20)));
    assert!(!game.step().contains(&"+pod web-1".into()));
    assert_eq!((game.status().ready_replicas, game.status().available_replicas), (Some(1), Some(0)));
    assert!(since("2025-12-31T23:59:30Z").step().contains(&"+pod web-1".into()));
}

#[test]
fn a_pod_that_never_becomes_ready_does_not_block_its_own_repair() {
    let (old, new) = (set(2, "OrderedReady", "broken"), set(2, "OrderedReady", "fixed"));
    assert_eq!(steps(&new, vec![pod(&old, 0, false)]), ["-web-0"]);
}

#[test]
fn ended_pods_are_replaced() {
    let set = set(1, "OrderedReady", "a:1");
    let mut ended = pod(&set, 0, false);
    ended.status.as_mut().unwrap().phase = Some("Failed".into());
    assert_eq!(steps(&set, vec![ended]), ["-web-0"]);
}

#[test]
fn sets_are_found_by_the_names_of_pods() {
    for (name, set) in [
        ("web-0", Some("web")),
        ("my-web-12", Some("my-web")),
        ("web", None),
        ("web-x", None),
        ("-1", None),
        ("web-", None),
    ] {
        assert_eq!(super::super::pods::set_of(name), set, "{name}");
    }
}

proptest! {
    /// From any mixture of pods, doing what the plan says and letting pods become ready ends at
    /// exactly the wanted pods of the wanted revision, and in order never has two steps at once.
    #[test]
    fn every_start_converges(replicas in 0..5_i32, parallel: bool, start in proptest::collection::vec((0..7_i64, 0..4_u8), 0..7)) {
        let policy = if parallel { "Parallel" } else { "OrderedReady" };
        let (old, new) = (set(replicas, policy, "a:1"), set(replicas, policy, "a:2"));
        let pods = start.into_iter().map(|(ordinal, how)| {
            let mut made = pod(if how & 1 == 0 { &old } else { &new }, ordinal, how & 2 == 0);
            if how == 3 { made.status.as_mut().unwrap().phase = Some("Failed".into()); }
            made
        });
        let mut game = Game::new(new.clone(), pods.collect());
        for _ in 0..64 {
            let told = game.step();
            let changes = told.iter().filter(|told| told.contains("pod ")).count();
            prop_assert!(parallel || changes <= 1, "{told:?}");
            if changes == 0 {
                for made in game.pods.values_mut().filter(|made| !health::has_ended(made)) {
                    made.status = pod(&new, 0, true).status;
                }
            }
        }
        let names: Vec<_> = game.pods.keys().cloned().collect();
        prop_assert_eq!(names, (0..i64::from(replicas)).map(|ordinal| pod_name(&new, ordinal)).collect::<Vec<_>>());
        let wanted = revision_name(&new, 0);
        prop_assert!(game.pods.values().all(|made| revision_of(made) == Some(wanted.as_str())));
    }
}
