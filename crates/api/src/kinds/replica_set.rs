//! `apps/v1 ReplicaSet`.

pub use k8s_openapi::api::apps::v1::ReplicaSet;

use k8s_openapi::api::apps::v1::{ReplicaSetSpec, ReplicaSetStatus};

use super::workload;
use crate::{Column, FieldError, Subresource};

kubernetes_kind!(ReplicaSet, plural: "replicasets", singular: "replicaset", scope: Namespaced {
    const FIELDS: &'static crate::fields::Shape = &crate::fields::workload::REPLICA_SET;
    const SHORT_NAMES: &'static [&'static str] = &["rs"];
    const CATEGORIES: &'static [&'static str] = &["all"];
    const HAS_STATUS: bool = true;
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::SCALE];

    fn apply_defaults(&mut self) {
        if let Some(spec) = &mut self.spec {
            spec.replicas.get_or_insert(1);
            spec.template.iter_mut().for_each(workload::fill_template);
        }
    }

    fn validate(&self, old: Option<&Self>) -> Vec<FieldError> {
        let Some(spec) = &self.spec else { return vec![FieldError::required("spec", "a replica set needs a spec")] };
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
            Column::text("Desired", "Pods that are wanted", |set: &Self, _| {
                set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or_default().into()
            }).integer(),
            Column::text("Current", "Pods there are", |set: &Self, _| status(set).replicas.into()).integer(),
            Column::text("Ready", "Pods that are ready", |set: &Self, _| {
                status(set).ready_replicas.unwrap_or_default().into()
            }).integer(),
        ];
        columns.extend(workload::wide_columns::<Self>(
            |set, _| workload::containers(template(set)),
            |set, _| workload::images(template(set)),
            |set, _| workload::selector_text(set.spec.as_ref().map(|spec| &spec.selector)),
        ));
        columns
    }

    fn selectable_fields(&self) -> Vec<(&'static str, String)> {
        vec![("status.replicas", status(self).replicas.to_string())]
    }
});

fn template(set: &ReplicaSet) -> Option<&k8s_openapi::api::core::v1::PodTemplateSpec> {
    set.spec.as_ref()?.template.as_ref()
}

fn status(set: &ReplicaSet) -> ReplicaSetStatus {
    set.status.clone().unwrap_or_default()
}

fn spec_errors(spec: &ReplicaSetSpec) -> Vec<FieldError> {
    let mut errors = workload::number_errors(&[
        ("spec.replicas", spec.replicas, workload::REPLICAS_MAX),
        ("spec.minReadySeconds", spec.min_ready_seconds, i32::MAX),
    ]);
    errors.extend(workload::pod_selector_errors(&spec.selector, spec.template.as_ref()));
    match &spec.template {
        None => errors.push(FieldError::required("spec.template", "say what the pods are")),
        Some(template) => errors.extend(workload::lasting_template_errors(template, &[])),
    }
    errors
}

fn status_errors(status: &ReplicaSetStatus) -> Vec<FieldError> {
    let ready = status.ready_replicas.unwrap_or_default();
    let mut errors = workload::count_errors(&[
        ("status.replicas", Some(status.replicas), i32::MAX),
        ("status.fullyLabeledReplicas", status.fully_labeled_replicas, status.replicas),
        ("status.readyReplicas", status.ready_replicas, status.replicas),
        ("status.availableReplicas", status.available_replicas, ready.min(status.replicas)),
        ("status.terminatingReplicas", status.terminating_replicas, i32::MAX),
    ]);
    errors.extend(workload::observed_error(status.observed_generation));
    errors
}
