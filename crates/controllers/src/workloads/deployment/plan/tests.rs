use std::{collections::BTreeMap, time::Duration};

use api::{
    Resource, decode,
    names::annotation::{DESIRED_REPLICAS, REVISION, REVISION_HISTORY},
};
use k8s_openapi::api::apps::v1::DeploymentStatus;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{super::rollout, *};

fn deployment(replicas: i32, spec: Value) -> Deployment {
    let mut object = json!({
        "metadata": {"name": "web", "namespace": "d", "uid": "u", "generation": 1, "annotations": {"team": "a"}},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}}
    });
    for (key, value) in spec.as_object().unwrap() {
        object["spec"][key] = value.clone();
    }
    let mut deployment: Deployment = decode(object).unwrap();
    deployment.apply_defaults();
    deployment
}

/// A deployment with its replica sets; what the plan says happens to them.
struct Game {
    deployment: Deployment,
    sets: BTreeMap<String, ReplicaSet>,
    now: Timestamp,
    /// Pods of images with this in their name are never available.
    broken: &'static str,
    /// Every size that there was: all pods, and available ones.
    seen: Vec<(i32, i32)>,
}

impl Game {
    fn new(deployment: Deployment) -> Self {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        Self { deployment, sets: BTreeMap::new(), now, broken: "broken", seen: Vec::new() }
    }

    fn plan(&self) -> (Vec<Step>, Next) {
        let sets = self.sets.values().cloned().collect();
        plan(&Observed { deployment: self.deployment.clone(), sets, now: self.now })
    }

    /// Carries a plan out; answers what it does to replica sets.
    fn step(&mut self) -> Vec<String> {
        let mut done = Vec::new();
        for step in self.plan().0 {
            match step {
                Step::Create { key, object, .. } => {
                    let mut set: ReplicaSet = decode(object).unwrap();
                    set.metadata.uid = Some(format!("uid-{}", key.name));
                    set.metadata.creation_timestamp = Some(api::Time(self.now));
                    set.metadata.generation = Some(1);
                    // Each is made in a second of its own.
                    self.now += jiff::SignedDuration::from_secs(1);
                    done.push(format!("+{}", rollout::size(&set)));
                    assert!(self.sets.insert(key.name, set).is_none(), "the name is taken");
                }
                Step::Replace { kind, key, object } if kind.kind() == "ReplicaSet" => {
                    let set: ReplicaSet = decode(object).unwrap();
                    let before = self.sets.insert(key.name, set.clone()).unwrap();
                    if rollout::size(&before) != rollout::size(&set) {
                        done.push(format!("{} {}->{}", image(&set), rollout::size(&before), rollout::size(&set)));
                    }
                }
                Step::Replace { object, .. } | Step::ReplaceStatus { object, .. } => {
                    self.deployment = decode(object).unwrap();
                }
                Step::Delete { key, .. } => {
                    let gone = self.sets.remove(&key.name).unwrap();
                    done.push(format!("-{}", image(&gone)));
                }
                _ => {}
            }
        }
        done
    }

    /// The replica sets make and delete their pods, and report them.
    fn run(&mut self) {
        for set in self.sets.values_mut() {
            let (size, works) = (rollout::size(set), !image(set).contains(self.broken));
            let status = set.status.get_or_insert_default();
            status.replicas = size;
            status.observed_generation = set.metadata.generation;
            status.ready_replicas = Some(if works { size } else { 0 });
            status.available_replicas = status.ready_replicas;
        }
        let total = self.sets.values().map(rollout::size).sum();
        self.seen.push((total, self.sets.values().map(rollout::available).sum()));
    }

    /// Goes on until there is nothing to do; answers all of it.
    fn settle(&mut self) -> Vec<String> {
        let mut done = Vec::new();
        for _ in 0..200 {
            if self.plan().0.is_empty() {
                return done;
            }
            done.extend(self.step());
            self.run();
        }
        panic!("it never ends: {done:?}");
    }

    fn set_image(&mut self, image: &str) {
        let template = &mut self.deployment.spec.as_mut().unwrap().template;
        template.spec.as_mut().unwrap().containers[0].image = Some(image.into());
    }

