//! `batch/v1 Job`: pods that end, until enough have succeeded or too many failed.
//!
//! How a pod ended is counted once, though its pod may be deleted at any time: a finalizer keeps the pod until the
//! status names its uid, and the status names it until the finalizer is gone.

mod conditions;
mod indexes;
mod outcome;
mod plan;
mod pods;
mod policy;
mod status;
mod view;

use api::{
    Kind, ObjectKey, Resource,
    kinds::{Job, Pod},
    names::{finalizer::JOB_TRACKING, label::JOB_NAME},
};
use async_trait::async_trait;

use self::plan::{Observed, plan};
use super::{ownership, selectors::Selectors};
use crate::{
    controller::{Change, Controller, Next, Watch, namespace_of},
    error::{Error, WorldError},
    step::Step,
    world::{self, World},
};

/// Reconciles jobs.
#[derive(Debug, Default)]
pub(crate) struct Jobs(Selectors);

#[async_trait]
impl Controller for Jobs {
    fn name(&self) -> &'static str {
        "job-controller"
    }

    fn watches(&self) -> Vec<Watch> {
        let mut watches = self.0.watches::<Job, Pod>();
        watches.push(Watch::new(Kind::of::<Pod>(), of_label));
        watches
    }

    async fn reconcile(&self, world: &dyn World, key: &ObjectKey) -> Result<Next, Error> {
        let job = world::get::<Job>(world, key).await?;
        let pods = world::list::<Pod>(world, key.namespace.as_deref()).await?;
        world::apply(world, &free(&key.name, job.as_ref(), &pods)).await?;
        let Some(job) = job else { return Ok(Next::OnChange) };
        let observed = Observed { job, pods, now: world.now() };
        let plan = plan(&observed);
        let result = world::apply(world, &plan.steps).await;
        // A pod that the server refuses does not keep the others from being counted.
        if let Err(Error::Write { verb: "create", source: WorldError::Refused { source }, .. }) = &result {
            let message = format!("Error creating: {source}");
            world::apply(world, &[Step::warning(&observed.job, "FailedCreate", message)]).await?;
        }
        if result.as_ref().err().is_none_or(is_refusal) {
            world::apply(world, &plan.report).await?;
        }
        result?;
        Ok(plan.next)
    }
}

fn is_refusal(error: &Error) -> bool {
    matches!(error, Error::Write { verb: "create", source: WorldError::Refused { .. }, .. })
}

/// The job whose name a pod without a controller is labelled with.
fn of_label(change: Change<'_>) -> Vec<ObjectKey> {
    let name = change.object.pointer("/metadata/labels").and_then(|labels| labels.get(JOB_NAME)?.as_str());
    name.map(|name| ObjectKey { namespace: namespace_of(change.object), name: name.to_owned() }).into_iter().collect()
}

/// Lets go of pods whose job is gone, or whose job they were taken away from: nobody will count them.
fn free(name: &str, job: Option<&Job>, pods: &[Pod]) -> Vec<Step> {
    let uid = job.and_then(|job| job.metadata.uid.as_deref());
    let selector = job.and_then(|job| ownership::selector(job.spec.as_ref()?.selector.as_ref()?));
    let is_free = |pod: &&Pod| {
        let labels = pod.metadata.labels.as_ref();
        match ownership::controller(&pod.metadata) {
            Some(owner) => owner.kind == Job::KIND && owner.name == name && Some(owner.uid.as_str()) != uid,
            None => {
                labels.and_then(|labels| labels.get(JOB_NAME)).is_some_and(|label| label == name)
                    && !selector.as_ref().is_some_and(|selector| selector.matches(labels))
            }
        }
    };
    pods.iter().filter(|pod| JOB_TRACKING.holds(&pod.metadata)).filter(is_free).map(pods::untrack).collect()
}
