//! `batch/v1 CronJob`.

pub use k8s_openapi::api::batch::v1::CronJob;

use jiff::tz::TimeZone;
use k8s_openapi::api::batch::v1::{CronJobSpec, CronJobStatus};

use super::{job, workload};
use crate::{Column, FieldError, human_age, schedule::Schedule};

/// Longest name: with a hyphen and ten digits behind it, it is the name of a job, and that a label of pods.
pub const NAME_MAX: usize = 52;
/// Most finished jobs that are kept.
pub const HISTORY_MAX: i32 = 10_000;

kubernetes_kind!(CronJob, plural: "cronjobs", singular: "cronjob", scope: Namespaced {
    const FIELDS: &'static crate::fields::Shape = &crate::fields::batch::CRON_JOB;
    const SHORT_NAMES: &'static [&'static str] = &["cj"];
    const CATEGORIES: &'static [&'static str] = &["all"];
    const HAS_STATUS: bool = true;

    fn apply_defaults(&mut self) {
        let spec = &mut self.spec;
        spec.concurrency_policy.get_or_insert_with(|| "Allow".into());
        spec.suspend.get_or_insert(false);
        spec.successful_jobs_history_limit.get_or_insert(3);
        spec.failed_jobs_history_limit.get_or_insert(1);
        if let Some(job) = &mut spec.job_template.spec {
            workload::fill_template(&mut job.template);
        }
    }

    fn validate(&self, old: Option<&Self>) -> Vec<FieldError> {
        let mut errors = spec_errors(&self.spec);
        let name = self.metadata.name.as_deref().unwrap_or_default();
        if old.is_none() && name.len() > NAME_MAX {
            errors.push(FieldError::invalid("metadata.name", format!("must be no more than {NAME_MAX} characters")));
        }
        errors
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        let template = |cron: &Self| cron.spec.job_template.spec.as_ref().map(|job| job.template.clone());
        let (new, old) = (template(self), old.and_then(template));
        let warnings = workload::template_warnings(new.as_ref(), old.as_ref());
        warnings.into_iter().map(|text| text.replacen("spec.template", "spec.jobTemplate.spec.template", 1)).collect()
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::text("Schedule", "When jobs are due", |cron: &Self, _| cron.spec.schedule.clone().into()),
            Column::text("Timezone", "Where the times are meant", |cron: &Self, _| {
                cron.spec.time_zone.clone().unwrap_or_else(|| "<none>".into()).into()
            }),
            Column::text("Suspend", "Whether no jobs are made", |cron: &Self, _| {
                (if cron.spec.suspend == Some(true) { "True" } else { "False" }).into()
            }),
            Column::text("Active", "Jobs that run", |cron: &Self, _| {
                status(cron).active.map_or(0, |active| active.len()).into()
            }).integer(),
            Column::text("Last Schedule", "When a job was last made", |cron: &Self, now| {
                status(cron).last_schedule_time.map_or_else(|| "<none>".into(), |time| human_age(now, time.0)).into()
            }),
        ]
    }
});

fn status(cron: &CronJob) -> CronJobStatus {
    cron.status.clone().unwrap_or_default()
}

/// The time zone of a schedule: UTC when none is named; nothing when it is not known.
pub fn time_zone(spec: &CronJobSpec) -> Option<TimeZone> {
    spec.time_zone.as_deref().map_or(Some(TimeZone::UTC), |name| TimeZone::get(name).ok())
}

fn spec_errors(spec: &CronJobSpec) -> Vec<FieldError> {
    let mut errors = workload::number_errors(&[
        ("spec.successfulJobsHistoryLimit", spec.successful_jobs_history_limit, HISTORY_MAX),
        ("spec.failedJobsHistoryLimit", spec.failed_jobs_history_limit, HISTORY_MAX),
    ]);
    if spec.schedule.is_empty() {
        errors.push(FieldError::required("spec.schedule", "say when jobs are due, such as \"*/5 * * * *\""));
    } else if let Err(error) = Schedule::parse(&spec.schedule) {
        errors.push(FieldError::invalid("spec.schedule", error.to_string()));
    }
    if spec.starting_deadline_seconds.is_some_and(|seconds| seconds < 0) {
        errors.push(FieldError::invalid("spec.startingDeadlineSeconds", "must not be negative"));
    }
    if let Some(name) = &spec.time_zone
        && (name.is_empty() || name.eq_ignore_ascii_case("local") || time_zone(spec).is_none())
    {
        errors.push(FieldError::invalid("spec.timeZone", "must be the name of a time zone, such as Europe/Berlin"));
    }
    if !matches!(spec.concurrency_policy.as_deref(), None | Some("Allow" | "Forbid" | "Replace")) {
        errors.push(FieldError::not_supported("spec.concurrencyPolicy", "must be Allow, Forbid or Replace"));
    }
    const TEMPLATE: &str = "spec.jobTemplate.spec";
    match &spec.job_template.spec {
        None => errors.push(FieldError::required(TEMPLATE, "say what the jobs are")),
        Some(job) => {
            errors.extend(job::template_errors(job, TEMPLATE));
            if job.manual_selector == Some(true) {
                let message = "jobs of a cron job select their own pods; leave it out";
                errors.push(FieldError::not_supported(format!("{TEMPLATE}.manualSelector"), message));
            }
        }
    }
    errors
}
