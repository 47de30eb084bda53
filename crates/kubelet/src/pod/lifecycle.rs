//! The life of a pod: one pure [`step`] from a state and an observation to the next state and actions.
//!
//! ```text
//!  Accepted ─► Sandboxed ─► Pulled ─► Mounted ─► Started ─► Running ⇄ Restarting
//!     │           │           │          │          │          │          │
//!     │           └───────────┴──────────┴──── all ended for good ───► Finished
//!     └──────────────── deletion, from anywhere ──► Stopping ──► Gone ◄───┘
//! ```
//! A pod that is active for too long goes to *Expired*, which is otherwise like *Finished*.
//!
//! The state names what was reached; every decision is made from the observation alone, so a worker that starts in
//! the middle of a pod's life (the server was killed) is at the right place after its first step. Actions are
//! idempotent and may be cut off anywhere.
//!
//! Volumes are mounted after images are pulled, because a fresh volume belongs to the image's user.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

use super::plan::{Plan, RestartPolicy, STEADY, between, later};

/// Least time between TERM and KILL, whatever was asked for and however late it was seen (Kubernetes).
pub const MINIMUM_GRACE: Duration = Duration::from_secs(2);

/// How far a pod is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Known, nothing made.
    Accepted,
    /// It has a network.
    Sandboxed,
    /// Its images are on the node.
    Pulled,
    /// Its volumes are mounted.
    Mounted,
    /// Containers are being started; init containers run one after the other.
    Started,
    /// Every container runs, or has ended for good.
    Running,
    /// A container waits for its next run.
    Restarting {
        /// When it runs again.
        until: Timestamp,
    },
    /// Every container has ended for good.
    Finished {
        /// With success.
        succeeded: bool,
    },
    /// It was active for longer than it may be (`activeDeadlineSeconds`).
    Expired,
    /// It is being deleted.
    Stopping {
        /// When what still runs is killed.
        deadline: Timestamp,
    },
    /// Nothing is left of it.
    Gone,
}

/// What the worker sees of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// The time.
    pub now: Timestamp,
    /// The network is attached.
    pub attached: bool,
    /// Every image is resolved and unpacked.
    pub pulled: bool,
    /// Every volume is mounted.
    pub mounted: bool,
    /// Something of the pod may be left on the host: network, mounts or directories.
    pub residue: bool,
    /// The latest run of each container that ran on this host.
    pub containers: BTreeMap<String, View>,
    /// Containers whose start failed, and when it is tried again.
    pub blocked: BTreeMap<String, Timestamp>,
    /// When a failed step of the whole pod is tried again.
    pub retry: Option<Timestamp>,
    /// The deadline of a wanted deletion.
    pub stop: Option<Timestamp>,
    /// Until when the pod may be active (`activeDeadlineSeconds`).
    pub active_until: Option<Timestamp>,
    /// The API no longer has the pod.
    pub released: bool,
    /// Runs per container that happened before and left nothing on this host (a reboot, for example).
    pub earlier_runs: BTreeMap<String, u32>,
}

/// The latest run of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Number of the run; the first is 0.
    pub attempt: u32,
    /// Ends in a row before this run.
    pub streak: u32,
    /// Whether it runs.
    pub run: Run,
}

/// Whether a container runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Run {
    /// It runs.
    Running {
        /// Its liveness or startup probe has failed for good.
        unhealthy: bool,
        /// It was asked to end.
        terminating: Option<Ending>,
    },
    /// It has ended.
    Exited {
        /// Exit code.
        code: i32,
        /// When it was started.
        started: Timestamp,
        /// When it ended.
        finished: Timestamp,
    },
}

/// A container that was asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// When it was asked.
    pub asked: Timestamp,
    /// When it is killed.
    pub deadline: Timestamp,
}

/// Something to do. Each may be repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Give the pod its network.
    Attach,
    /// Resolve and unpack all images.
    Pull,
    /// Make and mount all volumes.
    Mount,
    /// Start a run of a container, after removing what is left of an earlier run.
    Start {
        /// Container.
        container: String,
        /// Number of the run.
        attempt: u32,
        /// Ends in a row before it.
        streak: u32,
    },
    /// Run the preStop hook, then ask a container to end.
    Terminate {
        /// Container.
        container: String,
        /// When it is killed.
        deadline: Timestamp,
    },
    /// Kill a container.
    Kill {
        /// Container.
        container: String,
    },
    /// Remove all ended runs of all containers.
    Remove,
    /// Unmount volumes, take back the network, remove directories.
    Clean,
    /// Delete the object from the API.
    Release,
    /// Nothing to do before this time, unless something changes.
    Wake(Timestamp),
}

