//! What a set says about itself.

use api::{Time, kinds::Pod};
use k8s_openapi::api::apps::v1::{ReplicaSetCondition, ReplicaSetStatus};

use super::{
    kind::Replicated,
    view::{Observed, is_active},
};
use crate::workloads::health;

/// Condition of a set whose pods cannot be created or deleted.
const REPLICA_FAILURE: &str = "ReplicaFailure";

/// Why a pod could not be created or deleted.
pub(super) struct Failure {
    pub(super) reason: &'static str,
    pub(super) doing: &'static str,
    pub(super) message: String,
}

/// The status of the set over its pods, if it is another than the one that was read.
pub(super) fn status<S: Replicated>(
    observed: &Observed<S>,
    pods: &[Pod],
    failure: Option<&Failure>,
) -> Option<ReplicaSetStatus> {
    let set = &observed.set;
    let before = set.status();
    let count =
        |test: &dyn Fn(&Pod) -> bool| i32::try_from(pods.iter().filter(|pod| test(pod)).count()).unwrap_or(i32::MAX);
    let labels = set.template().and_then(|template| template.metadata.as_ref()?.labels.as_ref());
    let is_labelled = |pod: &Pod| {
        let found = |key: &String| pod.metadata.labels.as_ref().and_then(|all| all.get(key));
        labels.into_iter().flatten().all(|(key, value)| found(key) == Some(value))
    };
    let min_ready = health::seconds(set.min_ready_seconds());
    let is_available = |pod: &Pod| health::is_available(pod, min_ready, observed.now);
    let ending = count(&|pod| health::is_terminating(pod) && !health::has_ended(pod));
    let status = ReplicaSetStatus {
        replicas: count(&is_active),
        fully_labeled_replicas: Some(count(&|pod| is_active(pod) && is_labelled(pod))),
        ready_replicas: Some(count(&health::is_ready)),
        available_replicas: Some(count(&is_available)),
        terminating_replicas: Some(ending),
        observed_generation: set.meta().generation,
        conditions: conditions(&before, failure, Time(observed.now)),
    };
    // A kind without a field for them does not count them.
    let stored = set.with_status(status.clone()).status();
    (stored != before).then_some(status)
}

fn conditions(before: &ReplicaSetStatus, failure: Option<&Failure>, now: Time) -> Option<Vec<ReplicaSetCondition>> {
    let (mut kept, known): (Vec<_>, Vec<_>) =
        before.conditions.iter().flatten().cloned().partition(|condition| condition.type_ != REPLICA_FAILURE);
    if let Some(failure) = failure {
        let same = known.into_iter().find(|known| known.reason.as_deref() == Some(failure.reason));
        kept.push(same.unwrap_or_else(|| ReplicaSetCondition {
            last_transition_time: Some(now),
            message: Some(failure.message.clone()),
            reason: Some(failure.reason.into()),
            status: "True".into(),
            type_: REPLICA_FAILURE.into(),
        }));
    }
    (!kept.is_empty()).then_some(kept)
}
