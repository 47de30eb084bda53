//! Which pods to create and which to delete, now.

use std::collections::BTreeMap;

use api::{
    kinds::{ControllerRevision, DaemonSet, Node, Pod, workload::share},
    names::label::POD_REVISION,
};
use jiff::Timestamp;

use super::{
    nodes::{self, Fit},
    status::status,
    view::{Place, View},
};
use crate::{
    controller::Next,
    step::Step,
    workloads::{
        health, history, ownership,
        template::{self, PodNames},
    },
};

/// Most pods that are created or deleted in one pass; the changes bring the next one.
const BURST: usize = 250;
/// Old revisions that are kept when the set does not say.
const HISTORY_LIMIT: i32 = 10;

/// A set, what is in its namespace, and the nodes.
pub(super) struct Observed {
    pub(super) set: DaemonSet,
    pub(super) pods: Vec<Pod>,
    pub(super) revisions: Vec<ControllerRevision>,
    pub(super) nodes: Vec<Node>,
    pub(super) now: Timestamp,
}

/// The next steps, and when to look again.
pub(super) fn plan(observed: &Observed) -> (Vec<Step>, Next) {
    let set = &observed.set;
    let Some(spec) = set.spec.as_ref().filter(|_| set.metadata.deletion_timestamp.is_none()) else {
        return (Vec::new(), Next::OnChange);
    };
    let selector = ownership::selector(&spec.selector);
    let owned = ownership::sort(set, selector.as_ref(), &observed.pods, |_| true);
    let kept = ownership::sort(set, selector.as_ref(), &observed.revisions, |_| true);
    let adopted: Vec<Step> = owned.steps.into_iter().chain(kept.steps).collect();
    if !adopted.is_empty() {
        return (adopted, Next::OnChange);
    }
    let collisions = set.status.as_ref().and_then(|status| status.collision_count);
    let current = history::current(set, &spec.template, &kept.objects, &observed.revisions, collisions);
    let view = View {
        set,
        places: places(set, &observed.nodes, &owned.objects),
        current,
        min_ready: health::seconds(spec.min_ready_seconds),
        now: observed.now,
    };
    let mut steps: Vec<Step> = view.current.step.iter().cloned().collect();
    let managed = manage(&view, observed, &owned.objects);
    let is_busy = !managed.is_empty();
    steps.extend(managed);
    if !is_busy {
        steps.extend(roll(&view, &observed.pods));
    }
    let limit = spec.revision_history_limit.unwrap_or(HISTORY_LIMIT);
    steps.extend(history::prune(&kept.objects, &view.current, &owned.objects, limit));
    let changed = DaemonSet { status: Some(status(&view)), ..set.clone() };
    if changed.status != set.status {
        steps.push(Step::replace_status(&changed));
    }
    let waits = owned.objects.iter().filter_map(|pod| health::until_available(pod, view.min_ready, observed.now));
    let next = waits.filter(|wait| !wait.is_zero()).map(Next::After).fold(Next::OnChange, Next::sooner);
    (steps, next)
}

/// The nodes, each with the set's pods there.
fn places<'a>(set: &DaemonSet, nodes: &'a [Node], pods: &'a [Pod]) -> Vec<Place<'a>> {
    let spec = set.spec.as_ref().and_then(|spec| spec.template.spec.clone()).unwrap_or_default();
    let mut by_node = BTreeMap::<&str, Vec<&Pod>>::new();
    for pod in pods {
        if let Some(node) = nodes::target(pod) {
            by_node.entry(node).or_default().push(pod);
        }
    }
    let place = |node: &'a Node| {
        let name = node.metadata.name.as_deref()?;
        let mut pods = by_node.remove(name).unwrap_or_default();
        pods.sort_by_key(|pod| (pod.metadata.creation_timestamp.as_ref().map(|time| time.0), &pod.metadata.name));
        Some(Place { node: name, fit: nodes::fit(node, &spec), pods })
    };
    nodes.iter().filter_map(place).collect()
}

/// Creates missing pods, deletes those that should not be there, and those that have ended.
fn manage(view: &View<'_>, observed: &Observed, owned: &[Pod]) -> Vec<Step> {
    let mut names = PodNames::new(view.set, &observed.pods);
    let (surge, _) = limits(view);
    let mut made = Vec::new();
    let mut gone = Vec::new();
    for place in &view.places {
        let alive: Vec<&Pod> = place.pods.iter().copied().filter(|pod| !health::is_terminating(pod)).collect();
        let (ended, running): (Vec<&Pod>, Vec<&Pod>) = alive.into_iter().partition(|pod| health::has_ended(pod));
        gone.extend(ended.iter().map(|pod| (*pod, true)));
        match place.fit {
            Fit::Leave => gone.extend(running.iter().map(|pod| (*pod, false))),
            // A pod that is being ended may still hold what the next one needs.
            Fit::Run if running.is_empty() && ended.is_empty() && (surge > 0 || place.pods.is_empty()) => {
                made.extend(create(view, place.node, &mut names));
            }
            Fit::Run | Fit::Keep => gone.extend(doubled(view, &running, surge).into_iter().map(|pod| (pod, false))),
        }
    }
    // Nodes that are gone are not among the places.
    let known = |pod: &&Pod| nodes::target(pod).is_some_and(|node| view.places.iter().any(|place| place.node == node));
    gone.extend(owned.iter().filter(|pod| !known(pod) && !health::is_terminating(pod)).map(|pod| (pod, false)));
    let mut steps = made;
    for (pod, failed) in gone.into_iter().take(BURST) {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        if failed {
            let news = format!("Found failed daemon pod {name}, will try to kill it");
            steps.push(Step::warning(view.set, "FailedDaemonPod", news));
        }
        steps.push(Step::delete(pod));
        steps.push(Step::normal(view.set, "SuccessfulDelete", format!("Deleted pod: {name}")));
    }
    steps
}

