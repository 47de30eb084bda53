//! The status of a pod, computed from what is seen and what was said before.

use std::{collections::BTreeMap, net::Ipv4Addr};

use api::{Time, kinds::Pod};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
    HostIP, PodCondition, PodIP, PodStatus,
};

use super::{
    container::{ID_SCHEME, Qos},
    lifecycle::State,
};

/// Waiting between two runs.
pub const CRASH_LOOP: &str = "CrashLoopBackOff";

/// Reason of a pod that was active for longer than it may be (Kubernetes).
pub const DEADLINE_EXCEEDED: &str = "DeadlineExceeded";
/// What is said of such a pod (Kubernetes).
pub const DEADLINE_EXCEEDED_MESSAGE: &str = "Pod was active on the node longer than the specified deadline";
/// Types of the conditions that the kubelet decides; all others are somebody else's.
const OWN_CONDITIONS: [&str; 5] =
    ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];

/// Puts into a status the conditions that others have set on the pod: theirs alone decide, ours do not.
pub fn take_foreign_conditions(status: &mut PodStatus, from: Option<&PodStatus>) {
    let conditions = status.conditions.get_or_insert_default();
    conditions.retain(|condition| OWN_CONDITIONS.contains(&condition.type_.as_str()));
    let all = from.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.extend(all.filter(|c| !OWN_CONDITIONS.contains(&c.type_.as_str())).cloned());
}

/// The latest run of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFacts {
    /// Id of the run.
    pub id: String,
    /// Number of the run.
    pub attempt: u32,
    /// Image as the pod names it.
    pub image: String,
    /// Digest of the image.
    pub image_id: String,
    /// When it was started.
    pub started_at: Timestamp,
    /// Running or ended.
    pub state: RunState,
}

/// Running or ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunState {
    /// It runs.
    Running {
        /// Its startup probe has passed (or there is none).
        started: bool,
        /// Its readiness probe passes (or there is none).
        ready: bool,
    },
    /// It has ended.
    Exited {
        /// Exit code.
        code: i32,
        /// Signal that ended it.
        signal: Option<i32>,
        /// The kernel killed it for lack of memory.
        oom_killed: bool,
        /// When.
        finished_at: Timestamp,
        /// Its termination message.
        message: Option<String>,
    },
}

/// Why a container is not running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// One word, as Kubernetes has it.
    pub reason: String,
    /// For a person.
    pub message: Option<String>,
}

impl Waiting {
    /// A reason without more words.
    #[must_use]
    pub fn plain(reason: &str) -> Self {
        Self { reason: reason.to_owned(), message: None }
    }
}

/// Everything a status is computed from.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The pod, with the status that was written last.
    pub pod: &'a Pod,
    /// How far it is.
    pub state: State,
    /// The time.
    pub now: Timestamp,
    /// Address of the node.
    pub host_ip: Ipv4Addr,
    /// Address of the pod.
    pub pod_ip: Option<Ipv4Addr>,
    /// Latest runs.
    pub runs: &'a BTreeMap<String, RunFacts>,
    /// Why containers wait.
    pub waiting: &'a BTreeMap<String, Waiting>,
}

/// Computes the status.
#[must_use]
pub fn compute(facts: &Facts<'_>) -> PodStatus {
    let before = facts.pod.status.clone().unwrap_or_default();
    let spec = facts.pod.spec.as_ref();
    let of = |containers: Option<&Vec<Container>>,
              before: Option<&Vec<ContainerStatus>>,
              init: bool|
     -> Vec<ContainerStatus> {
        let known = |name: &str| before.and_then(|all| all.iter().find(|s| s.name == name));
        containers.into_iter().flatten().map(|c| container_status(facts, c, known(&c.name), init)).collect()
    };
    let init = of(spec.and_then(|s| s.init_containers.as_ref()), before.init_container_statuses.as_ref(), true);
    let main = of(spec.map(|s| &s.containers), before.container_statuses.as_ref(), false);
    let initialised = !main.is_empty() && main.iter().any(has_run) || init.iter().all(|s| s.ready);
    let phase = phase(facts, &before, initialised, &main);
    let expired = facts.state == State::Expired && phase == "Failed";
    let ready: Vec<&str> = main.iter().filter(|s| !s.ready).map(|s| s.name.as_str()).collect();
    let conditions = conditions(facts, &before, phase, initialised, &ready);
    let pod_ip = facts.pod_ip.map(|ip| ip.to_string()).or_else(|| before.pod_ip.clone());
    PodStatus {
        reason: if expired { Some(DEADLINE_EXCEEDED.to_owned()) } else { before.reason.clone() },
        message: if expired { Some(DEADLINE_EXCEEDED_MESSAGE.to_owned()) } else { before.message.clone() },
        phase: Some(phase.to_owned()),
        conditions: Some(conditions),
        host_ip: Some(facts.host_ip.to_string()),
        host_ips: Some(vec![HostIP { ip: facts.host_ip.to_string() }]),
        pod_ips: pod_ip.clone().map(|ip| vec![PodIP { ip }]),
        pod_ip,
        start_time: before.start_time.clone().or(Some(Time(facts.now))),
        init_container_statuses: (!init.is_empty()).then_some(init),
        container_statuses: Some(main),
        qos_class: Some(Qos::of(facts.pod).name().to_owned()),
        observed_generation: facts.pod.metadata.generation,
        ..before
    }
}

