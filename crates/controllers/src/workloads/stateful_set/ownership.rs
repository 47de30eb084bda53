//! Which pods and revisions are the set's.

use api::kinds::{ControllerRevision, Pod, StatefulSet};

use super::pods::{name, ordinal};
use crate::{
    step::Step,
    workloads::ownership::{adopt, controller, is_owned, selector, sort as sort_objects},
};

/// What the set controls, and the steps by which it adopts and releases.
#[derive(Default)]
pub(super) struct Owned {
    pub(super) pods: Vec<Pod>,
    pub(super) revisions: Vec<ControllerRevision>,
    /// When there are any, the rest waits for the change that they make.
    pub(super) steps: Vec<Step>,
}

/// Sorts what is in the set's namespace. Revisions are adopted and never released.
pub(super) fn sort(set: &StatefulSet, pods: &[Pod], revisions: &[ControllerRevision]) -> Owned {
    let selector = set.spec.as_ref().and_then(|spec| selector(&spec.selector));
    let pods = sort_objects(set, selector.as_ref(), pods, |pod| ordinal(set, pod).is_some());
    let mut owned = Owned { pods: pods.objects, revisions: Vec::new(), steps: pods.steps };
    for revision in revisions {
        let meta = &revision.metadata;
        let selects = || selector.as_ref().is_some_and(|selector| selector.matches(meta.labels.as_ref()));
        if is_owned(&set.metadata, meta) {
            owned.revisions.push(revision.clone());
        } else if is_revision_name(set, meta.name.as_deref()) && controller(meta).is_none() && selects() {
            owned.steps.push(adopt(set, revision));
        }
    }
    owned
}

fn is_revision_name(set: &StatefulSet, found: Option<&str>) -> bool {
    let hash = found.and_then(|found| found.strip_prefix(name(set))?.strip_prefix('-'));
    hash.is_some_and(|hash| !hash.contains('-'))
}