    fn set_replicas(&mut self, replicas: i32) {
        self.deployment.spec.as_mut().unwrap().replicas = Some(replicas);
    }

    fn status(&self) -> DeploymentStatus {
        self.deployment.status.clone().unwrap()
    }

    fn condition(&self, kind: &str) -> Option<(String, String)> {
        let found = self.status().conditions?.into_iter().find(|condition| condition.type_ == kind)?;
        Some((found.status, found.reason.unwrap()))
    }

    fn progress(&self) -> String {
        self.condition("Progressing").map(|(status, reason)| format!("{status} {reason}")).unwrap_or_default()
    }

    fn annotation(&self, image_name: &str, annotation: &str) -> Option<String> {
        let set = self.sets.values().find(|set| image(set) == image_name)?;
        set.metadata.annotations.as_ref()?.get(annotation).cloned()
    }
}

fn image(set: &ReplicaSet) -> &str {
    let template = set.spec.as_ref().unwrap().template.as_ref().unwrap();
    template.spec.as_ref().unwrap().containers[0].image.as_deref().unwrap()
}

fn rolling(surge: Value, unavailable: Value) -> Value {
    json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}})
}

#[test]
fn the_first_replica_set_is_made_at_once_and_described() {
    let mut game = Game::new(deployment(3, json!({})));
    assert_eq!(game.settle(), ["+3"]);
    let (name, set) = game.sets.first_key_value().unwrap();
    let hash = name.strip_prefix("web-").unwrap();
    assert_eq!(hash.len(), 10);
    let spec = set.spec.as_ref().unwrap();
    let labels = spec.template.as_ref().unwrap().metadata.as_ref().unwrap().labels.as_ref().unwrap();
    assert_eq!(spec.selector.match_labels.as_ref(), Some(labels));
    assert_eq!(labels["pod-template-hash"], hash);
    assert_eq!(set.metadata.labels.as_ref(), Some(labels));
    for (key, value) in
        [(REVISION, "1"), (DESIRED_REPLICAS, "3"), ("deployment.kubernetes.io/max-replicas", "4"), ("team", "a")]
    {
        assert_eq!(game.annotation("i:1", key).as_deref(), Some(value), "{key}");
    }
    assert_eq!(game.deployment.metadata.annotations.as_ref().unwrap()[REVISION], "1");
    assert_eq!(game.progress(), "True NewReplicaSetAvailable");
    assert_eq!(game.condition("Available").unwrap(), ("True".into(), "MinimumReplicasAvailable".into()));
    let status = game.status();
    let counts = (status.replicas, status.updated_replicas, status.ready_replicas, status.available_replicas);
    assert_eq!(counts, (Some(3), Some(3), Some(3), Some(3)));
    assert_eq!((status.unavailable_replicas, status.observed_generation), (Some(0), Some(1)));
}

#[test]
fn pods_are_replaced_within_the_limits() {
    for (strategy, wanted) in [
        (rolling(json!(1), json!(0)), vec!["+1", "i:1 3->2", "i:2 1->2", "i:1 2->1", "i:2 2->3", "i:1 1->0"]),
        (
            rolling(json!(0), json!(1)),
            vec!["+0", "i:1 3->2", "i:2 0->1", "i:1 2->1", "i:2 1->2", "i:1 1->0", "i:2 2->3"],
        ),
        (rolling(json!("100%"), json!(0)), vec!["+3", "i:1 3->0"]),
        // Neither would allow anything: one pod may be missing.
        (
            rolling(json!(0), json!("1%")),
            vec!["+0", "i:1 3->2", "i:2 0->1", "i:1 2->1", "i:2 1->2", "i:1 1->0", "i:2 2->3"],
        ),
        (json!({"strategy": {"type": "Recreate"}}), vec!["i:1 3->0", "+3"]),
    ] {
        let mut game = Game::new(deployment(3, strategy.clone()));
        game.settle();
        game.set_image("i:2");
        assert_eq!(game.settle(), wanted, "{strategy}");
        assert_eq!(game.progress(), "True NewReplicaSetAvailable");
    }
}

