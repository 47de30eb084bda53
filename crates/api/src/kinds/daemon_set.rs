//! `apps/v1 DaemonSet`.

pub use k8s_openapi::api::apps::v1::DaemonSet;

use k8s_openapi::{
    api::{
        apps::v1::{DaemonSetSpec, DaemonSetStatus, DaemonSetUpdateStrategy},
        core::v1::PodTemplateSpec,
    },
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::workload;
use crate::{Column, FieldError};

kubernetes_kind!(DaemonSet, plural: "daemonsets", singular: "daemonset", scope: Namespaced {
    const FIELDS: &'static crate::fields::Shape = &crate::fields::workload::DAEMON_SET;
    const SHORT_NAMES: &'static [&'static str] = &["ds"];
    const CATEGORIES: &'static [&'static str] = &["all"];
    const HAS_STATUS: bool = true;

    fn apply_defaults(&mut self) {
        let Some(spec) = &mut self.spec else { return };
        spec.revision_history_limit.get_or_insert(10);
        let update = spec.update_strategy.get_or_insert_with(DaemonSetUpdateStrategy::default);
        if update.type_.get_or_insert_with(|| "RollingUpdate".into()) == "RollingUpdate" {
            let rolling = update.rolling_update.get_or_insert_default();
            rolling.max_unavailable.get_or_insert(IntOrString::Int(1));
            rolling.max_surge.get_or_insert(IntOrString::Int(0));
        }
        workload::fill_template(&mut spec.template);
    }

    fn validate(&self, old: Option<&Self>) -> Vec<FieldError> {
        let Some(spec) = &self.spec else { return vec![FieldError::required("spec", "a daemon set needs a spec")] };
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
            Column::text("Desired", "Nodes that should run a pod", |set: &Self, _| {
                status(set).desired_number_scheduled.into()
            }).integer(),
            Column::text("Current", "Nodes that have a pod", |set: &Self, _| {
                status(set).current_number_scheduled.into()
            }).integer(),
            Column::text("Ready", "Nodes whose pod is ready", |set: &Self, _| status(set).number_ready.into()).integer(),
            Column::text("Up-to-date", "Nodes whose pod is of the current template", |set: &Self, _| {
                status(set).updated_number_scheduled.unwrap_or_default().into()
            }).integer(),
            Column::text("Available", "Nodes whose pod has been ready long enough", |set: &Self, _| {
                status(set).number_available.unwrap_or_default().into()
            }).integer(),
            Column::text("Node Selector", "Labels of the nodes", |set: &Self, _| {
                let labels = template(set).and_then(|template| template.spec.as_ref()?.node_selector.clone());
                let labels: Vec<_> = labels.into_iter().flatten().map(|(key, value)| format!("{key}={value}")).collect();
                (if labels.is_empty() { "<none>".to_owned() } else { labels.join(",") }).into()
            }),
        ];
        columns.extend(workload::wide_columns::<Self>(
            |set, _| workload::containers(template(set)),
            |set, _| workload::images(template(set)),
            |set, _| workload::selector_text(set.spec.as_ref().map(|spec| &spec.selector)),
        ));
        columns
    }
});

fn template(set: &DaemonSet) -> Option<&PodTemplateSpec> {
    set.spec.as_ref().map(|spec| &spec.template)
}

fn status(set: &DaemonSet) -> DaemonSetStatus {
    set.status.clone().unwrap_or_default()
}

fn spec_errors(spec: &DaemonSetSpec) -> Vec<FieldError> {
    let mut errors = workload::number_errors(&[
        ("spec.minReadySeconds", spec.min_ready_seconds, i32::MAX),
        ("spec.revisionHistoryLimit", spec.revision_history_limit, workload::REVISIONS_MAX),
    ]);
    errors.extend(workload::pod_selector_errors(&spec.selector, Some(&spec.template)));
    errors.extend(workload::lasting_template_errors(&spec.template, &[]));
    errors.extend(spec.update_strategy.iter().flat_map(strategy_errors));
    errors
}

fn strategy_errors(strategy: &DaemonSetUpdateStrategy) -> Vec<FieldError> {
    const FIELD: &str = "spec.updateStrategy.rollingUpdate";
    match strategy.type_.as_deref() {
        None | Some("RollingUpdate") => {
            let rolling = strategy.rolling_update.clone().unwrap_or_default();
            let (missing, extra) = (rolling.max_unavailable.as_ref(), rolling.max_surge.as_ref());
            let unavailable = format!("{FIELD}.maxUnavailable");
            let mut errors: Vec<_> = workload::share_errors(missing, Some(100), &unavailable).into_iter().collect();
            errors.extend(workload::share_errors(extra, Some(100), &format!("{FIELD}.maxSurge")));
            match (workload::is_none(missing), workload::is_none(extra)) {
                (true, true) => {
                    let message = "cannot be 0 when maxSurge is 0: no pod could be replaced";
                    errors.push(FieldError::invalid(unavailable, message));
                }
                (false, false) => {
                    let message = "may not be set when maxUnavailable is non-zero";
                    errors.push(FieldError::invalid(format!("{FIELD}.maxSurge"), message));
                }
                _ => {}
            }
            errors
        }
        Some("OnDelete") => Vec::new(),
        Some(_) => vec![FieldError::not_supported("spec.updateStrategy.type", "must be RollingUpdate or OnDelete")],
    }
}

fn status_errors(status: &DaemonSetStatus) -> Vec<FieldError> {
    let mut errors = workload::count_errors(&[
        ("status.currentNumberScheduled", Some(status.current_number_scheduled), i32::MAX),
        ("status.numberMisscheduled", Some(status.number_misscheduled), i32::MAX),
        ("status.desiredNumberScheduled", Some(status.desired_number_scheduled), i32::MAX),
        ("status.numberReady", Some(status.number_ready), i32::MAX),
        ("status.updatedNumberScheduled", status.updated_number_scheduled, i32::MAX),
        ("status.numberAvailable", status.number_available, i32::MAX),
        ("status.numberUnavailable", status.number_unavailable, i32::MAX),
        ("status.collisionCount", status.collision_count, i32::MAX),
    ]);
    errors.extend(workload::observed_error(status.observed_generation));
    errors
}
