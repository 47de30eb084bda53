//! The lifecycle by table and against a simulated host that fails, crashes and loses its memory.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use proptest::prelude::*;

use super::{Action, Ending, MINIMUM_GRACE, Observation, Run, State, View, step};
use crate::pod::plan::{Backoff, Plan, RestartPolicy, STEADY, later};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn plan(init: &[&str], main: &[&str], restart: RestartPolicy) -> Plan {
    Plan {
        init: init.iter().map(ToString::to_string).collect(),
        main: main.iter().map(ToString::to_string).collect(),
        restart,
        backoff: Backoff::default(),
        grace: Duration::from_secs(30),
    }
}

fn seen(containers: &[(&str, Run)]) -> Observation {
    let view = |run: &Run| View { attempt: 0, streak: 0, run: run.clone() };
    Observation {
        now: NOW,
        attached: true,
        pulled: true,
        mounted: true,
        residue: true,
        containers: containers.iter().map(|(name, run)| ((*name).to_owned(), view(run))).collect(),
        blocked: BTreeMap::new(),
        retry: None,
        stop: None,
        active_until: None,
        released: false,
        earlier_runs: BTreeMap::new(),
    }
}

fn running() -> Run {
    Run::Running { unhealthy: false, terminating: None }
}

fn exited(code: i32, ago: u64) -> Run {
    let finished = NOW.checked_sub(Duration::from_secs(ago)).unwrap();
    Run::Exited { code, started: finished, finished }
}

fn start(container: &str, attempt: u32, streak: u32) -> Action {
    Action::Start { container: container.into(), attempt, streak }
}

#[test]
fn preparations_come_in_order() {
    let plan = plan(&[], &["a"], RestartPolicy::Always);
    let mut o = seen(&[]);
    (o.attached, o.pulled, o.mounted) = (false, false, false);
    assert_eq!(step(&plan, State::Accepted, &o), (State::Accepted, vec![Action::Attach]));
    o.attached = true;
    assert_eq!(step(&plan, State::Accepted, &o), (State::Sandboxed, vec![Action::Pull]));
    o.pulled = true;
    assert_eq!(step(&plan, State::Sandboxed, &o), (State::Pulled, vec![Action::Mount]));
    o.mounted = true;
    assert_eq!(step(&plan, State::Pulled, &o), (State::Started, vec![start("a", 0, 0)]));
}

#[test]
fn a_failed_preparation_waits_and_is_tried_again() {
    let plan = plan(&[], &["a"], RestartPolicy::Always);
    let mut o = seen(&[]);
    o.pulled = false;
    o.retry = Some(later(NOW, Duration::from_secs(5)));
    assert_eq!(step(&plan, State::Sandboxed, &o).1, [Action::Wake(later(NOW, Duration::from_secs(5)))]);
    o.now = later(NOW, Duration::from_secs(5));
    assert_eq!(step(&plan, State::Sandboxed, &o).1, [Action::Pull]);
}

#[test]
fn init_containers_run_one_after_the_other() {
    let plan = plan(&["i", "j"], &["a"], RestartPolicy::Always);
    for (containers, actions) in [
        (vec![], vec![start("i", 0, 0)]),
        (vec![("i", running())], vec![]),
        (vec![("i", exited(0, 9))], vec![start("j", 0, 0)]),
        (vec![("i", exited(0, 9)), ("j", exited(1, 9))], vec![start("j", 1, 1)]),
        (vec![("i", exited(0, 9)), ("j", exited(0, 9))], vec![start("a", 0, 0)]),
        (vec![("a", running())], vec![]),
    ] {
        assert_eq!(step(&plan, State::Mounted, &seen(&containers)).1, actions, "{containers:?}");
    }
}

