//! `batch/v1 CronJob`: a job whenever a schedule says so.

mod due;
mod plan;

use api::{
    Kind, ObjectKey, Resource,
    kinds::{CronJob, Job},
};
use async_trait::async_trait;

use self::plan::{Observed, plan};
use crate::{
    controller::{Controller, Next, Watch, itself, owner},
    error::Error,
    world::{self, World},
};

/// Reconciles cron jobs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CronJobs;

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
        let Some(cron) = world::get::<CronJob>(world, key).await? else { return Ok(Next::OnChange) };
        let jobs = world::list::<Job>(world, key.namespace.as_deref()).await?;
        let (steps, next) = plan(&Observed { cron, jobs, now: world.now() });
        world::apply(world, &steps).await?;
        Ok(next)
    }
}
