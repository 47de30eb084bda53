//! The claims of a stateful set's pods: made with them, and kept or let go as the set says.

use std::collections::BTreeMap;

use api::{
    ObjectMeta, Resource,
    kinds::{PersistentVolumeClaim, Pod, StatefulSet},
    meta::controller_reference,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::pods::{claim_name, name, pod_name};
use crate::step::Step;

/// Word of the retention policy for claims that go.
const DELETE: &str = "Delete";

/// What becomes of claims (apps/v1 StatefulSetPersistentVolumeClaimRetentionPolicy).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Retention {
    /// Claims go with the set.
    with_set: bool,
    /// Claims of pods that are scaled away go with their pod.
    when_scaled: bool,
}

impl Retention {
    pub(super) fn of(set: &StatefulSet) -> Self {
        let policy = set.spec.as_ref().and_then(|spec| spec.persistent_volume_claim_retention_policy.clone());
        let policy = policy.unwrap_or_default();
        let deletes = |word: &Option<String>| word.as_deref() == Some(DELETE);
        Self { with_set: deletes(&policy.when_deleted), when_scaled: deletes(&policy.when_scaled) }
    }
}

/// The claims of the pod with this ordinal. They keep the owners their template names.
pub(super) fn desired_claims(set: &StatefulSet, ordinal: i64) -> Vec<PersistentVolumeClaim> {
    let Some(spec) = &set.spec else { return Vec::new() };
    let selected = spec.selector.match_labels.clone().unwrap_or_default();
    let claims = spec.volume_claim_templates.iter().flatten().map(|template| {
        let volume = template.metadata.name.as_deref().unwrap_or_default();
        let mut labels = selected.clone();
        labels.extend(template.metadata.labels.clone().unwrap_or_default());
        let mut owners = template.metadata.owner_references.clone();
        if Retention::of(set).with_set {
            owners.get_or_insert_default().push(reference(set));
        }
        PersistentVolumeClaim {
            metadata: ObjectMeta {
                name: Some(claim_name(set, volume, ordinal)),
                namespace: set.metadata.namespace.clone(),
                labels: Some(labels),
                annotations: template.metadata.annotations.clone(),
                owner_references: owners,
                ..ObjectMeta::default()
            },
            spec: template.spec.clone(),
            status: None,
        }
    });
    claims.collect()
}

/// The claims of the pod with this ordinal that are not there.
pub(super) fn missing(set: &StatefulSet, claims: &BTreeMap<&str, &PersistentVolumeClaim>, ordinal: i64) -> Vec<Step> {
    let desired = desired_claims(set, ordinal);
    let lacks =
        |claim: &&PersistentVolumeClaim| !claims.contains_key(claim.metadata.name.as_deref().unwrap_or_default());
    desired.iter().filter(lacks).map(Step::create).collect()
}

/// Makes the claims of the pod with this ordinal belong to whom they go with. `pod` is the pod if it is one too many.
pub(super) fn own(
    set: &StatefulSet,
    claims: &BTreeMap<&str, &PersistentVolumeClaim>,
    ordinal: i64,
    excess: Option<&Pod>,
) -> Vec<Step> {
    let retention = Retention::of(set);
    let templates = set.spec.iter().flat_map(|spec| spec.volume_claim_templates.iter().flatten());
    let mut steps = Vec::new();
    for template in templates {
        let name = claim_name(set, template.metadata.name.as_deref().unwrap_or_default(), ordinal);
        let Some(claim) = claims.get(name.as_str()).filter(|claim| claim.metadata.deletion_timestamp.is_none()) else {
            continue;
        };
        let with_pod = excess.filter(|_| retention.when_scaled);
        let mut wanted: Vec<OwnerReference> = Vec::new();
        if retention.with_set && with_pod.is_none() {
            wanted.push(reference(set));
        }
        wanted.extend(with_pod.map(reference));
        let mut changed = (*claim).clone();
        let owners = changed.metadata.owner_references.get_or_insert_default();
        owners.retain(|owner| !is_ours(set, ordinal, owner) || wanted.iter().any(|wanted| wanted.uid == owner.uid));
        for owner in wanted {
            if !owners.iter().any(|found| found.uid == owner.uid) {
                owners.push(owner);
            }
        }
        if changed.metadata.owner_references.as_deref().unwrap_or_default()
            != claim.metadata.owner_references.as_deref().unwrap_or_default()
        {
            steps.push(Step::replace(&changed));
        }
    }
    steps
}

/// Whether the reference is one that this controller writes.
fn is_ours(set: &StatefulSet, ordinal: i64, owner: &OwnerReference) -> bool {
    let set_itself = owner.kind == "StatefulSet" && owner.name == name(set);
    set_itself || owner.kind == "Pod" && owner.name == pod_name(set, ordinal)
}

/// A reference that only tells with whom the claim goes: it is nobody's to control.
fn reference<R: Resource>(owner: &R) -> OwnerReference {
    OwnerReference { controller: None, block_owner_deletion: None, ..controller_reference(owner) }
}