#[test]
fn restart_policy_decides_what_an_end_means() {
    use RestartPolicy::{Always, Never, OnFailure};
    let finished = |succeeded| State::Finished { succeeded };
    for (policy, code, wanted) in [
        (Always, 0, State::Started),
        (Always, 1, State::Started),
        (OnFailure, 1, State::Started),
        (OnFailure, 0, finished(true)),
        (Never, 0, finished(true)),
        (Never, 7, finished(false)),
    ] {
        let o = seen(&[("a", exited(code, 9))]);
        assert_eq!(step(&plan(&[], &["a"], policy), State::Running, &o).0, wanted, "{policy:?} {code}");
    }
    let init = step(&plan(&["i"], &["a"], Never), State::Started, &seen(&[("i", exited(1, 9))]));
    assert_eq!(init.0, finished(false));
    let one_of_two = seen(&[("a", exited(0, 9)), ("b", running())]);
    assert_eq!(step(&plan(&[], &["a", "b"], Never), State::Running, &one_of_two), (State::Running, vec![]));
}

#[test]
fn crashes_in_a_row_wait_longer_and_a_long_run_starts_over() {
    let plan = plan(&[], &["a"], RestartPolicy::Always);
    let mut o = seen(&[("a", exited(1, 0))]);
    o.containers.get_mut("a").unwrap().streak = 2;
    let until = later(NOW, Duration::from_secs(4));
    assert_eq!(step(&plan, State::Running, &o), (State::Restarting { until }, vec![Action::Wake(until)]));
    o.now = until;
    assert_eq!(step(&plan, State::Running, &o).1, [start("a", 1, 3)]);
    let view = o.containers.get_mut("a").unwrap();
    view.run = Run::Exited { code: 1, started: NOW.checked_sub(STEADY).unwrap(), finished: NOW };
    assert_eq!(step(&plan, State::Running, &o).1, [start("a", 1, 1)]);
}

#[test]
fn an_unhealthy_container_is_ended_then_killed() {
    let plan = plan(&[], &["a"], RestartPolicy::Always);
    let deadline = later(NOW, plan.grace);
    let mut o = seen(&[("a", Run::Running { unhealthy: true, terminating: None })]);
    let (state, actions) = step(&plan, State::Running, &o);
    assert_eq!((state, actions), (State::Running, vec![Action::Terminate { container: "a".into(), deadline }]));
    o.containers.get_mut("a").unwrap().run =
        Run::Running { unhealthy: true, terminating: Some(Ending { asked: NOW, deadline }) };
    assert_eq!(step(&plan, State::Running, &o).1, [Action::Wake(deadline)]);
    o.now = deadline;
    assert_eq!(step(&plan, State::Running, &o).1, [Action::Kill { container: "a".into() }]);
}

#[test]
fn a_blocked_start_does_not_hold_up_the_others() {
    let plan = plan(&[], &["a", "b"], RestartPolicy::Always);
    let mut o = seen(&[]);
    let until = later(NOW, Duration::from_secs(3));
    o.blocked.insert("a".into(), until);
    assert_eq!(step(&plan, State::Mounted, &o).1, [start("b", 0, 0), Action::Wake(until)]);
}

#[test]
fn a_running_pod_is_adopted_without_its_images() {
    let plan = plan(&[], &["a"], RestartPolicy::Always);
    let mut o = seen(&[("a", running())]);
    (o.attached, o.pulled, o.mounted) = (false, false, false);
    assert_eq!(step(&plan, State::Accepted, &o), (State::Running, vec![Action::Attach]));
    o.attached = true;
    assert_eq!(step(&plan, State::Accepted, &o), (State::Running, vec![]));
}

#[test]
fn after_a_reboot_runs_are_counted_on() {
    let plan = plan(&[], &["a"], RestartPolicy::Always);
    let mut o = seen(&[]);
    o.earlier_runs.insert("a".into(), 4);
    assert_eq!(step(&plan, State::Accepted, &o).1, [start("a", 4, 0)]);
}

