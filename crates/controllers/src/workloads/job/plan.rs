//! What to do about a job, now.

use std::{collections::BTreeSet, time::Duration};

use api::{
    Time,
    kinds::{Job, Pod, job},
    names::{finalizer::JOB_TRACKING, manager::JOB_CONTROLLER},
};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::JobStatus;

use super::{
    conditions::{self, COMPLETE, FAILED, SUSPENDED},
    indexes,
    outcome::{self, Outcome},
    pods,
    status::Tally,
    view::View,
};
use crate::{
    controller::Next,
    step::Step,
    workloads::{health, order, ownership, template::PodNames},
};

/// Most pods that are created or deleted in one pass; the changes bring the next one.
const BURST: usize = 500;
/// How long a job waits after the first failure. It doubles with each further one.
const BACKOFF: Duration = Duration::from_secs(10);
/// The longest that it waits.
pub(super) const BACKOFF_MAX: Duration = Duration::from_mins(10);

/// A job and the pods of its namespace.
pub(super) struct Observed {
    pub(super) job: Job,
    pub(super) pods: Vec<Pod>,
    pub(super) now: Timestamp,
}

/// What to do.
#[derive(Debug)]
pub(super) struct Plan {
    /// Writes of pods.
    pub(super) steps: Vec<Step>,
    /// The write of the status and its events, which is made even if a pod is refused.
    pub(super) report: Vec<Step>,
    pub(super) next: Next,
}

/// The next steps, and when to look again. The changes that the steps make bring the pass after.
pub(super) fn plan(observed: &Observed) -> Plan {
    let job = &observed.job;
    let spec = job.spec.clone().unwrap_or_default();
    let idle = |steps| Plan { steps, report: Vec::new(), next: Next::OnChange };
    if spec.managed_by.as_deref().is_some_and(|manager| manager != JOB_CONTROLLER) {
        return idle(Vec::new());
    }
    let own = observed.pods.iter().filter(|pod| ownership::is_owned(&job.metadata, &pod.metadata));
    let held = own.filter(|pod| JOB_TRACKING.holds(&pod.metadata));
    if job.metadata.deletion_timestamp.is_some() {
        return idle(held.map(pods::untrack).collect());
    }
    if job::is_finished(job) {
        let (steps, next) = finished(observed, held.map(pods::untrack).collect());
        return Plan { steps, report: Vec::new(), next };
    }
    let selector = spec.selector.as_ref().and_then(ownership::selector);
    let owned = ownership::sort(job, selector.as_ref(), &observed.pods, |_| true);
    if !owned.steps.is_empty() {
        return idle(owned.steps);
    }
    let view = View {
        job,
        before: job.status.clone().unwrap_or_default(),
        pods: owned.objects,
        completions: spec.completions,
        by_index: spec.completion_mode.as_deref() == Some("Indexed"),
        waits: spec.pod_replacement_policy.as_deref() == Some("Failed"),
        spec,
        now: observed.now,
    };
    work(&view, observed)
}

/// Lets the pods of a finished job go, and deletes it when its time is over.
fn finished(observed: &Observed, mut steps: Vec<Step>) -> (Vec<Step>, Next) {
    let job = &observed.job;
    let Some(ttl) = job.spec.as_ref().and_then(|spec| spec.ttl_seconds_after_finished) else {
        return (steps, Next::OnChange);
    };
    let status = job.status.clone().unwrap_or_default();
    let end =
        [COMPLETE, FAILED].iter().find_map(|kind| conditions::holding(&status, kind)?.last_transition_time.clone());
    let waited =
        end.map_or(Duration::ZERO, |end| Duration::try_from(observed.now.duration_since(end.0)).unwrap_or_default());
    let wait = health::seconds(Some(ttl)).saturating_sub(waited);
    if wait.is_zero() {
        steps.push(Step::delete(job));
        return (steps, Next::OnChange);
    }
    (steps, Next::After(wait))
}

fn work(view: &View<'_>, observed: &Observed) -> Plan {
    let tally = Tally::of(view);
    let outcome = outcome::decide(view, &tally);
    let mut steps = tally.release.clone();
    let mut next = Next::OnChange;
    let active: Vec<&Pod> = view.pods.iter().filter(|pod| pods::is_active(pod)).collect();
    if outcome.is_some() {
        steps.extend(active.iter().take(BURST).flat_map(|pod| pods::delete(view.job, pod)));
    } else {
        let held = |pod: &&&Pod| JOB_TRACKING.holds(&pod.metadata);
        let free: Vec<_> = active.iter().filter(|pod| !held(pod)).map(|pod| pods::track(pod)).collect();
        if free.is_empty() {
            let (more, wait) = manage(view, &tally, &active, observed);
            steps.extend(more);
            next = wait;
        } else {
            // Such a pod was adopted: it is counted, too.
            steps.extend(free);
        }
        next = outcome::until_deadline(view).map_or(next, |wait| next.sooner(Next::After(wait)));
    }
    let report = report(view, &tally, outcome.as_ref(), &active);
    Plan { steps, report, next }
}