/// Pods of one node beyond the first. In an update with surge, an old pod stays until the new one is available.
fn doubled<'a>(view: &View<'_>, running: &[&'a Pod], surge: i32) -> Vec<&'a Pod> {
    if surge == 0 {
        return running.iter().skip(1).copied().collect();
    }
    let (new, old): (Vec<&Pod>, Vec<&Pod>) = running.iter().copied().partition(|pod| is_new(view, pod));
    let mut gone: Vec<&Pod> = new.iter().skip(1).copied().collect();
    let is_replaced = new.first().is_some_and(|pod| health::is_available(pod, view.min_ready, view.now));
    gone.extend(old.into_iter().skip(usize::from(!is_replaced)));
    gone
}

fn create(view: &View<'_>, node: &str, names: &mut PodNames<'_>) -> Vec<Step> {
    let Some(spec) = &view.set.spec else { return Vec::new() };
    let base = format!("{}-", view.set.metadata.name.as_deref().unwrap_or_default());
    let mut pod = template::pod(view.set, &spec.template, &base, names.next(&base));
    pod.metadata.labels.get_or_insert_default().insert(POD_REVISION.into(), view.current.hash.clone());
    pod.spec = pod.spec.map(|spec| nodes::spec_on(node, &spec));
    let news = format!("Created pod: {}", pod.metadata.name.as_deref().unwrap_or_default());
    vec![Step::create(&pod), Step::normal(view.set, "SuccessfulCreate", news)]
}

fn is_new(view: &View<'_>, pod: &Pod) -> bool {
    history::hash_of_pod(pod) == Some(view.current.hash.as_str())
}

/// Pods that may be there beyond one a node, and nodes that may be without an available pod.
fn limits(view: &View<'_>) -> (i32, i32) {
    let wanted = view.places.iter().filter(|place| place.fit == Fit::Run).count();
    let wanted = i32::try_from(wanted).unwrap_or(i32::MAX);
    let update = view.set.spec.as_ref().and_then(|spec| spec.update_strategy.clone()).unwrap_or_default();
    if update.type_.as_deref() == Some("OnDelete") {
        return (0, 0);
    }
    let rolling = update.rolling_update.unwrap_or_default();
    let part = |value: Option<_>| value.map(|value| share(&value, wanted, true));
    let surge = part(rolling.max_surge).unwrap_or(0);
    let missing = part(rolling.max_unavailable).unwrap_or(1);
    // One of them is not nought, or no pod could be replaced.
    (surge, if surge == 0 && missing == 0 { 1 } else { missing })
}

/// Replaces pods of old templates, as many as may be missing or be there twice.
fn roll(view: &View<'_>, pods: &[Pod]) -> Vec<Step> {
    let update = view.set.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref());
    if update.and_then(|update| update.type_.as_deref()) == Some("OnDelete") {
        return Vec::new();
    }
    let (surge, missing) = limits(view);
    if surge > 0 { surge_pods(view, surge, pods) } else { replace_pods(view, missing) }
}

fn replace_pods(view: &View<'_>, most: i32) -> Vec<Step> {
    let is_available = |pod: &Pod| health::is_available(pod, view.min_ready, view.now);
    let (mut missing, mut broken, mut good) = (0, Vec::new(), Vec::new());
    for place in view.places.iter().filter(|place| place.fit == Fit::Run) {
        match place.pods.first() {
            Some(pod) if health::is_terminating(pod) => missing += 1,
            Some(pod) if !is_new(view, pod) && is_available(pod) => good.push(*pod),
            Some(pod) if !is_new(view, pod) => {
                missing += 1;
                broken.push(*pod);
            }
            Some(pod) if is_available(pod) => {}
            _ => missing += 1,
        }
    }
    let room = usize::try_from(most - missing).unwrap_or(0);
    // Those that are missing anyway go at once.
    let gone = broken.into_iter().chain(good.into_iter().take(room)).take(BURST);
    gone.flat_map(|pod| {
        let news = format!("Deleted pod: {}", pod.metadata.name.as_deref().unwrap_or_default());
        [Step::delete(pod), Step::normal(view.set, "SuccessfulDelete", news)]
    })
    .collect()
}

fn surge_pods(view: &View<'_>, most: i32, pods: &[Pod]) -> Vec<Step> {
    let (mut doubled, mut wanting) = (0, Vec::new());
    for place in view.places.iter().filter(|place| place.fit == Fit::Run) {
        let has_new = place.pods.iter().any(|pod| is_new(view, pod) && !health::is_terminating(pod));
        let has_old = place.pods.iter().any(|pod| !is_new(view, pod));
        match (has_new, has_old) {
            (true, true) => doubled += 1,
            (false, true) => wanting.push(place.node),
            _ => {}
        }
    }
    let room = usize::try_from(most - doubled).unwrap_or(0);
    let mut names = PodNames::new(view.set, pods);
    wanting.into_iter().take(room).flat_map(|node| create(view, node, &mut names)).collect()
}

#[cfg(test)]
mod tests;
