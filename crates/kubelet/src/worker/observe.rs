//! What runs, how healthy it is, and what is said about it.

use std::{collections::BTreeMap, sync::Arc};

use api::kinds::{Pod, node::NODE_NOT_READY};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerStatus};
use runtime::container::{ContainerInfo, State as RuntimeState};
use tokio::sync::watch;

use super::parts::{Watched, Worker};
use crate::{
    files::ContainerName,
    pod::{
        container::{ID_SCHEME, label},
        lifecycle::{Run, State, View},
        plan::Plan,
        status::{CRASH_LOOP, Facts, RunFacts, RunState, Waiting, compute, earlier_runs},
    },
    ports::Severity,
    probe::{Health, Prober, Probes, Said, Target, Teller},
};

/// Most bytes of the termination message of one container (Kubernetes).
const TERMINATION_MESSAGE_MAX: usize = 4096;
/// Most bytes of the termination messages of all containers of a pod together (Kubernetes).
const TERMINATION_MESSAGES_POD_MAX: usize = 12 * 1024;
/// Most bytes of a termination message taken from the log.
const LOG_TAIL_MAX: usize = 2048;
/// Most lines of a termination message taken from the log.
const LOG_TAIL_LINES_MAX: usize = 80;

/// The latest runs of a pod's containers.
pub(super) struct Runs {
    pub(super) facts: BTreeMap<String, RunFacts>,
    views: BTreeMap<String, View>,
}

impl Runs {
    pub(super) fn views(&self) -> BTreeMap<String, View> {
        self.views.clone()
    }

    pub(super) fn earlier(&self, pod: &Pod) -> BTreeMap<String, u32> {
        earlier_runs(pod, &self.facts)
    }
}

fn number(info: &ContainerInfo, label: &str) -> u32 {
    info.labels.get(label).and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn text(info: &ContainerInfo, label: &str) -> String {
    info.labels.get(label).cloned().unwrap_or_default()
}

/// All runs of a pod that the runtime knows.
pub(super) fn runs_of(all: Vec<ContainerInfo>, uid: &str) -> impl Iterator<Item = ContainerInfo> {
    all.into_iter().filter(move |info| info.labels.get(label::POD_UID).is_some_and(|known| known == uid))
}

/// The latest run of each container.
fn latest(all: Vec<ContainerInfo>, uid: &str) -> BTreeMap<String, ContainerInfo> {
    let mut latest: BTreeMap<String, ContainerInfo> = BTreeMap::new();
    for info in runs_of(all, uid) {
        let name = text(&info, label::CONTAINER);
        let newer = latest.get(&name).is_none_or(|known| number(known, label::ATTEMPT) < number(&info, label::ATTEMPT));
        if newer {
            latest.insert(name, info);
        }
    }
    latest
}

/// A container of a pod by name.
pub(super) fn container<'a>(pod: &'a Pod, name: &str) -> Option<&'a Container> {
    let spec = pod.spec.as_ref()?;
    spec.init_containers.iter().flatten().chain(&spec.containers).find(|c| c.name == name)
}

impl Worker {
    /// Looks at the runs, begins to watch new ones, and collects the termination messages of ended ones.
    pub(super) async fn observe(&mut self, pod: &Arc<Pod>) -> Runs {
        let mut runs = Runs { facts: BTreeMap::new(), views: BTreeMap::new() };
        let latest = latest(self.shared.ports.containers.list(), self.uid.as_str());
        let alive = |id: &String| latest.values().any(|i| i.id == *id && i.state == RuntimeState::Running);
        self.cache.watched.retain(|id, _| alive(id));
        self.cache.ending.retain(|id, _| alive(id));
        for (name, info) in latest {
            let (state, run) = match &info.state {
                RuntimeState::Running => {
                    let health = self.watch(pod, &name, &info);
                    let terminating = self.cache.ending.get(&info.id).copied();
                    let ready = health.ready && terminating.is_none();
                    (
                        RunState::Running { started: health.started, ready },
                        Run::Running { unhealthy: health.unhealthy.is_some(), terminating },
                    )
                }
                RuntimeState::Exited(exit) => {
                    let message = self.termination_message(pod, &name, &info, exit.code).await;
                    let state = RunState::Exited {
                        code: exit.code,
                        signal: exit.signal,
                        oom_killed: exit.oom_killed,
                        finished_at: exit.finished_at,
                        message,
                    };
                    (state, Run::Exited { code: exit.code, started: info.started_at, finished: exit.finished_at })
                }
            };
            let attempt = number(&info, label::ATTEMPT);
            runs.views.insert(name.clone(), View { attempt, streak: number(&info, label::STREAK), run });
            let (image, image_id) = (text(&info, label::IMAGE), text(&info, label::IMAGE_ID));
            runs.facts
                .insert(name, RunFacts { id: info.id, attempt, image, image_id, started_at: info.started_at, state });
        }
        runs
    }