fn has_run(status: &ContainerStatus) -> bool {
    let ran =
        |state: &Option<ContainerState>| state.as_ref().is_some_and(|s| s.running.is_some() || s.terminated.is_some());
    ran(&status.state) || ran(&status.last_state)
}

fn phase(facts: &Facts<'_>, before: &PodStatus, initialised: bool, main: &[ContainerStatus]) -> &'static str {
    // A pod is over when nothing of it runs any more (Kubernetes).
    let running = facts.runs.values().any(|run| matches!(run.state, RunState::Running { .. }));
    match facts.state {
        State::Finished { succeeded: true } if !running => return "Succeeded",
        State::Finished { succeeded: false } | State::Expired if !running => return "Failed",
        _ => {}
    }
    match before.phase.as_deref() {
        Some("Succeeded") => "Succeeded",
        Some("Failed") => "Failed",
        _ if initialised && !main.is_empty() && main.iter().all(has_run) => "Running",
        _ => "Pending",
    }
}

fn container_status(
    facts: &Facts<'_>,
    container: &Container,
    before: Option<&ContainerStatus>,
    init: bool,
) -> ContainerStatus {
    let name = &container.name;
    let Some(run) = facts.runs.get(name) else { return unseen(facts, container, before, init) };
    let container_id = format!("{ID_SCHEME}{}", run.id);
    let terminated = |state: &Option<ContainerState>| state.clone().filter(|s| s.terminated.is_some());
    let same = before.is_some_and(|b| b.container_id.as_deref() == Some(&container_id));
    let mut last_state = match before {
        Some(b) if same => b.last_state.clone(),
        Some(b) => terminated(&b.state).or_else(|| b.last_state.clone()),
        None => None,
    };
    let (state, ready, started) = match (&run.state, facts.waiting.get(name)) {
        (RunState::Running { started, ready }, _) => {
            let running = ContainerStateRunning { started_at: Some(Time(run.started_at)) };
            (ContainerState { running: Some(running), ..Default::default() }, *ready && !init, Some(*started))
        }
        (RunState::Exited { code, .. }, waiting) => {
            let ended = ContainerState { terminated: Some(ended(run, &container_id)), ..Default::default() };
            match waiting {
                Some(waiting) => {
                    last_state = Some(ended);
                    (waiting_state(waiting), false, Some(false))
                }
                None => (ended, init && *code == 0, Some(false)),
            }
        }
    };
    ContainerStatus {
        name: name.clone(),
        container_id: Some(container_id),
        image: run.image.clone(),
        image_id: run.image_id.clone(),
        restart_count: i32::try_from(run.attempt).unwrap_or(i32::MAX),
        ready,
        started,
        state: Some(state),
        last_state,
        ..Default::default()
    }
}

/// A container without a run on this host: not started yet, or gone with a reboot or after its end was recorded.
fn unseen(facts: &Facts<'_>, container: &Container, before: Option<&ContainerStatus>, init: bool) -> ContainerStatus {
    let over = matches!(facts.state, State::Finished { .. } | State::Expired | State::Stopping { .. } | State::Gone);
    let mut status = before.cloned().unwrap_or_else(|| ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        ..Default::default()
    });
    let was_running = status.state.as_ref().and_then(|s| s.running.clone());
    if let Some(running) = was_running {
        let lost = ContainerState {
            terminated: Some(ContainerStateTerminated {
                exit_code: 137,
                reason: Some("ContainerStatusUnknown".into()),
                message: Some("The container could not be found on the node; its exit code is not known".into()),
                container_id: status.container_id.clone(),
                started_at: running.started_at,
                finished_at: Some(Time(facts.now)),
                ..Default::default()
            }),
            ..Default::default()
        };
        status.state = Some(lost);
    }
    let ended = status.state.as_ref().is_some_and(|s| s.terminated.is_some());
    if !(over || ended && init && status.ready) {
        if ended {
            status.last_state = status.state.take();
        }
        let plain = facts.pod.spec.as_ref().and_then(|s| s.init_containers.as_ref()).is_none_or(Vec::is_empty);
        let default = if plain { "ContainerCreating" } else { "PodInitializing" };
        let waiting = facts.waiting.get(&container.name).cloned().unwrap_or_else(|| Waiting::plain(default));
        status.state = Some(waiting_state(&waiting));
        status.ready = false;
    }
    status.ready &= init;
    status.started = Some(false);
    status
}

