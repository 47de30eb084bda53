//! What a deployment says about itself.

use std::time::Duration;

use api::{Time, kinds::ReplicaSet};
use k8s_openapi::api::apps::v1::DeploymentStatus;

use super::{
    conditions::{AVAILABLE, Conditions, PROGRESSING, REPLICA_FAILURE, reason},
    rollout::{Rollout, name, report, size},
};
use crate::{controller::Next, workloads::health};

/// Whether the status is of a rollout that goes on, or of one that waits or is being scaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// Progress is watched.
    Rolling,
    /// A new replica set was made in this pass.
    Created,
    /// Nothing is expected.
    Resting,
}

/// The status over the replica sets as they were read.
pub(super) fn status(
    rollout: &Rollout<'_>,
    moment: Moment,
    made: Option<&str>,
    collisions: Option<i32>,
) -> DeploymentStatus {
    let before = rollout.deployment.status.clone().unwrap_or_default();
    let mut status = counts(rollout);
    status.collision_count = collisions.or(before.collision_count);
    let mut conditions = Conditions::new(before.conditions.clone(), Time(rollout.now));
    availability(rollout, &status, &mut conditions);
    if deadline(rollout).is_none() {
        conditions.remove(PROGRESSING);
    } else {
        match (moment, made) {
            (Moment::Created, Some(made)) => {
                conditions.set(PROGRESSING, true, reason::CREATED, format!("Created new replica set \"{made}\""));
            }
            (Moment::Rolling, _) => progress(rollout, &before, &status, &mut conditions),
            _ => {}
        }
    }
    if moment == Moment::Rolling {
        failures(rollout, &mut conditions);
    }
    status.conditions = conditions.into_list();
    status
}

pub(super) fn counts(rollout: &Rollout<'_>) -> DeploymentStatus {
    let sum = |count: &dyn Fn(&ReplicaSet) -> i32| rollout.all().map(count).sum::<i32>();
    let available = sum(&|set| report(set).available_replicas.unwrap_or(0));
    DeploymentStatus {
        observed_generation: rollout.deployment.metadata.generation,
        replicas: Some(sum(&|set| report(set).replicas)),
        updated_replicas: Some(rollout.new.map_or(0, |new| report(new).replicas)),
        ready_replicas: Some(sum(&|set| report(set).ready_replicas.unwrap_or(0))),
        available_replicas: Some(available),
        unavailable_replicas: Some((sum(&size) - available).max(0)),
        terminating_replicas: Some(sum(&|set| report(set).terminating_replicas.unwrap_or(0))),
        ..DeploymentStatus::default()
    }
}