    /// The health of a running container, which is watched from now on if it was not.
    fn watch(&mut self, pod: &Arc<Pod>, name: &str, info: &ContainerInfo) -> Health {
        if !self.cache.watched.contains_key(&info.id) {
            let probes = container(pod, name).and_then(|c| Probes::of(c).ok()).unwrap_or_default();
            let health = known_health(pod, name, &info.id).unwrap_or_else(|| Health::before(&probes));
            // A probe added by nobody: health as it stands.
            let health = if probes.is_empty() { Health::before(&probes) } else { health };
            let (sender, receiver) = watch::channel(health);
            // Its end is waited for from the first round on: a pod that is to stop never gets an address to probe.
            let tasks = vec![self.watch_end(&info.id), self.watch_health(receiver.clone())];
            let unprobed = (!probes.is_empty()).then_some((probes, sender));
            self.cache.watched.insert(info.id.clone(), Watched { health: receiver, unprobed, tasks });
        }
        self.probe(name, info);
        self.cache.watched.get(&info.id).map(|watched| watched.health.borrow().clone()).unwrap_or_default()
    }

    /// Begins to probe a watched container once there is an address.
    fn probe(&mut self, name: &str, info: &ContainerInfo) {
        let Some(address) = self.cache.sandbox.as_ref().map(|sandbox| sandbox.address) else { return };
        let teller = self.probe_events(name);
        let Some(watched) = self.cache.watched.get_mut(&info.id) else { return };
        let Some((probes, sender)) = watched.unprobed.take() else { return };
        let target = Target { id: info.id.clone(), address, started_at: info.started_at };
        let prober =
            Prober { containers: Arc::clone(&self.shared.ports.containers), http: self.shared.http.clone(), teller };
        watched.tasks.push(self.tasks.spawn(prober.run(target, probes, sender)));
    }

    fn watch_end(&mut self, id: &str) -> tokio::task::AbortHandle {
        let (containers, wake, id) = (Arc::clone(&self.shared.ports.containers), Arc::clone(&self.wake), id.to_owned());
        self.tasks.spawn(async move {
            if let Err(error) = containers.wait(&id).await {
                tracing::warn!(%id, %error, "end of container not seen");
            }
            wake.notify_one();
        })
    }

    fn watch_health(&mut self, mut health: watch::Receiver<Health>) -> tokio::task::AbortHandle {
        let wake = Arc::clone(&self.wake);
        self.tasks.spawn(async move {
            while health.changed().await.is_ok() {
                wake.notify_one();
            }
        })
    }

    fn probe_events(&self, container: &str) -> Teller {
        let (events, desired, container) =
            (Arc::clone(&self.shared.ports.events), self.desired.clone(), container.to_owned());
        Arc::new(move |kind, said, news| {
            let pod = desired.borrow().pod.clone();
            let (reason, verb) = match said {
                Said::Failure => ("Unhealthy", "failed"),
                Said::Warning => ("ProbeWarning", "warns"),
            };
            let message = format!("{} probe of container {container} {verb}: {news}", kind.name());
            events.pod(&pod, Severity::Warning, reason, message);
        })
    }

