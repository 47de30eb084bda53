//! What a stateful set says about itself.

use api::kinds::{Pod, StatefulSet};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSetStatus;

use super::{pods::revision_of, revision::Versions, strategy::Strategy};
use crate::workloads::health;

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
        available_replicas: Some(count(&|pod| health::is_available(pod, strategy.min_ready, now))),
        current_replicas: Some(count(&|pod| revision_of(pod) == Some(current.as_str()))),
        updated_replicas: Some(updated),
        current_revision: Some(current.clone()),
        update_revision: Some(versions.update.name.clone()),
        collision_count: versions.collisions,
        conditions: before.conditions,
    }
}