#[test]
fn deletion_ends_cleans_and_releases_in_this_order() {
    let plan = plan(&[], &["a"], RestartPolicy::Always);
    let deadline = later(NOW, Duration::from_secs(10));
    let stopping = State::Stopping { deadline };
    let mut o = seen(&[("a", running())]);
    o.stop = Some(deadline);
    let terminate = Action::Terminate { container: "a".into(), deadline };
    assert_eq!(step(&plan, State::Running, &o), (stopping, vec![terminate]));
    o.containers.get_mut("a").unwrap().run = exited(0, 0);
    assert_eq!(step(&plan, stopping, &o), (stopping, vec![Action::Remove, Action::Clean]));
    o.containers.clear();
    assert_eq!(step(&plan, stopping, &o), (stopping, vec![Action::Clean]));
    o.residue = false;
    assert_eq!(step(&plan, stopping, &o), (stopping, vec![Action::Release]));
    o.released = true;
    assert_eq!(step(&plan, stopping, &o), (State::Gone, vec![]));
}

#[test]
fn a_deletion_that_is_seen_late_still_asks_first() {
    let plan = plan(&[], &["a"], RestartPolicy::Always);
    let long_ago = NOW.checked_sub(Duration::from_secs(3600)).unwrap();
    let mut o = seen(&[("a", running())]);
    o.stop = Some(long_ago);
    let deadline = later(NOW, MINIMUM_GRACE);
    let (state, actions) = step(&plan, State::Accepted, &o);
    assert_eq!(state, State::Stopping { deadline: long_ago });
    assert_eq!(actions, [Action::Terminate { container: "a".into(), deadline }]);
    // It was asked: it has its moment, then it is killed.
    let ending = Ending { asked: NOW, deadline };
    o.containers.get_mut("a").unwrap().run = Run::Running { unhealthy: false, terminating: Some(ending) };
    assert_eq!(step(&plan, state, &o).1, [Action::Wake(deadline)]);
    o.now = deadline;
    assert_eq!(step(&plan, state, &o).1, [Action::Kill { container: "a".into() }]);
}

#[test]
fn a_grace_that_is_shortened_meanwhile_counts() {
    let plan = plan(&[], &["a"], RestartPolicy::Always);
    let ending = Ending { asked: NOW, deadline: later(NOW, Duration::from_secs(30)) };
    let mut o = seen(&[("a", Run::Running { unhealthy: false, terminating: Some(ending) })]);
    o.stop = Some(later(NOW, Duration::from_secs(5)));
    let stop = o.stop.unwrap();
    assert_eq!(step(&plan, State::Running, &o).1, [Action::Wake(stop)]);
    o.now = stop;
    assert_eq!(step(&plan, State::Running, &o).1, [Action::Kill { container: "a".into() }]);
}

#[test]
fn a_pod_that_is_active_for_too_long_is_ended_with_its_grace() {
    let plan = plan(&[], &["a"], RestartPolicy::Always);
    let mut o = seen(&[("a", running())]);
    let until = later(NOW, Duration::from_secs(5));
    o.active_until = Some(until);
    assert_eq!(step(&plan, State::Running, &o), (State::Running, vec![Action::Wake(until)]));
    o.now = until;
    assert_eq!(step(&plan, State::Running, &o), (State::Expired, vec![Action::Wake(until)]));
    let deadline = later(until, plan.grace);
    assert_eq!(step(&plan, State::Expired, &o).1, [Action::Terminate { container: "a".into(), deadline }]);
    o.containers.get_mut("a").unwrap().run = exited(143, 0);
    assert_eq!(step(&plan, State::Expired, &o), (State::Expired, vec![Action::Remove, Action::Clean]));
    // A pod that never got so far expires, too, and one that had succeeded before has succeeded.
    let mut early = seen(&[]);
    (early.attached, early.active_until) = (false, Some(NOW));
    assert_eq!(step(&plan, State::Accepted, &early).0, State::Expired);
    let never = self::plan(&[], &["a"], RestartPolicy::Never);
    let mut done = seen(&[("a", exited(0, 0))]);
    done.active_until = Some(NOW);
    assert_eq!(step(&never, State::Running, &done).0, State::Finished { succeeded: true });
}

