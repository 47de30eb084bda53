//! `v1 PersistentVolumeClaim`.

use k8s_openapi::{
    api::core::v1::{PersistentVolumeClaimSpec, PersistentVolumeClaimStatus},
    apimachinery::pkg::api::resource::Quantity,
};

pub use k8s_openapi::api::core::v1::PersistentVolumeClaim;

use crate::{
    Column, FieldError, meta::is_dns_subdomain, names::annotation::SELECTED_NODE, quantity, selector::selector_errors,
};

/// The resource that claims ask for.
const STORAGE: &str = "storage";
/// Storage class of claims whose data are encrypted at rest. There is no other class.
pub const ENCRYPTED_CLASS: &str = "encrypted";
/// Ways to mount a volume that Kubernetes knows.
const ACCESS_MODES: [&str; 4] = ["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"];

/// The node that holds the claim's volume; `None` while no pod with the claim has been placed.
#[must_use]
pub fn selected_node(claim: &PersistentVolumeClaim) -> Option<&str> {
    let annotations = claim.metadata.annotations.as_ref()?;
    annotations.get(SELECTED_NODE).map(String::as_str).filter(|node| !node.is_empty())
}

kubernetes_kind!(PersistentVolumeClaim, plural: "persistentvolumeclaims", singular: "persistentvolumeclaim", scope: Namespaced {
    const FIELDS: &'static crate::fields::Shape = &crate::fields::PERSISTENT_VOLUME_CLAIM;
    const SHORT_NAMES: &'static [&'static str] = &["pvc"];
    const SHOWN_WHEN_DELETED: bool = true;
    const HAS_STATUS: bool = true;

    fn apply_defaults(&mut self) {
        default_spec(self.spec.get_or_insert_default());
        let status = self.status.get_or_insert_with(PersistentVolumeClaimStatus::default);
        status.phase.get_or_insert_with(|| "Pending".into());
    }

    fn validate(&self, old: Option<&Self>) -> Vec<FieldError> {
        let Some(spec) = &self.spec else { return vec![FieldError::required("spec", "a claim needs a spec")] };
        let mut errors = spec_errors(spec, "spec");
        match old {
            None => errors.extend(volume_name_error(spec, "spec")),
            Some(old) => errors.extend(old.spec.as_ref().and_then(|before| change_error(before, spec))),
        }
        let capacity = self.status.iter().flat_map(|status| status.capacity.iter().flatten());
        errors.extend(capacity.filter_map(|(name, size)| {
            let error = quantity::units(&size.0).err()?;
            Some(FieldError::invalid(format!("status.capacity[{name}]"), error.to_string()))
        }));
        errors
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        let spec = self.spec.iter().filter(|_| old.is_none());
        spec.filter_map(|spec| class_warning(spec, "spec")).collect()
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::text("Status", "Pending, Bound, Lost or Terminating", |claim: &Self, _| {
                if claim.metadata.deletion_timestamp.is_some() {
                    return "Terminating".into();
                }
                claim.status.as_ref().and_then(|s| s.phase.clone()).into()
            }),
            Column::text("Volume", "Volume behind the claim", |claim: &Self, _| claim.spec.as_ref().and_then(|s| s.volume_name.clone()).into()),
            Column::text("Capacity", "Size of the volume", |claim: &Self, _| {
                claim.status.as_ref().and_then(|s| s.capacity.as_ref()?.get("storage")).map(|size| size.0.clone()).into()
            }),
        ]
    }
});

/// Fills what Kubernetes fills in the spec of a claim, and in the template of one.
pub(super) fn default_spec(spec: &mut PersistentVolumeClaimSpec) {
    spec.volume_mode.get_or_insert_with(|| "Filesystem".into());
}