/// Decides what comes next.
#[must_use]
pub fn step(plan: &Plan, state: State, seen: &Observation) -> (State, Vec<Action>) {
    match (state, seen.stop) {
        (State::Gone, _) => (State::Gone, Vec::new()),
        (_, Some(deadline)) => stopping(seen, deadline),
        (over @ (State::Finished { .. } | State::Expired), None) => (over, finished(plan, seen)),
        (_, None) => advance(plan, seen),
    }
}

/// Ends everything, cleans up, and only then lets the object go.
fn stopping(seen: &Observation, deadline: Timestamp) -> (State, Vec<Action>) {
    let state = State::Stopping { deadline };
    let mut actions = end_running(seen, deadline, |_| true);
    if actions.is_empty() {
        if let Some(retry) = pending_retry(seen) {
            return (state, vec![Action::Wake(retry)]);
        }
        let left = !seen.containers.is_empty() || seen.residue;
        match (left, seen.released) {
            (true, _) => actions.extend(tidy(seen)),
            (false, false) => actions.push(Action::Release),
            (false, true) => return (State::Gone, Vec::new()),
        }
    }
    (state, actions)
}

/// A pod whose containers have ended keeps its object and its logs, nothing else.
fn finished(plan: &Plan, seen: &Observation) -> Vec<Action> {
    let mut actions = end_running(seen, later(seen.now, plan.grace), |_| true);
    if actions.is_empty() {
        match pending_retry(seen) {
            Some(retry) => actions.push(Action::Wake(retry)),
            None => actions.extend(tidy(seen)),
        }
    }
    actions
}

fn tidy(seen: &Observation) -> Vec<Action> {
    let containers = (!seen.containers.is_empty()).then_some(Action::Remove);
    containers.into_iter().chain(seen.residue.then_some(Action::Clean)).collect()
}

/// Asks running containers to end, kills those whose time is up, and waits for the rest.
fn end_running(seen: &Observation, deadline: Timestamp, wanted: impl Fn(&View) -> bool) -> Vec<Action> {
    let mut actions = Vec::new();
    for (container, view) in seen.containers.iter().filter(|(_, view)| wanted(view)) {
        let Run::Running { terminating, .. } = view.run else { continue };
        let container = container.clone();
        // Nobody is killed without having been asked and given a moment, however long ago the deadline was.
        let since = |asked: Timestamp| deadline.max(later(asked, MINIMUM_GRACE));
        actions.push(match terminating.map(|ending| ending.deadline.min(since(ending.asked))) {
            None => Action::Terminate { container, deadline: since(seen.now) },
            Some(at) if seen.now < at => Action::Wake(at),
            Some(_) => Action::Kill { container },
        });
    }
    actions
}

fn pending_retry(seen: &Observation) -> Option<Timestamp> {
    seen.retry.filter(|retry| seen.now < *retry)
}

fn advance(plan: &Plan, seen: &Observation) -> (State, Vec<Action>) {
    let unhealthy =
        |view: &View| matches!(view.run, Run::Running { unhealthy, terminating } if unhealthy || terminating.is_some());
    let mut actions = end_running(seen, later(seen.now, plan.grace), unhealthy);
    let wanted = wanted(plan, seen);
    let expired = seen.active_until.is_some_and(|until| until <= seen.now);
    match wanted.verdict {
        Some(false) | None if expired => return (State::Expired, vec![Action::Wake(seen.now)]),
        Some(succeeded) => return (State::Finished { succeeded }, vec![Action::Wake(seen.now)]),
        None => actions.extend(seen.active_until.map(Action::Wake)),
    }
    let (reached, missing) = prepared(seen);
    let needs = !wanted.starts.is_empty();
    let state = match (reached, needs, wanted.until) {
        (state, true, _) if missing.is_some() => state,
        (_, true, _) => State::Started,
        (_, false, Some(until)) => State::Restarting { until },
        (_, false, None) if wanted.initialising => State::Started,
        (_, false, None) => State::Running,
    };
    // A pod that runs already and was just found by this worker has its network confirmed, nothing else.
    let missing = if needs { missing } else { (!seen.attached).then_some(Action::Attach) };
    match (missing, pending_retry(seen)) {
        (Some(_), Some(retry)) => actions.push(Action::Wake(retry)),
        (Some(action), None) => actions.push(action),
        (None, _) => actions.extend(wanted.starts),
    }
    actions.extend(wanted.until.map(Action::Wake));
    (state, actions)
}

