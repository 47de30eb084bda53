//! `apps/v1 StatefulSet`: pods with stable names and volumes, made and replaced in order.

mod plan;
mod pods;
mod status;

use api::{
    Kind, ObjectKey,
    kinds::{PersistentVolumeClaim, Pod, StatefulSet},
};
use async_trait::async_trait;

use crate::{
    controller::{Controller, Next, Watch, itself, owner},
    error::Error,
    world::{self, World},
};

pub(crate) use plan::{Observed, plan};

/// Reconciles stateful sets.
#[derive(Clone, Copy, Debug, Default)]
pub struct StatefulSets;

#[async_trait]
impl Controller for StatefulSets {
    fn name(&self) -> &'static str {
        "statefulset-controller"
    }

    fn watches(&self) -> Vec<Watch> {
        vec![
            Watch::new(Kind::of::<StatefulSet>(), itself),
            Watch::new(Kind::of::<Pod>(), |change| owner(change, "StatefulSet")),
        ]
    }

    async fn reconcile(&self, world: &dyn World, key: &ObjectKey) -> Result<Next, Error> {
        let Some(set) = world::get::<StatefulSet>(world, key).await? else {
            return Ok(Next::OnChange);
        };
        let namespace = key.namespace.as_deref();
        let observed = Observed {
            pods: world::list::<Pod>(world, namespace).await?,
            claims: world::list::<PersistentVolumeClaim>(world, namespace).await?,
            set,
        };
        world::apply(world, &plan(&observed)).await?;
        Ok(Next::OnChange)
    }
}
