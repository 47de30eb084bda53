//! What a stateful set says about itself.

use api::kinds::{Pod, StatefulSet};
use k8s_openapi::api::apps::v1::StatefulSetStatus;

use super::pods::REVISION;
use crate::health;

/// Status of a set over the pods it owns, by ordinal.
pub(crate) fn status(set: &StatefulSet, pods: &[(i32, &Pod)], revision: &str) -> StatefulSetStatus {
    let count = |test: &dyn Fn(&Pod) -> bool| count(pods.iter().filter(|(_, pod)| test(pod)).count());
    let before = set.status.clone().unwrap_or_default();
    let replicas = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let updated = count(&|pod| revision_of(pod) == Some(revision));
    let ready = count(&|pod| health::is_ready(pod));
    let settled = updated == replicas && ready == replicas && count(&|_| true) == replicas;
    let current_revision = match before.current_revision {
        Some(current) if !settled => current,
        _ => revision.to_owned(),
    };
    StatefulSetStatus {
        observed_generation: set.metadata.generation,
        replicas: count(&|_| true),
        ready_replicas: Some(ready),
        available_replicas: Some(ready),
        current_replicas: Some(count(&|pod| revision_of(pod) == Some(current_revision.as_str()))),
        updated_replicas: Some(updated),
        current_revision: Some(current_revision),
        update_revision: Some(revision.to_owned()),
        collision_count: before.collision_count,
        conditions: before.conditions,
    }
}

pub(crate) fn revision_of(pod: &Pod) -> Option<&str> {
    pod.metadata.labels.as_ref()?.get(REVISION).map(String::as_str)
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