/// What is wrong with the spec of a claim, or of the template of one, in `field`.
pub(super) fn spec_errors(spec: &PersistentVolumeClaimSpec, field: &str) -> Vec<FieldError> {
    let at = |name: &str| format!("{field}.{name}");
    let modes = spec.access_modes.as_deref().unwrap_or_default();
    let mut errors: Vec<_> = mode_errors(modes, &at("accessModes")).into_iter().collect();
    errors.extend(spec.selector.iter().flat_map(|selector| selector_errors(selector, &at("selector"))));
    let storage = at("resources[storage]");
    match size(spec).map(|request| quantity::units(&request.0)) {
        None => errors.push(FieldError::required(storage, "say how much storage is wanted, such as 1Gi")),
        Some(Ok(0)) => errors.push(FieldError::invalid(storage, "must be greater than zero")),
        Some(Ok(_)) => {}
        Some(Err(error)) => errors.push(FieldError::invalid(storage, error.to_string())),
    }
    let class = spec.storage_class_name.as_deref().unwrap_or_default();
    if !class.is_empty() && !is_dns_subdomain(class) {
        errors.push(FieldError::invalid(at("storageClassName"), "must be a name (RFC 1123 subdomain)"));
    }
    match spec.volume_mode.as_deref() {
        None | Some("Filesystem") => {}
        Some("Block") => {
            let message = "volumes are directories: use Filesystem";
            errors.push(FieldError::not_supported(at("volumeMode"), message));
        }
        Some(_) => errors.push(FieldError::not_supported(at("volumeMode"), "must be Filesystem")),
    }
    errors
}

fn mode_errors(modes: &[String], field: &str) -> Option<FieldError> {
    if modes.is_empty() {
        return Some(FieldError::required(field, "name at least one, such as ReadWriteOnce"));
    }
    if modes.iter().any(|mode| !ACCESS_MODES.contains(&mode.as_str())) {
        return Some(FieldError::not_supported(field, format!("must be of {}", ACCESS_MODES.join(", "))));
    }
    let alone = modes.len() > 1 && modes.iter().any(|mode| mode == "ReadWriteOncePod");
    alone.then(|| FieldError::forbidden(field, "ReadWriteOncePod excludes other modes"))
}

/// Says that a claim, or the template of one, names a class that is none here.
pub(super) fn class_warning(spec: &PersistentVolumeClaimSpec, field: &str) -> Option<String> {
    let class = spec.storage_class_name.as_deref().unwrap_or_default();
    let warning = || {
        format!(
            "{field}.storageClassName: there is no class {class:?}; the volume is a directory of its node and is not \
             encrypted (the class {ENCRYPTED_CLASS:?} is)"
        )
    };
    (!matches!(class, "" | ENCRYPTED_CLASS)).then(warning)
}

/// Refuses a claim, or the template of one, that asks for a volume by name: each claim gets a fresh one.
pub(super) fn volume_name_error(spec: &PersistentVolumeClaimSpec, field: &str) -> Option<FieldError> {
    let name = spec.volume_name.as_deref().unwrap_or_default();
    let message = "volumes are made for the claim, and none can be asked for by name: leave it out";
    (!name.is_empty()).then(|| FieldError::forbidden(format!("{field}.volumeName"), message))
}

/// Refuses a change of the spec, but for the name of the volume, which is set once.
fn change_error(before: &PersistentVolumeClaimSpec, after: &PersistentVolumeClaimSpec) -> Option<FieldError> {
    let unnamed = before.volume_name.as_deref().unwrap_or_default().is_empty();
    let without_size = |spec: &PersistentVolumeClaimSpec| {
        let mut spec = spec.clone();
        default_spec(&mut spec);
        if let Some(requests) = spec.resources.as_mut().and_then(|resources| resources.requests.as_mut()) {
            requests.remove(STORAGE);
        }
        if unnamed {
            spec.volume_name = None;
        }
        spec
    };
    if without_size(before) != without_size(after) {
        let message = "cannot change after creation: make a new claim and copy the data";
        return Some(FieldError::forbidden("spec", message));
    }
    // However it is written, `1Gi` or `1024Mi`, it is the same size.
    let same = match (size(before), size(after)) {
        (Some(one), Some(other)) => one == other || quantity::equal(&one.0, &other.0),
        (one, other) => one == other,
    };
    let message = "volumes are not resized: make a new claim of the wanted size and copy the data";
    (!same).then(|| FieldError::forbidden("spec.resources.requests.storage", message))
}

/// How much storage a claim asks for.
fn size(spec: &PersistentVolumeClaimSpec) -> Option<&Quantity> {
    spec.resources.as_ref()?.requests.as_ref()?.get(STORAGE)
}
