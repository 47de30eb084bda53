//! `v1 ReplicationController`.

pub use k8s_openapi::api::core::v1::ReplicationController;

use k8s_openapi::{
    api::core::v1::{PodTemplateSpec, ReplicationControllerSpec, ReplicationControllerStatus},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};

use super::workload;
use crate::{Column, FieldError, Subresource};

kubernetes_kind!(ReplicationController, plural: "replicationcontrollers", singular: "replicationcontroller", scope: Namespaced {
    const FIELDS: &'static crate::fields::Shape = &crate::fields::workload::REPLICATION_CONTROLLER;
    const SHORT_NAMES: &'static [&'static str] = &["rc"];
    const CATEGORIES: &'static [&'static str] = &["all"];
    const HAS_STATUS: bool = true;
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::SCALE];

    /// Without a selector, the labels of the template are it; without labels, those of the template are it, too.
    fn apply_defaults(&mut self) {
        let Some(spec) = &mut self.spec else { return };
        spec.replicas.get_or_insert(1);
        spec.template.iter_mut().for_each(workload::fill_template);
        if let Some(labels) = workload::labels(spec.template.as_ref()).filter(|labels| !labels.is_empty()) {
            if spec.selector.as_ref().is_none_or(|selector| selector.is_empty()) {
                spec.selector = Some(labels.clone());
            }
            if self.metadata.labels.as_ref().is_none_or(|own| own.is_empty()) {
                self.metadata.labels = Some(labels.clone());
            }
        }
    }

    fn validate(&self, _old: Option<&Self>) -> Vec<FieldError> {
        let Some(spec) = &self.spec else { return vec![FieldError::required("spec", "a controller needs a spec")] };
        let mut errors = spec_errors(spec);
        errors.extend(self.status.iter().flat_map(status_errors));
        errors
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        workload::template_warnings(template(self), old.and_then(template))
    }

    fn columns() -> Vec<Column<Self>> {
        let mut columns = vec![
            Column::text("Desired", "Pods that are wanted", |controller: &Self, _| {
                controller.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or_default().into()
            }).integer(),
            Column::text("Current", "Pods there are", |controller: &Self, _| {
                status(controller).replicas.into()
            }).integer(),
            Column::text("Ready", "Pods that are ready", |controller: &Self, _| {
                status(controller).ready_replicas.unwrap_or_default().into()
            }).integer(),
        ];
        columns.extend(workload::wide_columns::<Self>(
            |controller, _| workload::containers(template(controller)),
            |controller, _| workload::images(template(controller)),
            |controller, _| workload::selector_text(controller.spec.as_ref().map(selector).as_ref()),
        ));
        columns
    }

    fn selectable_fields(&self) -> Vec<(&'static str, String)> {
        vec![("status.replicas", status(self).replicas.to_string())]
    }
});

fn template(controller: &ReplicationController) -> Option<&PodTemplateSpec> {
    controller.spec.as_ref()?.template.as_ref()
}

fn status(controller: &ReplicationController) -> ReplicationControllerStatus {
    controller.status.clone().unwrap_or_default()
}

/// The labels that select the pods, as the selector that later kinds have.
pub fn selector(spec: &ReplicationControllerSpec) -> LabelSelector {
    LabelSelector { match_labels: spec.selector.clone(), match_expressions: None }
}

fn spec_errors(spec: &ReplicationControllerSpec) -> Vec<FieldError> {
    let mut errors = workload::number_errors(&[
        ("spec.replicas", spec.replicas, workload::REPLICAS_MAX),
        ("spec.minReadySeconds", spec.min_ready_seconds, i32::MAX),
    ]);
    errors.extend(workload::pod_selector_errors(&selector(spec), spec.template.as_ref()));
    match &spec.template {
        None => errors.push(FieldError::required("spec.template", "say what the pods are")),
        Some(template) => errors.extend(workload::lasting_template_errors(template, &[])),
    }
    errors
}

fn status_errors(status: &ReplicationControllerStatus) -> Vec<FieldError> {
    let ready = status.ready_replicas.unwrap_or_default();
    let mut errors = workload::count_errors(&[
        ("status.replicas", Some(status.replicas), i32::MAX),
        ("status.fullyLabeledReplicas", status.fully_labeled_replicas, status.replicas),
        ("status.readyReplicas", status.ready_replicas, status.replicas),
        ("status.availableReplicas", status.available_replicas, ready.min(status.replicas)),
    ]);
    errors.extend(workload::observed_error(status.observed_generation));
    errors
}
