//! What a stateful set may be, and how it may change.

use std::collections::BTreeSet;

use k8s_openapi::api::{
    apps::v1::{StatefulSet, StatefulSetSpec, StatefulSetStatus},
    core::v1::PersistentVolumeClaim,
};

use super::defaults;
use crate::{
    FieldError,
    kinds::{
        persistent_volume_claim,
        workload::{self, REPLICAS_MAX, REVISIONS_MAX},
    },
    meta::is_dns_label,
};

/// Most claims of each pod.
pub const CLAIM_TEMPLATES_MAX: usize = 64;
/// Longest name: with a hyphen and ten characters behind it, it is the value of a label of each pod.
pub const NAME_MAX: usize = 52;

const NEGATIVE: &str = "must not be negative";

/// What is wrong with the spec.
pub(super) fn spec_errors(spec: &StatefulSetSpec) -> Vec<FieldError> {
    let mut errors = template_errors(spec);
    errors.extend(number_errors(spec));
    errors.extend(workload::pod_selector_errors(&spec.selector, Some(&spec.template)));
    errors.extend(strategy_errors(spec));
    let templates = spec.volume_claim_templates.as_deref().unwrap_or_default();
    errors.extend(claim_template_errors(templates));
    if !matches!(spec.pod_management_policy.as_deref(), None | Some("OrderedReady" | "Parallel")) {
        errors.push(FieldError::invalid("spec.podManagementPolicy", "must be OrderedReady or Parallel"));
    }
    let service = spec.service_name.as_deref().unwrap_or_default();
    if !service.is_empty() && !is_dns_label(service) {
        errors.push(FieldError::invalid("spec.serviceName", "must be the name of a service (RFC 1123 label)"));
    }
    let retention = spec.persistent_volume_claim_retention_policy.as_ref();
    let policies = [
        ("whenDeleted", retention.and_then(|policy| policy.when_deleted.as_deref())),
        ("whenScaled", retention.and_then(|policy| policy.when_scaled.as_deref())),
    ];
    let odd = policies.into_iter().filter(|(_, policy)| !matches!(policy, None | Some("Retain" | "Delete")));
    errors.extend(odd.map(|(name, _)| {
        let field = format!("spec.persistentVolumeClaimRetentionPolicy.{name}");
        FieldError::not_supported(field, "must be Retain or Delete")
    }));
    errors
}

fn template_errors(spec: &StatefulSetSpec) -> Vec<FieldError> {
    let claims = spec.volume_claim_templates.iter().flatten().filter_map(|claim| claim.metadata.name.as_deref());
    workload::lasting_template_errors(&spec.template, &claims.collect::<Vec<_>>())
}

fn number_errors(spec: &StatefulSetSpec) -> Vec<FieldError> {
    workload::number_errors(&[
        ("spec.replicas", spec.replicas, REPLICAS_MAX),
        ("spec.revisionHistoryLimit", spec.revision_history_limit.map(|limit| limit.max(0)), REVISIONS_MAX),
        ("spec.minReadySeconds", spec.min_ready_seconds, i32::MAX),
        // The number of the last pod must be one, too.
        ("spec.ordinals.start", spec.ordinals.as_ref().and_then(|o| o.start), i32::MAX - REPLICAS_MAX),
    ])
}

fn strategy_errors(spec: &StatefulSetSpec) -> Option<FieldError> {
    let strategy = spec.update_strategy.as_ref()?;
    let rolling = strategy.rolling_update.as_ref();
    match strategy.type_.as_deref() {
        None | Some("RollingUpdate") => {
            let partition = rolling.and_then(|rolling| rolling.partition).unwrap_or_default();
            let field = "spec.updateStrategy.rollingUpdate.partition";
            (partition < 0).then(|| FieldError::invalid(field, NEGATIVE))
        }
        Some("OnDelete") => {
            rolling.map(|_| FieldError::invalid("spec.updateStrategy.rollingUpdate", "only with type RollingUpdate"))
        }
        Some(_) => Some(FieldError::invalid("spec.updateStrategy", "type must be RollingUpdate or OnDelete")),
    }
}