    /// The termination message of a container that ended. The end of the log of one that failed stands in for it only
    /// where the pod asks for that: fewer people may read logs than statuses.
    async fn termination_message(&mut self, pod: &Pod, name: &str, info: &ContainerInfo, code: i32) -> Option<String> {
        if let Some(known) = self.cache.termination_messages.get(&info.id) {
            return known.clone();
        }
        let attempt = number(info, label::ATTEMPT);
        let mut text = String::new();
        // A container of an odd name was started by an earlier version; its files are not looked for.
        if let Ok(container) = ContainerName::new(name, "container") {
            let file = self.shared.layout.termination_message(&self.uid, &container, attempt);
            let limit = termination_message_limit(pod);
            text = read_head(&file, limit);
            let asked = text.is_empty() && code != 0 && falls_back_to_logs(pod, name);
            if let (true, Ok(logs)) = (asked, self.shared.layout.logs(pod)) {
                let log = logs.file(&container, attempt);
                text = self.shared.ports.logs.tail(&log, LOG_TAIL_LINES_MAX, LOG_TAIL_MAX.min(limit)).await;
            }
        }
        let message = Some(text.trim_end().to_owned()).filter(|text| !text.is_empty());
        if code != 0 {
            let last = message
                .as_deref()
                .and_then(|text| text.lines().last())
                .map(|line| format!(": {line}"))
                .unwrap_or_default();
            let news = format!("Container {name} exited with code {code}{last}");
            self.shared.ports.events.pod(pod, Severity::Warning, "Exited", news);
        }
        self.cache.termination_messages.insert(info.id.clone(), message.clone());
        message
    }

    /// Writes the status if it differs from the one written last; false if it could not be written.
    pub(super) async fn report(&mut self, pod: &Arc<Pod>, plan: &Plan, runs: &Runs) -> bool {
        let waiting = self.waiting(pod, plan, runs);
        let facts = Facts {
            pod,
            state: self.state,
            now: Timestamp::now(),
            host_ip: self.shared.config.host_ip,
            pod_ip: self.cache.sandbox.as_ref().map(|s| s.address),
            runs: &runs.facts,
            waiting: &waiting,
        };
        let status = compute(&facts);
        let gone = self.cache.gone_since.is_some() || self.cache.released;
        if gone || self.cache.reported.as_ref() == Some(&status) && !self.spoken_for() {
            return true;
        }
        match self.shared.ports.api.write_status(pod, status.clone()).await {
            Ok(Some(_)) => {
                self.tell_back_off(pod, &waiting);
                self.cache.reported = Some(status);
                true
            }
            // Gone, or another pod of the same name: the watch will say so; until then behave as if it had.
            Ok(None) => {
                self.cache.gone_since = Some(Timestamp::now());
                self.cache.released = true;
                false
            }
            Err(error) => {
                tracing::warn!(uid = %self.uid, error = crate::error::chain(&error), "status not written");
                false
            }
        }
    }

    /// Whether somebody said in our place how the pod is, while nobody heard from this node.
    fn spoken_for(&self) -> bool {
        let desired = self.desired.borrow();
        let conditions = desired.pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions
            .into_iter()
            .any(|condition| condition.type_ == "Ready" && condition.reason.as_deref() == Some(NODE_NOT_READY))
    }

    /// Tells of containers that have just begun to wait for their next try.
    fn tell_back_off(&self, pod: &Pod, waiting: &BTreeMap<String, Waiting>) {
        let before =
            self.cache.reported.as_ref().and_then(|status| status.container_statuses.as_deref()).unwrap_or_default();
        let waited = |name: &str| {
            let state = before.iter().find(|status| status.name == name).and_then(|status| status.state.as_ref());
            state
                .and_then(|state| state.waiting.as_ref())
                .is_some_and(|waiting| waiting.reason.as_deref() == Some(CRASH_LOOP))
        };
        for (name, _) in waiting.iter().filter(|(name, now)| now.reason == CRASH_LOOP && !waited(name)) {
            let message = format!("Back-off restarting failed container {name}");
            self.shared.ports.events.pod(pod, Severity::Warning, "BackOff", message);
        }
    }

