//! What to do about a cron job, now.

use std::{cmp::Reverse, time::Duration};

use api::{
    ObjectMeta, Resource, Time,
    kinds::{CronJob, Job, cron_job, job},
    meta::controller_reference,
    names::annotation::{INSTANTIATE, SCHEDULED_AT},
    schedule::Schedule,
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use k8s_openapi::api::{batch::v1::CronJobStatus, core::v1::ObjectReference};

use super::due;
use crate::{controller::Next, step::Step, workloads::ownership};

/// A cron job and the jobs of its namespace.
pub(super) struct Observed {
    pub(super) cron: CronJob,
    pub(super) jobs: Vec<Job>,
    /// The last time whose job was not started because another one ran, if an event says so already.
    pub(super) blocked: Option<Timestamp>,
    pub(super) now: Timestamp,
}

/// What to do.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    pub(super) next: Next,
    /// The time whose job is not started now because another one runs.
    pub(super) blocked: Option<Timestamp>,
}

/// The next steps, and when to look again.
pub(super) fn plan(observed: &Observed) -> Plan {
    let cron = &observed.cron;
    if cron.metadata.deletion_timestamp.is_some() {
        return Plan { steps: Vec::new(), next: Next::OnChange, blocked: None };
    }
    let own: Vec<&Job> =
        observed.jobs.iter().filter(|job| ownership::is_owned(&cron.metadata, &job.metadata)).collect();
    // A person's job does not count as one that the schedule started.
    let is_scheduled =
        |job: &&&Job| !job.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(INSTANTIATE));
    let active: Vec<&Job> = own.iter().filter(is_scheduled).copied().filter(|job| !job::is_finished(job)).collect();
    let mut status = status(cron, &own, &active);
    let mut steps = news(cron, &own, &active);
    steps.extend(prune(cron, &own));
    let (mut next, mut blocked) = (Next::OnChange, None);
    let schedule = Schedule::parse(&cron.spec.schedule).ok().zip(cron_job::time_zone(&cron.spec));
    if let Some((schedule, zone)) = schedule.filter(|_| cron.spec.suspend != Some(true)) {
        let later = schedule.next(observed.now, &zone);
        next = later.map_or(Next::OnChange, |later| Next::After(wait(observed.now, later)));
        if let Some(due) = due::last(&schedule, &zone, since(cron, observed.now), observed.now) {
            blocked = is_blocked(observed, &active, due.at, &zone).then_some(due.at);
            // One event for each time, though many changes of the job that runs come by until the next.
            if blocked.is_none() || blocked != observed.blocked {
                steps.extend(start(observed, &active, due, &zone, &mut status));
            }
        }
    }
    let changed = CronJob { status: Some(status), ..cron.clone() };
    if changed.status != cron.status {
        steps.push(Step::replace_status(&changed));
    }
    Plan { steps, next, blocked }
}

/// The time after which one is due: the last that was, or the making of the cron job; and not what is too late now.
fn since(cron: &CronJob, now: Timestamp) -> Timestamp {
    let last = cron.status.as_ref().and_then(|status| status.last_schedule_time.as_ref());
    let last = last.or(cron.metadata.creation_timestamp.as_ref()).map_or(now, |time| time.0);
    let limit = cron.spec.starting_deadline_seconds;
    let earliest = limit.and_then(|seconds| now.checked_sub(SignedDuration::from_secs(seconds)).ok());
    earliest.map_or(last, |earliest| earliest.max(last))
}

fn wait(now: Timestamp, later: Timestamp) -> Duration {
    Duration::try_from(later.duration_since(now)).unwrap_or_default()
}

/// Whether a job that still runs keeps the one for a time from being made.
fn is_blocked(observed: &Observed, active: &[&Job], at: Timestamp, zone: &TimeZone) -> bool {
    let name = job_at(&observed.cron, at, zone).metadata.name;
    let forbids = observed.cron.spec.concurrency_policy.as_deref() == Some("Forbid");
    forbids && !active.is_empty() && !observed.jobs.iter().any(|job| job.metadata.name == name)
}

