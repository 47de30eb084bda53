use std::time::Duration;

use serde_json::json;

use super::{super::plan::later, *};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn pod(init: &[&str], main: &[&str]) -> Pod {
    let list = |names: &[&str]| names.iter().map(|n| json!({"name": n, "image": "i"})).collect::<Vec<_>>();
    let mut spec = json!({"containers": list(main)});
    if !init.is_empty() {
        spec["initContainers"] = json!(list(init));
    }
    serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
}

fn run(attempt: u32, state: RunState) -> RunFacts {
    RunFacts {
        id: format!("u.a.{attempt}"),
        attempt,
        image: "i".into(),
        image_id: "sha256:0".into(),
        started_at: NOW,
        state,
    }
}

fn running(ready: bool) -> RunState {
    RunState::Running { started: true, ready }
}

fn exited(code: i32) -> RunState {
    RunState::Exited {
        code,
        signal: None,
        oom_killed: code == 137,
        finished_at: NOW,
        message: Some("last words".into()),
    }
}

struct Case {
    pod: Pod,
    runs: BTreeMap<String, RunFacts>,
    waiting: BTreeMap<String, Waiting>,
    now: Timestamp,
}

impl Case {
    fn new(pod: Pod) -> Self {
        Self { pod, runs: BTreeMap::new(), waiting: BTreeMap::new(), now: NOW }
    }

    /// Computes the status, keeps it as the one written last, and returns it.
    fn status(&mut self, state: State) -> PodStatus {
        let facts = Facts {
            pod: &self.pod,
            state,
            now: self.now,
            host_ip: Ipv4Addr::new(192, 0, 2, 1),
            pod_ip: Some(Ipv4Addr::new(10, 88, 0, 2)),
            runs: &self.runs,
            waiting: &self.waiting,
        };
        let status = compute(&facts);
        let again = compute(&Facts { pod: &Pod { status: Some(status.clone()), ..self.pod.clone() }, ..facts });
        assert_eq!(again, status, "the same facts give the same status");
        self.pod.status = Some(status.clone());
        self.now = later(self.now, Duration::from_secs(1));
        status
    }
}

fn condition<'a>(status: &'a PodStatus, name: &str) -> &'a PodCondition {
    status.conditions.iter().flatten().find(|c| c.type_ == name).unwrap()
}

fn first(status: &PodStatus) -> &ContainerStatus {
    &status.container_statuses.as_ref().unwrap()[0]
}

#[test]
fn from_pending_to_ready() {
    let mut case = Case::new(pod(&[], &["a"]));
    let pending = case.status(State::Accepted);
    assert_eq!(pending.phase.as_deref(), Some("Pending"));
    assert_eq!(
        first(&pending).state.as_ref().unwrap().waiting.as_ref().unwrap().reason.as_deref(),
        Some("ContainerCreating")
    );
    case.runs.insert("a".into(), run(0, running(false)));
    let unready = case.status(State::Running);
    assert_eq!((unready.phase.as_deref(), condition(&unready, "Ready").status.as_str()), (Some("Running"), "False"));
    assert_eq!(condition(&unready, "ContainersReady").message.as_deref(), Some("containers with unready status: [a]"));
    case.runs.insert("a".into(), run(0, running(true)));
    let ready = case.status(State::Running);
    assert_eq!(condition(&ready, "Ready").status, "True");
    assert_eq!(first(&ready).container_id.as_deref(), Some("nanocloud://u.a.0"));
    assert_eq!(
        condition(&ready, "Initialized").last_transition_time,
        condition(&pending, "Initialized").last_transition_time
    );
    assert_ne!(condition(&ready, "Ready").last_transition_time, condition(&pending, "Ready").last_transition_time);
}

#[test]
fn a_crash_loop_shows_the_last_end_and_counts_runs() {
    let mut case = Case::new(pod(&[], &["a"]));
    case.runs.insert("a".into(), run(0, running(true)));
    case.status(State::Running);
    case.runs.insert("a".into(), run(0, exited(137)));
    case.waiting.insert("a".into(), Waiting::plain(CRASH_LOOP));
    let waits = case.status(State::Restarting { until: NOW });
    let status = first(&waits);
    assert_eq!((waits.phase.as_deref(), status.restart_count), (Some("Running"), 0));
    assert_eq!(api::kinds::pod::summary(&case.pod), CRASH_LOOP);
    let last = |status: &ContainerStatus| status.last_state.clone().unwrap().terminated.unwrap();
    assert_eq!((last(status).exit_code, last(status).reason.as_deref()), (137, Some("OOMKilled")));
    assert_eq!(last(status).message.as_deref(), Some("last words"));
    case.waiting.clear();
    case.runs.insert("a".into(), run(1, running(true)));
    let again = case.status(State::Running);
    assert_eq!((first(&again).restart_count, last(first(&again)).exit_code), (1, 137));
}

