//! `v1 PersistentVolumeClaim`.

use k8s_openapi::api::core::v1::PersistentVolumeClaimStatus;

pub use k8s_openapi::api::core::v1::PersistentVolumeClaim;

use crate::{Column, FieldError, quantity};

/// Annotation with the name of the node that holds the claim's volume (Kubernetes' name for it). Set
/// once, before the first pod with the claim is bound; from then on the claim's pods run there only.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

/// The node that holds the claim's volume; `None` while no pod with the claim has been placed.
#[must_use]
pub fn selected_node(claim: &PersistentVolumeClaim) -> Option<&str> {
    let annotations = claim.metadata.annotations.as_ref()?;
    annotations.get(SELECTED_NODE).map(String::as_str).filter(|node| !node.is_empty())
}

kubernetes_kind!(PersistentVolumeClaim, plural: "persistentvolumeclaims", singular: "persistentvolumeclaim", scope: Namespaced {
    const FIELDS: &'static crate::fields::Shape = &crate::fields::PERSISTENT_VOLUME_CLAIM;
    const SHORT_NAMES: &'static [&'static str] = &["pvc"];
    const HAS_STATUS: bool = true;

    fn apply_defaults(&mut self) {
        let spec = self.spec.get_or_insert_default();
        spec.volume_mode.get_or_insert_with(|| "Filesystem".into());
        spec.access_modes.get_or_insert_with(|| vec!["ReadWriteOnce".into()]);
        let status = self.status.get_or_insert_with(PersistentVolumeClaimStatus::default);
        status.phase.get_or_insert_with(|| "Pending".into());
    }

    fn validate(&self, _old: Option<&Self>) -> Vec<FieldError> {
        let request = self.spec.as_ref().and_then(|spec| spec.resources.as_ref()?.requests.as_ref()?.get("storage"));
        match request.map(|request| quantity::units(&request.0)) {
            Some(Ok(_)) => Vec::new(),
            Some(Err(error)) => vec![FieldError::invalid("spec.resources.requests.storage", error.to_string())],
            None => vec![FieldError::required("spec.resources.requests.storage", "say how much storage is wanted, such as 1Gi")],
        }
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::text("Status", "Pending, Bound or Lost", |claim: &Self, _| claim.status.as_ref().and_then(|s| s.phase.clone()).into()),
            Column::text("Volume", "Volume behind the claim", |claim: &Self, _| claim.spec.as_ref().and_then(|s| s.volume_name.clone()).into()),
            Column::text("Capacity", "Size of the volume", |claim: &Self, _| {
                claim.status.as_ref().and_then(|s| s.capacity.as_ref()?.get("storage")).map(|size| size.0.clone()).into()
            }),
        ]
    }
});
