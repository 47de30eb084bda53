//! Whether a job has failed or succeeded.

use std::{collections::BTreeSet, time::Duration};

use api::kinds::{Pod, job};

use super::{
    conditions::{FAILURE_TARGET, SUCCESS_CRITERIA_MET, holding},
    pods,
    status::Tally,
    view::View,
};

/// What was decided about a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) succeeded: bool,
    pub(super) reason: String,
    pub(super) message: String,
}

impl Outcome {
    fn failed(reason: &str, message: impl Into<String>) -> Self {
        Self { succeeded: false, reason: reason.into(), message: message.into() }
    }

    fn succeeded(reason: &str, message: impl Into<String>) -> Self {
        Self { succeeded: true, reason: reason.into(), message: message.into() }
    }

    /// The condition that says that it was decided.
    pub(super) fn target(&self) -> &'static str {
        if self.succeeded { SUCCESS_CRITERIA_MET } else { FAILURE_TARGET }
    }
}

/// What is decided now, or was before: what has been decided stays.
pub(super) fn decide(view: &View<'_>, tally: &Tally) -> Option<Outcome> {
    for (kind, succeeded) in [(FAILURE_TARGET, false), (SUCCESS_CRITERIA_MET, true)] {
        if let Some(known) = holding(&view.before, kind) {
            let (reason, message) =
                (known.reason.clone().unwrap_or_default(), known.message.clone().unwrap_or_default());
            return Some(Outcome { succeeded, reason, message });
        }
    }
    if let Some(why) = &tally.fail_job {
        return Some(Outcome::failed("PodFailurePolicy", why.clone()));
    }
    if is_over_limit(view, tally) {
        return Some(Outcome::failed("BackoffLimitExceeded", "Job has reached the specified backoff limit"));
    }
    if until_deadline(view) == Some(Duration::ZERO) {
        return Some(Outcome::failed("DeadlineExceeded", "Job was active longer than specified deadline"));
    }
    by_index(view, tally).or_else(|| by_policy(view, tally)).or_else(|| by_completions(view, tally))
}

fn is_over_limit(view: &View<'_>, tally: &Tally) -> bool {
    let limit = view.spec.backoff_limit.unwrap_or(i32::MAX);
    if tally.failed() > limit {
        return true;
    }
    let restart = view.spec.template.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref());
    if restart != Some("OnFailure") {
        return false;
    }
    // Containers that are started again count, too.
    let restarts: i64 = view.pods.iter().filter(|pod| pods::is_active(pod)).map(restarts).sum();
    if limit == 0 { restarts > 0 } else { restarts >= i64::from(limit) }
}

fn restarts(pod: &Pod) -> i64 {
    let status = pod.status.iter();
    let all =
        status.flat_map(|status| status.container_statuses.iter().chain(&status.init_container_statuses).flatten());
    all.map(|status| i64::from(status.restart_count)).sum()
}

/// How long the job may still be active.
pub(super) fn until_deadline(view: &View<'_>) -> Option<Duration> {
    let limit = Duration::from_secs(u64::try_from(view.spec.active_deadline_seconds?).unwrap_or(0));
    let start = view.before.start_time.as_ref().filter(|_| !view.is_suspended())?;
    let waited = Duration::try_from(view.now.duration_since(start.0)).unwrap_or_default();
    Some(limit.saturating_sub(waited))
}

/// Indexes that failed for good.
fn by_index(view: &View<'_>, tally: &Tally) -> Option<Outcome> {
    view.spec.backoff_limit_per_index?;
    let failed = i32::try_from(tally.failed_indexes.len()).unwrap_or(i32::MAX);
    if view.spec.max_failed_indexes.is_some_and(|most| failed > most) {
        let message = "Job has exceeded the specified maximal number of failed indexes";
        return Some(Outcome::failed("MaxFailedIndexesExceeded", message));
    }
    let done = i32::try_from(tally.completed.len()).unwrap_or(i32::MAX).saturating_add(failed);
    (failed > 0 && Some(done) >= view.completions).then(|| Outcome::failed("FailedIndexes", "Job has failed indexes"))
}

/// The first rule of the success policy that is met.
fn by_policy(view: &View<'_>, tally: &Tally) -> Option<Outcome> {
    let rules = &view.spec.success_policy.as_ref()?.rules;
    let met = rules.iter().position(|rule| {
        let listed = rule.succeeded_indexes.as_deref().and_then(|text| job::indexes(text, i32::MAX));
        let done: BTreeSet<_> = match &listed {
            Some(listed) => tally.completed.intersection(listed).collect(),
            None => tally.completed.iter().collect(),
        };
        let wanted = match (rule.succeeded_count, &listed) {
            (Some(count), _) => usize::try_from(count).unwrap_or(0),
            (None, Some(listed)) => listed.len(),
            (None, None) => return false,
        };
        done.len() >= wanted
    })?;
    Some(Outcome::succeeded("SuccessPolicy", format!("Matched rules at index {met}")))
}

/// Enough pods succeeded, and none is active.
fn by_completions(view: &View<'_>, tally: &Tally) -> Option<Outcome> {
    let is_active = view.pods.iter().any(pods::is_active);
    let enough = match view.completions {
        Some(completions) => tally.succeeded() >= completions,
        None => tally.succeeded() > 0,
    };
    let message = "Reached expected number of succeeded pods";
    (enough && !is_active && !view.is_suspended()).then(|| Outcome::succeeded("CompletionsReached", message))
}
