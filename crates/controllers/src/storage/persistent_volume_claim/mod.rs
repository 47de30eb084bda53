//! Claims: bound to node-local volumes, lost with their node, released when no node will.
//!
//! The kubelet of a claim's node makes the volume when a pod needs it, and deletes it with the claim.

mod plan;

use api::{
    Kind, ObjectKey,
    kinds::{Node, PersistentVolumeClaim, Pod, persistent_volume_claim::selected_node},
};
use async_trait::async_trait;

use crate::{
    controller::{Change, Controller, Next, Watch, itself},
    error::Error,
    world::{self, World},
};
use plan::Observed;

/// Reconciles claims. A key without a namespace is a node: all claims that lie there.
#[derive(Clone, Copy, Debug, Default)]
pub struct PersistentVolumeClaims;

#[async_trait]
impl Controller for PersistentVolumeClaims {
    fn name(&self) -> &'static str {
        "persistentvolumeclaim-controller"
    }

    fn watches(&self) -> Vec<Watch> {
        vec![Watch::new(Kind::of::<PersistentVolumeClaim>(), itself), Watch::new(Kind::of::<Node>(), lost_node)]
    }

    async fn reconcile(&self, world: &dyn World, key: &ObjectKey) -> Result<Next, Error> {
        if key.namespace.is_some() {
            let claim = world::get::<PersistentVolumeClaim>(world, key).await?;
            return match claim {
                Some(claim) => one(world, claim).await,
                None => Ok(Next::OnChange),
            };
        }
        let mut next = Next::OnChange;
        for claim in world::list::<PersistentVolumeClaim>(world, None).await? {
            if selected_node(&claim) == Some(&key.name) {
                next = next.sooner(one(world, claim).await?);
            }
        }
        Ok(next)
    }
}

/// A node that is gone takes its volumes along; one that comes is noticed by the claims that wait for it.
fn lost_node(change: Change<'_>) -> Vec<ObjectKey> {
    if change.gone { itself(change) } else { Vec::new() }
}

async fn one(world: &dyn World, claim: PersistentVolumeClaim) -> Result<Next, Error> {
    let mut observed = Observed { claim, node: None, nodes: Vec::new(), pods: Vec::new(), now: world.now() };
    if let Some(node) = selected_node(&observed.claim) {
        observed.node = world::get::<Node>(world, &ObjectKey::cluster(node)).await?;
    }
    if plan::needs_users(&observed.claim) {
        let namespace = observed.claim.metadata.namespace.as_deref();
        observed.pods = world::list::<Pod>(world, namespace).await?;
        observed.nodes = world::list::<Node>(world, None).await?;
    }
    let (steps, next) = plan::plan(&observed);
    world::apply(world, &steps).await?;
    Ok(next)
}
