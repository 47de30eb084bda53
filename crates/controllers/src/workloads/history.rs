//! The templates that a workload has had: each is kept as a ControllerRevision, so that a rollout can be undone.

use std::collections::BTreeSet;

use api::{
    ObjectMeta, Resource,
    kinds::{ControllerRevision, Pod, ReplicaSet},
    meta::controller_reference,
    names::label,
};
use k8s_openapi::{
    api::{apps::v1::ReplicaSetSpec, core::v1::PodTemplateSpec},
    apimachinery::pkg::runtime::RawExtension,
};
use serde_json::{Value, json};

use crate::{digest, step::Step};

/// Characters of a revision's hash.
const HASH_LEN: usize = 10;

/// The current template under its revision's name.
#[derive(Debug)]
pub(crate) struct Current {
    /// The hash that pods of the template are labelled with.
    pub(crate) hash: String,
    /// How often a revision's name was taken by another template.
    pub(crate) collisions: Option<i32>,
    /// The step that stores the revision, or makes it the newest.
    pub(crate) step: Option<Step>,
}

/// Maps that mean the same when they are empty and when they are absent. (An empty label selector does not.)
const MAPS: [&str; 7] = ["annotations", "labels", "limits", "matchLabels", "nodeSelector", "requests", "resources"];

/// A template as it is compared with others: what an earlier version left out counts as what it meant, and what clients
/// in Go add or leave out when they write back what they read (`resources: {}`) makes no difference.
pub(crate) fn normal(template: PodTemplateSpec) -> PodTemplateSpec {
    let spec = ReplicaSetSpec { template: Some(template), ..ReplicaSetSpec::default() };
    let mut set = ReplicaSet { spec: Some(spec), ..ReplicaSet::default() };
    set.apply_defaults();
    let template = set.spec.and_then(|spec| spec.template).unwrap_or_default();
    let Ok(mut value) = serde_json::to_value(&template) else { return template };
    drop_empty(&mut value);
    serde_json::from_value(value).unwrap_or(template)
}

fn drop_empty(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(drop_empty),
        Value::Object(fields) => fields.retain(|name, field| {
            drop_empty(field);
            match field {
                Value::Null => false,
                Value::Array(items) => !items.is_empty(),
                Value::Object(within) => !within.is_empty() || !MAPS.contains(&name.as_str()),
                _ => true,
            }
        }),
        _ => {}
    }
}

/// The template that a revision keeps.
pub(crate) fn template_of(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let mut kept = revision.data.as_ref()?.0.pointer("/spec/template")?.clone();
    kept.as_object_mut()?.shift_remove("$patch");
    serde_json::from_value(kept).ok()
}

/// The hash in the labels of a revision, or in its name.
fn hash_of(revision: &ControllerRevision) -> String {
    let label = revision.metadata.labels.as_ref().and_then(|labels| labels.get(label::POD_REVISION));
    let name = revision.metadata.name.as_deref().unwrap_or_default();
    label.cloned().unwrap_or_else(|| name.rsplit('-').next().unwrap_or_default().to_owned())
}

/// The revision of a template: one that is kept, or a new one of a name that none of `taken` has.
pub(crate) fn current<R: Resource>(
    owner: &R,
    template: &PodTemplateSpec,
    owned: &[ControllerRevision],
    taken: &[ControllerRevision],
    collisions: Option<i32>,
) -> Current {
    let wanted = normal(template.clone());
    let newest = owned.iter().map(|revision| revision.revision).max().unwrap_or(0);
    let equal = owned.iter().filter(|kept| template_of(kept).is_some_and(|kept| normal(kept) == wanted));
    if let Some(kept) = equal.max_by_key(|kept| kept.revision) {
        let renewed = ControllerRevision { revision: newest.saturating_add(1), ..kept.clone() };
        let step = (kept.revision < newest).then(|| Step::replace(&renewed));
        return Current { hash: hash_of(kept), collisions, step };
    }
    let names: BTreeSet<_> = taken.iter().filter_map(|kept| kept.metadata.name.as_deref()).collect();
    let owner_name = owner.meta().name.as_deref().unwrap_or_default();
    let text = serde_json::to_string(&wanted).unwrap_or_default();
    let mut collisions = collisions;
    loop {
        let count = collisions.unwrap_or(0).to_string();
        let hash = digest::suffix_of([text.as_bytes(), count.as_bytes()], HASH_LEN);
        let name = format!("{owner_name}-{hash}");
        if !names.contains(name.as_str()) {
            let step = Step::create(&revision(owner, template, name, &hash, newest.saturating_add(1)));
            return Current { hash, collisions, step: Some(step) };
        }
        collisions = Some(collisions.unwrap_or(0).saturating_add(1));
    }
}

