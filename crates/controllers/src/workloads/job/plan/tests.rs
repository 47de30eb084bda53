use std::collections::BTreeMap;

use api::{Resource, decode, names::label::COMPLETION_INDEX};
use jiff::SignedDuration;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn job(change: Value) -> Job {
    let mut spec = json!({"selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}},
        "template": {"metadata": {"labels": {"batch.kubernetes.io/controller-uid": "u"}},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}});
    for (key, value) in change.as_object().unwrap() {
        spec[key] = value.clone();
    }
    let meta = json!({"name": "once", "namespace": "d", "uid": "u", "resourceVersion": "1"});
    let mut job: Job = decode(json!({"metadata": meta, "spec": spec})).unwrap();
    job.apply_defaults();
    job
}

/// A job with its pods; what the plan says happens to them.
struct Game {
    job: Job,
    pods: BTreeMap<String, Pod>,
    now: Timestamp,
    version: u64,
    events: Vec<String>,
    gone: bool,
}

impl Game {
    fn new(job: Job) -> Self {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        Self { job, pods: BTreeMap::new(), now, version: 1, events: Vec::new(), gone: false }
    }

    fn plan(&self) -> Plan {
        plan(&Observed { job: self.job.clone(), pods: self.pods.values().cloned().collect(), now: self.now })
    }

    /// Carries a plan out, or only so many of its writes; answers how many there were.
    fn step(&mut self, most: usize) -> usize {
        let plan = self.plan();
        let mut writes = 0;
        for step in plan.steps.into_iter().chain(plan.report) {
            if let Step::Notify(notice) = step {
                self.events.push(notice.reason);
                continue;
            }
            if writes == most {
                return writes;
            }
            writes += 1;
            self.version += 1;
            match step {
                Step::Create { key, object, .. } => {
                    let mut pod: Pod = decode(object).unwrap();
                    pod.metadata.uid = Some(format!("uid-{}-{}", key.name, self.version));
                    assert!(self.pods.insert(key.name, pod).is_none(), "the name is taken");
                }
                Step::Replace { key, object, .. } => drop(self.pods.insert(key.name, decode(object).unwrap())),
                Step::ReplaceStatus { object, .. } => {
                    self.job = decode(object).unwrap();
                    let errors = self.job.validate(Some(&self.job));
                    assert!(errors.is_empty(), "{errors:?}");
                    self.job.metadata.resource_version = Some(self.version.to_string());
                }
                Step::Delete { kind, key, .. } if kind.kind() == "Pod" => {
                    // Nothing runs in it any more; a finalizer may keep it.
                    let pod = self.pods.get_mut(&key.name).unwrap();
                    pod.metadata.deletion_timestamp = Some(Time(self.now));
                    pod.metadata.deletion_grace_period_seconds = Some(0);
                }
                Step::Delete { .. } => self.gone = true,
                other => panic!("{other:?}"),
            }
            self.pods.retain(|_, pod| !health::is_terminating(pod) || JOB_TRACKING.holds(&pod.metadata));
        }
        writes
    }

    /// Goes on until the job waits for its pods.
    fn settle(&mut self) {
        for _ in 0..200 {
            if self.step(usize::MAX) == 0 {
                return;
            }
        }
        panic!("it never ends: {:#?}", self.plan());
    }

    fn active(&self) -> Vec<String> {
        self.pods.iter().filter(|(_, pod)| pods::is_active(pod)).map(|(name, _)| name.clone()).collect()
    }

    fn indexes(&self) -> Vec<i32> {
        let mut all: Vec<_> = self.active().iter().filter_map(|name| indexes::of_pod(&self.pods[name])).collect();
        all.sort_unstable();
        all
    }

    fn end(&mut self, name: &str, code: i32) {
        let phase = if code == 0 { "Succeeded" } else { "Failed" };
        let terminated = json!({"exitCode": code, "finishedAt": self.now.to_string()});
        let status = json!({"phase": phase, "containerStatuses": [{"name": "c", "image": "i", "imageID": "i", "ready": false,
            "restartCount": 0, "state": {"terminated": terminated}}]});
        self.pods.get_mut(name).unwrap().status = serde_json::from_value(status).unwrap();
    }

