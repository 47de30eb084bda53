//! What a stateful set says about itself.

use std::time::Duration;

use api::kinds::{Pod, StatefulSet};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSetStatus;

use super::{pods::revision_of, revision::Versions, strategy::Strategy};
use crate::workloads::health;

/// How long a pod must still be ready before it counts as available; `None` if it is not ready.
pub(super) fn until_available(pod: &Pod, min_ready: Duration, now: Timestamp) -> Option<Duration> {
    if !health::is_ready(pod) {
        return None;
    }
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready")?;
    let since = ready.last_transition_time.as_ref().map(|time| time.0);
    let waited = since.map_or(min_ready, |since| Duration::try_from(now.duration_since(since)).unwrap_or_default());
    Some(min_ready.saturating_sub(waited))
}

/// Status of a set over the pods it owns.
pub(super) fn status(
    set: &StatefulSet,
    pods: &[Pod],
    versions: &Versions,
    strategy: &Strategy,
    now: Timestamp,
) -> StatefulSetStatus {
    let count =
        |test: &dyn Fn(&Pod) -> bool| i32::try_from(pods.iter().filter(|pod| test(pod)).count()).unwrap_or(i32::MAX);
    let before = set.status.clone().unwrap_or_default();
    let total = count(&|_| true);
    let updated = count(&|pod| revision_of(pod) == Some(versions.update.name.as_str()));
    let ready = count(&health::is_ready);
    let all = |number: i32| i64::from(number) == strategy.replicas;
    // A set of none has not rolled out what its partition holds back.
    let settled = all(updated) && all(ready) && all(total) && (strategy.replicas > 0 || strategy.partition == Some(0));
    let current = if settled { &versions.update.name } else { &versions.current.name };
    StatefulSetStatus {
        observed_generation: set.metadata.generation,
        replicas: total,
        ready_replicas: Some(ready),
        available_replicas: Some(count(&|pod| until_available(pod, strategy.min_ready, now) == Some(Duration::ZERO))),
        current_replicas: Some(count(&|pod| revision_of(pod) == Some(current.as_str()))),
        updated_replicas: Some(updated),
        current_revision: Some(current.clone()),
        update_revision: Some(versions.update.name.clone()),
        collision_count: versions.collisions,
        conditions: before.conditions,
    }
}
