//! Where a pod's claims let it run: a volume lies on one node and never moves.

use std::collections::{BTreeMap, BTreeSet};

use api::{
    ObjectKey,
    kinds::{PersistentVolumeClaim, Pod, persistent_volume_claim::selected_node},
    names::{annotation::SELECTED_NODE, finalizer::VOLUME_DATA},
};

use crate::workloads::health;

/// Access mode of claims that one pod at a time may use.
const ONE_POD: &str = "ReadWriteOncePod";

/// All claims, and what is known of their nodes beyond what they say.
pub(crate) struct Claims<'a> {
    claims: BTreeMap<ObjectKey, &'a PersistentVolumeClaim>,
    /// Nodes of pods that use a claim, and those that this pass has chosen.
    nodes: BTreeMap<ObjectKey, String>,
    /// Claims that a pod with a node uses.
    used: BTreeSet<ObjectKey>,
}

/// What a pod's claims say of its place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// The nodes where the claims lie, with the claims. With more than one the pod can run nowhere.
    pub(crate) nodes: BTreeMap<String, Vec<String>>,
    /// Claims that lie nowhere yet.
    pub(crate) unplaced: Vec<ObjectKey>,
}

impl Place {
    /// Whether the claims let the pod run there.
    pub(crate) fn allows(&self, node: &str) -> bool {
        self.nodes.keys().all(|wanted| wanted == node)
    }

    /// Which claims lie where, for a person; nothing if none lies anywhere.
    pub(crate) fn told(&self) -> String {
        let each = |(node, claims): (&String, &Vec<String>)| format!("{} on node {node}", claims.join(" and "));
        let all: Vec<_> = self.nodes.iter().map(each).collect();
        if all.is_empty() { String::new() } else { format!(" (volumes: {})", all.join(", ")) }
    }
}

/// The claims that a pod mounts.
pub(crate) fn claims_of(pod: &Pod) -> Vec<ObjectKey> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or(api::meta::DEFAULT_NAMESPACE);
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let names = volumes.filter_map(|volume| volume.persistent_volume_claim.as_ref());
    names.map(|source| ObjectKey::namespaced(namespace, source.claim_name.clone())).collect()
}

impl<'a> Claims<'a> {
    /// Takes in all claims and pods.
    pub(crate) fn new(claims: &'a [PersistentVolumeClaim], pods: &[Pod]) -> Self {
        let claims = claims.iter().map(|claim| (ObjectKey::of(claim), claim)).collect();
        let mut this = Self { claims, nodes: BTreeMap::new(), used: BTreeSet::new() };
        for pod in pods.iter().filter(|pod| !health::has_ended(pod)) {
            if let Some(node) = health::node(pod) {
                this.take(pod, node);
            }
        }
        this
    }

    /// Remembers that a pod runs, or will run, on a node.
    pub(crate) fn take(&mut self, pod: &Pod, node: &str) {
        for key in claims_of(pod) {
            self.nodes.entry(key.clone()).or_insert_with(|| node.to_owned());
            self.used.insert(key);
        }
    }

    /// Where the pod's claims let it run; `only` is the node of a cluster of one.
    ///
    /// # Errors
    /// A claim that keeps the pod from running anywhere, in the words of Kubernetes.
    pub(crate) fn place(&self, pod: &Pod, only: Option<&str>) -> Result<Place, String> {
        let mut place = Place::default();
        for key in claims_of(pod) {
            let name = &key.name;
            let Some(claim) = self.claims.get(&key) else {
                return Err(format!("persistentvolumeclaim \"{name}\" not found"));
            };
            if claim.metadata.deletion_timestamp.is_some() {
                return Err(format!("persistentvolumeclaim \"{name}\" is being deleted"));
            }
            if self.used.contains(&key) && is_for_one_pod(claim) {
                return Err(format!("persistentvolumeclaim \"{name}\" is {ONE_POD} and another pod uses it"));
            }
            let known = selected_node(claim).or_else(|| self.nodes.get(&key).map(String::as_str));
            match known.or_else(|| only.filter(|_| holds_data(claim))) {
                Some(node) => place.nodes.entry(node.to_owned()).or_default().push(name.clone()),
                None if holds_data(claim) => {
                    return Err(format!(
                        "persistentvolumeclaim \"{name}\" has a volume on a node that has not told so yet: start that node"
                    ));
                }
                None => place.unplaced.push(key),
            }
        }
        Ok(place)
    }

    /// The pod's claims that do not say their node yet, with the node: to be written before the pod is bound.
    pub(crate) fn placed(&self, pod: &Pod, node: &str) -> Vec<PersistentVolumeClaim> {
        let keys: BTreeSet<_> = claims_of(pod).into_iter().collect();
        let silent = keys.iter().filter_map(|key| self.claims.get(key)).filter(|claim| selected_node(claim).is_none());
        silent
            .map(|claim| {
                let mut placed = (*claim).clone();
                let annotations = placed.metadata.annotations.get_or_insert_default();
                annotations.insert(SELECTED_NODE.to_owned(), node.to_owned());
                placed
            })
            .collect()
    }
}

/// Whether a node has made the claim's volume, or was about to.
fn holds_data(claim: &PersistentVolumeClaim) -> bool {
    VOLUME_DATA.holds(&claim.metadata)
}

fn is_for_one_pod(claim: &PersistentVolumeClaim) -> bool {
    let modes = claim.spec.iter().flat_map(|spec| spec.access_modes.iter().flatten());
    modes.into_iter().any(|mode| mode == ONE_POD)
}
