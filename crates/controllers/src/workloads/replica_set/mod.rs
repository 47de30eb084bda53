//! `apps/v1 ReplicaSet` and `v1 ReplicationController`: a number of equal pods.

mod kind;

mod plan;
mod status;
mod view;

use std::marker::PhantomData;

use api::{ObjectKey, Resource, kinds::Pod};
use async_trait::async_trait;

use self::{
    kind::Replicated,
    plan::plan,
    status::{Failure, status},
    view::Observed,
};
use super::selectors::Selectors;
use crate::{
    controller::{Controller, Next, Watch},
    error::{Error, WorldError},
    step::Step,
    world::{self, World},
};

/// Reconciles the sets of one kind.
#[derive(Debug)]
pub(crate) struct Replicas<S> {
    selectors: Selectors,
    kind: PhantomData<fn() -> S>,
}

impl<S> Default for Replicas<S> {
    fn default() -> Self {
        Self { selectors: Selectors::default(), kind: PhantomData }
    }
}

#[async_trait]
impl<S: Replicated> Controller for Replicas<S> {
    fn name(&self) -> &'static str {
        S::CONTROLLER
    }

    fn watches(&self) -> Vec<Watch> {
        self.selectors.watches::<S, Pod>()
    }

    async fn reconcile(&self, world: &dyn World, key: &ObjectKey) -> Result<Next, Error> {
        let Some(set) = world::get::<S>(world, key).await? else { return Ok(Next::OnChange) };
        let pods = world::list::<Pod>(world, key.namespace.as_deref()).await?;
        let observed = Observed { set, pods, now: world.now() };
        let plan = plan(&observed);
        let result = world::apply(world, &plan.steps).await;
        let failure = result.as_ref().err().and_then(failure);
        if let Some(failure) = &failure {
            let message = format!("Error {}: {}", failure.doing, failure.message);
            world::apply(world, &[Step::warning(&observed.set, failure.reason, message)]).await?;
        }
        if let Some(owned) = &plan.owned
            && (result.is_ok() || failure.is_some())
        {
            let status = status(&observed, owned, failure.as_ref());
            let steps: Vec<_> =
                status.map(|status| Step::replace_status(&observed.set.with_status(status))).into_iter().collect();
            world::apply(world, &steps).await?;
        }
        result?;
        Ok(plan.next)
    }
}

/// A write of a pod that the server refused.
fn failure(error: &Error) -> Option<Failure> {
    let Error::Write { verb, kind, source: WorldError::Refused { source }, .. } = error else { return None };
    let (reason, doing) = match *verb {
        _ if kind != Pod::KIND => return None,
        "create" => ("FailedCreate", "creating"),
        "delete" => ("FailedDelete", "deleting"),
        _ => return None,
    };
    Some(Failure { reason, doing, message: source.to_string() })
}
