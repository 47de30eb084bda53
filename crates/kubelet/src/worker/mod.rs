//! The worker of one pod: looks, decides by [`step`], acts, reports, waits.
//!
//! It remembers nothing that matters: everything it keeps between two rounds can be had again from the API and the
//! host, and is when the server starts anew.

mod act;
mod end;
#[cfg(test)]
mod fakes;
mod identity;
mod mount;
mod observe;
mod parts;
mod shared;
mod start;
#[cfg(test)]
mod tests;
mod tokens;

use std::{sync::Arc, time::Duration};

use api::kinds::Pod;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::parts::{Deletion, Trouble};
pub(crate) use self::{
    parts::{Desired, Worker},
    shared::{MAX_PULLS, Shared},
    tokens::Tokens,
};
use crate::{
    error::{Error, chain},
    pod::{
        lifecycle::{Action, MINIMUM_GRACE, Observation, State, step},
        plan::{Backoff, GRACE_SECONDS, Plan, active_until, between, later},
        status::{DEADLINE_EXCEEDED, DEADLINE_EXCEEDED_MESSAGE, Waiting, take_foreign_conditions},
    },
    ports::Severity,
};

/// A worker looks at its pod at least this often; mounted Secrets and ConfigMaps follow the API within this time.
const RESYNC: Duration = Duration::from_secs(60);
/// Pauses between tries of a step that fails.
const RETRY: Backoff = Backoff { base: Duration::from_millis(500), cap: Duration::from_secs(30) };

impl Worker {
    /// Works until the pod is gone or `stop`. Containers run on after `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            while self.tasks.try_join_next().is_some() {}
            let pod = self.pod();
            let plan = Plan::of(&pod, self.shared.config.backoff);
            let runs = self.observe(&pod).await;
            let seen = self.observation(&pod, &runs);
            let (state, actions) = step(&plan, self.state, &seen);
            if state != self.state {
                tracing::debug!(uid = %self.uid, from = ?self.state, to = ?state, "pod");
                if state == State::Expired {
                    let message = DEADLINE_EXCEEDED_MESSAGE.to_owned();
                    self.shared.ports.events.pod(&pod, Severity::Normal, DEADLINE_EXCEEDED, message);
                }
            }
            self.state = state;
            let reported = self.report(&pod, &plan, &runs).await;
            if state == State::Gone {
                return;
            }
            let acted = tokio::select! {
                () = stop.cancelled() => return,
                acted = self.execute_all(&pod, &actions) => acted,
            };
            if acted {
                continue;
            }
            let wake = actions.iter().filter_map(|a| match a {
                Action::Wake(at) => Some(*at),
                _ => None,
            });
            let pause = wake.min().map_or(RESYNC, |at| between(Timestamp::now(), at).min(RESYNC));
            let pause = if reported { pause } else { pause.min(RETRY.base) };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.wake.notified() => {}
                changed = self.desired.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(pause) => self.resync(&pod).await,
            }
        }
    }

    /// The pod as the API has it, with the status written last and the conditions others set.
    fn pod(&mut self) -> Arc<Pod> {
        let desired = self.desired.borrow_and_update().clone();
        if desired.gone && self.cache.gone_since.is_none() {
            self.cache.gone_since = Some(Timestamp::now());
            self.cache.released = true;
        }
        let mut pod = (*desired.pod).clone();
        if let Some(mut status) = self.cache.reported.clone() {
            take_foreign_conditions(&mut status, pod.status.as_ref());
            pod.status = Some(status);
        }
        self.see_deletion(&pod);
        Arc::new(pod)
    }

    /// Counts the grace of a deletion from when it is seen, by the node's own clock. The API's time may be long past
    /// when the server was away, and its clock is another. A grace that is shortened afterwards counts anew.
    fn see_deletion(&mut self, pod: &Pod) {
        if pod.metadata.deletion_timestamp.is_none() {
            return;
        }
        let spec = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
        let seconds = pod.metadata.deletion_grace_period_seconds.or(spec).unwrap_or(GRACE_SECONDS);
        let grace = Duration::from_secs(u64::try_from(seconds).unwrap_or(0)).max(MINIMUM_GRACE);
        if self.cache.deletion.is_some_and(|deletion| deletion.grace <= grace) {
            return;
        }
        let until = later(Timestamp::now(), grace);
        let until = self.cache.deletion.map_or(until, |deletion| deletion.until.min(until));
        self.cache.deletion = Some(Deletion { grace, until });
    }

    /// When a wanted deletion must be done.
    fn stop_deadline(&self) -> Option<Timestamp> {
        let gone = self.cache.gone_since.map(|since| later(since, MINIMUM_GRACE));
        let deleted = self.cache.deletion.map(|deletion| deletion.until);
        gone.into_iter().chain(deleted).min()
    }

    fn observation(&self, pod: &Pod, runs: &observe::Runs) -> Observation {
        let cache = &self.cache;
        let stop = self.stop_deadline();
        let logs_left = stop.is_some() && !self.shared.layout.log_dirs(pod).is_empty();
        Observation {
            now: Timestamp::now(),
            attached: cache.sandbox.is_some(),
            pulled: cache.images.is_some(),
            mounted: cache.mounted.is_some(),
            residue: !cache.cleaned || logs_left,
            containers: runs.views(),
            blocked: cache.blocked.iter().map(|(name, trouble)| (name.clone(), trouble.until)).collect(),
            retry: cache.trouble.as_ref().map(|trouble| trouble.until),
            stop,
            active_until: active_until(pod),
            released: cache.released,
            earlier_runs: runs.earlier(pod),
        }
    }

    /// Executes actions in order until one fails; returns whether the world may have changed.
    async fn execute_all(&mut self, pod: &Arc<Pod>, actions: &[Action]) -> bool {
        let mut acted = false;
        for action in actions.iter().filter(|a| !matches!(a, Action::Wake(_))) {
            acted = true;
            let container = match action {
                Action::Start { container, .. } => Some(container.clone()),
                _ => None,
            };
            let result = tokio::select! {
                biased;
                result = Self::execute(&mut self.cache, &self.shared, &self.wake, &mut self.tasks, self.state, pod, action) => Some(result),
                () = interrupted(self.desired.clone(), self.state) => None,
            };
            match (result, container) {
                (None, _) => return true,
                (Some(Ok(())), Some(container)) => {
                    self.cache.blocked.remove(&container);
                }
                (Some(Ok(())), None) => self.cache.trouble = None,
                (Some(Err(error)), container) => {
                    let whole = container.is_none();
                    self.fail(pod, action, container, &error);
                    if whole {
                        return true;
                    }
                }
            }
        }
        acted
    }

    /// Keeps a failure until its next try, and records an event about it.
    fn fail(&mut self, pod: &Pod, action: &Action, container: Option<String>, error: &Error) {
        let known = match &container {
            Some(container) => self.cache.blocked.get(container),
            None => self.cache.trouble.as_ref(),
        };
        let times = known.map_or(0, |trouble| trouble.times).saturating_add(1);
        let message = chain(error);
        let (event, reason) = reasons(action, error, times);
        self.shared.ports.events.pod(pod, Severity::Warning, event, message.clone());
        let about = match error {
            Error::Image { image, .. } => pod
                .spec
                .iter()
                .flat_map(|s| s.init_containers.iter().flatten().chain(&s.containers))
                .find(|c| c.image.as_ref() == Some(image))
                .map(|c| c.name.clone()),
            _ => container.clone(),
        };
        let trouble = Trouble {
            until: later(Timestamp::now(), RETRY.delay(times)),
            times,
            waiting: Waiting { reason: reason.to_owned(), message: Some(message) },
            container: about,
        };
        match container {
            Some(container) => drop(self.cache.blocked.insert(container, trouble)),
            None => self.cache.trouble = Some(trouble),
        }
    }
}

