//! Gives pods a node.

mod affinity;
mod fit;
mod plan;
mod ports;
pub(crate) mod volumes;

use std::time::Duration;

use api::{
    Kind, ObjectKey,
    kinds::{Node, PersistentVolumeClaim, Pod},
};
use async_trait::async_trait;
use client::chain;
use serde_json::Value;

pub(crate) use self::{
    affinity::matches as admits,
    fit::{readiness, untolerated},
};
use crate::{
    controller::{Change, Controller, Next, Watch},
    error::Error,
    world::{self, World},
};

/// Time until pods that fit nowhere are tried again, beside the changes that are watched.
pub const RETRY: Duration = Duration::from_secs(30);

/// Schedules pods. All pods are one key: two passes at once could fill a node twice.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scheduler;

#[async_trait]
impl Controller for Scheduler {
    fn name(&self) -> &'static str {
        "default-scheduler"
    }

    fn watches(&self) -> Vec<Watch> {
        vec![
            Watch::new(Kind::of::<Pod>(), |change| everything_if(is_of_interest(change))),
            Watch::new(Kind::of::<Node>(), |_| everything_if(true)),
            Watch::new(Kind::of::<PersistentVolumeClaim>(), |_| everything_if(true)),
        ]
    }

    async fn reconcile(&self, world: &dyn World, _key: &ObjectKey) -> Result<Next, Error> {
        let pods = world::list::<Pod>(world, None).await?;
        if !pods.iter().any(plan::is_waiting) {
            return Ok(Next::OnChange);
        }
        let plan = plan::plan(&plan::Observed {
            pods,
            nodes: world::list::<Node>(world, None).await?,
            claims: world::list::<PersistentVolumeClaim>(world, None).await?,
            now: world.now(),
        });
        // What is refused to one pod does not keep the others from their nodes.
        let mut failed = Ok(());
        for decision in &plan.decisions {
            if let Err(error) = world::apply(world, &decision.steps).await {
                tracing::debug!(pod = %decision.pod, cause = chain(&error), "not placed in this pass");
                failed = Err(error);
            }
        }
        failed?;
        Ok(if plan.unplaced { Next::After(RETRY) } else { Next::OnChange })
    }
}

fn everything_if(wanted: bool) -> Vec<ObjectKey> {
    if wanted { vec![ObjectKey::cluster("pods")] } else { Vec::new() }
}

/// Pods that want a node, and pods that stop using one.
fn is_of_interest(change: Change<'_>) -> bool {
    let text = |path| change.object.pointer(path).and_then(Value::as_str).unwrap_or_default();
    change.gone || text("/spec/nodeName").is_empty() || matches!(text("/status/phase"), "Succeeded" | "Failed")
}