    /// Ends the first active pod, or that of an index.
    fn end_one(&mut self, index: Option<i32>, code: i32) {
        let is_it = |name: &&String| index.is_none() || indexes::of_pod(&self.pods[*name]) == index;
        let name = self.active().iter().find(is_it).expect("an active pod").clone();
        self.end(&name, code);
        self.settle();
    }

    fn wait(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
        self.settle();
    }

    fn status(&self) -> JobStatus {
        self.job.status.clone().unwrap()
    }

    /// Succeeded, failed and active pods.
    fn counts(&self) -> (i32, i32, i32) {
        let status = self.status();
        (status.succeeded.unwrap(), status.failed.unwrap(), status.active.unwrap())
    }

    /// Conditions that hold, with their reasons.
    fn conditions(&self) -> Vec<String> {
        let all = self.status().conditions.unwrap_or_default();
        let holding = all.into_iter().filter(|condition| condition.status == "True");
        holding.map(|condition| format!("{} {}", condition.type_, condition.reason.unwrap())).collect()
    }
}

#[test]
fn pods_are_made_until_enough_have_succeeded() {
    let mut game = Game::new(job(json!({"completions": 3, "parallelism": 2})));
    game.settle();
    assert_eq!(game.active().len(), 2);
    assert_eq!(game.status().start_time, Some(Time(game.now)));
    assert!(game.pods.values().all(|pod| JOB_TRACKING.holds(&pod.metadata)));
    game.end_one(None, 0);
    assert_eq!(game.counts(), (1, 0, 2));
    game.end_one(None, 0);
    assert_eq!(game.counts(), (2, 0, 1), "only one more is needed");
    game.end_one(None, 0);
    assert_eq!(game.counts(), (3, 0, 0));
    assert_eq!(game.conditions(), ["SuccessCriteriaMet CompletionsReached", "Complete CompletionsReached"]);
    assert_eq!(game.status().completion_time, Some(Time(game.now)));
    assert!(!game.pods.values().any(|pod| JOB_TRACKING.holds(&pod.metadata)));
    assert_eq!(game.status().uncounted_terminated_pods, Some(Default::default()));
    assert_eq!(game.events.iter().filter(|reason| *reason == "Completed").count(), 1);
}

#[test]
fn without_completions_one_success_is_enough_and_the_others_end_by_themselves() {
    let mut game = Game::new(job(json!({"parallelism": 3})));
    game.settle();
    assert_eq!(game.active().len(), 3);
    game.end_one(None, 0);
    assert_eq!(game.counts(), (1, 0, 2));
    game.end_one(None, 1);
    game.wait(100);
    assert_eq!(game.counts(), (1, 1, 1), "it is not replaced");
    game.end_one(None, 0);
    assert_eq!(game.conditions().last().unwrap(), "Complete CompletionsReached");
    assert_eq!(game.counts(), (2, 1, 0));
}

#[test]
fn failures_are_tried_again_ever_later_until_there_are_too_many() {
    let mut game = Game::new(job(json!({"backoffLimit": 2})));
    game.settle();
    for (failures, wait) in [(1, 10), (2, 20)] {
        game.end_one(None, 1);
        assert_eq!(game.counts(), (0, failures, 0));
        assert_eq!(game.plan().next, Next::After(Duration::from_secs(wait)));
        game.wait(wait.try_into().unwrap());
        assert_eq!(game.active().len(), 1);
    }
    game.end_one(None, 1);
    let reason = "BackoffLimitExceeded";
    assert_eq!(game.conditions(), [format!("FailureTarget {reason}"), format!("Failed {reason}")]);
    assert_eq!(game.counts(), (0, 3, 0));
    assert!(game.events.contains(&reason.to_owned()));
}

