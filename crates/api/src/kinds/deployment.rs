//! `apps/v1 Deployment`.

pub use k8s_openapi::api::apps::v1::Deployment;

use k8s_openapi::{
    api::{
        apps::v1::{DeploymentSpec, DeploymentStatus, DeploymentStrategy},
        core::v1::PodTemplateSpec,
    },
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::workload;
use crate::{Column, FieldError, Subresource, meta::NameRule};

/// Share of the pods that may be missing, or be there beyond the wanted ones, when the deployment does not say.
const SHARE: &str = "25%";
/// Old replica sets that are kept when the deployment does not say.
const HISTORY_LIMIT: i32 = 10;
/// Seconds without progress after which a rollout counts as stuck, when the deployment does not say.
const PROGRESS_DEADLINE: i32 = 600;

kubernetes_kind!(Deployment, plural: "deployments", singular: "deployment", scope: Namespaced {
    const FIELDS: &'static crate::fields::Shape = &crate::fields::workload::DEPLOYMENT;
    const SHORT_NAMES: &'static [&'static str] = &["deploy"];
    const CATEGORIES: &'static [&'static str] = &["all"];
    const HAS_STATUS: bool = true;
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::SCALE];
    const NAMES: NameRule = NameRule::Subdomain;

    fn apply_defaults(&mut self) {
        if let Some(spec) = &mut self.spec {
            fill(spec);
        }
    }

    fn validate(&self, old: Option<&Self>) -> Vec<FieldError> {
        let Some(spec) = &self.spec else { return vec![FieldError::required("spec", "a deployment needs a spec")] };
        let mut errors = spec_errors(spec);
        errors.extend(self.status.iter().flat_map(status_errors));
        let before = old.and_then(|old| old.spec.as_ref());
        errors.extend(before.and_then(|before| workload::selector_change(&before.selector, &spec.selector)));
        errors
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        workload::template_warnings(template(self), old.and_then(template))
    }

    fn columns() -> Vec<Column<Self>> {
        let mut columns = vec![
            Column::text("Ready", "Ready pods of the wanted ones", |deployment: &Self, _| {
                let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or_default();
                format!("{}/{wanted}", status(deployment).ready_replicas.unwrap_or_default()).into()
            }),
            Column::text("Up-to-date", "Pods of the current template", |deployment: &Self, _| {
                status(deployment).updated_replicas.unwrap_or_default().into()
            }).integer(),
            Column::text("Available", "Pods that have been ready long enough", |deployment: &Self, _| {
                status(deployment).available_replicas.unwrap_or_default().into()
            }).integer(),
        ];
        columns.extend(workload::wide_columns::<Self>(
            |deployment, _| workload::containers(template(deployment)),
            |deployment, _| workload::images(template(deployment)),
            |deployment, _| workload::selector_text(deployment.spec.as_ref().map(|spec| &spec.selector)),
        ));
        columns
    }
});

fn template(deployment: &Deployment) -> Option<&PodTemplateSpec> {
    deployment.spec.as_ref().map(|spec| &spec.template)
}

fn status(deployment: &Deployment) -> DeploymentStatus {
    deployment.status.clone().unwrap_or_default()
}

fn fill(spec: &mut DeploymentSpec) {
    spec.replicas.get_or_insert(1);
    spec.revision_history_limit.get_or_insert(HISTORY_LIMIT);
    spec.progress_deadline_seconds.get_or_insert(PROGRESS_DEADLINE);
    let strategy = spec.strategy.get_or_insert_with(DeploymentStrategy::default);
    if strategy.type_.get_or_insert_with(|| "RollingUpdate".into()) == "RollingUpdate" {
        let rolling = strategy.rolling_update.get_or_insert_default();
        rolling.max_unavailable.get_or_insert_with(|| IntOrString::String(SHARE.into()));
        rolling.max_surge.get_or_insert_with(|| IntOrString::String(SHARE.into()));
    }
    workload::fill_template(&mut spec.template);
}

fn spec_errors(spec: &DeploymentSpec) -> Vec<FieldError> {
    let mut errors = workload::number_errors(&[
        ("spec.replicas", spec.replicas, workload::REPLICAS_MAX),
        ("spec.minReadySeconds", spec.min_ready_seconds, i32::MAX),
        ("spec.revisionHistoryLimit", spec.revision_history_limit, workload::REVISIONS_MAX),
        ("spec.progressDeadlineSeconds", spec.progress_deadline_seconds, i32::MAX),
    ]);
    let deadline = spec.progress_deadline_seconds.filter(|seconds| *seconds >= 0);
    if deadline.is_some_and(|seconds| seconds <= spec.min_ready_seconds.unwrap_or_default()) {
        let message = "must be greater than minReadySeconds";
        errors.push(FieldError::invalid("spec.progressDeadlineSeconds", message));
    }
    errors.extend(workload::pod_selector_errors(&spec.selector, Some(&spec.template)));
    errors.extend(workload::lasting_template_errors(&spec.template, &[]));
    errors.extend(spec.strategy.iter().flat_map(strategy_errors));
    errors
}

fn strategy_errors(strategy: &DeploymentStrategy) -> Vec<FieldError> {
    const FIELD: &str = "spec.strategy.rollingUpdate";
    let rolling = strategy.rolling_update.clone().unwrap_or_default();
    match strategy.type_.as_deref() {
        None | Some("RollingUpdate") => {
            let (missing, extra) = (rolling.max_unavailable.as_ref(), rolling.max_surge.as_ref());
            let mut errors: Vec<_> =
                workload::share_errors(missing, Some(100), &format!("{FIELD}.maxUnavailable")).into_iter().collect();
            errors.extend(workload::share_errors(extra, None, &format!("{FIELD}.maxSurge")));
            if workload::is_none(missing) && workload::is_none(extra) {
                let message = "may not be 0 when maxSurge is 0: no pod could be replaced";
                errors.push(FieldError::invalid(format!("{FIELD}.maxUnavailable"), message));
            }
            errors
        }
        Some("Recreate") if strategy.rolling_update.is_some() => {
            vec![FieldError::forbidden(FIELD, "may not be specified when strategy type is Recreate")]
        }
        Some("Recreate") => Vec::new(),
        Some(_) => vec![FieldError::not_supported("spec.strategy.type", "must be RollingUpdate or Recreate")],
    }
}

fn status_errors(status: &DeploymentStatus) -> Vec<FieldError> {
    let replicas = status.replicas.unwrap_or_default();
    let ready = status.ready_replicas.unwrap_or_default();
    let mut errors = workload::count_errors(&[
        ("status.replicas", status.replicas, i32::MAX),
        ("status.updatedReplicas", status.updated_replicas, replicas),
        ("status.readyReplicas", status.ready_replicas, replicas),
        ("status.availableReplicas", status.available_replicas, ready.min(replicas)),
        ("status.unavailableReplicas", status.unavailable_replicas, i32::MAX),
        ("status.terminatingReplicas", status.terminating_replicas, i32::MAX),
        ("status.collisionCount", status.collision_count, i32::MAX),
    ]);
    errors.extend(workload::observed_error(status.observed_generation));
    errors
}
