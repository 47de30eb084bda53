//! `apps/v1 Deployment`: replica sets of one template after the other.
//!
//! Its pods are never read: what the replica sets report of them is enough.

mod conditions;
mod plan;
mod rolling;
mod rollout;
mod scale;
mod status;

use api::{
    ObjectKey,
    kinds::{Deployment, ReplicaSet},
};
use async_trait::async_trait;

use self::plan::{Observed, plan};
use super::selectors::Selectors;
use crate::{
    controller::{Controller, Next, Watch},
    error::Error,
    world::{self, World},
};

/// Reconciles deployments.
#[derive(Debug, Default)]
pub(crate) struct Deployments(Selectors);

#[async_trait]
impl Controller for Deployments {
    fn name(&self) -> &'static str {
        "deployment-controller"
    }

    fn watches(&self) -> Vec<Watch> {
        self.0.watches::<Deployment, ReplicaSet>()
    }

    async fn reconcile(&self, world: &dyn World, key: &ObjectKey) -> Result<Next, Error> {
        let Some(deployment) = world::get::<Deployment>(world, key).await? else { return Ok(Next::OnChange) };
        let sets = world::list::<ReplicaSet>(world, key.namespace.as_deref()).await?;
        let (steps, next) = plan(&Observed { deployment, sets, now: world.now() });
        world::apply(world, &steps).await?;
        Ok(next)
    }
}