/// A revision of a template. Its data are a strategic merge patch, by which clients go back to it.
fn revision<R: Resource>(
    owner: &R,
    template: &PodTemplateSpec,
    name: String,
    hash: &str,
    number: i64,
) -> ControllerRevision {
    let mut kept = serde_json::to_value(template).unwrap_or(Value::Null);
    kept["$patch"] = "replace".into();
    let mut labels = template.metadata.as_ref().and_then(|meta| meta.labels.clone()).unwrap_or_default();
    labels.insert(label::POD_REVISION.into(), hash.to_owned());
    ControllerRevision {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: owner.meta().namespace.clone(),
            labels: Some(labels),
            annotations: owner.meta().annotations.clone(),
            owner_references: Some(vec![controller_reference(owner)]),
            ..ObjectMeta::default()
        },
        data: Some(RawExtension(json!({"spec": {"template": kept}}))),
        revision: number,
    }
}

/// The steps that delete the oldest revisions which no pod is of, beyond the number that is kept.
pub(crate) fn prune(owned: &[ControllerRevision], current: &Current, pods: &[Pod], limit: i32) -> Vec<Step> {
    let live: BTreeSet<&str> = pods.iter().filter_map(hash_of_pod).chain([current.hash.as_str()]).collect();
    let mut old: Vec<_> = owned.iter().filter(|kept| !live.contains(hash_of(kept).as_str())).collect();
    old.sort_by_key(|kept| kept.revision);
    let beyond = old.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    old.into_iter().take(beyond).map(Step::delete).collect()
}

/// The hash of the template that a pod was made from.
pub(crate) fn hash_of_pod(pod: &Pod) -> Option<&str> {
    pod.metadata.labels.as_ref()?.get(label::POD_REVISION).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(one: Value, other: Value) -> bool {
        let template = |container: Value| {
            let text = json!({"spec": {"containers": [container]}});
            normal(serde_json::from_value(text).unwrap())
        };
        template(one) == template(other)
    }

    #[test]
    fn what_clients_add_or_leave_out_is_no_change() {
        let plain = json!({"name": "c", "image": "i"});
        for (added, unchanged) in [
            (json!({"resources": {}}), true),
            (json!({"resources": {"limits": {}}, "env": [], "imagePullPolicy": "Always"}), true),
            (json!({"resources": {"limits": {"cpu": "1"}}}), false),
            (json!({"env": [{"name": "A"}]}), false),
            (json!({"imagePullPolicy": "Never"}), false),
        ] {
            let mut other = plain.clone();
            other.as_object_mut().unwrap().extend(added.as_object().unwrap().clone());
            assert_eq!(same(plain.clone(), other), unchanged, "{added}");
        }
    }

    #[test]
    fn an_empty_selector_is_not_an_absent_one() {
        let of = |term: Value| {
            let affinity = json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}});
            normal(serde_json::from_value(json!({"spec": {"containers": [], "affinity": affinity}})).unwrap())
        };
        let with = of(json!({"topologyKey": "zone", "labelSelector": {}}));
        assert_ne!(with, of(json!({"topologyKey": "zone"})));
    }
}
