//! The pods and claims of a stateful set, as they should be.

use api::{
    ObjectMeta,
    kinds::{PersistentVolumeClaim, Pod, StatefulSet},
    meta::controller_reference,
};
use k8s_openapi::api::core::v1::{PersistentVolumeClaimVolumeSource, Volume};

use crate::digest;

/// Label that names the revision of the template a pod was made from.
pub(crate) const REVISION: &str = "controller-revision-hash";
/// Label with the name of the pod, for services of one pod.
const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
/// Label with the ordinal of the pod.
const POD_INDEX: &str = "apps.kubernetes.io/pod-index";
/// Characters of a revision's hash.
const HASH_LEN: usize = 10;

/// Name of the pod with this ordinal.
pub(crate) fn pod_name(set: &StatefulSet, ordinal: i32) -> String {
    format!("{}-{ordinal}", name(set))
}

/// Name of the set.
pub(crate) fn name(set: &StatefulSet) -> &str {
    set.metadata.name.as_deref().unwrap_or_default()
}

/// Ordinal of a pod of this set, from its name.
pub(crate) fn ordinal(set: &StatefulSet, pod: &Pod) -> Option<i32> {
    let digits = pod.metadata.name.as_deref()?.strip_prefix(name(set))?.strip_prefix('-')?;
    let ordinal: i32 = digits.parse().ok()?;
    // `01` and `+1` are other names than `1`.
    (ordinal >= 0 && ordinal.to_string() == digits).then_some(ordinal)
}

/// Revision of the set's pod template: equal templates have equal revisions.
pub(crate) fn revision(set: &StatefulSet) -> String {
    let template = set.spec.as_ref().map(|spec| &spec.template);
    let text = serde_json::to_string(&template).unwrap_or_default();
    format!("{}-{}", name(set), &digest::hex_of([text.as_bytes()])[..HASH_LEN])
}

/// The pod with this ordinal.
pub(crate) fn desired_pod(set: &StatefulSet, ordinal: i32, revision: &str) -> Pod {
    let Some(spec) = &set.spec else { return Pod::default() };
    let pod_name = pod_name(set, ordinal);
    let template = spec.template.metadata.clone().unwrap_or_default();
    let mut labels = template.labels.unwrap_or_default();
    labels.insert(REVISION.into(), revision.into());
    labels.insert(POD_NAME.into(), pod_name.clone());
    labels.insert(POD_INDEX.into(), ordinal.to_string());
    let mut pod_spec = spec.template.spec.clone().unwrap_or_default();
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
            annotations: template.annotations,
            finalizers: template.finalizers,
            owner_references: Some(vec![controller_reference(set)]),
            ..ObjectMeta::default()
        },
        spec: Some(pod_spec),
        status: None,
    }
}

fn claim_name(set: &StatefulSet, volume: &str, ordinal: i32) -> String {
    format!("{volume}-{}-{ordinal}", name(set))
}

/// The claims of the pod with this ordinal. They keep the owners their template names: by default
/// nobody owns them, so that they outlive the set (apps/v1 StatefulSet).
pub(crate) fn desired_claims(set: &StatefulSet, ordinal: i32) -> Vec<PersistentVolumeClaim> {
    let Some(spec) = &set.spec else { return Vec::new() };
    let selected = spec.selector.match_labels.clone().unwrap_or_default();
    let claims = spec.volume_claim_templates.iter().flatten().map(|template| {
        let volume = template.metadata.name.as_deref().unwrap_or_default();
        let mut labels = selected.clone();
        labels.extend(template.metadata.labels.clone().unwrap_or_default());
        PersistentVolumeClaim {
            metadata: ObjectMeta {
                name: Some(claim_name(set, volume, ordinal)),
                namespace: set.metadata.namespace.clone(),
                labels: Some(labels),
                annotations: template.metadata.annotations.clone(),
                owner_references: template.metadata.owner_references.clone(),
                ..ObjectMeta::default()
            },
            spec: template.spec.clone(),
            status: None,
        }
    });
    claims.collect()
}
