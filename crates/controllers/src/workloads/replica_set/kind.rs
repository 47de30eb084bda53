//! What a replica set and a replication controller have in common.

use api::{
    LabelSelector, Resource,
    kinds::{ReplicaSet, ReplicationController, replication_controller},
};
use k8s_openapi::api::{
    apps::v1::{ReplicaSetCondition, ReplicaSetStatus},
    core::v1::{PodTemplateSpec, ReplicationControllerCondition, ReplicationControllerStatus},
};

use crate::workloads::ownership;

/// A kind that keeps a number of equal pods. Its status is that of a replica set.
pub(crate) trait Replicated: Resource {
    /// Name of its controller.
    const CONTROLLER: &'static str;

    /// How many pods there should be.
    fn replicas(&self) -> i32;
    /// Seconds for which a pod must be ready before it counts as available.
    fn min_ready_seconds(&self) -> Option<i32>;
    /// Which pods belong to it; none if that cannot be read.
    fn selector(&self) -> Option<LabelSelector>;
    /// What its pods are made from.
    fn template(&self) -> Option<&PodTemplateSpec>;
    /// The status as it was read.
    fn status(&self) -> ReplicaSetStatus;
    /// The same object with this status.
    fn with_status(&self, status: ReplicaSetStatus) -> Self;
}

impl Replicated for ReplicaSet {
    const CONTROLLER: &'static str = "replicaset-controller";

    fn replicas(&self) -> i32 {
        self.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
    }

    fn min_ready_seconds(&self) -> Option<i32> {
        self.spec.as_ref()?.min_ready_seconds
    }

    fn selector(&self) -> Option<LabelSelector> {
        ownership::selector(&self.spec.as_ref()?.selector)
    }

    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.as_ref()?.template.as_ref()
    }

    fn status(&self) -> ReplicaSetStatus {
        self.status.clone().unwrap_or_default()
    }

    fn with_status(&self, status: ReplicaSetStatus) -> Self {
        Self { status: Some(status), ..self.clone() }
    }
}

impl Replicated for ReplicationController {
    const CONTROLLER: &'static str = "replication-controller";

    fn replicas(&self) -> i32 {
        self.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
    }

    fn min_ready_seconds(&self) -> Option<i32> {
        self.spec.as_ref()?.min_ready_seconds
    }

    fn selector(&self) -> Option<LabelSelector> {
        ownership::selector(&replication_controller::selector(self.spec.as_ref()?))
    }

    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.as_ref()?.template.as_ref()
    }

    fn status(&self) -> ReplicaSetStatus {
        let status = self.status.clone().unwrap_or_default();
        let condition = |found: ReplicationControllerCondition| ReplicaSetCondition {
            last_transition_time: found.last_transition_time,
            message: found.message,
            reason: found.reason,
            status: found.status,
            type_: found.type_,
        };
        ReplicaSetStatus {
            available_replicas: status.available_replicas,
            conditions: status.conditions.map(|all| all.into_iter().map(condition).collect()),
            fully_labeled_replicas: status.fully_labeled_replicas,
            observed_generation: status.observed_generation,
            ready_replicas: status.ready_replicas,
            replicas: status.replicas,
            terminating_replicas: None,
        }
    }

    fn with_status(&self, status: ReplicaSetStatus) -> Self {
        let condition = |found: ReplicaSetCondition| ReplicationControllerCondition {
            last_transition_time: found.last_transition_time,
            message: found.message,
            reason: found.reason,
            status: found.status,
            type_: found.type_,
        };
        let status = ReplicationControllerStatus {
            available_replicas: status.available_replicas,
            conditions: status.conditions.map(|all| all.into_iter().map(condition).collect()),
            fully_labeled_replicas: status.fully_labeled_replicas,
            observed_generation: status.observed_generation,
            ready_replicas: status.ready_replicas,
            replicas: status.replicas,
        };
        Self { status: Some(status), ..self.clone() }
    }
}
