//! What to do about a deployment, now.

use api::kinds::{Deployment, ReplicaSet};
use jiff::Timestamp;

use super::{
    rolling,
    rollout::{Rollout, name},
    scale,
    status::{self, Moment},
};
use crate::{controller::Next, step::Step, workloads::ownership};

/// A deployment and the replica sets of its namespace.
pub(super) struct Observed {
    pub(super) deployment: Deployment,
    pub(super) sets: Vec<ReplicaSet>,
    pub(super) now: Timestamp,
}

/// The next steps, and when to look again. The changes that the steps make bring the pass after.
pub(super) fn plan(observed: &Observed) -> (Vec<Step>, Next) {
    let deployment = &observed.deployment;
    if deployment.metadata.deletion_timestamp.is_some() {
        return (Vec::new(), Next::OnChange);
    }
    let selector = deployment.spec.as_ref().and_then(|spec| ownership::selector(&spec.selector));
    let owned = ownership::sort(deployment, selector.as_ref(), &observed.sets, |_| true);
    if !owned.steps.is_empty() {
        return (owned.steps, Next::OnChange);
    }
    let rollout = Rollout::of(deployment, &owned.objects, observed.now);
    if let Some(status) = status::pause(&rollout) {
        return (
            vec![Step::replace_status(&Deployment { status: Some(status), ..deployment.clone() })],
            Next::OnChange,
        );
    }
    let steps = rollout.describe();
    if !steps.is_empty() {
        return (steps, Next::OnChange);
    }
    if rollout.spec.paused == Some(true) {
        let mut steps = scale::distribute(&rollout);
        steps.extend(rolling::prune(&rollout));
        return finish(&rollout, steps, Moment::Resting);
    }
    if scale::is_due(&rollout) {
        return finish(&rollout, scale::distribute(&rollout), Moment::Resting);
    }
    if !rollout.is_rolling() {
        let (steps, busy) = rolling::clear(&rollout);
        if busy {
            return finish(&rollout, steps, Moment::Rolling);
        }
    }
    let Some(new) = rollout.new else { return create(&rollout, &observed.sets) };
    let mut steps =
        if rollout.is_rolling() { rolling::roll(&rollout, new) } else { rollout.scale(new, rollout.wanted()) };
    if steps.is_empty() && status::is_complete(&rollout, &status::counts(&rollout)) {
        steps = rolling::prune(&rollout);
    }
    finish(&rollout, steps, Moment::Rolling)
}

/// Makes the replica set of the current template.
fn create(rollout: &Rollout<'_>, taken: &[ReplicaSet]) -> (Vec<Step>, Next) {
    let (set, collisions) = rollout.make_new(taken);
    let size = super::rollout::size(&set);
    let mut steps = vec![Step::create(&set)];
    if size > 0 {
        let news = format!("Scaled up replica set {} from 0 to {size}", name(&set));
        steps.push(Step::normal(rollout.deployment, "ScalingReplicaSet", news));
    }
    let status = status::status(rollout, Moment::Created, Some(name(&set)), collisions);
    steps.extend(report(rollout, &status));
    (steps, Next::OnChange)
}

fn finish(rollout: &Rollout<'_>, mut steps: Vec<Step>, moment: Moment) -> (Vec<Step>, Next) {
    let status = status::status(rollout, moment, None, None);
    steps.extend(report(rollout, &status));
    let next = status::next(rollout, &status);
    (steps, next)
}

/// The step that writes the status, if it is another one.
fn report(rollout: &Rollout<'_>, status: &k8s_openapi::api::apps::v1::DeploymentStatus) -> Option<Step> {
    let deployment = rollout.deployment;
    let changed = Deployment { status: Some(status.clone()), ..deployment.clone() };
    (deployment.status.as_ref() != Some(status)).then(|| Step::replace_status(&changed))
}

#[cfg(test)]
mod tests;