fn claim_template_errors(templates: &[PersistentVolumeClaim]) -> Vec<FieldError> {
    const FIELD: &str = "spec.volumeClaimTemplates";
    let mut errors = Vec::new();
    if templates.len() > CLAIM_TEMPLATES_MAX {
        errors.push(FieldError::too_many(FIELD, templates.len(), CLAIM_TEMPLATES_MAX));
    }
    let mut names = BTreeSet::new();
    for (index, template) in templates.iter().enumerate() {
        let field = format!("{FIELD}[{index}]");
        let name = template.metadata.name.as_deref().unwrap_or_default();
        let at = format!("{field}.metadata.name");
        if name.is_empty() {
            errors.push(FieldError::required(at, "name the volume"));
        } else if !is_dns_label(name) {
            let message = "becomes the name of a volume: lower-case letters, digits or '-' (RFC 1123 label)";
            errors.push(FieldError::invalid(at, message));
        } else if !names.insert(name) {
            errors.push(FieldError::duplicate(at, format!("{name:?} names another template already")));
        }
        let spec = template.spec.clone().unwrap_or_default();
        let field = format!("{field}.spec");
        errors.extend(persistent_volume_claim::spec_errors(&spec, &field));
        errors.extend(persistent_volume_claim::volume_name_error(&spec, &field));
    }
    errors
}

/// Refuses the name of a new set whose pods could not be made.
pub(super) fn name_error(set: &StatefulSet) -> Option<FieldError> {
    let name = set.metadata.name.as_deref().unwrap_or_default();
    let message = format!("{} characters, at most {NAME_MAX} fit the labels of the set's pods", name.len());
    (name.len() > NAME_MAX).then(|| FieldError::invalid("metadata.name", message))
}

/// Refuses a change of what pods and claims of the set have in common for good.
pub(super) fn change_error(before: &StatefulSetSpec, after: &StatefulSetSpec) -> Option<FieldError> {
    if before == after {
        return None;
    }
    let mut stored = before.clone();
    defaults::fill(&mut stored);
    let changed: Vec<_> = [
        ("selector", stored.selector != after.selector),
        ("serviceName", stored.service_name.unwrap_or_default() != after.service_name.as_deref().unwrap_or_default()),
        ("podManagementPolicy", stored.pod_management_policy != after.pod_management_policy),
        ("volumeClaimTemplates", stored.volume_claim_templates.unwrap_or_default() != *templates(after)),
    ]
    .into_iter()
    .filter_map(|(name, differs)| differs.then_some(name))
    .collect();
    let message = || {
        format!(
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', \
             'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden: {} \
             differs; delete the set (--cascade=orphan keeps its pods) and create it again",
            changed.join(", ")
        )
    };
    (!changed.is_empty()).then(|| FieldError::forbidden("spec", message()))
}

fn templates(spec: &StatefulSetSpec) -> &[PersistentVolumeClaim] {
    spec.volume_claim_templates.as_deref().unwrap_or_default()
}

/// What a status cannot be.
pub(super) fn status_errors(status: &StatefulSetStatus) -> Vec<FieldError> {
    let ready = status.ready_replicas.unwrap_or_default();
    let counts = [
        ("status.replicas", Some(status.replicas), status.replicas),
        ("status.readyReplicas", status.ready_replicas, status.replicas),
        ("status.currentReplicas", status.current_replicas, status.replicas),
        ("status.updatedReplicas", status.updated_replicas, status.replicas),
        ("status.availableReplicas", status.available_replicas, ready.min(status.replicas)),
        ("status.collisionCount", status.collision_count, i32::MAX),
    ];
    let mut errors = workload::count_errors(&counts);
    errors.extend(workload::observed_error(status.observed_generation));
    errors
}