fn waiting_state(waiting: &Waiting) -> ContainerState {
    let state = ContainerStateWaiting { reason: Some(waiting.reason.clone()), message: waiting.message.clone() };
    ContainerState { waiting: Some(state), ..Default::default() }
}

fn ended(run: &RunFacts, container_id: &str) -> ContainerStateTerminated {
    let RunState::Exited { code, signal, oom_killed, finished_at, message } = &run.state else {
        return ContainerStateTerminated::default();
    };
    let reason = match (oom_killed, code) {
        (true, _) => "OOMKilled",
        (false, 0) => "Completed",
        (false, _) => "Error",
    };
    ContainerStateTerminated {
        exit_code: *code,
        signal: *signal,
        reason: Some(reason.into()),
        message: message.clone(),
        started_at: Some(Time(run.started_at)),
        finished_at: Some(Time(*finished_at)),
        container_id: Some(container_id.to_owned()),
    }
}

fn conditions(
    facts: &Facts<'_>,
    before: &PodStatus,
    phase: &str,
    initialised: bool,
    unready: &[&str],
) -> Vec<PodCondition> {
    let over = matches!(phase, "Succeeded" | "Failed");
    let deleting = facts.pod.metadata.deletion_timestamp.is_some();
    let names = unready.join(" ");
    let containers_ready = match (over, unready.is_empty()) {
        (true, _) => Err(("PodCompleted", String::new())),
        (false, true) => Ok(()),
        (false, false) => Err(("ContainersNotReady", format!("containers with unready status: [{names}]"))),
    };
    let gates = facts.pod.spec.iter().flat_map(|s| s.readiness_gates.iter().flatten());
    let closed: Vec<&str> = gates
        .map(|gate| gate.condition_type.as_str())
        .filter(|gate| !before.conditions.iter().flatten().any(|c| c.type_ == *gate && c.status == "True"))
        .collect();
    let ready = match &containers_ready {
        Ok(()) if deleting => Err(("PodTerminating", "the pod is being deleted".to_owned())),
        Ok(()) if !closed.is_empty() => {
            Err(("ReadinessGatesNotReady", format!("conditions not true: [{}]", closed.join(" "))))
        }
        other => other.clone(),
    };
    let initialised = if initialised || phase == "Succeeded" {
        Ok(())
    } else {
        Err(("ContainersNotInitialized", "init containers have not completed".to_owned()))
    };
    let sandbox = if facts.pod_ip.is_some() { Ok(()) } else { Err(("NoNetwork", String::new())) };
    let own = OWN_CONDITIONS.iter().zip([sandbox, initialised, ready, containers_ready, Ok(())]);
    let mut all: Vec<PodCondition> = own.map(|(name, is)| condition(facts, before, name, &is)).collect();
    let others = before.conditions.iter().flatten();
    all.extend(others.filter(|c| !OWN_CONDITIONS.contains(&c.type_.as_str())).cloned());
    all
}

/// A condition keeps its time while its status stays the same.
fn condition(facts: &Facts<'_>, before: &PodStatus, name: &str, is: &Result<(), (&str, String)>) -> PodCondition {
    let status = if is.is_ok() { "True" } else { "False" };
    let known = before.conditions.iter().flatten().find(|c| c.type_ == name && c.status == status);
    let (reason, message) = is.as_ref().err().map(|(reason, message)| ((*reason).to_owned(), message.clone())).unzip();
    PodCondition {
        type_: name.to_owned(),
        status: status.to_owned(),
        reason,
        message: message.filter(|m| !m.is_empty()),
        last_transition_time: known.and_then(|c| c.last_transition_time.clone()).or(Some(Time(facts.now))),
        observed_generation: facts.pod.metadata.generation,
        ..Default::default()
    }
}

/// Number of the next run of containers that left nothing on this host: one more than the status says.
#[must_use]
pub fn earlier_runs(pod: &Pod, runs: &BTreeMap<String, RunFacts>) -> BTreeMap<String, u32> {
    let status = pod.status.as_ref();
    let all = status.iter().flat_map(|s| s.init_container_statuses.iter().chain(&s.container_statuses).flatten());
    all.filter(|s| s.container_id.is_some() && !runs.contains_key(&s.name))
        .map(|s| (s.name.clone(), u32::try_from(s.restart_count).unwrap_or(0).saturating_add(1)))
        .collect()
}

/// The state a worker begins in: a pod whose phase says that it is over stays over.
#[must_use]
pub fn initial_state(pod: &Pod) -> State {
    match pod.status.as_ref().and_then(|s| s.phase.as_deref()) {
        Some("Succeeded") => State::Finished { succeeded: true },
        Some("Failed") => State::Finished { succeeded: false },
        _ => State::Accepted,
    }
}

#[cfg(test)]
mod tests;