/// Starts the job that is due, unless others are in the way.
fn start(
    observed: &Observed,
    active: &[&Job],
    due: due::Due,
    zone: &TimeZone,
    status: &mut CronJobStatus,
) -> Vec<Step> {
    let cron = &observed.cron;
    let mut steps = Vec::new();
    if due.many_missed {
        let message = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
        steps.push(Step::warning(cron, "TooManyMissedTimes", message));
    }
    let job = job_at(cron, due.at, zone);
    let name = job.metadata.name.clone().unwrap_or_default();
    let known = observed.jobs.iter().find(|known| known.metadata.name == job.metadata.name);
    if let Some(known) = known {
        if ownership::is_owned(&cron.metadata, &known.metadata) {
            // It was made, and the status was not written.
            status.last_schedule_time = Some(Time(due.at));
        } else {
            let message = format!("Error creating job: a job {name} exists, and is not of this cron job");
            steps.push(Step::warning(cron, "FailedCreate", message));
        }
        return steps;
    }
    match cron.spec.concurrency_policy.as_deref() {
        Some("Forbid") if !active.is_empty() => {
            let message = "Not starting job because prior execution is running and concurrency policy is Forbid";
            steps.push(Step::normal(cron, "JobAlreadyActive", message));
            return steps;
        }
        Some("Replace") => steps.extend(active.iter().flat_map(|old| delete(cron, old))),
        _ => {}
    }
    steps.push(Step::create(&job));
    steps.push(Step::normal(cron, "SuccessfulCreate", format!("Created job {name}")));
    status.last_schedule_time = Some(Time(due.at));
    steps
}

/// The job for a time: its name says which, so that it is made once.
fn job_at(cron: &CronJob, at: Timestamp, zone: &TimeZone) -> Job {
    let template = cron.spec.job_template.clone();
    let meta = template.metadata.unwrap_or_default();
    let mut annotations = meta.annotations.unwrap_or_default();
    let local = at.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string();
    annotations.insert(SCHEDULED_AT.into(), local.replace("+00:00", "Z"));
    Job {
        metadata: ObjectMeta {
            name: Some(format!("{}-{}", cron.meta().name.as_deref().unwrap_or_default(), at.as_second() / 60)),
            namespace: cron.metadata.namespace.clone(),
            labels: meta.labels,
            annotations: Some(annotations),
            owner_references: Some(vec![controller_reference(cron)]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}

fn delete(cron: &CronJob, job: &Job) -> [Step; 2] {
    let news = format!("Deleted job {}", job.metadata.name.as_deref().unwrap_or_default());
    [Step::delete(job), Step::normal(cron, "SuccessfulDelete", news)]
}

/// Deletes the oldest finished jobs, beyond the numbers that are kept.
fn prune(cron: &CronJob, own: &[&Job]) -> Vec<Step> {
    let limits =
        [("Complete", cron.spec.successful_jobs_history_limit), ("Failed", cron.spec.failed_jobs_history_limit)];
    let mut steps = Vec::new();
    for (end, limit) in limits {
        let Some(limit) = limit else { continue };
        let mut ended: Vec<&Job> = own.iter().copied().filter(|job| job::is(job, end)).collect();
        ended.retain(|job| job.metadata.deletion_timestamp.is_none());
        ended.sort_by_key(|job| Reverse((started(job), job.metadata.name.clone())));
        let beyond = ended.into_iter().skip(usize::try_from(limit).unwrap_or(0));
        steps.extend(beyond.flat_map(|job| delete(cron, job)));
    }
    steps
}

fn started(job: &Job) -> Option<Timestamp> {
    job.status.as_ref()?.start_time.as_ref().map(|time| time.0)
}

fn status(cron: &CronJob, own: &[&Job], active: &[&Job]) -> CronJobStatus {
    let before = cron.status.clone().unwrap_or_default();
    let completed = own.iter().filter(|job| job::is(job, "Complete"));
    let last = completed.filter_map(|job| job.status.as_ref()?.completion_time.as_ref()).map(|time| time.0).max();
    let known = before.last_successful_time.as_ref().map(|time| time.0);
    let refer = |job: &&Job| ObjectReference {
        api_version: Some(Job::api_version()),
        kind: Some(Job::KIND.into()),
        name: job.metadata.name.clone(),
        namespace: job.metadata.namespace.clone(),
        uid: job.metadata.uid.clone(),
        ..ObjectReference::default()
    };
    CronJobStatus {
        active: (!active.is_empty()).then(|| active.iter().map(refer).collect()),
        last_schedule_time: before.last_schedule_time,
        last_successful_time: last.max(known).map(Time),
    }
}

/// Says which of the jobs that ran have come to their end.
fn news(cron: &CronJob, own: &[&Job], active: &[&Job]) -> Vec<Step> {
    let known = cron.status.iter().flat_map(|status| status.active.iter().flatten());
    let gone = known.filter(|known| !active.iter().any(|job| job.metadata.uid == known.uid));
    let text = |known: &ObjectReference| {
        let name = known.name.clone().unwrap_or_default();
        match own.iter().find(|job| job.metadata.uid == known.uid) {
            Some(job) => {
                let end = if job::is(job, "Complete") { "Complete" } else { "Failed" };
                Step::normal(cron, "SawCompletedJob", format!("Saw completed job: {name}, condition: {end}"))
            }
            None => Step::normal(cron, "MissingJob", format!("Active job went missing: {name}")),
        }
    };
    gone.map(text).collect()
}

#[cfg(test)]
mod tests;
