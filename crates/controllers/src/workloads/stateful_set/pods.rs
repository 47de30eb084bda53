//! The pods of a stateful set, as they should be.

use api::{
    ObjectMeta,
    kinds::{Pod, StatefulSet},
    meta::controller_reference,
    names::label,
};
use k8s_openapi::api::core::v1::{PersistentVolumeClaimVolumeSource, PodTemplateSpec, Volume};

/// Name of the pod with this ordinal.
pub(crate) fn pod_name(set: &StatefulSet, ordinal: i64) -> String {
    format!("{}-{ordinal}", name(set))
}

/// Name of the claim for a volume of the pod with this ordinal.
pub(super) fn claim_name(set: &StatefulSet, volume: &str, ordinal: i64) -> String {
    format!("{volume}-{}-{ordinal}", name(set))
}

/// Name of the set.
pub(crate) fn name(set: &StatefulSet) -> &str {
    set.metadata.name.as_deref().unwrap_or_default()
}

/// Ordinal of a pod of this set, from its name.
pub(crate) fn ordinal(set: &StatefulSet, pod: &Pod) -> Option<i64> {
    let digits = pod.metadata.name.as_deref()?.strip_prefix(name(set))?.strip_prefix('-')?;
    let ordinal: i32 = digits.parse().ok()?;
    // `01` and `+1` are other names than `1`.
    (ordinal >= 0 && ordinal.to_string() == digits).then_some(ordinal.into())
}

/// Name of the set that a pod of this name may belong to.
pub(crate) fn set_of(pod: &str) -> Option<&str> {
    let (set, digits) = pod.rsplit_once('-')?;
    let number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    (number && !set.is_empty()).then_some(set)
}

/// Revision of the template that a pod was made from.
pub(crate) fn revision_of(pod: &Pod) -> Option<&str> {
    pod.metadata.labels.as_ref()?.get(label::POD_REVISION).map(String::as_str)
}

/// The pod with this ordinal, from a template of this revision.
pub(crate) fn desired_pod(set: &StatefulSet, ordinal: i64, template: &PodTemplateSpec, revision: &str) -> Pod {
    let Some(spec) = &set.spec else { return Pod::default() };
    let pod_name = pod_name(set, ordinal);
    let meta = template.metadata.clone().unwrap_or_default();
    let mut labels = meta.labels.unwrap_or_default();
    labels.insert(label::POD_REVISION.into(), revision.into());
    labels.insert(label::POD_NAME.into(), pod_name.clone());
    labels.insert(label::POD_INDEX.into(), ordinal.to_string());
    let mut pod_spec = template.spec.clone().unwrap_or_default();
    pod_spec.hostname = Some(pod_name.clone());
    pod_spec.subdomain = spec.service_name.clone().filter(|name| !name.is_empty());
    let volumes = pod_spec.volumes.get_or_insert_default();
    for claim in spec.volume_claim_templates.iter().flatten() {
        let volume = claim.metadata.name.clone().unwrap_or_default();
        volumes.retain(|other| other.name != volume);
        let source =
            PersistentVolumeClaimVolumeSource { claim_name: claim_name(set, &volume, ordinal), read_only: None };
        volumes.push(Volume { name: volume, persistent_volume_claim: Some(source), ..Volume::default() });
    }
    Pod {
        metadata: ObjectMeta {
            name: Some(pod_name),
            namespace: set.metadata.namespace.clone(),
            labels: Some(labels),
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![controller_reference(set)]),
            ..ObjectMeta::default()
        },
        spec: Some(pod_spec),
        status: None,
    }
}
