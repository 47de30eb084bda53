//! What becomes of a claim.

use std::time::Duration;

use api::{
    ObjectKey,
    kinds::{Node, PersistentVolumeClaim, Pod, persistent_volume_claim::selected_node},
    names::{annotation::SELECTED_NODE, finalizer::VOLUME_DATA},
};
use jiff::Timestamp;

use crate::{
    controller::Next,
    nodes::orphaned_pods::QUARANTINE,
    step::Step,
    workloads::{health, scheduler::volumes::claims_of},
};

/// How long a claim that is being deleted waits for the nodes when none of them is known to hold its volume.
pub(super) const RELEASE_AFTER: Duration = Duration::from_secs(300);
/// Time until a claim whose node is gone, or whose pods still run, is looked at again.
pub(super) const RECHECK: Duration = Duration::from_secs(30);
/// Phase of a claim whose volume is gone with its node.
const LOST: &str = "Lost";

/// A claim and what bears on it.
pub(super) struct Observed {
    pub(super) claim: PersistentVolumeClaim,
    /// The node that the claim names, if there is one of that name.
    pub(super) node: Option<Node>,
    /// All nodes, and the pods of the claim's namespace; read only when [`needs_users`] says so.
    pub(super) nodes: Vec<Node>,
    pub(super) pods: Vec<Pod>,
    pub(super) now: Timestamp,
}

/// Whether nodes and pods bear on the claim: it is to go, or has data on a node that nobody has written down.
pub(super) fn needs_users(claim: &PersistentVolumeClaim) -> bool {
    has_data(claim) && (claim.metadata.deletion_timestamp.is_some() || selected_node(claim).is_none())
}

fn has_data(claim: &PersistentVolumeClaim) -> bool {
    VOLUME_DATA.holds(&claim.metadata)
}

/// Decides. Each write is made at the version that was read; the next comes with the change that it makes.
pub(super) fn plan(observed: &Observed) -> (Vec<Step>, Next) {
    let claim = &observed.claim;
    if claim.metadata.deletion_timestamp.is_some() {
        return release(observed);
    }
    if let Some(step) = name_volume(claim).or_else(|| name_node(observed)) {
        return (vec![step], Next::OnChange);
    }
    match selected_node(claim) {
        Some(node) if observed.node.is_none() => (lose(claim, node), Next::After(RECHECK)),
        _ => (bind(claim), Next::OnChange),
    }
}

/// Gives the claim the name of its volume, which never changes.
fn name_volume(claim: &PersistentVolumeClaim) -> Option<Step> {
    let uid = claim.metadata.uid.as_ref()?;
    let mut wanted = claim.clone();
    let spec = wanted.spec.get_or_insert_default();
    if !spec.volume_name.as_deref().unwrap_or_default().is_empty() {
        return None;
    }
    spec.volume_name = Some(format!("pvc-{uid}"));
    Some(Step::replace(&wanted))
}

/// Writes down where a volume lies that was made before nodes were written down: where its pod runs.
fn name_node(observed: &Observed) -> Option<Step> {
    if !has_data(&observed.claim) || selected_node(&observed.claim).is_some() {
        return None;
    }
    let node = user(observed)?.to_owned();
    let mut wanted = observed.claim.clone();
    wanted.metadata.annotations.get_or_insert_default().insert(SELECTED_NODE.to_owned(), node);
    Some(Step::replace(&wanted))
}

/// The node of a pod that uses the claim.
fn user(observed: &Observed) -> Option<&str> {
    let key = ObjectKey::of(&observed.claim);
    let users = observed.pods.iter().filter(|pod| !health::has_ended(pod) && claims_of(pod).contains(&key));
    users.filter_map(health::node).next()
}

/// The status that promises the volume.
fn bind(claim: &PersistentVolumeClaim) -> Vec<Step> {
    let spec = claim.spec.clone().unwrap_or_default();
    let mut wanted = claim.clone();
    let status = wanted.status.get_or_insert_default();
    if status.phase.as_deref() == Some("Bound") {
        return Vec::new();
    }
    let capacity = spec.resources.unwrap_or_default().requests;
    status.phase = Some("Bound".into());
    status.access_modes = spec.access_modes;
    status.capacity = capacity.map(|all| all.into_iter().filter(|(name, _)| name == "storage").collect());
    let news = format!("bound to node-local volume {}", spec.volume_name.unwrap_or_default());
    vec![Step::replace_status(&wanted), Step::normal(claim, "ProvisioningSucceeded", news)]
}

/// Says that the volume is out of reach. The claim stays: its pods wait, and never start with an empty volume.
fn lose(claim: &PersistentVolumeClaim, node: &str) -> Vec<Step> {
    let mut lost = claim.clone();
    let status = lost.status.get_or_insert_default();
    if status.phase.as_deref() == Some(LOST) {
        return Vec::new();
    }
    status.phase = Some(LOST.into());
    let news = format!(
        "node {node}, where its volume lies, is not in the cluster: bring the node back, or delete the claim to begin with an empty volume"
    );
    vec![Step::replace_status(&lost), Step::warning(claim, "ClaimLost", news)]
}

/// Lets a claim go that no kubelet will let go: its node is gone, or no node has its volume.
fn release(observed: &Observed) -> (Vec<Step>, Next) {
    let claim = &observed.claim;
    if !has_data(claim) || observed.node.is_some() {
        return (Vec::new(), Next::OnChange);
    }
    if user(observed).is_some() {
        return (Vec::new(), Next::After(RECHECK));
    }
    let deleted = claim.metadata.deletion_timestamp.as_ref().map_or(observed.now, |time| time.0);
    let node = selected_node(claim);
    let (since, patience) = match node {
        // As long as its pods: a node that was deleted by mistake registers itself again, and deletes the volume.
        // Later than that the volume stays on its disk, whatever becomes of the claim.
        Some(_) => (Some(deleted), QUARANTINE),
        // Every node has had the time to report that it has the volume.
        None => {
            let ready = observed.nodes.iter().map(ready_since);
            (ready.chain([Some(deleted)]).reduce(latest).flatten(), RELEASE_AFTER)
        }
    };
    let Some(since) = since else { return (Vec::new(), Next::After(RECHECK)) };
    let waited = Duration::try_from(observed.now.duration_since(since)).unwrap_or_default();
    if waited < patience {
        return (Vec::new(), Next::After(patience - waited));
    }
    let mut free = claim.clone();
    VOLUME_DATA.remove(&mut free.metadata);
    let mut steps = vec![Step::replace(&free)];
    if let Some(node) = node {
        let volume = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).unwrap_or_default();
        let news = format!("node {node} is not in the cluster: volume {volume} is left on its disk");
        steps.push(Step::warning(claim, "VolumeLeftBehind", news));
    }
    (steps, Next::OnChange)
}

/// The later of two instants; never, if one of them is never.
fn latest(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    a.zip(b).map(|(a, b)| a.max(b))
}

/// Since when the node has been ready; `None` if it is not.
fn ready_since(node: &Node) -> Option<Timestamp> {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready" && condition.status == "True")?;
    Some(ready.last_transition_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0))
}

#[cfg(test)]
mod tests;
