//! The templates a set has had: each is kept as a ControllerRevision, so that pods below a partition come back as
//! they were, and a rollout can be undone.

use std::collections::BTreeSet;

use api::{
    ObjectMeta, Resource,
    kinds::{ControllerRevision, Pod, StatefulSet},
    meta::controller_reference,
    names::label,
};
use k8s_openapi::{api::core::v1::PodTemplateSpec, apimachinery::pkg::runtime::RawExtension};
use serde_json::{Value, json};

use super::pods::{desired_pod, name, ordinal, revision_of};
use crate::{
    digest,
    step::Step,
    workloads::history::{normal, template_of},
    world::is_applied,
};

/// Characters of a revision's hash.
const HASH_LEN: usize = 10;
/// Old revisions that are kept when the set does not say.
const HISTORY_LIMIT: i32 = 10;

/// A template under its revision's name.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Version {
    pub(super) name: String,
    pub(super) template: PodTemplateSpec,
}

/// What pods are made from.
pub(super) struct Versions {
    /// Of pods below the partition.
    pub(super) current: Version,
    /// Of the others: the set's template as it is.
    pub(super) update: Version,
    /// How often a revision's name was taken by another template.
    pub(super) collisions: Option<i32>,
    /// The step that stores the update's revision, or makes it the newest.
    pub(super) step: Option<Step>,
}

/// The template of a set.
fn template(set: &StatefulSet) -> PodTemplateSpec {
    set.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default()
}

/// Name of the revision of the set's template: equal templates have equal names.
pub(super) fn revision_name(set: &StatefulSet, collisions: i32) -> String {
    let text = serde_json::to_string(&set.spec.as_ref().map(|spec| &spec.template)).unwrap_or_default();
    let again = collisions.to_string();
    let parts = [text.as_bytes(), again.as_bytes()];
    let parts = if collisions == 0 { &parts[..1] } else { &parts[..] };
    format!("{}-{}", name(set), &digest::hex_of(parts.iter().copied())[..HASH_LEN])
}

/// A revision of the set's template. Its data are a strategic merge patch, by which clients go back to it.
fn revision(set: &StatefulSet, name: &str, number: i64) -> ControllerRevision {
    let template = template(set);
    let mut kept = serde_json::to_value(&template).unwrap_or(Value::Null);
    kept["$patch"] = "replace".into();
    let mut labels = template.metadata.and_then(|meta| meta.labels).unwrap_or_default();
    labels.insert(label::REVISION_HASH.into(), name.rsplit('-').next().unwrap_or_default().to_owned());
    ControllerRevision {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: set.metadata.namespace.clone(),
            labels: Some(labels),
            owner_references: Some(vec![controller_reference(set)]),
            ..ObjectMeta::default()
        },
        data: Some(RawExtension(json!({"spec": {"template": kept}}))),
        revision: number,
    }
}

/// The versions of a set. `owned` are its revisions, `taken` the names of all revisions in its namespace.
pub(super) fn choose(
    set: &StatefulSet,
    pods: &[Pod],
    owned: &[ControllerRevision],
    taken: &BTreeSet<&str>,
) -> Versions {
    let status = set.status.clone().unwrap_or_default();
    let wanted = normal(template(set));
    let newest = owned.iter().map(|revision| revision.revision).max().unwrap_or(0);
    let equal = owned.iter().filter(|kept| template_of(kept).is_some_and(|kept| normal(kept) == wanted));
    let mut collisions = status.collision_count;
    let (name, step) = match equal.max_by_key(|kept| kept.revision) {
        Some(kept) => {
            let name = kept.metadata.name.clone().unwrap_or_default();
            let renewed = ControllerRevision { revision: newest.saturating_add(1), ..kept.clone() };
            (name, (kept.revision < newest).then(|| Step::replace(&renewed)))
        }
        None => {
            let name = inherited(set, pods, taken).unwrap_or_else(|| free_name(set, taken, &mut collisions));
            let step = Step::create(&revision(set, &name, newest.saturating_add(1)));
            (name, Some(step))
        }
    };
    let update = Version { name, template: template(set) };
    let before = status.current_revision.filter(|name| *name != update.name);
    let kept = owned.iter().find(|kept| kept.metadata.name.is_some() && kept.metadata.name == before);
    let current =
        kept.and_then(|kept| Some(Version { name: kept.metadata.name.clone()?, template: template_of(kept)? }));
    Versions { current: current.unwrap_or_else(|| update.clone()), update, collisions, step }
}

/// The name by which pods know the set's template that were made before revisions were kept: they stay as they are.
fn inherited(set: &StatefulSet, pods: &[Pod], taken: &BTreeSet<&str>) -> Option<String> {
    let known = set.status.as_ref()?.update_revision.clone().filter(|name| !taken.contains(name.as_str()))?;
    let mut made = pods.iter().filter(|pod| revision_of(pod) == Some(&known)).peekable();
    made.peek()?;
    let same = |pod: &Pod| {
        let mut found = pod.clone();
        found.apply_defaults();
        ordinal(set, pod).is_some_and(|ordinal| is_applied(&found, &desired_pod(set, ordinal, &template(set), &known)))
    };
    made.all(same).then_some(known)
}

/// A name that no revision has. Two templates with one name are as good as impossible, but anybody may make a revision.
fn free_name(set: &StatefulSet, taken: &BTreeSet<&str>, collisions: &mut Option<i32>) -> String {
    let mut count = collisions.unwrap_or(0);
    let mut name = revision_name(set, count);
    while taken.contains(name.as_str()) {
        count = count.saturating_add(1);
        *collisions = Some(count);
        name = revision_name(set, count);
    }
    name
}

/// The steps that delete the oldest revisions nobody uses, beyond the number that is kept.
pub(super) fn prune(set: &StatefulSet, pods: &[Pod], owned: &[ControllerRevision], versions: &Versions) -> Vec<Step> {
    let mut live: BTreeSet<&str> = pods.iter().filter_map(revision_of).collect();
    live.extend([versions.current.name.as_str(), versions.update.name.as_str()]);
    let unused = |kept: &&ControllerRevision| !live.contains(kept.metadata.name.as_deref().unwrap_or_default());
    let mut old: Vec<_> = owned.iter().filter(unused).collect();
    old.sort_by_key(|kept| kept.revision);
    let limit = set.spec.as_ref().and_then(|spec| spec.revision_history_limit).unwrap_or(HISTORY_LIMIT);
    let beyond = old.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    old.into_iter().take(beyond).map(Step::delete).collect()
}
