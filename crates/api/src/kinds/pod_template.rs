//! `v1 PodTemplate`: a template that clients keep; no controller acts on it, as in Kubernetes.

pub use k8s_openapi::api::core::v1::PodTemplate;

use super::{pod, workload};
use crate::{Column, FieldError, Path};

kubernetes_kind!(PodTemplate, plural: "podtemplates", singular: "podtemplate", scope: Namespaced {
    const FIELDS: &'static crate::fields::Shape = &crate::fields::workload::POD_TEMPLATE_OBJECT;
    const SHOWN_WHEN_DELETED: bool = true;
    const NAMED_ROWS: bool = false;

    fn apply_defaults(&mut self) {
        self.template.iter_mut().for_each(workload::fill_template);
    }

    fn validate(&self, old: Option<&Self>) -> Vec<FieldError> {
        let path = Path::ROOT.field("template");
        match &self.template {
            None => vec![FieldError::required(path, "a pod template needs a template")],
            Some(_) if old.is_some_and(|old| old.template == self.template) => Vec::new(),
            Some(template) => pod::check_template(template, &[], &path),
        }
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        let spec = |template: &Self| template.template.as_ref().and_then(|template| template.spec.clone());
        match spec(self) {
            Some(new) if old.and_then(spec).as_ref() != Some(&new) => {
                pod::spec_warnings(&new, &Path::ROOT.field("template.spec"))
            }
            _ => Vec::new(),
        }
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::text("Name", "Name of the object", |template: &Self, _| template.metadata.name.clone().into()),
            Column::text("Containers", "Names of the containers", |template: &Self, _| {
                workload::containers(template.template.as_ref())
            }),
            Column::text("Images", "Images of the containers", |template: &Self, _| {
                workload::images(template.template.as_ref())
            }),
            Column::text("Pod Labels", "Labels of the pods", |template: &Self, _| {
                let labels = workload::labels(template.template.as_ref()).into_iter().flatten();
                let all: Vec<_> = labels.map(|(key, value)| format!("{key}={value}")).collect();
                if all.is_empty() { "<none>".into() } else { all.join(",").into() }
            }),
        ]
    }
});