/// The event's reason and the waiting reason of a failure.
fn reasons(action: &Action, error: &Error, times: u32) -> (&'static str, &'static str) {
    if let Some(reasons) = error.hopeless_image() {
        return reasons;
    }
    match (action, error) {
        (_, Error::Denied { .. }) => ("SecurityPolicyViolation", "CreateContainerConfigError"),
        (_, Error::Image { .. }) if times > 1 => ("BackOff", "ImagePullBackOff"),
        (_, Error::Image { .. }) => ("Failed", "ErrImagePull"),
        (_, Error::Refused { .. }) => ("Failed", "CreateContainerConfigError"),
        (Action::Attach, _) => ("FailedCreatePodSandBox", "ContainerCreating"),
        (Action::Mount, _) => ("FailedMount", "ContainerCreating"),
        (_, Error::Missing { .. }) => ("Failed", "CreateContainerConfigError"),
        (Action::Start { .. }, _) => ("Failed", "RunContainerError"),
        (Action::Terminate { .. } | Action::Kill { .. }, _) => ("FailedKillPod", "ContainerCreating"),
        _ => ("FailedCleanup", "ContainerCreating"),
    }
}

/// Resolves when a pod that is not being deleted yet is to be deleted: what is under way is given up.
async fn interrupted(mut desired: watch::Receiver<Desired>, state: State) {
    if matches!(state, State::Stopping { .. }) {
        return std::future::pending().await;
    }
    let wanted = |desired: &Desired| desired.gone || desired.pod.metadata.deletion_timestamp.is_some();
    if desired.wait_for(wanted).await.is_err() {
        std::future::pending().await
    }
}