proptest! {
    #[test]
    fn a_rollout_keeps_to_its_limits_and_ends(replicas in 1..30_i32, surge in 0..5_i32, missing in 0..5_i32, again in 0..8_usize) {
        let mut game = Game::new(deployment(replicas, rolling(json!(surge), json!(missing))));
        game.settle();
        game.seen.clear();
        game.set_image("i:2");
        // A third template in the middle.
        for _ in 0..again {
            game.step();
            game.run();
        }
        game.set_image("i:3");
        game.settle();
        let missing = if surge == 0 { missing.max(1) } else { missing };
        for (total, available) in &game.seen {
            prop_assert!(*total <= replicas + surge, "{total} pods");
            prop_assert!(*available >= replicas - missing, "{available} available");
        }
        let left: Vec<_> = game.sets.values().filter(|set| rollout::size(set) > 0).map(image).collect();
        prop_assert_eq!(left, ["i:3"]);
    }

    #[test]
    fn scaling_gives_each_replica_set_its_share(old in 1..20_i32, new in 1..20_i32, to in 0..60_i32) {
        let mut game = Game::new(deployment(old + new, rolling(json!(3), json!(2))));
        game.broken = "2";
        game.settle();
        game.set_image("i:2");
        game.step();
        game.run();
        game.set_replicas(to);
        let sized = game.step();
        let total: i32 = game.sets.values().map(rollout::size).sum();
        if sized.len() == 2 {
            prop_assert_eq!(total, if to > 0 { to + 3 } else { 0 });
        }
        game.broken = "none";
        game.settle();
        let left: Vec<_> = game.sets.values().filter(|set| rollout::size(set) > 0).map(rollout::size).collect();
        prop_assert_eq!(left, if to > 0 { vec![to] } else { vec![] });
    }
}