#[test]
fn a_finished_pod_keeps_its_ends_when_nothing_is_left_on_the_host() {
    let mut case = Case::new(pod(&["i"], &["a"]));
    case.runs.insert("i".into(), run(0, exited(0)));
    case.runs.insert("a".into(), run(0, exited(3)));
    let done = case.status(State::Finished { succeeded: false });
    case.runs.clear();
    let later = case.status(State::Finished { succeeded: false });
    assert_eq!(done.container_statuses, later.container_statuses);
    assert_eq!(
        (later.phase.as_deref(), condition(&later, "Ready").reason.as_deref()),
        (Some("Failed"), Some("PodCompleted"))
    );
    assert_eq!(initial_state(&case.pod), State::Finished { succeeded: false });
}

#[test]
fn after_a_reboot_the_lost_run_is_told_and_counted() {
    let mut case = Case::new(pod(&[], &["a"]));
    case.runs.insert("a".into(), run(2, running(true)));
    case.status(State::Running);
    case.runs.clear();
    assert_eq!(earlier_runs(&case.pod, &case.runs), BTreeMap::from([("a".to_owned(), 3)]));
    let lost = case.status(State::Accepted);
    let last = first(&lost).last_state.clone().unwrap().terminated.unwrap();
    assert_eq!(last.reason.as_deref(), Some("ContainerStatusUnknown"));
    assert!(!first(&lost).ready);
}

#[test]
fn init_containers_hold_the_others() {
    let mut case = Case::new(pod(&["i"], &["a"]));
    case.runs.insert("i".into(), run(0, running(false)));
    let status = case.status(State::Started);
    assert_eq!(condition(&status, "Initialized").status, "False");
    assert_eq!(
        first(&status).state.as_ref().unwrap().waiting.as_ref().unwrap().reason.as_deref(),
        Some("PodInitializing")
    );
    case.runs.insert("i".into(), run(0, exited(0)));
    let status = case.status(State::Started);
    assert_eq!(condition(&status, "Initialized").status, "True");
    assert_eq!(status.phase.as_deref(), Some("Pending"));
}

#[test]
fn a_deleted_pod_is_not_ready() {
    let mut case = Case::new(pod(&[], &["a"]));
    case.runs.insert("a".into(), run(0, running(true)));
    case.pod.metadata.deletion_timestamp = Some(Time(NOW));
    let status = case.status(State::Stopping { deadline: NOW });
    assert_eq!(condition(&status, "Ready").reason.as_deref(), Some("PodTerminating"));
    assert_eq!(condition(&status, "ContainersReady").status, "True");
}

#[test]
fn a_pod_that_expired_is_over_when_nothing_of_it_runs() {
    let mut case = Case::new(pod(&[], &["a"]));
    case.runs.insert("a".into(), run(0, running(true)));
    assert_eq!(case.status(State::Running).phase.as_deref(), Some("Running"));
    let ending = case.status(State::Expired);
    assert_eq!((ending.phase.as_deref(), ending.reason.as_deref()), (Some("Running"), None));
    case.runs.insert("a".into(), run(0, exited(143)));
    let over = case.status(State::Expired);
    assert_eq!((over.phase.as_deref(), over.reason.as_deref()), (Some("Failed"), Some(DEADLINE_EXCEEDED)));
    assert_eq!(over.message.as_deref(), Some(DEADLINE_EXCEEDED_MESSAGE));
    // Its containers are removed, and the server starts again.
    case.runs.clear();
    let later = case.status(State::Finished { succeeded: false });
    assert_eq!((later.phase.as_deref(), later.reason.as_deref()), (Some("Failed"), Some(DEADLINE_EXCEEDED)));
    assert_eq!(first(&later).state.as_ref().unwrap().terminated.as_ref().unwrap().exit_code, 143);
}

#[test]
fn everything_behind_an_init_container_waits_for_it() {
    let mut case = Case::new(pod(&["i", "j"], &["a"]));
    case.runs.insert("i".into(), run(0, running(true)));
    let status = case.status(State::Started);
    let waiting = |s: &ContainerStatus| s.state.as_ref().unwrap().waiting.as_ref().unwrap().reason.clone().unwrap();
    assert_eq!(waiting(&status.init_container_statuses.as_ref().unwrap()[1]), "PodInitializing");
    assert_eq!(waiting(first(&status)), "PodInitializing");
    assert_eq!(status.qos_class.as_deref(), Some("BestEffort"));
}

#[test]
fn conditions_of_others_are_theirs_alone() {
    let with = |list: serde_json::Value| -> PodStatus { serde_json::from_value(json!({"conditions": list})).unwrap() };
    let mut ours = with(json!([{"type": "Ready", "status": "True"}, {"type": "gate", "status": "True"}]));
    let theirs = with(json!([{"type": "Ready", "status": "False"}, {"type": "gate", "status": "False"}]));
    take_foreign_conditions(&mut ours, Some(&theirs));
    assert_eq!(condition(&ours, "Ready").status, "True");
    assert_eq!(condition(&ours, "gate").status, "False");
    take_foreign_conditions(&mut ours, None);
    assert_eq!(ours.conditions.unwrap().len(), 1, "one that was taken away is gone");
}