/// A host that does what actions say, in steps of one second, and sometimes does not.
struct Host {
    now: Timestamp,
    attached: bool,
    pulled: bool,
    mounted: bool,
    residue: bool,
    released: bool,
    runs: BTreeMap<String, View>,
    retry: Option<Timestamp>,
}

impl Host {
    fn new() -> Self {
        let runs = BTreeMap::new();
        Self {
            now: NOW,
            attached: false,
            pulled: false,
            mounted: false,
            residue: false,
            released: false,
            runs,
            retry: None,
        }
    }

    fn observe(&self, stop: Option<Timestamp>) -> Observation {
        Observation {
            now: self.now,
            attached: self.attached,
            pulled: self.pulled,
            mounted: self.mounted,
            residue: self.residue,
            containers: self.runs.clone(),
            blocked: BTreeMap::new(),
            retry: self.retry,
            stop,
            active_until: None,
            released: self.released,
            earlier_runs: BTreeMap::new(),
        }
    }

    /// Does an action; panics when it would break an invariant.
    fn act(&mut self, action: &Action) {
        match action {
            Action::Attach => (self.attached, self.residue) = (true, true),
            Action::Pull => self.pulled = true,
            Action::Mount => (self.mounted, self.residue) = (true, true),
            Action::Start { container, attempt, streak } => {
                assert!(self.attached && self.pulled && self.mounted, "{container} started on bare ground");
                let before = self.runs.get(container);
                assert!(!before.is_some_and(|v| matches!(v.run, Run::Running { .. })), "{container} twice at once");
                assert!(before.is_none_or(|v| v.attempt < *attempt), "{container}: run {attempt} again");
                let view = View { attempt: *attempt, streak: *streak, run: running() };
                self.runs.insert(container.clone(), view);
            }
            Action::Terminate { container, deadline } => {
                assert!(*deadline >= later(self.now, MINIMUM_GRACE), "{container} is given no time");
                let asked = self.now;
                if let Some(Run::Running { terminating, .. }) = self.runs.get_mut(container).map(|v| &mut v.run) {
                    *terminating = Some(Ending { asked, deadline: *deadline });
                }
            }
            Action::Kill { container } => {
                let run = self.runs.get(container).map(|v| &v.run);
                let asked = |run: &Run| matches!(run, Run::Running { terminating: Some(e), .. } if later(e.asked, MINIMUM_GRACE) <= self.now);
                assert!(run.is_none_or(asked), "{container} was killed without being asked and given its time");
                self.end(container, 137);
            }
            Action::Remove => {
                assert!(self.runs.values().all(|v| matches!(v.run, Run::Exited { .. })), "removed while running");
                self.runs.clear();
            }
            Action::Clean => {
                assert!(self.runs.is_empty(), "cleaned under a container");
                (self.attached, self.mounted, self.residue) = (false, false, false);
            }
            Action::Release => {
                assert!(!self.residue && self.runs.is_empty(), "released with leftovers");
                self.released = true;
            }
            Action::Wake(_) => {}
        }
    }

    fn end(&mut self, container: &str, code: i32) {
        let now = self.now;
        if let Some(view) = self.runs.get_mut(container)
            && matches!(view.run, Run::Running { .. })
        {
            view.run = Run::Exited { code, started: now, finished: now };
        }
    }
}

/// What happens between two steps.
#[derive(Debug, Clone)]
enum Trouble {
    Nothing,
    Exit(u8, i32),
    Sick(u8),
    FailNext,
    CutOff(usize),
    ServerKilled,
    Reboot,
}

fn trouble() -> impl Strategy<Value = Trouble> {
    prop_oneof![
        4 => Just(Trouble::Nothing),
        2 => (0_u8..4, -1_i32..2).prop_map(|(who, code)| Trouble::Exit(who, code)),
        1 => (0_u8..4).prop_map(Trouble::Sick),
        1 => Just(Trouble::FailNext),
        1 => (0_usize..3).prop_map(Trouble::CutOff),
        1 => Just(Trouble::ServerKilled),
        1 => Just(Trouble::Reboot),
    ]
}

