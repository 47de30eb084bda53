//! What a stateful set is when nothing else is said.

use k8s_openapi::api::apps::v1::{StatefulSetSpec, StatefulSetUpdateStrategy};

use crate::kinds::{persistent_volume_claim, workload};

/// Fills what is left out.
pub(super) fn fill(spec: &mut StatefulSetSpec) {
    spec.replicas.get_or_insert(1);
    spec.pod_management_policy.get_or_insert_with(|| "OrderedReady".into());
    spec.revision_history_limit.get_or_insert(10);
    let strategy = spec.update_strategy.get_or_insert_with(StatefulSetUpdateStrategy::default);
    if strategy.type_.get_or_insert_with(|| "RollingUpdate".into()) == "RollingUpdate" {
        strategy.rolling_update.get_or_insert_default().partition.get_or_insert(0);
    }
    let retention = spec.persistent_volume_claim_retention_policy.get_or_insert_default();
    retention.when_deleted.get_or_insert_with(|| "Retain".into());
    retention.when_scaled.get_or_insert_with(|| "Retain".into());
    for claim in spec.volume_claim_templates.iter_mut().flatten() {
        persistent_volume_claim::default_spec(claim.spec.get_or_insert_default());
    }
    workload::fill_template(&mut spec.template);
}