/// Creates and deletes pods, so that as many are active as should be.
fn manage(view: &View<'_>, tally: &Tally, active: &[&Pod], observed: &Observed) -> (Vec<Step>, Next) {
    if view.is_suspended() {
        return (
            active.iter().take(BURST).flat_map(|pod| pods::delete_uncounted(view.job, pod)).collect(),
            Next::OnChange,
        );
    }
    let (kept, odd) = split(view, tally, active);
    let parallel = view.spec.parallelism.unwrap_or(1);
    let wanted = match view.completions {
        None if tally.succeeded() > 0 => kept.len(),
        None => usize::try_from(parallel).unwrap_or(0),
        Some(completions) => {
            let failed = i32::try_from(tally.failed_indexes.len()).unwrap_or(i32::MAX);
            let left = completions.saturating_sub(tally.succeeded()).saturating_sub(failed);
            usize::try_from(left.min(parallel)).unwrap_or(0)
        }
    };
    let excess = kept.len().saturating_sub(wanted);
    let gone = odd.into_iter().chain(order::by_loss(kept.iter().copied(), &[]).into_iter().take(excess));
    let mut steps: Vec<Step> = gone.take(BURST).flat_map(|pod| pods::delete_uncounted(view.job, pod)).collect();
    let ending = if view.waits { view.pods.iter().filter(|pod| pods::is_ending(pod)).count() } else { 0 };
    let missing = wanted.saturating_sub(kept.len() + ending).min(BURST);
    if missing == 0 || !steps.is_empty() {
        return (steps, Next::OnChange);
    }
    let (made, next) = create(view, tally, &kept, missing, observed);
    steps.extend(made);
    (steps, next)
}

/// Active pods that may stay, and those that are there twice or not needed.
fn split<'a>(view: &View<'_>, tally: &Tally, active: &[&'a Pod]) -> (Vec<&'a Pod>, Vec<&'a Pod>) {
    if !view.by_index {
        return (active.to_vec(), Vec::new());
    }
    let mut seen = BTreeSet::new();
    let is_needed = |pod: &&&Pod| {
        indexes::of_pod(pod).is_some_and(|index| {
            Some(index) < view.completions && !tally.completed.contains(&index) && seen.insert(index)
        })
    };
    let (kept, odd): (Vec<&&Pod>, Vec<&&Pod>) = active.iter().partition(is_needed);
    (kept.into_iter().copied().collect(), odd.into_iter().copied().collect())
}

fn create(view: &View<'_>, tally: &Tally, kept: &[&Pod], missing: usize, observed: &Observed) -> (Vec<Step>, Next) {
    let mut names = PodNames::new(view.job, &observed.pods);
    if !view.by_index || view.spec.backoff_limit_per_index.is_none() {
        let wait = backoff(view);
        if !wait.is_zero() {
            return (Vec::new(), Next::After(wait));
        }
    }
    if !view.by_index {
        return ((0..missing).flat_map(|_| pods::create(view.job, &mut names, None)).collect(), Next::OnChange);
    }
    let busy = kept.iter().copied().chain(view.pods.iter().filter(|pod| view.waits && pods::is_ending(pod)));
    let busy: BTreeSet<i32> = busy.filter_map(indexes::of_pod).collect();
    let mut steps = Vec::new();
    let mut next = Next::OnChange;
    let mut left = missing;
    for index in 0..view.completions.unwrap_or(0) {
        if left == 0 {
            break;
        }
        if tally.completed.contains(&index) || tally.failed_indexes.contains(&index) || busy.contains(&index) {
            continue;
        }
        let failures = Tally::failures(view, index);
        if view.spec.backoff_limit_per_index.is_some() {
            let wait = index_backoff(view, index, failures.counted + failures.ignored);
            if !wait.is_zero() {
                next = next.sooner(Next::After(wait));
                continue;
            }
        }
        steps.extend(pods::create(view.job, &mut names, Some((index, failures))));
        left -= 1;
    }
    (steps, next)
}

