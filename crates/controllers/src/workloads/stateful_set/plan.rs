//! Which pods and claims to make, and which to delete, now.

use std::collections::{BTreeMap, BTreeSet};

use api::kinds::{ControllerRevision, PersistentVolumeClaim, Pod, StatefulSet};
use jiff::Timestamp;

use super::{
    claims, ownership,
    pods::{desired_pod, ordinal, pod_name, revision_of},
    revision::{self, Version, Versions},
    status::status,
    strategy::Strategy,
};
use crate::{
    controller::Next,
    step::Step,
    workloads::health::{self, until_available},
};

/// Most steps of one pass; the change that they make brings the next.
pub(super) const STEPS_MAX: usize = 100;

/// A set and what is in its namespace.
pub(crate) struct Observed {
    pub(crate) set: StatefulSet,
    pub(crate) pods: Vec<Pod>,
    pub(crate) claims: Vec<PersistentVolumeClaim>,
    pub(crate) revisions: Vec<ControllerRevision>,
    pub(crate) now: Timestamp,
}

/// A set's pods by ordinal, and what they are held against.
struct Pass<'a> {
    observed: &'a Observed,
    strategy: Strategy,
    versions: &'a Versions,
    pods: BTreeMap<i64, &'a Pod>,
    claims: BTreeMap<&'a str, &'a PersistentVolumeClaim>,
}

/// The next steps, and when to look again. In order means one at a time: it answers only what may happen now.
pub(crate) fn plan(observed: &Observed) -> (Vec<Step>, Next) {
    let set = &observed.set;
    if set.metadata.deletion_timestamp.is_some() {
        return (Vec::new(), Next::OnChange);
    }
    let owned = ownership::sort(set, &observed.pods, &observed.revisions);
    if !owned.steps.is_empty() {
        return (owned.steps.into_iter().take(STEPS_MAX).collect(), Next::OnChange);
    }
    let taken: BTreeSet<_> = observed.revisions.iter().filter_map(|kept| kept.metadata.name.as_deref()).collect();
    let versions = revision::choose(set, &owned.pods, &owned.revisions, &taken);
    let pass = Pass {
        observed,
        strategy: Strategy::of(set),
        versions: &versions,
        pods: owned.pods.iter().filter_map(|pod| Some((ordinal(set, pod)?, pod))).collect(),
        claims: observed.claims.iter().filter_map(|claim| Some((claim.metadata.name.as_deref()?, claim))).collect(),
    };
    let mut steps: Vec<Step> = versions.step.iter().cloned().collect();
    steps.extend(pass.keep_claims());
    let (made, busy) = pass.fill();
    steps.extend(made);
    if !busy {
        let (removed, busy) = pass.shrink();
        steps.extend(removed);
        if !busy {
            steps.extend(pass.roll());
        }
    }
    steps.extend(revision::prune(set, &owned.pods, &owned.revisions, &versions));
    let status = status(set, &owned.pods, &versions, &pass.strategy, observed.now);
    if set.status.as_ref() != Some(&status) {
        steps.push(Step::replace_status(&StatefulSet { status: Some(status), ..set.clone() }));
    }
    (steps, pass.next())
}