#[test]
fn restarts_of_containers_count_as_failures() {
    let mut game = Game::new(job(json!({"backoffLimit": 3})));
    game.job.spec.as_mut().unwrap().template.spec.as_mut().unwrap().restart_policy = Some("OnFailure".into());
    game.settle();
    let name = game.active()[0].clone();
    let restarted = |count: i32| {
        serde_json::from_value(json!({"phase": "Running", "containerStatuses": [
            {"name": "c", "image": "i", "imageID": "i", "ready": false, "restartCount": count}]}))
        .unwrap()
    };
    game.pods.get_mut(&name).unwrap().status = restarted(2);
    game.settle();
    assert!(game.conditions().is_empty());
    game.pods.get_mut(&name).unwrap().status = restarted(3);
    game.settle();
    assert_eq!(game.conditions().last().unwrap(), "Failed BackoffLimitExceeded");
    assert_eq!(game.counts(), (0, 1, 0), "the pod was ended");
}

#[test]
fn a_deadline_ends_the_job() {
    let mut game = Game::new(job(json!({"activeDeadlineSeconds": 30})));
    game.settle();
    assert_eq!(game.plan().next, Next::After(Duration::from_secs(30)));
    game.wait(30);
    assert_eq!(game.conditions(), ["FailureTarget DeadlineExceeded", "Failed DeadlineExceeded"]);
    assert!(game.active().is_empty());
}

#[test]
fn a_suspended_job_has_no_pods_and_loses_no_count() {
    let mut game = Game::new(job(json!({"completions": 2, "parallelism": 2, "suspend": true})));
    game.settle();
    assert_eq!((game.active().len(), game.conditions()), (0, vec!["Suspended JobSuspended".into()]));
    assert_eq!(game.status().start_time, None);
    game.job.spec.as_mut().unwrap().suspend = Some(false);
    game.settle();
    assert_eq!((game.active().len(), game.conditions().len()), (2, 0));
    game.end_one(None, 0);
    game.job.spec.as_mut().unwrap().suspend = Some(true);
    game.settle();
    assert_eq!(game.counts(), (1, 0, 0), "the pod that was taken away did not fail");
    game.job.spec.as_mut().unwrap().suspend = Some(false);
    game.wait(5);
    assert_eq!(game.status().start_time, Some(Time(game.now)), "its deadline begins again");
    game.end_one(None, 0);
    assert_eq!(game.conditions().last().unwrap(), "Complete CompletionsReached");
    assert!(["Suspended", "Resumed"].iter().all(|reason| game.events.contains(&(*reason).to_owned())));
}

#[test]
fn fewer_pods_at_once_are_no_failures() {
    let mut game = Game::new(job(json!({"completions": 5, "parallelism": 3})));
    game.settle();
    game.job.spec.as_mut().unwrap().parallelism = Some(1);
    game.settle();
    assert_eq!(game.counts(), (0, 0, 1));
    game.job.spec.as_mut().unwrap().parallelism = Some(0);
    game.settle();
    assert_eq!(game.counts(), (0, 0, 0));
}

#[test]
fn each_index_succeeds_once() {
    let mut game = Game::new(job(json!({"completions": 4, "parallelism": 2, "completionMode": "Indexed"})));
    game.settle();
    assert_eq!(game.indexes(), [0, 1]);
    let pod = &game.pods[&game.active()[0]];
    let spec = pod.spec.as_ref().unwrap();
    assert!(pod.metadata.name.as_ref().unwrap().starts_with("once-0-"));
    assert_eq!(spec.hostname.as_deref(), Some("once-0"));
    assert_eq!(pod.metadata.labels.as_ref().unwrap()[COMPLETION_INDEX], "0");
    let variable = &spec.containers[0].env.as_ref().unwrap()[0];
    let path = variable.value_from.as_ref().unwrap().field_ref.as_ref().unwrap().field_path.clone();
    assert_eq!(
        (&*variable.name, &*path),
        ("JOB_COMPLETION_INDEX", "metadata.labels['batch.kubernetes.io/job-completion-index']")
    );
    game.end_one(Some(1), 0);
    assert_eq!((game.indexes(), game.status().completed_indexes.as_deref()), (vec![0, 2], Some("1")));
    game.end_one(Some(0), 1);
    game.wait(10);
    assert_eq!(game.indexes(), [0, 2], "the index is tried again");
    for index in [0, 2, 3] {
        game.end_one(Some(index), 0);
    }
    assert_eq!(game.status().completed_indexes.as_deref(), Some("0-3"));
    assert_eq!(game.counts(), (4, 1, 0));
    assert_eq!(game.conditions().last().unwrap(), "Complete CompletionsReached");
}