fn availability(rollout: &Rollout<'_>, status: &DeploymentStatus, conditions: &mut Conditions) {
    let enough = status.available_replicas.unwrap_or(0) >= rollout.wanted() - rollout.max_unavailable();
    let (reason, message) = if enough {
        ("MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        ("MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    };
    conditions.set(AVAILABLE, enough, reason, message.into());
}

/// Notes whether the rollout is done, goes on, or is stuck.
fn progress(rollout: &Rollout<'_>, before: &DeploymentStatus, status: &DeploymentStatus, conditions: &mut Conditions) {
    if status.replicas == status.updated_replicas && conditions.reason(PROGRESSING) == Some(reason::DONE) {
        return;
    }
    let what = rollout.new.map_or_else(
        || format!("Deployment \"{}\"", rollout.deployment.metadata.name.as_deref().unwrap_or_default()),
        |new| format!("ReplicaSet \"{}\"", name(new)),
    );
    if is_complete(rollout, status) {
        conditions.set(PROGRESSING, true, reason::DONE, format!("{what} has successfully progressed."));
    } else if has_progressed(before, status) {
        conditions.renew(PROGRESSING, reason::UPDATED, format!("{what} is progressing."));
    } else if is_stuck(rollout, conditions) {
        conditions.set(PROGRESSING, false, reason::STUCK, format!("{what} has timed out progressing."));
    } else if conditions.get(PROGRESSING).is_none() && rollout.new.is_some() {
        conditions.set(
            PROGRESSING,
            true,
            reason::FOUND,
            format!("Found new replica set {}", what.trim_start_matches("ReplicaSet ")),
        );
    }
}

/// Passes on that a replica set cannot create or delete its pods.
fn failures(rollout: &Rollout<'_>, conditions: &mut Conditions) {
    let newest_first = rollout.new.into_iter().chain(rollout.old.iter().rev().copied());
    let mut failed = newest_first
        .filter_map(|set| report(set).conditions?.into_iter().find(|condition| condition.type_ == REPLICA_FAILURE));
    match failed.next() {
        Some(found) => {
            let reason = found.reason.unwrap_or_default();
            conditions.set(REPLICA_FAILURE, found.status == "True", &reason, found.message.unwrap_or_default());
        }
        None => conditions.remove(REPLICA_FAILURE),
    }
}

/// Whether all pods are of the current template and available.
pub(super) fn is_complete(rollout: &Rollout<'_>, status: &DeploymentStatus) -> bool {
    let wanted = Some(rollout.wanted());
    status.updated_replicas == wanted && status.replicas == wanted && status.available_replicas == wanted
}

fn has_progressed(before: &DeploymentStatus, now: &DeploymentStatus) -> bool {
    let number = |count: Option<i32>| count.unwrap_or(0);
    let old = |status: &DeploymentStatus| number(status.replicas) - number(status.updated_replicas);
    number(now.updated_replicas) > number(before.updated_replicas)
        || old(now) < old(before)
        || number(now.ready_replicas) > number(before.ready_replicas)
        || number(now.available_replicas) > number(before.available_replicas)
}

/// How long a rollout may be without progress. The largest number stands for ever.
fn deadline(rollout: &Rollout<'_>) -> Option<Duration> {
    rollout
        .spec
        .progress_deadline_seconds
        .filter(|seconds| *seconds != i32::MAX)
        .map(|seconds| health::seconds(Some(seconds)))
}

/// How long until the rollout counts as stuck; none when progress is not watched.
fn until_stuck(rollout: &Rollout<'_>, conditions: &Conditions) -> Option<Duration> {
    let condition = conditions.get(PROGRESSING)?;
    let known = condition.reason.as_deref();
    if known == Some(reason::DONE) || known == Some(reason::PAUSED) {
        return None;
    }
    if known == Some(reason::STUCK) {
        return Some(Duration::ZERO);
    }
    let since = condition.last_update_time.as_ref().map_or(rollout.now, |time| time.0);
    let waited = Duration::try_from(rollout.now.duration_since(since)).unwrap_or_default();
    Some(deadline(rollout)?.saturating_sub(waited))
}

fn is_stuck(rollout: &Rollout<'_>, conditions: &Conditions) -> bool {
    until_stuck(rollout, conditions) == Some(Duration::ZERO)
}

/// When to look whether the rollout is stuck.
pub(super) fn next(rollout: &Rollout<'_>, status: &DeploymentStatus) -> Next {
    if is_complete(rollout, status) || rollout.spec.paused == Some(true) {
        return Next::OnChange;
    }
    let conditions = Conditions::new(status.conditions.clone(), Time(rollout.now));
    until_stuck(rollout, &conditions).filter(|wait| !wait.is_zero()).map_or(Next::OnChange, Next::After)
}

/// The status of a deployment that has just been paused or resumed: its deadline rests meanwhile.
pub(super) fn pause(rollout: &Rollout<'_>) -> Option<DeploymentStatus> {
    deadline(rollout)?;
    let before = rollout.deployment.status.clone().unwrap_or_default();
    let mut conditions = Conditions::new(before.conditions.clone(), Time(rollout.now));
    let paused = rollout.spec.paused == Some(true);
    let known = conditions.get(PROGRESSING).and_then(|condition| condition.reason.as_deref());
    match (paused, known == Some(reason::PAUSED)) {
        // A rollout that is stuck stays so.
        (true, false) if known != Some(reason::STUCK) => conditions.rest(reason::PAUSED, "Deployment is paused"),
        (false, true) => conditions.rest(reason::RESUMED, "Deployment is resumed"),
        _ => return None,
    }
    Some(DeploymentStatus { conditions: conditions.into_list(), ..before })
}
