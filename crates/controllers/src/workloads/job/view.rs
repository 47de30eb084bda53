//! A job held against its pods.

use api::kinds::{Job, Pod};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{JobSpec, JobStatus};

use super::{indexes, pods};
use crate::workloads::health;

/// A job and its own pods.
pub(super) struct View<'a> {
    pub(super) job: &'a Job,
    pub(super) spec: JobSpec,
    pub(super) before: JobStatus,
    pub(super) pods: Vec<Pod>,
    pub(super) completions: Option<i32>,
    /// Whether each pod has an index.
    pub(super) by_index: bool,
    /// Whether pods are replaced when they have ended, and not before.
    pub(super) waits: bool,
    pub(super) now: Timestamp,
}

impl View<'_> {
    pub(super) fn is_suspended(&self) -> bool {
        self.spec.suspend == Some(true)
    }

    /// Whether a pod that is counted may go. The newest failure of an index stays until another pod takes its place: it
    /// knows how often the index has failed.
    pub(super) fn may_go(&self, pod: &Pod) -> bool {
        if self.spec.backoff_limit_per_index.is_none()
            || health::is_terminating(pod)
            || !pods::has_failed(pod, self.waits)
        {
            return true;
        }
        let Some(index) = indexes::of_pod(pod) else { return true };
        let completions = self.completions.unwrap_or(0);
        let done = [&self.before.completed_indexes, &self.before.failed_indexes];
        let is_done = done.iter().any(|text| indexes::parse(text.as_deref(), completions).contains(&index));
        let count = |pod: &Pod| {
            let failures = pods::failures_before(pod);
            failures.counted + failures.ignored
        };
        is_done || self.pods.iter().any(|other| indexes::of_pod(other) == Some(index) && count(other) > count(pod))
    }
}
