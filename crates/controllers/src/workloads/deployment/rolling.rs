//! How pods of old templates are replaced: a few at a time, or all at once.

use api::kinds::ReplicaSet;

use super::rollout::{Rollout, available, name, report, size};
use crate::step::Step;

/// The next steps of a rolling update: first the new replica set grows as far as it may, then the others shrink.
pub(super) fn roll(rollout: &Rollout<'_>, new: &ReplicaSet) -> Vec<Step> {
    let grown = if size(new) > rollout.wanted() { rollout.wanted() } else { rollout.room_for_new() };
    if size(new) != grown {
        return rollout.scale(new, grown);
    }
    shrink(rollout, new)
}

/// Takes pods away from old replica sets, those first that are not available anyway, and never more than may be missing.
fn shrink(rollout: &Rollout<'_>, new: &ReplicaSet) -> Vec<Step> {
    let old: Vec<&ReplicaSet> = rollout.old.iter().copied().filter(|set| size(set) > 0).collect();
    if old.is_empty() {
        return Vec::new();
    }
    let least = rollout.wanted() - rollout.max_unavailable();
    let total: i32 = rollout.all().map(size).sum();
    let new_missing = (size(new) - available(new)).max(0);
    let mut removable = total - least - new_missing;
    if removable <= 0 {
        return Vec::new();
    }
    let mut sizes: Vec<i32> = old.iter().map(|set| size(set)).collect();
    for (set, size) in old.iter().zip(&mut sizes) {
        let broken = (*size - available(set)).max(0).min(removable);
        *size -= broken;
        removable -= broken;
    }
    let all_available: i32 = rollout.all().map(available).sum();
    let mut spare = (all_available - least).max(0);
    for size in &mut sizes {
        let less = (*size).min(spare);
        *size -= less;
        spare -= less;
    }
    let changed = old.into_iter().zip(sizes).filter(|(set, to)| size(set) != *to);
    changed.flat_map(|(set, to)| rollout.scale(set, to)).collect()
}

/// The steps that take all pods of old templates away. Answers whether some are still there.
pub(super) fn clear(rollout: &Rollout<'_>) -> (Vec<Step>, bool) {
    let old = rollout.old.iter().copied();
    let steps: Vec<Step> = old.clone().filter(|set| size(set) > 0).flat_map(|set| rollout.scale(set, 0)).collect();
    let is_busy = |set: &ReplicaSet| {
        let status = report(set);
        status.observed_generation < set.metadata.generation
            || status.replicas > 0
            || status.terminating_replicas.unwrap_or(0) > 0
    };
    let busy = !steps.is_empty() || old.into_iter().any(is_busy);
    (steps, busy)
}

/// The steps that delete the oldest empty replica sets, beyond the number that is kept.
pub(super) fn prune(rollout: &Rollout<'_>) -> Vec<Step> {
    let Some(limit) = rollout.spec.revision_history_limit else { return Vec::new() };
    let mut old: Vec<_> = rollout.old.iter().copied().filter(|set| set.metadata.deletion_timestamp.is_none()).collect();
    old.sort_by_key(|set| (super::rollout::revision(&set.metadata), name(set)));
    let beyond = old.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    let is_empty = |set: &&ReplicaSet| {
        let status = report(set);
        size(set) == 0 && status.replicas == 0 && status.observed_generation >= set.metadata.generation
    };
    old.into_iter().take(beyond).filter(is_empty).map(Step::delete).collect()
}