#[test]
fn scaling_in_the_middle_of_a_rollout_is_proportional() {
    let mut game = Game::new(deployment(10, rolling(json!(3), json!(2))));
    game.settle();
    game.set_image("i:broken");
    game.settle();
    let sizes = |game: &Game| {
        game.sets.values().map(|set| (image(set).to_owned(), rollout::size(set))).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(sizes(&game), BTreeMap::from([("i:1".into(), 8), ("i:broken".into(), 5)]));
    game.set_replicas(15);
    game.step();
    assert_eq!(sizes(&game), BTreeMap::from([("i:1".into(), 11), ("i:broken".into(), 7)]));
}

#[test]
fn recreating_waits_until_the_last_old_pod_is_gone() {
    let mut game = Game::new(deployment(2, json!({"strategy": {"type": "Recreate"}})));
    game.settle();
    game.set_image("i:2");
    assert_eq!(game.step(), ["i:1 2->0"]);
    assert_eq!(game.step(), [""; 0], "the replica set has not seen it");
    game.run();
    for set in game.sets.values_mut() {
        set.status.as_mut().unwrap().terminating_replicas = Some(1);
    }
    assert_eq!(game.step(), [""; 0]);
    for set in game.sets.values_mut() {
        set.status.as_mut().unwrap().terminating_replicas = Some(0);
    }
    assert_eq!(game.step(), ["+2"]);
}

#[test]
fn pods_that_are_not_available_anyway_go_first() {
    let mut game = Game::new(deployment(4, rolling(json!(1), json!(1))));
    game.settle();
    game.set_image("i:broken");
    game.settle();
    game.set_image("i:3");
    let done = game.settle();
    assert_eq!(done[1], "i:broken 2->0", "{done:?}");
}

#[test]
fn an_earlier_template_gets_a_new_revision() {
    let mut game = Game::new(deployment(1, json!({})));
    game.settle();
    game.set_image("i:2");
    game.settle();
    game.set_image("i:1");
    game.settle();
    assert_eq!(game.sets.len(), 2);
    assert_eq!(game.annotation("i:1", REVISION).as_deref(), Some("3"));
    assert_eq!(game.annotation("i:1", REVISION_HISTORY).as_deref(), Some("1"));
    assert_eq!(game.annotation("i:2", REVISION).as_deref(), Some("2"));
    assert_eq!(game.deployment.metadata.annotations.as_ref().unwrap()[REVISION], "3");
}

#[test]
fn the_oldest_templates_are_forgotten() {
    let mut game = Game::new(deployment(1, json!({"revisionHistoryLimit": 1})));
    game.settle();
    for image in ["i:2", "i:3", "i:4"] {
        game.set_image(image);
        game.settle();
    }
    let left: Vec<_> = game
        .sets
        .values()
        .map(|set| image(set).to_owned())
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .collect();
    assert_eq!(left, ["i:3", "i:4"]);
}

#[test]
fn a_paused_deployment_is_scaled_and_not_rolled_out() {
    let mut game = Game::new(deployment(2, json!({})));
    game.settle();
    game.deployment.spec.as_mut().unwrap().paused = Some(true);
    game.set_image("i:2");
    game.set_replicas(3);
    assert_eq!(game.settle(), ["i:1 2->3"]);
    assert_eq!(game.progress(), "Unknown DeploymentPaused");
    game.deployment.spec.as_mut().unwrap().paused = None;
    game.step();
    assert_eq!(game.progress(), "Unknown DeploymentResumed");
    game.settle();
    assert_eq!(game.progress(), "True NewReplicaSetAvailable");
}

#[test]
fn a_rollout_without_progress_is_stuck_after_its_deadline() {
    let mut game = Game::new(deployment(1, json!({"progressDeadlineSeconds": 60})));
    game.settle();
    game.set_image("i:broken");
    game.settle();
    assert_eq!(game.progress(), "True ReplicaSetUpdated");
    let Next::After(wait) = game.plan().1 else { panic!("it must look again") };
    assert!(wait <= Duration::from_secs(60));
    game.now += jiff::SignedDuration::from_secs(61);
    game.settle();
    assert_eq!(game.progress(), "False ProgressDeadlineExceeded");
    assert_eq!(game.plan().1, Next::OnChange);
    game.broken = "none";
    game.run();
    game.settle();
    assert_eq!(game.progress(), "True NewReplicaSetAvailable");
    let mut patient = Game::new(deployment(1, json!({"progressDeadlineSeconds": i32::MAX})));
    patient.settle();
    assert_eq!(patient.progress(), "", "without a deadline nobody watches");
}

#[test]
fn a_refusal_that_a_replica_set_met_is_passed_on() {
    let mut game = Game::new(deployment(1, json!({})));
    game.settle();
    let condition = json!([{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "quota"}]);
    let set = game.sets.values_mut().next().unwrap();
    set.status.as_mut().unwrap().conditions = serde_json::from_value(condition).unwrap();
    game.settle();
    assert_eq!(game.condition("ReplicaFailure").unwrap(), ("True".into(), "FailedCreate".into()));
    game.sets.values_mut().next().unwrap().status.as_mut().unwrap().conditions = None;
    game.settle();
    assert_eq!(game.condition("ReplicaFailure"), None);
}

#[test]
fn a_name_that_is_taken_is_counted() {
    let mut game = Game::new(deployment(1, json!({})));
    let taken = game.plan().0.into_iter().find_map(|step| match step {
        Step::Create { key, object, .. } => Some((key.name, decode::<ReplicaSet>(object).unwrap())),
        _ => None,
    });
    let (name, mut foreign) = taken.unwrap();
    foreign.metadata.owner_references.as_mut().unwrap()[0].uid = "somebody else".into();
    game.sets.insert(name, foreign);
    game.step();
    assert_eq!(game.sets.len(), 2);
    assert_eq!(game.status().collision_count, Some(1));
}

#[test]
fn replica_sets_are_adopted_and_those_of_others_left_alone() {
    let mut game = Game::new(deployment(1, json!({})));
    game.settle();
    game.sets.values_mut().next().unwrap().metadata.owner_references = None;
    assert_eq!(game.settle(), [""; 0], "it is adopted, and no second one is made");
    let owners = game.sets.values().next().unwrap().metadata.owner_references.as_ref().unwrap();
    assert_eq!(owners[0].uid, "u");
    game.deployment.metadata.deletion_timestamp = Some(api::Time(game.now));
    assert!(game.plan().0.is_empty(), "a deployment that goes does nothing");
}