    fn waiting(&self, pod: &Pod, plan: &Plan, runs: &Runs) -> BTreeMap<String, Waiting> {
        let mut waiting = BTreeMap::new();
        if let Some(trouble) = &self.cache.trouble {
            let concerned = |name: &&String| trouble.container.as_ref().is_none_or(|c| c == *name);
            for name in plan.init.iter().chain(&plan.main).filter(concerned) {
                waiting.insert(name.clone(), trouble.waiting.clone());
            }
        }
        for (name, trouble) in &self.cache.blocked {
            waiting.insert(name.clone(), trouble.waiting.clone());
        }
        if matches!(self.state, State::Restarting { .. }) {
            for (name, view) in &runs.views {
                let Run::Exited { code, .. } = view.run else { continue };
                let again = if plan.init.contains(name) { code != 0 } else { plan.restart.restarts(code) };
                if again {
                    let pause = plan.backoff.delay(view.streak.saturating_add(1)).as_secs_f32();
                    let pod = pod.metadata.name.as_deref().unwrap_or_default();
                    let message = format!("back-off {pause}s restarting container {name} of pod {pod}");
                    let back_off = Waiting { reason: CRASH_LOOP.into(), message: Some(message) };
                    waiting.entry(name.clone()).or_insert(back_off);
                }
            }
        }
        waiting
    }
}

/// Most bytes of the termination message of each container: the pod's share is divided among them (Kubernetes).
fn termination_message_limit(pod: &Pod) -> usize {
    let spec = pod.spec.as_ref();
    let all = spec.map_or(1, |s| s.containers.len() + s.init_containers.as_ref().map_or(0, Vec::len));
    TERMINATION_MESSAGE_MAX.min(TERMINATION_MESSAGES_POD_MAX / all.max(1))
}

/// Whether the end of a container's log may stand in for the termination message (`terminationMessagePolicy`).
fn falls_back_to_logs(pod: &Pod, name: &str) -> bool {
    let policy = container(pod, name).and_then(|c| c.termination_message_policy.as_deref());
    policy == Some("FallbackToLogsOnError")
}

/// After a restart of the server, a container is as healthy as it was said to be.
fn known_health(pod: &Pod, name: &str, id: &str) -> Option<Health> {
    let status = pod.status.as_ref()?;
    let mut all = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    let same = |s: &&ContainerStatus| s.name == name && s.container_id.as_deref() == Some(&format!("{ID_SCHEME}{id}"));
    let known = all.find(same)?;
    known.state.as_ref()?.running.as_ref()?;
    Some(Health { started: known.started.unwrap_or(false), ready: known.ready, unhealthy: None })
}

fn read_head(path: &std::path::Path, limit: usize) -> String {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(limit as u64).read_to_end(&mut bytes));
    match read {
        Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn termination_messages_are_bounded_by_container_and_by_pod() {
        let pod = |main: usize, init: usize| -> Pod {
            let list =
                |prefix: &str, n: usize| (0..n).map(|i| json!({"name": format!("{prefix}{i}")})).collect::<Vec<_>>();
            let spec = json!({"containers": list("c", main), "initContainers": list("i", init)});
            serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap()
        };
        for (main, init, wanted) in [(1, 0, 4096), (3, 0, 4096), (3, 1, 3072), (10, 2, 1024)] {
            assert_eq!(termination_message_limit(&pod(main, init)), wanted, "{main} {init}");
        }
    }

    #[test]
    fn the_log_stands_in_only_where_the_pod_asks_for_it() {
        for (policy, wanted) in [(json!(null), false), (json!("File"), false), (json!("FallbackToLogsOnError"), true)] {
            let containers = json!([{"name": "a", "terminationMessagePolicy": policy}]);
            let pod: Pod = serde_json::from_value(json!({"metadata": {}, "spec": {"containers": containers}})).unwrap();
            assert_eq!(falls_back_to_logs(&pod, "a"), wanted, "{policy}");
        }
    }
}
