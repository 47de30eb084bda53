//! How the ends of pods are counted: each once.

use std::collections::BTreeSet;

use api::{kinds::Pod, names::finalizer::JOB_TRACKING};
use k8s_openapi::api::batch::v1::UncountedTerminatedPods;

use super::{
    indexes,
    pods::{self, Failures},
    policy::{Verdict, verdict},
    view::View,
};
use crate::step::Step;

/// What is known of the pods that have ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Pods that are counted, and whose finalizer is gone.
    pub(super) settled: (i32, i32),
    /// Uids of pods that succeeded and that failed, and whose finalizer may still be there.
    pub(super) uncounted: (BTreeSet<String>, BTreeSet<String>),
    /// Indexes that succeeded, and those that failed for good.
    pub(super) completed: BTreeSet<i32>,
    pub(super) failed_indexes: BTreeSet<i32>,
    /// Steps that let counted pods go.
    pub(super) release: Vec<Step>,
    /// Why a rule makes the job fail.
    pub(super) fail_job: Option<String>,
}

impl Tally {
    /// Counts what has ended since the status was written.
    pub(super) fn of(view: &View<'_>) -> Self {
        let status = &view.before;
        let known = status.uncounted_terminated_pods.clone().unwrap_or_default();
        let completions = view.completions.unwrap_or(0);
        let mut tally = Self {
            settled: (status.succeeded.unwrap_or(0), status.failed.unwrap_or(0)),
            completed: indexes::parse(status.completed_indexes.as_deref(), completions),
            failed_indexes: indexes::parse(status.failed_indexes.as_deref(), completions),
            ..Self::default()
        };
        tally.settle(view, &known);
        let stored = tally.completed.clone();
        for pod in view.pods.iter().filter(|pod| JOB_TRACKING.holds(&pod.metadata)) {
            tally.count(view, pod, &known, &stored);
        }
        if view.by_index {
            tally.settled.0 = i32::try_from(tally.completed.len()).unwrap_or(i32::MAX);
        }
        tally
    }

    /// Moves pods that the status names to the counts, once their finalizers are gone.
    fn settle(&mut self, view: &View<'_>, known: &UncountedTerminatedPods) {
        let held: BTreeSet<&str> = view
            .pods
            .iter()
            .filter(|pod| JOB_TRACKING.holds(&pod.metadata))
            .filter_map(|pod| pod.metadata.uid.as_deref())
            .collect();
        for (uids, kept, count) in [
            (&known.succeeded, &mut self.uncounted.0, &mut self.settled.0),
            (&known.failed, &mut self.uncounted.1, &mut self.settled.1),
        ] {
            for uid in uids.iter().flatten() {
                if held.contains(uid.as_str()) {
                    kept.insert(uid.clone());
                } else {
                    *count = count.saturating_add(1);
                }
            }
        }
    }

    /// Counts one pod that the finalizer holds, or lets it go when the status, as it was read, counts it.
    fn count(&mut self, view: &View<'_>, pod: &Pod, known: &UncountedTerminatedPods, stored: &BTreeSet<i32>) {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let index = indexes::of_pod(pod).filter(|index| view.by_index && Some(*index) < view.completions);
        let is_known =
            [&known.succeeded, &known.failed].iter().any(|list| list.iter().flatten().any(|known| *known == uid));
        if is_known {
            if view.may_go(pod) {
                self.release.push(pods::untrack(pod));
            }
        } else if pods::has_succeeded(pod) {
            match (view.by_index, index) {
                // The list of indexes is the count.
                (true, Some(index)) if !self.completed.insert(index) || stored.contains(&index) => {
                    if stored.contains(&index) {
                        self.release.push(pods::untrack(pod));
                    }
                }
                (true, Some(_)) => {}
                (true, None) => self.release.push(pods::untrack(pod)),
                (false, _) => drop(self.uncounted.0.insert(uid)),
            }
        } else if pods::has_failed(pod, view.waits) {
            self.count_failure(view, pod, uid, index);
        }
    }

    fn count_failure(&mut self, view: &View<'_>, pod: &Pod, uid: String, index: Option<i32>) {
        if view.by_index && index.is_none() {
            self.release.push(pods::untrack(pod));
            return;
        }
        let verdict = verdict(view.job, pod);
        let over = |limit: i32| pods::failures_before(pod).counted >= limit;
        let limit = view.spec.backoff_limit_per_index;
        if let Some(index) = index
            && (verdict == Verdict::FailIndex || verdict == Verdict::Count && limit.is_some_and(over))
            && !self.completed.contains(&index)
        {
            self.failed_indexes.insert(index);
        }
        match verdict {
            Verdict::Ignore => {
                if view.may_go(pod) {
                    self.release.push(pods::untrack(pod));
                }
            }
            Verdict::FailJob(why) => {
                self.fail_job.get_or_insert(why);
                self.uncounted.1.insert(uid);
            }
            Verdict::Count | Verdict::FailIndex => drop(self.uncounted.1.insert(uid)),
        }
    }

    pub(super) fn succeeded(&self) -> i32 {
        self.settled.0.saturating_add(i32::try_from(self.uncounted.0.len()).unwrap_or(i32::MAX))
    }

    pub(super) fn failed(&self) -> i32 {
        self.settled.1.saturating_add(i32::try_from(self.uncounted.1.len()).unwrap_or(i32::MAX))
    }

    /// Whether every pod is counted and let go.
    pub(super) fn is_settled(&self, view: &View<'_>) -> bool {
        self.uncounted.0.is_empty()
            && self.uncounted.1.is_empty()
            && !view.pods.iter().any(|pod| JOB_TRACKING.holds(&pod.metadata))
    }

    /// How often an index has failed, by its newest pod.
    pub(super) fn failures(view: &View<'_>, index: i32) -> Failures {
        let failed =
            view.pods.iter().filter(|pod| indexes::of_pod(pod) == Some(index) && pods::has_failed(pod, view.waits));
        let after = |pod: &Pod| {
            let before = pods::failures_before(pod);
            match verdict(view.job, pod) {
                Verdict::Ignore => Failures { ignored: before.ignored + 1, ..before },
                _ => Failures { counted: before.counted + 1, ..before },
            }
        };
        failed.map(after).max_by_key(|failures| failures.counted + failures.ignored).unwrap_or_default()
    }

    /// What the status names.
    pub(super) fn uncounted(&self) -> UncountedTerminatedPods {
        let list = |uids: &BTreeSet<String>| (!uids.is_empty()).then(|| uids.iter().cloned().collect());
        UncountedTerminatedPods { succeeded: list(&self.uncounted.0), failed: list(&self.uncounted.1) }
    }
}
