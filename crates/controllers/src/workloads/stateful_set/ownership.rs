//! Which pods and revisions are the set's: those it controls, and those nobody controls that it selects.

use api::{
    LabelSelector, ObjectMeta, Resource,
    kinds::{ControllerRevision, Pod, StatefulSet},
    meta::controller_reference,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector as SelectorSpec, OwnerReference};

use super::pods::{name, ordinal};
use crate::{step::Step, workloads::health};

/// What the set controls, and the steps by which it takes on or gives up.
#[derive(Default)]
pub(super) struct Owned {
    pub(super) pods: Vec<Pod>,
    pub(super) revisions: Vec<ControllerRevision>,
    /// When there are any, the rest waits for the change that they make.
    pub(super) steps: Vec<Step>,
}

/// Who controls an object.
fn controller(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

/// Whether the set controls the object: by uid, so that a namesake's are never touched.
fn is_owned(set: &StatefulSet, meta: &ObjectMeta) -> bool {
    controller(meta).is_some_and(|owner| Some(&owner.uid) == set.metadata.uid.as_ref())
}

/// Sorts what is in the set's namespace.
pub(super) fn sort(set: &StatefulSet, pods: &[Pod], revisions: &[ControllerRevision]) -> Owned {
    let mut owned = Owned::default();
    let selector = set.spec.as_ref().and_then(|spec| selector(&spec.selector));
    // Of a selector that cannot be read, or that selects everything, nothing follows.
    let selects = |meta: &ObjectMeta, unknown: bool| {
        selector.as_ref().map_or(unknown, |selector| selector.matches(meta.labels.as_ref()))
    };
    for pod in pods {
        let named = ordinal(set, pod).is_some();
        if is_owned(set, &pod.metadata) {
            if named && selects(&pod.metadata, true) || health::is_terminating(pod) {
                owned.pods.push(pod.clone());
            } else {
                owned.steps.push(give_up(set, pod));
            }
        } else if named
            && selects(&pod.metadata, false)
            && controller(&pod.metadata).is_none()
            && !health::is_terminating(pod)
        {
            owned.steps.push(take_on(set, pod));
        }
    }
    for revision in revisions {
        let prefixed = revision.metadata.name.as_deref().is_some_and(|found| is_revision_name(set, found));
        if is_owned(set, &revision.metadata) {
            owned.revisions.push(revision.clone());
        } else if prefixed && controller(&revision.metadata).is_none() && selects(&revision.metadata, false) {
            owned.steps.push(take_on(set, revision));
        }
    }
    owned
}

fn selector(spec: &SelectorSpec) -> Option<LabelSelector> {
    let empty =
        spec.match_labels.iter().flatten().next().is_none() && spec.match_expressions.iter().flatten().next().is_none();
    LabelSelector::of(spec).ok().filter(|_| !empty)
}

fn is_revision_name(set: &StatefulSet, found: &str) -> bool {
    found.strip_prefix(name(set)).and_then(|rest| rest.strip_prefix('-')).is_some_and(|hash| !hash.contains('-'))
}

fn take_on<R: Resource>(set: &StatefulSet, object: &R) -> Step {
    let mut ours = object.clone();
    ours.meta_mut().owner_references.get_or_insert_default().push(controller_reference(set));
    Step::replace(&ours)
}

fn give_up(set: &StatefulSet, pod: &Pod) -> Step {
    let mut free = pod.clone();
    let owners = free.metadata.owner_references.get_or_insert_default();
    owners.retain(|owner| Some(&owner.uid) != set.metadata.uid.as_ref());
    Step::replace(&free)
}
