//! Which objects are a workload's: those it controls, and those without a controller that it selects.

use api::{LabelSelector, ObjectMeta, Resource, meta::controller_reference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector as SelectorSpec, OwnerReference};

use crate::step::Step;

/// What a workload controls, and the steps by which it adopts and releases.
#[derive(Debug)]
pub(crate) struct Owned<R> {
    pub(crate) objects: Vec<R>,
    /// When there are any, the rest waits for the change that they make.
    pub(crate) steps: Vec<Step>,
}

/// The controller of an object.
pub(crate) fn controller(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

/// Whether the owner controls the object: by uid, so that a namesake's objects are never touched.
pub(crate) fn is_owned(owner: &ObjectMeta, meta: &ObjectMeta) -> bool {
    controller(meta).is_some_and(|found| Some(&found.uid) == owner.uid.as_ref())
}

/// The selector of a workload; none if it cannot be read, or selects everything.
pub(crate) fn selector(spec: &SelectorSpec) -> Option<LabelSelector> {
    LabelSelector::of(spec).ok().filter(|selector| !selector.is_empty())
}

/// Sorts the objects of the owner's namespace. `fits` says whether an object may belong to the owner at all, beside
/// what the selector says.
pub(crate) fn sort<O: Resource, R: Resource>(
    owner: &O,
    selector: Option<&LabelSelector>,
    objects: &[R],
    fits: impl Fn(&R) -> bool,
) -> Owned<R> {
    let mut owned = Owned { objects: Vec::new(), steps: Vec::new() };
    for object in objects {
        let meta = object.meta();
        let ending = meta.deletion_timestamp.is_some();
        let fits = |unknown: bool| fits(object) && selector.map_or(unknown, |all| all.matches(meta.labels.as_ref()));
        if is_owned(owner.meta(), meta) {
            // From a selector that cannot be read nothing follows.
            if ending || fits(true) {
                owned.objects.push(object.clone());
            } else {
                owned.steps.push(release(owner, object));
            }
        } else if !ending && controller(meta).is_none() && fits(false) {
            owned.steps.push(adopt(owner, object));
        }
    }
    owned
}

/// Makes the owner the controller of an object.
pub(crate) fn adopt<O: Resource, R: Resource>(owner: &O, object: &R) -> Step {
    let mut ours = object.clone();
    ours.meta_mut().owner_references.get_or_insert_default().push(controller_reference(owner));
    Step::replace(&ours)
}

fn release<O: Resource, R: Resource>(owner: &O, object: &R) -> Step {
    let mut free = object.clone();
    let owners = free.meta_mut().owner_references.get_or_insert_default();
    owners.retain(|found| Some(&found.uid) != owner.meta().uid.as_ref());
    Step::replace(&free)
}
