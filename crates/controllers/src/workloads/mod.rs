//! What runs: the kinds that make pods, and the scheduler.

mod deployment;
pub(crate) mod health;
mod ownership;
mod replica_set;
pub mod scheduler;
mod selectors;
pub(crate) mod stateful_set;
mod template;

use std::sync::Arc;

use api::kinds::{ReplicaSet, ReplicationController};

use self::{deployment::Deployments, replica_set::Replicas, scheduler::Scheduler, stateful_set::StatefulSets};
use crate::controller::Controller;

/// The controllers of all kinds that make pods, and the scheduler.
pub(crate) fn all() -> Vec<Arc<dyn Controller>> {
    vec![
        Arc::new(StatefulSets),
        Arc::new(Deployments::default()),
        Arc::new(Replicas::<ReplicaSet>::default()),
        Arc::new(Replicas::<ReplicationController>::default()),
        Arc::new(Scheduler),
    ]
}
