//! The pods of a job: how they are made, what state they are in, and how they are let go.

use api::{
    Resource,
    kinds::{Job, Pod},
    names::{
        annotation::{INDEX_FAILURES, INDEX_IGNORED_FAILURES},
        finalizer::JOB_TRACKING,
        label::COMPLETION_INDEX,
    },
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, ObjectFieldSelector};

use crate::{
    step::Step,
    workloads::{
        health,
        template::{self, PodNames},
    },
};

/// Variable with the index of a pod.
const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";
/// Longest name of a host.
const HOSTNAME_MAX: usize = 63;

/// Failures of an index before a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Failures {
    pub(super) counted: i32,
    pub(super) ignored: i32,
}

/// Whether a pod runs, or is about to.
pub(super) fn is_active(pod: &Pod) -> bool {
    !health::has_ended(pod) && !health::is_terminating(pod)
}

/// Whether a pod is being ended. One that its node has let go is not.
pub(super) fn is_ending(pod: &Pod) -> bool {
    health::is_terminating(pod) && !health::has_ended(pod) && !is_let_go(pod)
}

/// Whether nothing but finalizers keeps a pod that is being deleted.
fn is_let_go(pod: &Pod) -> bool {
    health::is_terminating(pod) && pod.metadata.deletion_grace_period_seconds == Some(0)
}

/// Whether a pod counts as failed. One that is being deleted does, unless the job waits until it has ended.
pub(super) fn has_failed(pod: &Pod, waits: bool) -> bool {
    match health::phase(pod) {
        "Failed" => true,
        "Succeeded" => false,
        _ => is_let_go(pod) || health::is_terminating(pod) && !waits,
    }
}

pub(super) fn has_succeeded(pod: &Pod) -> bool {
    health::phase(pod) == "Succeeded"
}

/// How often pods of the index of this one had failed before.
pub(super) fn failures_before(pod: &Pod) -> Failures {
    let number = |key: &str| pod.metadata.annotations.as_ref().and_then(|all| all.get(key)?.parse().ok()).unwrap_or(0);
    Failures { counted: number(INDEX_FAILURES), ignored: number(INDEX_IGNORED_FAILURES) }
}

/// When a pod ended: its last container, or its deletion.
pub(super) fn ended_at(pod: &Pod) -> Option<Timestamp> {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let ends = statuses.filter_map(|status| status.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref());
    let deleted = pod.metadata.deletion_timestamp.as_ref().map(|time| time.0);
    ends.map(|time| time.0).max().or(deleted).or_else(|| health::ready_since(pod))
}

/// The step that lets a pod go.
pub(super) fn untrack(pod: &Pod) -> Step {
    let mut free = pod.clone();
    JOB_TRACKING.remove(&mut free.metadata);
    Step::replace(&free)
}

/// The step that holds a pod until it is counted.
pub(super) fn track(pod: &Pod) -> Step {
    let mut held = pod.clone();
    JOB_TRACKING.add(&mut held.metadata);
    Step::replace(&held)
}

/// The steps that delete an active pod, which does not count.
pub(super) fn delete_uncounted(job: &Job, pod: &Pod) -> Vec<Step> {
    let mut steps: Vec<Step> = JOB_TRACKING.holds(&pod.metadata).then(|| untrack(pod)).into_iter().collect();
    steps.extend(delete(job, pod));
    steps
}

/// The steps that delete a pod, which counts as failed.
pub(super) fn delete(job: &Job, pod: &Pod) -> [Step; 2] {
    let news = format!("Deleted pod: {}", pod.metadata.name.as_deref().unwrap_or_default());
    [Step::delete(pod), Step::normal(job, "SuccessfulDelete", news)]
}

/// The steps that create a pod; of an index, if the job has such.
pub(super) fn create(job: &Job, names: &mut PodNames<'_>, index: Option<(i32, Failures)>) -> [Step; 2] {
    let spec = job.spec.clone().unwrap_or_default();
    let name = job.meta().name.as_deref().unwrap_or_default();
    let base = index.map_or_else(|| format!("{name}-"), |(index, _)| format!("{name}-{index}-"));
    let mut pod = template::pod(job, &spec.template, &base, names.next(&base));
    JOB_TRACKING.add(&mut pod.metadata);
    if let Some((index, failures)) = index {
        let annotations = pod.metadata.annotations.get_or_insert_default();
        annotations.insert(COMPLETION_INDEX.into(), index.to_string());
        if spec.backoff_limit_per_index.is_some() {
            annotations.insert(INDEX_FAILURES.into(), failures.counted.to_string());
            if failures.ignored > 0 {
                annotations.insert(INDEX_IGNORED_FAILURES.into(), failures.ignored.to_string());
            }
        }
        pod.metadata.labels.get_or_insert_default().insert(COMPLETION_INDEX.into(), index.to_string());
        if let Some(spec) = &mut pod.spec {
            let host = format!("{name}-{index}");
            if host.len() <= HOSTNAME_MAX && !host.contains('.') {
                spec.hostname = Some(host);
            }
            let containers = spec.init_containers.iter_mut().flatten().chain(&mut spec.containers);
            containers.for_each(tell_index);
        }
    }
    let news = format!("Created pod: {}", pod.metadata.name.as_deref().unwrap_or_default());
    [Step::create(&pod), Step::normal(job, "SuccessfulCreate", news)]
}

/// Gives a container its index in a variable, unless it has one of that name.
fn tell_index(container: &mut Container) {
    let env = container.env.get_or_insert_default();
    if env.iter().any(|variable| variable.name == INDEX_VARIABLE) {
        return;
    }
    let field_ref =
        ObjectFieldSelector { api_version: None, field_path: format!("metadata.labels['{COMPLETION_INDEX}']") };
    let value_from = EnvVarSource { field_ref: Some(field_ref), ..EnvVarSource::default() };
    env.push(EnvVar { name: INDEX_VARIABLE.into(), value: None, value_from: Some(value_from) });
}
