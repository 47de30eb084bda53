//! `apps/v1 StatefulSet`: pods with stable names and volumes, made and replaced in order.

mod claims;
mod ownership;
mod plan;
mod pods;
mod revision;
mod status;
mod strategy;

use api::{
    Kind, ObjectKey,
    kinds::{ControllerRevision, PersistentVolumeClaim, Pod, StatefulSet},
};
use async_trait::async_trait;

use crate::{
    controller::{Change, Controller, Next, Watch, itself, name_of, namespace_of, owner},
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
            Watch::new(Kind::of::<Pod>(), of_pod),
            Watch::new(Kind::of::<ControllerRevision>(), |change| owner(change, "StatefulSet")),
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
            revisions: world::list::<ControllerRevision>(world, namespace).await?,
            now: world.now(),
            set,
        };
        let (steps, next) = plan(&observed);
        world::apply(world, &steps).await?;
        Ok(next)
    }
}

/// The set that controls a pod, or that may select it: its name begins like the set's.
fn of_pod(change: Change<'_>) -> Vec<ObjectKey> {
    let mut keys = owner(change, "StatefulSet");
    if keys.is_empty()
        && let Some(name) = name_of(change.object)
        && let Some(set) = pods::set_of(&name)
    {
        keys.push(ObjectKey { namespace: namespace_of(change.object), name: set.to_owned() });
    }
    keys
}
