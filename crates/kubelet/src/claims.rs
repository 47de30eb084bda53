//! Which node has the volume of a claim, and what becomes of the volume when the claim is deleted.
//!
//! A volume is a directory of one node. The claim knows that node by an annotation, which is written (once, and only if
//! nobody else has changed the claim meanwhile) before there are data, and every node that did not write it keeps its
//! hands off. A claim that got a volume carries a finalizer, so its object outlives the deletion until the data is gone.
//! A volume whose claim is simply not there (the API's state was lost, for example) is never touched.

use std::{sync::Arc, time::Duration};

use api::{
    ObjectKey,
    kinds::{PersistentVolumeClaim, Pod},
    meta::DEFAULT_NAMESPACE,
    names::{annotation::SELECTED_NODE, finalizer::VOLUME_DATA},
};
use client::{Next, Reconciler, Severity, Store};

use crate::{
    error::{Error, Result},
    ports::{Events, PodApi, VolumeDriver},
};

/// Wait for pods that still use a claim.
const RECHECK: Duration = Duration::from_secs(5);

/// Which node has the volume of a claim, or is to have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holder<'a> {
    /// This one.
    Here,
    /// Another one.
    Elsewhere(&'a str),
    /// It is not written down: the claim was never used, or by an earlier version.
    Unknown,
}

/// Reads the node of a claim.
pub(crate) fn holder<'a>(claim: &'a PersistentVolumeClaim, node: &str) -> Holder<'a> {
    let known = claim.metadata.annotations.as_ref().and_then(|all| all.get(SELECTED_NODE));
    match known.map(String::as_str).filter(|known| !known.is_empty()) {
        None => Holder::Unknown,
        Some(known) if known == node => Holder::Here,
        Some(known) => Holder::Elsewhere(known),
    }
}

/// Why a node must not use a claim. `on_disk`: it has the claim's volume.
pub(crate) fn obstacle(claim: &PersistentVolumeClaim, node: &str, on_disk: bool) -> Option<String> {
    let volume = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).filter(|name| !name.is_empty());
    match (holder(claim, node), volume) {
        (Holder::Here, _) | (Holder::Unknown, None) => None,
        (Holder::Unknown, Some(_)) if on_disk => None,
        (Holder::Elsewhere(other), _) => {
            Some(format!("its volume is on node {other} and cannot follow the pod to node {node}"))
        }
        (Holder::Unknown, Some(volume)) => Some(format!(
            "its volume {volume} is not on node {node}, and no other node has said yet that it has it; should the \
             volume be lost, set the claim's annotation {SELECTED_NODE} to {node} to begin with an empty one"
        )),
    }
}

/// The claim as it is once this node has its volume: with node, volume and finalizer. `None`: it is so already.
pub(crate) fn held(claim: &PersistentVolumeClaim, node: &str) -> Option<PersistentVolumeClaim> {
    let mut held = claim.clone();
    held.metadata.annotations.get_or_insert_default().insert(SELECTED_NODE.to_owned(), node.to_owned());
    held.spec.get_or_insert_default().volume_name = Some(volume_of(claim));
    // A finalizer cannot be added to what is being deleted.
    if claim.metadata.deletion_timestamp.is_none() {
        VOLUME_DATA.add(&mut held.metadata);
    }
    (held != *claim).then_some(held)
}

/// Id of the volume of a claim: a claim that is made again gets a fresh volume.
pub(crate) fn volume_of(claim: &PersistentVolumeClaim) -> String {
    format!("pvc-{}", claim.metadata.uid.as_deref().unwrap_or_default())
}

/// Writes down the volumes of this node, and deletes those of claims that are being deleted.
pub(crate) struct Claims {
    pub(crate) node: String,
    pub(crate) api: Arc<dyn PodApi>,
    pub(crate) claims: Store<PersistentVolumeClaim>,
    pub(crate) pods: Store<Pod>,
    pub(crate) volumes: Arc<dyn VolumeDriver>,
    pub(crate) events: Arc<dyn Events>,
}

/// The keys that a change of a claim wakes: its own, and when it is gone that of what it left. No name has a slash.
pub(crate) fn keys_of(claim: &PersistentVolumeClaim, gone: bool) -> Vec<ObjectKey> {
    let key = ObjectKey::of(claim);
    let left = ObjectKey {
        name: format!("{}/{}", key.name, claim.metadata.uid.as_deref().unwrap_or_default()),
        ..key.clone()
    };
    if gone { vec![key, left] } else { vec![key] }
}