#[test]
fn an_index_that_failed_too_often_does_not_keep_the_others() {
    let spec = json!({"completions": 3, "parallelism": 3, "completionMode": "Indexed", "backoffLimitPerIndex": 1});
    let mut game = Game::new(job(spec.clone()));
    game.settle();
    game.end_one(Some(1), 1);
    assert_eq!((game.indexes(), game.status().failed_indexes.as_deref()), (vec![0, 2], Some("")));
    assert_eq!(game.plan().next, Next::After(Duration::from_secs(10)));
    game.wait(10);
    assert_eq!(game.indexes(), [0, 1, 2]);
    game.end_one(Some(1), 1);
    assert_eq!((game.indexes(), game.status().failed_indexes.as_deref()), (vec![0, 2], Some("1")));
    game.end_one(Some(0), 0);
    game.end_one(Some(2), 0);
    assert_eq!(game.conditions(), ["FailureTarget FailedIndexes", "Failed FailedIndexes"]);
    assert_eq!(game.counts(), (2, 2, 0));

    let mut spec = spec;
    (spec["maxFailedIndexes"], spec["backoffLimitPerIndex"]) = (json!(0), json!(0));
    let mut strict = Game::new(job(spec));
    strict.settle();
    strict.end_one(Some(1), 1);
    assert_eq!(strict.conditions().last().unwrap(), "Failed MaxFailedIndexesExceeded");
    assert!(strict.active().is_empty());
}

#[test]
fn rules_say_what_a_failure_means() {
    let rules = json!([
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}},
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "Ignore", "onExitCodes": {"containerName": "c", "operator": "NotIn", "values": [1, 42]}},
    ]);
    let spec = json!({"backoffLimit": 1, "podFailurePolicy": {"rules": rules}});
    let mut game = Game::new(job(spec));
    game.settle();
    game.end_one(None, 7);
    assert_eq!(game.status().failed, Some(0), "it is ignored");
    game.wait(600);
    game.end_one(None, 1);
    assert_eq!(game.status().failed, Some(1));
    game.wait(600);
    let name = game.active()[0].clone();
    game.end_one(None, 42);
    assert_eq!(game.conditions(), ["FailureTarget PodFailurePolicy", "Failed PodFailurePolicy"]);
    let message = game.status().conditions.unwrap()[0].message.clone().unwrap();
    assert_eq!(
        message,
        format!("Container c for pod d/{name} failed with exit code 42 matching FailJob rule at index 0")
    );
}

