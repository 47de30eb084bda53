//! Volumes of claims that are being deleted.
//!
//! A claim that got a volume carries a finalizer, so its object outlives the deletion until the data is gone. A volume
//! whose claim is simply not there (the API's state was lost, for example) is never touched.

use std::{sync::Arc, time::Duration};

use api::{
    ObjectKey,
    kinds::{PersistentVolumeClaim, Pod},
};
use client::{Api, BoxError, Client, Next, Reconciler, Store};

use crate::{ports::VolumeDriver, worker::volume_of};

/// Finalizer of claims with a volume on a node.
pub(crate) const FINALIZER: &str = "nanocloud.io/volume";
/// Wait for pods that still use a claim.
const RECHECK: Duration = Duration::from_secs(5);

/// Deletes volumes of claims that are being deleted.
pub(crate) struct Claims {
    pub(crate) client: Client,
    pub(crate) claims: Store<PersistentVolumeClaim>,
    pub(crate) pods: Store<Pod>,
    pub(crate) volumes: Arc<dyn VolumeDriver>,
}

/// Keys of the claims a pod uses.
pub(crate) fn claims_of(pod: &Pod) -> Vec<ObjectKey> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let volumes = pod.spec.iter().flat_map(|s| s.volumes.iter().flatten());
    let names = volumes.filter_map(|v| v.persistent_volume_claim.as_ref());
    names.map(|claim| ObjectKey::namespaced(namespace, &claim.claim_name)).collect()
}

impl Reconciler for Claims {
    const NAME: &'static str = "claims";

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, BoxError> {
        let Some(claim) = self.claims.get(key) else { return Ok(Next::OnChange) };
        let ours = claim.metadata.finalizers.iter().flatten().any(|f| f == FINALIZER);
        if claim.metadata.deletion_timestamp.is_none() || !ours {
            return Ok(Next::OnChange);
        }
        let namespace = key.namespace.as_deref().unwrap_or_default();
        if self.pods.in_namespace(namespace).iter().any(|pod| claims_of(pod).contains(key)) {
            return Ok(Next::After(RECHECK));
        }
        self.volumes.delete(&volume_of(&claim)).await?;
        let api = Api::<PersistentVolumeClaim>::of(self.client.clone(), key);
        let Some(mut fresh) = api.get_opt(&key.name).await? else { return Ok(Next::OnChange) };
        if fresh.metadata.uid != claim.metadata.uid {
            return Ok(Next::OnChange);
        }
        fresh.metadata.finalizers.get_or_insert_default().retain(|f| f != FINALIZER);
        match api.replace(&fresh).await {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(Next::OnChange),
        }
    }
}
