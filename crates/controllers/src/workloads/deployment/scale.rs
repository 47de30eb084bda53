//! What a changed number of replicas means while pods of several templates run: each replica set gets its share.

use api::{
    kinds::ReplicaSet,
    names::annotation::{DESIRED_REPLICAS, MAX_REPLICAS},
};

use super::rollout::{Rollout, available, created, number, size};
use crate::step::Step;

/// Whether the deployment was scaled after its replica sets last were.
pub(super) fn is_due(rollout: &Rollout<'_>) -> bool {
    let mut active = rollout.all().filter(|set| size(set) > 0);
    active.any(|set| number(set, DESIRED_REPLICAS).is_some_and(|desired| desired != rollout.wanted()))
}

/// The steps that distribute the pods.
pub(super) fn distribute(rollout: &Rollout<'_>) -> Vec<Step> {
    let active: Vec<&ReplicaSet> = rollout.all().filter(|set| size(set) > 0).collect();
    let only = match active.as_slice() {
        [] => rollout.new.or_else(|| rollout.old.last().copied()),
        [one] => Some(*one),
        _ => None,
    };
    if let Some(only) = only {
        return if size(only) == rollout.wanted() {
            noted(rollout, only)
        } else {
            rollout.scale(only, rollout.wanted())
        };
    }
    if rollout.new.is_some_and(|new| is_saturated(rollout, new)) {
        return rollout.old.iter().filter(|set| size(set) > 0).flat_map(|set| rollout.scale(set, 0)).collect();
    }
    if !rollout.is_rolling() {
        return Vec::new();
    }
    shares(rollout, active).into_iter().flat_map(|(set, to)| rollout.scale(set, to)).collect()
}

/// Notes the size of the deployment on a replica set that has it.
fn noted(rollout: &Rollout<'_>, set: &ReplicaSet) -> Vec<Step> {
    if number(set, DESIRED_REPLICAS).is_some() { rollout.scale(set, size(set)) } else { Vec::new() }
}

/// Whether the new replica set has all wanted pods, and all of them are available.
fn is_saturated(rollout: &Rollout<'_>, new: &ReplicaSet) -> bool {
    let wanted = rollout.wanted();
    size(new) == wanted && number(new, DESIRED_REPLICAS) == Some(wanted) && available(new) == wanted
}

/// The size of each replica set: more pods go to the larger ones first, and of equal ones to the newer; fewer pods are
/// taken from the larger ones first, and of equal ones from the older.
fn shares<'a>(rollout: &Rollout<'_>, mut active: Vec<&'a ReplicaSet>) -> Vec<(&'a ReplicaSet, i32)> {
    let total: i32 = active.iter().map(|set| size(set)).sum();
    let allowed = if rollout.wanted() > 0 { rollout.max_total() } else { 0 };
    let change = allowed - total;
    active.sort_by_key(|set| created(set));
    if change > 0 {
        active.reverse();
    }
    active.sort_by_key(|set| std::cmp::Reverse(size(set)));
    let mut given = 0;
    let mut sizes = Vec::new();
    for set in active {
        let part = fraction(rollout, set);
        let part = if change > 0 { part.min(change - given) } else { part.max(change - given) };
        let part = if change == given { 0 } else { part };
        given += part;
        sizes.push((set, size(set) + part));
    }
    // What rounding left over.
    if let Some((_, first)) = sizes.first_mut() {
        *first = (*first + change - given).max(0);
    }
    sizes
}

/// By how much a replica set changes when all keep their shares.
fn fraction(rollout: &Rollout<'_>, set: &ReplicaSet) -> i32 {
    if rollout.wanted() == 0 {
        return -size(set);
    }
    let status = rollout.deployment.status.as_ref().and_then(|status| status.replicas);
    let before = number(set, MAX_REPLICAS).filter(|most| *most > 0).or(status).unwrap_or(0);
    if before <= 0 {
        return 0;
    }
    let parts = i64::from(size(set)) * i64::from(rollout.max_total());
    let rounded = (2 * parts + i64::from(before)) / (2 * i64::from(before));
    i32::try_from(rounded).unwrap_or(i32::MAX) - size(set)
}
