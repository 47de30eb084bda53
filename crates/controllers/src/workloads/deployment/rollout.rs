//! A deployment with its replica sets: which of them is of the current template, and how each is written.

use std::collections::BTreeMap;

use api::{
    ObjectMeta,
    kinds::{Deployment, ReplicaSet, workload::share},
    meta::controller_reference,
    names::{
        annotation::{DESIRED_REPLICAS, LAST_APPLIED, MAX_REPLICAS, REVISION, REVISION_HISTORY},
        label::POD_TEMPLATE_HASH,
    },
};
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{DeploymentSpec, ReplicaSetSpec, ReplicaSetStatus},
    core::v1::PodTemplateSpec,
};

use crate::{digest, step::Step, workloads::history};

/// Characters of the hash of a template.
const HASH_LEN: usize = 10;
/// Longest list of earlier revisions that a replica set carries, in bytes.
const HISTORY_MAX: usize = 2_000;
/// Annotations of a deployment that its replica sets do not take over.
const NOT_COPIED: [&str; 5] = [LAST_APPLIED, REVISION, REVISION_HISTORY, DESIRED_REPLICAS, MAX_REPLICAS];

/// A deployment with its replica sets.
pub(super) struct Rollout<'a> {
    pub(super) deployment: &'a Deployment,
    pub(super) spec: DeploymentSpec,
    /// The replica set of the current template.
    pub(super) new: Option<&'a ReplicaSet>,
    /// The others, oldest first.
    pub(super) old: Vec<&'a ReplicaSet>,
    pub(super) now: Timestamp,
}

impl<'a> Rollout<'a> {
    pub(super) fn of(deployment: &'a Deployment, sets: &'a [ReplicaSet], now: Timestamp) -> Self {
        let spec = deployment.spec.clone().unwrap_or_default();
        let wanted = comparable(Some(spec.template.clone()));
        let mut all: Vec<&ReplicaSet> = sets.iter().collect();
        all.sort_by_key(|set| created(set));
        let is_new = |set: &ReplicaSet| comparable(set.spec.as_ref().and_then(|spec| spec.template.clone())) == wanted;
        let new = all.iter().copied().find(|set| is_new(set));
        let old = all.into_iter().filter(|set| new.is_none_or(|new| name(new) != name(set))).collect();
        Self { deployment, spec, new, old, now }
    }

