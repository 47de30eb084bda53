//! `apps/v1 StatefulSet`.

use k8s_openapi::api::apps::v1::StatefulSetUpdateStrategy;

pub use k8s_openapi::api::apps::v1::StatefulSet;

use super::pod;
use crate::{Column, FieldError, Path, selector::LabelSelector};

kubernetes_kind!(StatefulSet, plural: "statefulsets", singular: "statefulset", scope: Namespaced {
    const FIELDS: &'static crate::fields::Shape = &crate::fields::STATEFUL_SET;
    const SHORT_NAMES: &'static [&'static str] = &["sts"];
    const CATEGORIES: &'static [&'static str] = &["all"];
    const HAS_STATUS: bool = true;

    fn apply_defaults(&mut self) {
        let Some(spec) = &mut self.spec else { return };
        spec.replicas.get_or_insert(1);
        spec.pod_management_policy.get_or_insert_with(|| "OrderedReady".into());
        spec.revision_history_limit.get_or_insert(10);
        let strategy = spec.update_strategy.get_or_insert_with(StatefulSetUpdateStrategy::default);
        strategy.type_.get_or_insert_with(|| "RollingUpdate".into());
        if let Some(template) = &mut spec.template.spec {
            pod::fill_template(template);
        }
    }

    fn validate(&self, old: Option<&Self>) -> Vec<FieldError> {
        let Some(spec) = &self.spec else { return vec![FieldError::required("spec", "a stateful set needs a spec")] };
        let claims = spec.volume_claim_templates.iter().flatten().filter_map(|claim| claim.metadata.name.as_deref());
        let mut errors = pod::check_template(&spec.template, &claims.collect::<Vec<_>>(), &Path::ROOT.field("spec.template"));
        if spec.replicas.is_some_and(|replicas| replicas < 0) {
            errors.push(FieldError::invalid("spec.replicas", "must not be negative"));
        }
        let labels = spec.template.metadata.as_ref().and_then(|meta| meta.labels.as_ref());
        match LabelSelector::of(&spec.selector) {
            Err(error) => errors.push(FieldError::invalid("spec.selector", error.to_string())),
            Ok(selector) if selector.is_empty() => errors.push(FieldError::required("spec.selector", "say which pods belong to the set")),
            Ok(selector) if !selector.matches(labels) => {
                errors.push(FieldError::invalid("spec.template.metadata.labels", "must satisfy spec.selector"));
            }
            Ok(_) => {}
        }
        if let Some(before) = old.and_then(|old| old.spec.as_ref()) {
            if before.selector != spec.selector {
                errors.push(FieldError::immutable("spec.selector"));
            }
            if before.service_name != spec.service_name {
                errors.push(FieldError::immutable("spec.serviceName"));
            }
        }
        errors
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        let template = |set: &Self| set.spec.as_ref().and_then(|spec| spec.template.spec.clone());
        match template(self) {
            Some(spec) if old.and_then(template).as_ref() != Some(&spec) => {
                pod::spec_warnings(&spec, &Path::ROOT.field("spec.template.spec"))
            }
            _ => Vec::new(),
        }
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::text("Ready", "Ready pods of the wanted ones", |set: &Self, _| {
                let wanted = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or_default();
                let ready = set.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or_default();
                format!("{ready}/{wanted}").into()
            }),
            Column::text("Images", "Images of the containers", |set: &Self, _| {
                let containers = set.spec.iter().flat_map(|spec| spec.template.spec.iter().flat_map(|spec| &spec.containers));
                containers.filter_map(|container| container.image.clone()).collect::<Vec<_>>().join(",").into()
            }).wide(),
        ]
    }
});
