//! `batch/v1 CronJob`: a job whenever a schedule says so.

mod due;
mod plan;

use std::collections::BTreeMap;

use api::{
    Kind, ObjectKey, Resource,
    kinds::{CronJob, Job},
};
use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex;

use self::plan::{Observed, plan};
use crate::{
    controller::{Controller, Next, Watch, itself, owner},
    error::Error,
    world::{self, World},
};

/// Reconciles cron jobs.
#[derive(Debug, Default)]
pub(crate) struct CronJobs {
    /// For which time an event says that its job was not started. After a restart it is said once more.
    blocked: Mutex<BTreeMap<ObjectKey, Timestamp>>,
}

#[async_trait]
impl Controller for CronJobs {
    fn name(&self) -> &'static str {
        "cronjob-controller"
    }

    fn watches(&self) -> Vec<Watch> {
        vec![
            Watch::new(Kind::of::<CronJob>(), itself),
            Watch::new(Kind::of::<Job>(), |change| owner(change, CronJob::KIND)),
        ]
    }

    async fn reconcile(&self, world: &dyn World, key: &ObjectKey) -> Result<Next, Error> {
        let before = self.blocked.lock().remove(key);
        let Some(cron) = world::get::<CronJob>(world, key).await? else { return Ok(Next::OnChange) };
        let jobs = world::list::<Job>(world, key.namespace.as_deref()).await?;
        let plan = plan(&Observed { cron, jobs, blocked: before, now: world.now() });
        world::apply(world, &plan.steps).await?;
        if let Some(at) = plan.blocked {
            self.blocked.lock().insert(key.clone(), at);
        }
        Ok(plan.next)
    }
}