/// How long to wait after the failures since the last success.
fn backoff(view: &View<'_>) -> Duration {
    let ended = |test: &dyn Fn(&Pod) -> bool| {
        view.pods.iter().filter(|pod| test(pod)).filter_map(pods::ended_at).collect::<Vec<_>>()
    };
    let success = ended(&pods::has_succeeded).into_iter().max();
    let failures = ended(&|pod| pods::has_failed(pod, view.waits));
    let failures: Vec<_> = failures.into_iter().filter(|end| Some(*end) > success).collect();
    let count = i32::try_from(failures.len()).unwrap_or(i32::MAX);
    failures.into_iter().max().map_or(Duration::ZERO, |last| remaining(view, last, count))
}

fn index_backoff(view: &View<'_>, index: i32, failures: i32) -> Duration {
    let failed =
        view.pods.iter().filter(|pod| indexes::of_pod(pod) == Some(index) && pods::has_failed(pod, view.waits));
    failed.filter_map(pods::ended_at).max().map_or(Duration::ZERO, |last| remaining(view, last, failures))
}

fn remaining(view: &View<'_>, last: Timestamp, failures: i32) -> Duration {
    let doublings = u32::try_from(failures - 1).unwrap_or(0).min(16);
    let whole = BACKOFF.saturating_mul(1 << doublings).min(BACKOFF_MAX);
    whole.saturating_sub(Duration::try_from(view.now.duration_since(last)).unwrap_or_default())
}

/// The status, and what to tell people, if it is another one.
fn report(view: &View<'_>, tally: &Tally, outcome: Option<&Outcome>, active: &[&Pod]) -> Vec<Step> {
    let now = Time(view.now);
    let mut status = view.before.clone();
    let mut news = Vec::new();
    let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    let ending = view.pods.iter().filter(|pod| pods::is_ending(pod)).count();
    status.active = Some(number(active.len()));
    status.ready = Some(number(active.iter().filter(|pod| health::is_ready(pod)).count()));
    status.terminating = Some(number(ending));
    (status.succeeded, status.failed) = (Some(tally.settled.0), Some(tally.settled.1));
    status.uncounted_terminated_pods = Some(tally.uncounted());
    if view.by_index {
        status.completed_indexes = indexes::text(&tally.completed);
        let limited = view.spec.backoff_limit_per_index.is_some();
        status.failed_indexes = limited.then(|| indexes::text(&tally.failed_indexes).unwrap_or_default());
    }
    match outcome {
        Some(outcome) => {
            let is_decided = conditions::holding(&view.before, outcome.target()).is_some();
            conditions::set(&mut status, &now, outcome.target(), true, &outcome.reason, &outcome.message);
            if is_decided && active.is_empty() && ending == 0 && tally.is_settled(view) {
                news.push(finish(view, &mut status, outcome, &now));
            }
        }
        None => news.extend(suspension(view, &mut status, &now)),
    }
    let changed = Job { status: Some(status), ..view.job.clone() };
    if changed.status == view.job.status {
        return Vec::new();
    }
    let mut steps = vec![Step::replace_status(&changed)];
    steps.extend(news);
    steps
}

/// Says that the job has come to its end.
fn finish(view: &View<'_>, status: &mut JobStatus, outcome: &Outcome, now: &Time) -> Step {
    if outcome.succeeded {
        conditions::set(status, now, COMPLETE, true, &outcome.reason, &outcome.message);
        status.completion_time = Some(now.clone());
        return Step::normal(view.job, "Completed", "Job completed");
    }
    conditions::set(status, now, FAILED, true, &outcome.reason, &outcome.message);
    Step::warning(view.job, &outcome.reason, outcome.message.clone())
}

/// Notes when the job starts, is suspended, and is resumed.
fn suspension(view: &View<'_>, status: &mut JobStatus, now: &Time) -> Option<Step> {
    let was = conditions::holding(&view.before, SUSPENDED).is_some();
    if view.is_suspended() {
        let changed = conditions::set(status, now, SUSPENDED, true, "JobSuspended", "Job suspended");
        if changed {
            status.start_time = None;
        }
        return changed.then(|| Step::normal(view.job, "Suspended", "Job suspended"));
    }
    if status.start_time.is_none() {
        status.start_time = Some(now.clone());
    }
    let resumed = was && conditions::set(status, now, SUSPENDED, false, "JobResumed", "Job resumed");
    if resumed {
        status.start_time = Some(now.clone());
    }
    resumed.then(|| Step::normal(view.job, "Resumed", "Job resumed"))
}

#[cfg(test)]
mod tests;