/// How far the preparations are, and the next one.
fn prepared(seen: &Observation) -> (State, Option<Action>) {
    if !seen.attached {
        (State::Accepted, Some(Action::Attach))
    } else if !seen.pulled {
        (State::Sandboxed, Some(Action::Pull))
    } else if !seen.mounted {
        (State::Pulled, Some(Action::Mount))
    } else {
        (State::Mounted, None)
    }
}

/// What the containers need.
#[derive(Default)]
struct Wanted {
    /// Runs to start now.
    starts: Vec<Action>,
    /// The earliest later start.
    until: Option<Timestamp>,
    /// Init containers are not done.
    initialising: bool,
    /// Everything has ended for good: with success or not.
    verdict: Option<bool>,
}

impl Wanted {
    fn start(&mut self, seen: &Observation, container: &str, attempt: u32, streak: u32, due: Timestamp) {
        let due = seen.blocked.get(container).map_or(due, |blocked| due.max(*blocked));
        if due <= seen.now {
            self.starts.push(Action::Start { container: container.to_owned(), attempt, streak });
        } else {
            self.until = Some(self.until.map_or(due, |until| until.min(due)));
        }
    }

    fn first(&mut self, seen: &Observation, container: &str) {
        let attempt = seen.earlier_runs.get(container).copied().unwrap_or(0);
        self.start(seen, container, attempt, 0, seen.now);
    }

    /// Another run after one that ended; its pause grows with the number of ends in a row.
    fn again(&mut self, plan: &Plan, seen: &Observation, container: &str, view: &View, span: (Timestamp, Timestamp)) {
        let (started, finished) = span;
        let steady = between(started, finished) >= STEADY;
        let streak = if steady { 1 } else { view.streak.saturating_add(1) };
        let due = later(finished, plan.backoff.delay(streak));
        // An end in the future is a clock that was set back: do not wait for it longer than the longest pause.
        let due = due.min(later(seen.now, plan.backoff.cap));
        self.start(seen, container, view.attempt.saturating_add(1), streak, due);
    }
}

fn wanted(plan: &Plan, seen: &Observation) -> Wanted {
    let mut wanted = Wanted::default();
    let main_has_run = plan.main.iter().any(|name| seen.containers.contains_key(name));
    if !main_has_run && !initialised(plan, seen, &mut wanted) {
        return wanted;
    }
    let mut failed = false;
    let mut open = false;
    for name in &plan.main {
        match seen.containers.get(name).map(|view| (view, &view.run)) {
            None => {
                open = true;
                wanted.first(seen, name);
            }
            Some((_, Run::Running { .. })) => open = true,
            Some((view, Run::Exited { code, started, finished })) if plan.restart.restarts(*code) => {
                open = true;
                wanted.again(plan, seen, name, view, (*started, *finished));
            }
            Some((_, Run::Exited { code, .. })) => failed |= *code != 0,
        }
    }
    wanted.verdict = (!open).then_some(!failed);
    wanted
}

/// Runs init containers one after the other; true when all have succeeded.
fn initialised(plan: &Plan, seen: &Observation, wanted: &mut Wanted) -> bool {
    for name in &plan.init {
        match seen.containers.get(name).map(|view| (view, &view.run)) {
            Some((_, Run::Exited { code: 0, .. })) => continue,
            None => wanted.first(seen, name),
            Some((_, Run::Running { .. })) => {}
            Some((_, Run::Exited { .. })) if plan.restart == RestartPolicy::Never => wanted.verdict = Some(false),
            Some((view, Run::Exited { started, finished, .. })) => {
                wanted.again(plan, seen, name, view, (*started, *finished));
            }
        }
        wanted.initialising = true;
        return false;
    }
    true
}

#[cfg(test)]
mod tests;
