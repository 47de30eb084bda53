//! Which pods and claims to make, and which to delete, now.

use std::collections::{BTreeMap, BTreeSet};

use api::{
    ObjectMeta,
    kinds::{PersistentVolumeClaim, Pod, StatefulSet},
};

use super::{
    pods::{desired_claims, desired_pod, ordinal, pod_name, revision},
    status::{revision_of, status},
};
use crate::{health, step::Step};

/// A set and what is in its namespace.
pub(crate) struct Observed {
    pub(crate) set: StatefulSet,
    pub(crate) pods: Vec<Pod>,
    pub(crate) claims: Vec<PersistentVolumeClaim>,
}

/// What the update strategy says of pods of an old revision.
struct Strategy {
    replicas: i32,
    parallel: bool,
    /// Ordinals below keep their revision; `None`: nothing is replaced (`OnDelete`).
    partition: Option<i32>,
}

/// The next steps. In order means one at a time: it answers only what may happen now.
pub(crate) fn plan(observed: &Observed) -> Vec<Step> {
    let set = &observed.set;
    if set.metadata.deletion_timestamp.is_some() {
        return Vec::new();
    }
    let strategy = strategy(set);
    let revision = revision(set);
    let pods: BTreeMap<i32, &Pod> = observed
        .pods
        .iter()
        .filter(|pod| is_owned(set, &pod.metadata))
        .filter_map(|pod| Some((ordinal(set, pod)?, pod)))
        .collect();
    let mut steps = Vec::new();
    let busy = fill(observed, &strategy, &pods, &revision, &mut steps);
    if !busy && !shrink(set, &strategy, &pods, &mut steps) {
        roll(set, &strategy, &pods, &revision, &mut steps);
    }
    let all: Vec<(i32, &Pod)> = pods.into_iter().collect();
    let status = status(set, &all, &revision);
    if set.status.as_ref() != Some(&status) {
        steps.push(Step::replace_status(&StatefulSet { status: Some(status), ..set.clone() }));
    }
    steps
}

fn strategy(set: &StatefulSet) -> Strategy {
    let spec = set.spec.clone().unwrap_or_default();
    let update = spec.update_strategy.unwrap_or_default();
    let partition = update.rolling_update.and_then(|rolling| rolling.partition).unwrap_or(0);
    Strategy {
        replicas: spec.replicas.unwrap_or(1).max(0),
        parallel: spec.pod_management_policy.as_deref() == Some("Parallel"),
        partition: (update.type_.as_deref() != Some("OnDelete")).then_some(partition),
    }
}

/// Makes missing pods and replaces ended ones. Answers whether the rest must wait.
fn fill(
    observed: &Observed,
    strategy: &Strategy,
    pods: &BTreeMap<i32, &Pod>,
    revision: &str,
    steps: &mut Vec<Step>,
) -> bool {
    let set = &observed.set;
    let stale = |ordinal: i32, pod: &Pod| {
        strategy.partition.is_some_and(|partition| ordinal >= partition) && revision_of(pod) != Some(revision)
    };
    for ordinal in 0..strategy.replicas {
        match pods.get(&ordinal) {
            // A pod of that name that is not ours goes first.
            None if observed.pods.iter().any(|pod| pod.metadata.name.as_deref() == Some(&pod_name(set, ordinal))) => {}
            None => steps.extend(create(observed, ordinal, revision)),
            Some(pod) if health::is_terminating(pod) => {}
            Some(pod) if health::is_ready(pod) => continue,
            // One that ended, or that never becomes ready and would be replaced anyway.
            Some(pod) if health::has_ended(pod) || stale(ordinal, pod) => steps.push(Step::delete(*pod)),
            Some(_) => {}
        }
        if !strategy.parallel {
            return true;
        }
    }
    !steps.is_empty()
}

fn create(observed: &Observed, ordinal: i32, revision: &str) -> Vec<Step> {
    let set = &observed.set;
    let names: BTreeSet<_> = observed.claims.iter().filter_map(|claim| claim.metadata.name.as_deref()).collect();
    let claims = desired_claims(set, ordinal);
    let missing = claims.iter().filter(|claim| !names.contains(claim.metadata.name.as_deref().unwrap_or_default()));
    let mut steps: Vec<Step> = missing.map(Step::create).collect();
    let pod = desired_pod(set, ordinal, revision);
    let message = format!("create pod {}", pod_name(set, ordinal));
    steps.push(Step::create(&pod));
    steps.push(Step::normal(set, "SuccessfulCreate", message));
    steps
}

/// Deletes pods beyond the wanted number, from the top. Answers whether there were any.
fn shrink(set: &StatefulSet, strategy: &Strategy, pods: &BTreeMap<i32, &Pod>, steps: &mut Vec<Step>) -> bool {
    let excess: Vec<_> = pods.range(strategy.replicas..).rev().collect();
    for (ordinal, pod) in &excess {
        if !health::is_terminating(pod) {
            steps.push(Step::delete(**pod));
            steps.push(Step::normal(set, "SuccessfulDelete", format!("delete pod {}", pod_name(set, **ordinal))));
        }
        if !strategy.parallel {
            break;
        }
    }
    !excess.is_empty()
}

/// Replaces one pod of an old revision, the highest first, once all those above it are healthy.
fn roll(set: &StatefulSet, strategy: &Strategy, pods: &BTreeMap<i32, &Pod>, revision: &str, steps: &mut Vec<Step>) {
    let Some(partition) = strategy.partition else { return };
    for (ordinal, pod) in pods.range(partition.max(0)..).rev() {
        if revision_of(pod) != Some(revision) && !health::is_terminating(pod) {
            steps.push(Step::delete(*pod));
            steps.push(Step::normal(set, "SuccessfulDelete", format!("replace pod {}", pod_name(set, *ordinal))));
            return;
        }
        if !health::is_ready(pod) {
            return;
        }
    }
}

/// Whether the set controls the object: by uid, so that a namesake's pods are never touched.
fn is_owned(set: &StatefulSet, meta: &ObjectMeta) -> bool {
    let owners = meta.owner_references.iter().flatten();
    owners.filter(|owner| owner.controller == Some(true)).any(|owner| Some(&owner.uid) == set.metadata.uid.as_ref())
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