/// Keys of the claims a pod uses.
pub(crate) fn claims_of(pod: &Pod) -> Vec<ObjectKey> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
    let volumes = pod.spec.iter().flat_map(|s| s.volumes.iter().flatten());
    let names = volumes.filter_map(|v| v.persistent_volume_claim.as_ref());
    names.map(|claim| ObjectKey::namespaced(namespace, &claim.claim_name)).collect()
}

impl Reconciler for Claims {
    type Error = Error;

    fn name(&self) -> &'static str {
        "kubelet-claims"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next> {
        if let Some((name, uid)) = key.name.split_once('/') {
            return self.name_left(key.namespace.as_deref(), name, uid).await;
        }
        let Some(claim) = self.claims.get(key) else { return Ok(Next::OnChange) };
        match holder(&claim, &self.node) {
            Holder::Here if claim.metadata.deletion_timestamp.is_none() => self.keep(&claim).await,
            Holder::Here => self.delete(key, &claim).await,
            Holder::Elsewhere(_) => Ok(Next::OnChange),
            Holder::Unknown => self.find(&claim).await,
        }
    }

    fn is_conflict(error: &Error) -> bool {
        error.is_conflict()
    }

    async fn warn(&self, key: &ObjectKey, reason: &'static str, message: String) {
        if let Some(claim) = self.claims.get(key) {
            self.events.claim(&claim, Severity::Warning, reason, message);
        }
    }
}

impl Claims {
    /// Writes down that the claim's volume is here, if it is: an earlier version did not.
    async fn find(&self, claim: &PersistentVolumeClaim) -> Result<Next> {
        if self.volumes.holds(&volume_of(claim)).await?
            && let Some(held) = held(claim, &self.node)
        {
            self.api.replace_claim(&held).await?;
        }
        Ok(Next::OnChange)
    }

    /// Puts the finalizer back that keeps the claim as long as it has data, should somebody have taken it.
    async fn keep(&self, claim: &PersistentVolumeClaim) -> Result<Next> {
        if !VOLUME_DATA.holds(&claim.metadata) && self.volumes.holds(&volume_of(claim)).await? {
            let mut kept = claim.clone();
            VOLUME_DATA.add(&mut kept.metadata);
            self.api.replace_claim(&kept).await?;
        }
        Ok(Next::OnChange)
    }

    /// Names the volume that a claim left here when somebody took its finalizer. It is not deleted: pods may still use
    /// it, and what became of the claim is not known.
    async fn name_left(&self, namespace: Option<&str>, name: &str, uid: &str) -> Result<Next> {
        let mut claim = PersistentVolumeClaim::default();
        claim.metadata.namespace = namespace.map(str::to_owned);
        claim.metadata.name = Some(name.to_owned());
        claim.metadata.uid = Some(uid.to_owned());
        let volume = volume_of(&claim);
        if self.volumes.holds(&volume).await? {
            let message = format!(
                "the claim went without its finalizer {}: volume {volume} is left on the disk of node {}; copy what you \
                 need of it, and remove its directory",
                VOLUME_DATA.name(),
                self.node
            );
            self.events.claim(&claim, Severity::Warning, "VolumeLeftBehind", message);
        }
        Ok(Next::OnChange)
    }

    /// Deletes the volume of a claim that is being deleted and that no pod of this node uses, then lets the claim go.
    async fn delete(&self, key: &ObjectKey, claim: &PersistentVolumeClaim) -> Result<Next> {
        if !VOLUME_DATA.holds(&claim.metadata) {
            return Ok(Next::OnChange);
        }
        let namespace = key.namespace.as_deref().unwrap_or_default();
        if self.pods.in_namespace(namespace).iter().any(|pod| claims_of(pod).contains(key)) {
            return Ok(Next::After(RECHECK));
        }
        self.volumes.delete(&volume_of(claim)).await?;
        let Some(mut fresh) = self.api.claim(namespace, &key.name).await? else { return Ok(Next::OnChange) };
        if fresh.metadata.uid != claim.metadata.uid {
            return Ok(Next::OnChange);
        }
        VOLUME_DATA.remove(&mut fresh.metadata);
        self.api.replace_claim(&fresh).await?;
        Ok(Next::OnChange)
    }
}

#[cfg(test)]
mod tests;
