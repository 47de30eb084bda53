//! `batch/v1 Job`.

mod validate;

pub use k8s_openapi::api::batch::v1::Job;

use k8s_openapi::api::{
    batch::v1::{JobSpec, JobStatus},
    core::v1::PodTemplateSpec,
};

use super::workload;
use crate::{Column, FieldError, human_age, names::label};

pub use self::validate::{INDEXED_MAX, indexes};

/// How often a job is tried again when it does not say.
const BACKOFF_LIMIT: i32 = 6;

kubernetes_kind!(Job, plural: "jobs", singular: "job", scope: Namespaced {
    const FIELDS: &'static crate::fields::Shape = &crate::fields::batch::JOB;
    const CATEGORIES: &'static [&'static str] = &["all"];
    const HAS_STATUS: bool = true;

    fn apply_defaults(&mut self) {
        if let Some(spec) = &mut self.spec {
            fill(spec);
            let labels = workload::labels(Some(&spec.template)).filter(|labels| !labels.is_empty());
            if self.metadata.labels.as_ref().is_none_or(|own| own.is_empty())
                && let Some(labels) = labels
            {
                self.metadata.labels = Some(labels.clone());
            }
        }
    }

    fn validate(&self, old: Option<&Self>) -> Vec<FieldError> {
        let Some(spec) = &self.spec else { return vec![FieldError::required("spec", "a job needs a spec")] };
        let mut errors = validate::spec_errors(spec, "spec");
        match old {
            None => errors.extend(validate::selector_errors(spec)),
            Some(old) => {
                errors.extend(old.spec.as_ref().map(|before| validate::change_errors(old, before, spec)).unwrap_or_default());
            }
        }
        errors.extend(self.status.iter().flat_map(validate::status_errors));
        errors
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        workload::template_warnings(template(self), old.and_then(template))
    }

    fn columns() -> Vec<Column<Self>> {
        let mut columns = vec![
            Column::text("Status", "What becomes of the job", |job: &Self, _| state(job).into()),
            Column::text("Completions", "Pods that succeeded of those that must", |job: &Self, _| completions(job).into()),
            Column::text("Duration", "How long it ran", |job: &Self, now| {
                let status = status(job);
                let (start, end) = (status.start_time, status.completion_time);
                start.map_or_else(String::new, |start| human_age(end.map_or(now, |end| end.0), start.0)).into()
            }),
        ];
        columns.extend(workload::wide_columns::<Self>(
            |job, _| workload::containers(template(job)),
            |job, _| workload::images(template(job)),
            |job, _| workload::selector_text(job.spec.as_ref().and_then(|spec| spec.selector.as_ref())),
        ));
        columns
    }

    fn selectable_fields(&self) -> Vec<(&'static str, String)> {
        vec![("status.successful", status(self).succeeded.unwrap_or_default().to_string())]
    }
});

fn template(job: &Job) -> Option<&PodTemplateSpec> {
    job.spec.as_ref().map(|spec| &spec.template)
}

fn status(job: &Job) -> JobStatus {
    job.status.clone().unwrap_or_default()
}

/// Whether a condition of this type holds.
pub fn is(job: &Job, condition: &str) -> bool {
    let mut conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.any(|found| found.type_ == condition && found.status == "True")
}

/// Whether the job has come to its end: it is complete or has failed.
pub fn is_finished(job: &Job) -> bool {
    is(job, "Complete") || is(job, "Failed")
}

/// The one word that kubectl shows for a job.
fn state(job: &Job) -> &'static str {
    if is(job, "Complete") {
        "Complete"
    } else if is(job, "Failed") {
        "Failed"
    } else if job.metadata.deletion_timestamp.is_some() {
        "Terminating"
    } else if is(job, "Suspended") {
        "Suspended"
    } else if is(job, "FailureTarget") {
        "FailureTarget"
    } else if is(job, "SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    }
}

fn completions(job: &Job) -> String {
    let succeeded = status(job).succeeded.unwrap_or_default();
    let spec = job.spec.clone().unwrap_or_default();
    match (spec.completions, spec.parallelism.unwrap_or(1)) {
        (Some(completions), _) => format!("{succeeded}/{completions}"),
        (None, parallelism) if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        (None, _) => format!("{succeeded}/1"),
    }
}

/// Fills what is left out.
fn fill(spec: &mut JobSpec) {
    if spec.completions.is_none() && spec.parallelism.is_none() {
        spec.completions = Some(1);
    }
    spec.parallelism.get_or_insert(1);
    let by_index = spec.backoff_limit_per_index.is_some();
    spec.backoff_limit.get_or_insert(if by_index { i32::MAX } else { BACKOFF_LIMIT });
    spec.completion_mode.get_or_insert_with(|| "NonIndexed".into());
    spec.suspend.get_or_insert(false);
    spec.manual_selector.get_or_insert(false);
    let replacement = if spec.pod_failure_policy.is_some() { "Failed" } else { "TerminatingOrFailed" };
    spec.pod_replacement_policy.get_or_insert_with(|| replacement.into());
    let rules = spec.pod_failure_policy.iter_mut().flat_map(|policy| &mut policy.rules);
    for pattern in rules.flat_map(|rule| rule.on_pod_conditions.iter_mut().flatten()) {
        pattern.status.get_or_insert_with(|| "True".into());
    }
    workload::fill_template(&mut spec.template);
}

/// What is wrong with the template of a job, at this path.
pub(super) fn template_errors(spec: &JobSpec, path: &str) -> Vec<FieldError> {
    let mut spec = spec.clone();
    fill(&mut spec);
    validate::spec_errors(&spec, path)
}

/// Gives a new job its selector, and its pods the labels to match, unless it selects them by itself.
pub fn select_own_pods(job: &mut Job) {
    let uid = job.metadata.uid.clone().unwrap_or_default();
    let name = job.metadata.name.clone().unwrap_or_default();
    let Some(spec) = job.spec.as_mut().filter(|spec| spec.manual_selector != Some(true)) else { return };
    let labels = spec.template.metadata.get_or_insert_default().labels.get_or_insert_default();
    for (key, value) in [
        (label::JOB_NAME, &name),
        (label::JOB_NAME_LEGACY, &name),
        (label::CONTROLLER_UID, &uid),
        (label::CONTROLLER_UID_LEGACY, &uid),
    ] {
        labels.insert(key.into(), value.clone());
    }
    let selector = spec.selector.get_or_insert_default();
    selector.match_labels.get_or_insert_default().insert(label::CONTROLLER_UID.into(), uid);
}