    /// All replica sets, the new one last.
    pub(super) fn all(&self) -> impl Iterator<Item = &'a ReplicaSet> {
        self.old.iter().copied().chain(self.new)
    }

    pub(super) fn is_rolling(&self) -> bool {
        self.spec.strategy.as_ref().and_then(|strategy| strategy.type_.as_deref()) != Some("Recreate")
    }

    /// How many pods are wanted.
    pub(super) fn wanted(&self) -> i32 {
        self.spec.replicas.unwrap_or(1)
    }

    /// Pods that may be there beyond the wanted ones, and pods that may be missing. One of them is not nought, or no
    /// pod could be replaced.
    fn limits(&self) -> (i32, i32) {
        if !self.is_rolling() {
            return (0, 0);
        }
        let rolling = self.spec.strategy.clone().unwrap_or_default().rolling_update.unwrap_or_default();
        let surge = rolling.max_surge.map_or(0, |value| share(&value, self.wanted(), true));
        let missing = rolling.max_unavailable.map_or(0, |value| share(&value, self.wanted(), false));
        (surge, if surge == 0 && missing == 0 { 1 } else { missing })
    }

    pub(super) fn max_surge(&self) -> i32 {
        self.limits().0
    }

    pub(super) fn max_unavailable(&self) -> i32 {
        self.limits().1.min(self.wanted())
    }

    /// Most pods that there may be.
    pub(super) fn max_total(&self) -> i32 {
        self.wanted().saturating_add(self.max_surge())
    }

    /// How many pods the new replica set may have, as far as those of the others leave room.
    pub(super) fn room_for_new(&self) -> i32 {
        let current = self.new.map_or(0, size);
        if !self.is_rolling() {
            return self.wanted();
        }
        let total: i32 = self.all().map(size).sum();
        let room = self.max_total().saturating_sub(total);
        if room <= 0 { current } else { current + room.min(self.wanted() - current).max(0) }
    }

    /// The new replica set, of a name that none of `taken` has, and how often a name was taken.
    pub(super) fn make_new(&self, taken: &[ReplicaSet]) -> (ReplicaSet, Option<i32>) {
        let mut collisions = self.deployment.status.as_ref().and_then(|status| status.collision_count);
        let deployment = name_of(&self.deployment.metadata);
        let hashed = |collisions: Option<i32>| {
            let text = serde_json::to_string(&self.spec.template).unwrap_or_default();
            let count = collisions.unwrap_or(0).to_string();
            digest::suffix_of([text.as_bytes(), count.as_bytes()], HASH_LEN)
        };
        let mut hash = hashed(collisions);
        while taken.iter().any(|set| name(set) == format!("{deployment}-{hash}")) {
            collisions = Some(collisions.unwrap_or(0).saturating_add(1));
            hash = hashed(collisions);
        }
        let mut template = self.spec.template.clone();
        let meta = template.metadata.get_or_insert_default();
        meta.labels.get_or_insert_default().insert(POD_TEMPLATE_HASH.into(), hash.clone());
        let labels = meta.labels.clone();
        let mut selector = self.spec.selector.clone();
        selector.match_labels.get_or_insert_default().insert(POD_TEMPLATE_HASH.into(), hash.clone());
        let set = ReplicaSet {
            metadata: ObjectMeta {
                name: Some(format!("{deployment}-{hash}")),
                namespace: self.deployment.metadata.namespace.clone(),
                labels,
                owner_references: Some(vec![controller_reference(self.deployment)]),
                ..ObjectMeta::default()
            },
            spec: Some(ReplicaSetSpec {
                min_ready_seconds: self.spec.min_ready_seconds,
                replicas: Some(self.room_for_new()),
                selector,
                template: Some(template),
            }),
            status: None,
        };
        (self.described(&self.sized(&set, self.room_for_new())), collisions)
    }

    /// The revision of the current template: one more than that of all others.
    fn next_revision(&self) -> i64 {
        self.old.iter().map(|set| revision(&set.metadata)).max().unwrap_or(0) + 1
    }

    /// The new replica set as it should be described.
    fn described(&self, set: &ReplicaSet) -> ReplicaSet {
        let mut set = set.clone();
        let copied = self.deployment.metadata.annotations.iter().flatten();
        let copied = copied.filter(|(key, _)| !NOT_COPIED.contains(&key.as_str()));
        let revision = (revision(&set.metadata), self.next_revision());
        let annotations = set.metadata.annotations.get_or_insert_default();
        annotations.extend(copied.map(|(key, value)| (key.clone(), value.clone())));
        if revision.0 < revision.1 {
            let before = annotations.insert(REVISION.into(), revision.1.to_string());
            if let Some(before) = before.filter(|before| !before.is_empty()) {
                remember(annotations, &before);
            }
        }
        if let Some(spec) = &mut set.spec {
            spec.min_ready_seconds = self.spec.min_ready_seconds;
        }
        set
    }

    /// The steps that bring description and revision of the new replica set, and the revision of the deployment, up to
    /// date. The rest waits for them.
    pub(super) fn describe(&self) -> Vec<Step> {
        let Some(found) = self.new else { return Vec::new() };
        let mut steps = Vec::new();
        let set = self.described(found);
        if set != *found {
            steps.push(Step::replace(&set));
        }
        let number = set.metadata.annotations.as_ref().and_then(|all| all.get(REVISION)).cloned();
        let known = self.deployment.metadata.annotations.as_ref().and_then(|all| all.get(REVISION)).cloned();
        if number != known {
            let mut deployment = self.deployment.clone();
            let annotations = deployment.metadata.annotations.get_or_insert_default();
            annotations.insert(REVISION.into(), number.unwrap_or_default());
            steps.push(Step::replace(&deployment));
        }
        steps
    }

    /// A replica set with this size, which notes the size of the deployment.
    fn sized(&self, set: &ReplicaSet, size: i32) -> ReplicaSet {
        let mut set = set.clone();
        if let Some(spec) = &mut set.spec {
            spec.replicas = Some(size);
        }
        let annotations = set.metadata.annotations.get_or_insert_default();
        annotations.insert(DESIRED_REPLICAS.into(), self.wanted().to_string());
        annotations.insert(MAX_REPLICAS.into(), self.max_total().to_string());
        set
    }

    /// The steps that give a replica set this size; none if it has it.
    pub(super) fn scale(&self, set: &ReplicaSet, to: i32) -> Vec<Step> {
        let (from, sized) = (size(set), self.sized(set, to));
        if sized == *set {
            return Vec::new();
        }
        let mut steps = vec![Step::replace(&sized)];
        if from != to {
            let direction = if from < to { "up" } else { "down" };
            let news = format!("Scaled {direction} replica set {} from {from} to {to}", name(set));
            steps.push(Step::normal(self.deployment, "ScalingReplicaSet", news));
        }
        steps
    }
}

/// A template as it is compared with others: without the hash, and with all defaults.
fn comparable(template: Option<PodTemplateSpec>) -> Option<PodTemplateSpec> {
    let mut template = history::normal(template?);
    if let Some(labels) = template.metadata.as_mut().and_then(|meta| meta.labels.as_mut()) {
        labels.remove(POD_TEMPLATE_HASH);
    }
    Some(template)
}

/// Notes an earlier revision, and forgets the first when the list becomes too long.
fn remember(annotations: &mut BTreeMap<String, String>, revision: &str) {
    let known = annotations.get(REVISION_HISTORY).cloned().unwrap_or_default();
    let mut all: Vec<&str> = known.split(',').filter(|known| !known.is_empty() && *known != revision).collect();
    all.push(revision);
    let mut text = all.join(",");
    while text.len() > HISTORY_MAX {
        all.remove(0);
        text = all.join(",");
    }
    annotations.insert(REVISION_HISTORY.into(), text);
}

/// When an object was made; one that has just been made is the last. Equal times go by name.
pub(super) fn created(set: &ReplicaSet) -> (Option<Timestamp>, String) {
    (set.metadata.creation_timestamp.as_ref().map(|time| time.0), name(set).to_owned())
}

pub(super) fn name(set: &ReplicaSet) -> &str {
    name_of(&set.metadata)
}

fn name_of(meta: &ObjectMeta) -> &str {
    meta.name.as_deref().unwrap_or_default()
}

/// How many pods a replica set is to have.
pub(super) fn size(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// What a replica set reports.
pub(super) fn report(set: &ReplicaSet) -> ReplicaSetStatus {
    set.status.clone().unwrap_or_default()
}

/// How many pods of a replica set are available.
pub(super) fn available(set: &ReplicaSet) -> i32 {
    report(set).available_replicas.unwrap_or(0)
}

/// The number in an annotation.
pub(super) fn number(set: &ReplicaSet, annotation: &str) -> Option<i32> {
    set.metadata.annotations.as_ref()?.get(annotation)?.parse().ok()
}

/// The revision of a replica set; nought if it has none.
pub(super) fn revision(meta: &ObjectMeta) -> i64 {
    let text = meta.annotations.as_ref().and_then(|all| all.get(REVISION));
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}