impl Pass<'_> {
    /// The version a pod with this ordinal is made from.
    fn version(&self, ordinal: i64) -> &Version {
        let kept = self.strategy.first_new().is_some_and(|first| ordinal < first);
        if kept { &self.versions.current } else { &self.versions.update }
    }

    fn is_stale(&self, ordinal: i64, pod: &Pod) -> bool {
        self.strategy.first_new().is_some_and(|first| ordinal >= first)
            && revision_of(pod) != Some(self.versions.update.name.as_str())
    }

    fn is_available(&self, pod: &Pod) -> bool {
        health::is_available(pod, self.strategy.min_ready, self.observed.now)
    }

    /// Makes the claims of all pods belong to whom they go with.
    fn keep_claims(&self) -> Vec<Step> {
        let ordinals = self.strategy.ordinals();
        let each = |(ordinal, pod): (&i64, &&Pod)| {
            let excess = (!ordinals.contains(ordinal)).then_some(*pod);
            claims::own(&self.observed.set, &self.claims, *ordinal, excess)
        };
        self.pods.iter().flat_map(each).collect()
    }

    /// Makes missing pods and replaces ended ones. Answers whether the rest must wait.
    fn fill(&self) -> (Vec<Step>, bool) {
        let set = &self.observed.set;
        let mut steps = Vec::new();
        let names: BTreeSet<_> = self.observed.pods.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect();
        for ordinal in self.strategy.ordinals() {
            match self.pods.get(&ordinal) {
                // A pod of that name that is not ours goes first.
                None if names.contains(pod_name(set, ordinal).as_str()) => {}
                None => steps.extend(self.create(ordinal)),
                Some(pod) if health::is_terminating(pod) => {}
                Some(pod) if self.is_available(pod) => continue,
                // One that ended, or that never becomes ready and would be replaced anyway.
                Some(pod) if health::has_ended(pod) || !health::is_ready(pod) && self.is_stale(ordinal, pod) => {
                    steps.push(Step::delete(*pod));
                }
                // Its claim may have been on its way out when the pod was made.
                Some(pod) if health::node(pod).is_none() => steps.extend(claims::missing(set, &self.claims, ordinal)),
                Some(_) => {}
            }
            if !self.strategy.parallel || steps.len() >= STEPS_MAX {
                return (steps, true);
            }
        }
        let busy = !steps.is_empty();
        (steps, busy)
    }

    fn create(&self, ordinal: i64) -> Vec<Step> {
        let set = &self.observed.set;
        let mut steps = claims::missing(set, &self.claims, ordinal);
        let version = self.version(ordinal);
        steps.push(Step::create(&desired_pod(set, ordinal, &version.template, &version.name)));
        steps.push(Step::normal(set, "SuccessfulCreate", format!("create pod {}", pod_name(set, ordinal))));
        steps
    }

    /// Deletes pods beyond the wanted number, from the top. Answers whether there were any.
    fn shrink(&self) -> (Vec<Step>, bool) {
        let set = &self.observed.set;
        let ordinals = self.strategy.ordinals();
        let mut steps = Vec::new();
        let excess: Vec<_> = self.pods.iter().rev().filter(|(ordinal, _)| !ordinals.contains(ordinal)).collect();
        for (ordinal, pod) in &excess {
            if !health::is_terminating(pod) {
                steps.push(Step::delete(**pod));
                steps.push(Step::normal(set, "SuccessfulDelete", format!("delete pod {}", pod_name(set, **ordinal))));
            }
            if !self.strategy.parallel || steps.len() >= STEPS_MAX {
                break;
            }
        }
        (steps, !excess.is_empty())
    }

    /// Replaces one pod of an old revision, the highest first, once all those above it are available.
    fn roll(&self) -> Vec<Step> {
        let set = &self.observed.set;
        let Some(first) = self.strategy.first_new() else { return Vec::new() };
        for (ordinal, pod) in self.pods.range(first..).rev() {
            if self.is_stale(*ordinal, pod) && !health::is_terminating(pod) {
                let news = format!("replace pod {}", pod_name(set, *ordinal));
                return vec![Step::delete(*pod), Step::normal(set, "SuccessfulDelete", news)];
            }
            if !self.is_available(pod) {
                return Vec::new();
            }
        }
        Vec::new()
    }

    /// When the next ready pod becomes available.
    fn next(&self) -> Next {
        let waits =
            self.pods.values().filter_map(|pod| until_available(pod, self.strategy.min_ready, self.observed.now));
        waits.filter(|wait| !wait.is_zero()).map(Next::After).fold(Next::OnChange, Next::sooner)
    }
}

#[cfg(test)]
mod tests;