#[test]
fn a_failed_index_can_be_decided_by_a_rule() {
    let rules = json!([{"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [42]}}]);
    let mut game = Game::new(job(json!({"completions": 2, "parallelism": 2, "completionMode": "Indexed",
        "backoffLimitPerIndex": 5, "podFailurePolicy": {"rules": rules}})));
    game.settle();
    game.end_one(Some(0), 42);
    assert_eq!(game.status().failed_indexes.as_deref(), Some("0"));
    game.wait(600);
    assert_eq!(game.indexes(), [1]);
}

#[test]
fn a_success_policy_ends_the_job_early() {
    let rules = json!([{"succeededIndexes": "0,2", "succeededCount": 1}]);
    let mut game = Game::new(job(json!({"completions": 3, "parallelism": 3, "completionMode": "Indexed",
        "successPolicy": {"rules": rules}})));
    game.settle();
    game.end_one(Some(1), 0);
    assert!(game.conditions().is_empty());
    game.end_one(Some(2), 0);
    assert_eq!(game.conditions(), ["SuccessCriteriaMet SuccessPolicy", "Complete SuccessPolicy"]);
    assert_eq!((game.status().completed_indexes.as_deref(), game.active().len()), (Some("1,2"), 0));
}

#[test]
fn a_pod_that_is_being_deleted_is_replaced_as_the_policy_says() {
    for (policy, wanted) in [("TerminatingOrFailed", (0, 1, 1)), ("Failed", (0, 0, 0))] {
        let mut game = Game::new(job(json!({"podReplacementPolicy": policy})));
        game.settle();
        let name = game.active()[0].clone();
        let pod = game.pods.get_mut(&name).unwrap();
        pod.metadata.deletion_timestamp = Some(Time(game.now));
        pod.metadata.deletion_grace_period_seconds = Some(30);
        game.wait(0);
        game.wait(600);
        assert_eq!(game.counts(), wanted, "{policy}");
        if policy == "Failed" {
            assert_eq!(game.status().terminating, Some(1));
            game.end(&name, 1);
            game.wait(600);
            assert_eq!(game.counts(), (0, 1, 1));
        }
    }
}

#[test]
fn a_finished_job_goes_after_its_time() {
    let mut game = Game::new(job(json!({"ttlSecondsAfterFinished": 60})));
    game.settle();
    game.end_one(None, 0);
    assert_eq!(game.plan().next, Next::After(Duration::from_secs(60)));
    game.now += SignedDuration::from_secs(60);
    game.step(usize::MAX);
    assert!(game.gone);
}

#[test]
fn a_job_of_another_controller_is_left_alone() {
    let game = Game::new(job(json!({"managedBy": "example.com/own"})));
    assert!(game.plan().steps.is_empty() && game.plan().report.is_empty());
    let mut going = Game::new(job(json!({})));
    going.settle();
    going.job.metadata.deletion_timestamp = Some(Time(going.now));
    going.settle();
    assert!(!going.pods.values().any(|pod| JOB_TRACKING.holds(&pod.metadata)), "its pods may go");
}

proptest! {
    /// Whatever comes between, and wherever the controller is killed, each pod is counted once.
    #[test]
    fn each_pod_is_counted_once(
        indexed in any::<bool>(),
        moves in proptest::collection::vec((0..6_u8, 0..8_usize), 1..60),
    ) {
        let mode = if indexed { "Indexed" } else { "NonIndexed" };
        let mut game = Game::new(job(json!({"completions": 5, "parallelism": 3, "backoffLimit": 1000, "completionMode": mode})));
        let (mut succeeded, mut failed) = (0, 0);
        for (kind, number) in moves {
            let active = game.active();
            let pod = active.get(number % active.len().max(1)).cloned();
            match (kind, pod) {
                (0, Some(pod)) => {
                    game.end(&pod, 0);
                    succeeded += 1;
                }
                (1, Some(pod)) => {
                    game.end(&pod, 1);
                    failed += 1;
                }
                (2, _) => game.now += SignedDuration::from_secs(600),
                // Killed after so many writes.
                _ => drop(game.step(number)),
            }
            if succeeded >= 5 {
                break;
            }
        }
        for _ in 0..20 {
            game.settle();
            if !job::is_finished(&game.job) && let Some(pod) = game.active().first().cloned() {
                game.end(&pod, 0);
                succeeded += 1;
            }
            game.now += SignedDuration::from_secs(600);
        }
        let status = game.status();
        prop_assert!(job::is_finished(&game.job), "{status:#?}");
        prop_assert_eq!(status.failed, Some(failed));
        if indexed {
            prop_assert_eq!(status.completed_indexes.as_deref(), Some("0-4"));
        } else {
            prop_assert_eq!(status.succeeded, Some(succeeded));
        }
        prop_assert!(!game.pods.values().any(|pod| JOB_TRACKING.holds(&pod.metadata)));
    }
}
