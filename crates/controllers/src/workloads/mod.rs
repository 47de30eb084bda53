//! What runs: the kinds that make pods, and the scheduler.

mod cron_job;
mod daemon_set;
mod deployment;
pub(crate) mod health;
mod history;
mod job;
mod order;
mod ownership;
mod replica_set;
pub mod scheduler;
mod selectors;
pub(crate) mod stateful_set;
mod template;

use std::sync::Arc;

use api::kinds::{ReplicaSet, ReplicationController};

use self::{
    cron_job::CronJobs, daemon_set::DaemonSets, deployment::Deployments, job::Jobs, replica_set::Replicas,
    scheduler::Scheduler, stateful_set::StatefulSets,
};
use crate::controller::Controller;

/// The controllers of all kinds that make pods, and the scheduler.
pub(crate) fn all() -> Vec<Arc<dyn Controller>> {
    vec![
        Arc::new(StatefulSets),
        Arc::new(DaemonSets::default()),
        Arc::new(Deployments::default()),
        Arc::new(Jobs::default()),
        Arc::new(CronJobs::default()),
        Arc::new(Replicas::<ReplicaSet>::default()),
        Arc::new(Replicas::<ReplicationController>::default()),
        Arc::new(Scheduler),
    ]
}
