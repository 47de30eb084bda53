//! `apps/v1 DaemonSet`: one pod on each node that may run it.

mod nodes;
mod plan;
mod status;
mod view;

use api::{
    Kind, ObjectKey,
    kinds::{ControllerRevision, DaemonSet, Node, Pod},
};
use async_trait::async_trait;

use self::plan::{Observed, plan};
use super::selectors::Selectors;
use crate::{
    controller::{Controller, Next, Watch, owner},
    error::Error,
    world::{self, World},
};

/// Reconciles daemon sets.
#[derive(Debug, Default)]
pub(crate) struct DaemonSets(Selectors);

#[async_trait]
impl Controller for DaemonSets {
    fn name(&self) -> &'static str {
        "daemonset-controller"
    }

    fn watches(&self) -> Vec<Watch> {
        let mut watches = self.0.watches::<DaemonSet, Pod>();
        let all = self.0.clone();
        watches.push(Watch::new(Kind::of::<ControllerRevision>(), |change| owner(change, "DaemonSet")));
        watches.push(Watch::new(Kind::of::<Node>(), move |_| all.known()));
        watches
    }

    async fn reconcile(&self, world: &dyn World, key: &ObjectKey) -> Result<Next, Error> {
        let Some(set) = world::get::<DaemonSet>(world, key).await? else { return Ok(Next::OnChange) };
        let namespace = key.namespace.as_deref();
        let observed = Observed {
            pods: world::list::<Pod>(world, namespace).await?,
            revisions: world::list::<ControllerRevision>(world, namespace).await?,
            nodes: world::list::<Node>(world, None).await?,
            now: world.now(),
            set,
        };
        let (steps, next) = plan(&observed);
        world::apply(world, &steps).await?;
        Ok(next)
    }
}
