//! `apps/v1 StatefulSet`.

mod defaults;
mod validate;

pub use k8s_openapi::api::apps::v1::StatefulSet;

pub use self::validate::{CLAIM_TEMPLATES_MAX, NAME_MAX};
use super::{persistent_volume_claim, workload};
use crate::{Column, FieldError, Subresource, meta::NameRule};

kubernetes_kind!(StatefulSet, plural: "statefulsets", singular: "statefulset", scope: Namespaced {
    const FIELDS: &'static crate::fields::Shape = &crate::fields::STATEFUL_SET;
    const SHORT_NAMES: &'static [&'static str] = &["sts"];
    const CATEGORIES: &'static [&'static str] = &["all"];
    const HAS_STATUS: bool = true;
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::SCALE];
    const NAMES: NameRule = NameRule::Label;

    fn apply_defaults(&mut self) {
        if let Some(spec) = &mut self.spec {
            defaults::fill(spec);
        }
    }

    fn validate(&self, old: Option<&Self>) -> Vec<FieldError> {
        let Some(spec) = &self.spec else { return vec![FieldError::required("spec", "a stateful set needs a spec")] };
        let mut errors = validate::spec_errors(spec);
        errors.extend(self.status.iter().flat_map(validate::status_errors));
        match old {
            None => errors.extend(validate::name_error(self)),
            Some(old) => errors.extend(old.spec.as_ref().and_then(|before| validate::change_error(before, spec))),
        }
        errors
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        let template = |set: &Self| set.spec.as_ref().map(|spec| spec.template.clone());
        let mut warnings = workload::template_warnings(template(self).as_ref(), old.and_then(template).as_ref());
        let claims = self.spec.iter().filter(|_| old.is_none()).flat_map(|spec| spec.volume_claim_templates.iter().flatten());
        warnings.extend(claims.enumerate().filter_map(|(index, claim)| {
            persistent_volume_claim::class_warning(claim.spec.as_ref()?, &format!("spec.volumeClaimTemplates[{index}].spec"))
        }));
        warnings
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::text("Ready", "Ready pods of the wanted ones", |set: &Self, _| {
                let wanted = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or_default();
                let ready = set.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or_default();
                format!("{ready}/{wanted}").into()
            }),
            Column::text("Images", "Images of the containers", |set: &Self, _| {
                workload::images(set.spec.as_ref().map(|spec| &spec.template))
            }).wide(),
        ]
    }
});