/// One second of a worker's life.
fn tick(plan: &Plan, host: &mut Host, state: &mut State, stop: Option<Timestamp>, trouble: &Trouble) {
    let names: Vec<String> = plan.init.iter().chain(&plan.main).cloned().collect();
    let mut limit = usize::MAX;
    let name = |who: &u8| names[usize::from(*who) % names.len()].clone();
    match trouble {
        Trouble::Nothing => {}
        Trouble::Exit(who, code) => host.end(&name(who), *code),
        Trouble::Sick(who) => {
            if let Some(Run::Running { unhealthy, .. }) = host.runs.get_mut(&name(who)).map(|v| &mut v.run) {
                *unhealthy = true;
            }
        }
        Trouble::FailNext => (host.retry, limit) = (Some(later(host.now, Duration::from_secs(2))), 0),
        Trouble::CutOff(after) => limit = *after,
        Trouble::ServerKilled => {
            // A finished pod is remembered: its phase is in the API.
            if !matches!(state, State::Finished { .. } | State::Gone) {
                *state = State::Accepted;
            }
            (host.attached, host.pulled, host.mounted, host.retry) = (false, false, false, None);
            for view in host.runs.values_mut() {
                if let Run::Running { unhealthy, terminating } = &mut view.run {
                    (*unhealthy, *terminating) = (false, None);
                }
            }
        }
        Trouble::Reboot => {
            // Containers, mounts and network go; so does the worker.
            let lost = std::mem::take(&mut host.runs);
            (host.attached, host.pulled, host.mounted, host.residue) = (false, false, false, false);
            if !matches!(state, State::Finished { .. } | State::Gone) {
                *state = State::Accepted;
            }
            drop(lost);
        }
    }
    let (next, actions) = step(plan, *state, &host.observe(stop));
    *state = next;
    for action in actions.iter().take(limit) {
        host.act(action);
    }
    host.now = later(host.now, Duration::from_secs(1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever happens, a pod settles once it stops happening, and a deleted one always goes, leaving nothing.
    #[test]
    fn converges_and_deletion_reaches_gone(
        inits in 0_usize..3,
        mains in 1_usize..3,
        policy in prop_oneof![Just(RestartPolicy::Always), Just(RestartPolicy::OnFailure), Just(RestartPolicy::Never)],
        before in prop::collection::vec(trouble(), 0..60),
        after in prop::collection::vec(trouble(), 0..30),
    ) {
        let names = |prefix: &str, n: usize| (0..n).map(|i| format!("{prefix}{i}")).collect::<Vec<_>>();
        let plan = Plan { init: names("i", inits), main: names("m", mains), restart: policy, backoff: Backoff::default(), grace: Duration::from_secs(5) };
        let (mut host, mut state) = (Host::new(), State::Accepted);
        for trouble in &before {
            tick(&plan, &mut host, &mut state, None, trouble);
        }
        // Calm: init containers succeed, the others keep running.
        for _ in 0..200 {
            for init in &plan.init {
                host.end(init, 0);
            }
            tick(&plan, &mut host, &mut state, None, &Trouble::Nothing);
        }
        prop_assert!(matches!(state, State::Running | State::Finished { .. }), "{:?}", state);
        if state == State::Running {
            prop_assert!(plan.main.iter().all(|m| host.runs.contains_key(m)));
            let (_, idle) = step(&plan, state, &host.observe(None));
            prop_assert!(idle.is_empty(), "still busy: {:?}", idle);
        } else {
            prop_assert!(!host.residue && host.runs.is_empty(), "a finished pod holds nothing");
        }
        let stop = Some(later(host.now, plan.grace));
        for trouble in &after {
            tick(&plan, &mut host, &mut state, stop, trouble);
        }
        for _ in 0..20 {
            tick(&plan, &mut host, &mut state, stop, &Trouble::Nothing);
        }
        prop_assert_eq!(state, State::Gone);
        prop_assert!(host.released && host.runs.is_empty() && !host.residue);
    }
}
