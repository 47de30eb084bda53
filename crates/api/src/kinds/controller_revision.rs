//! `apps/v1 ControllerRevision`: one state of a workload's template, kept so that it can be had again.

pub use k8s_openapi::api::apps::v1::ControllerRevision;

use crate::{Column, FieldError};

kubernetes_kind!(ControllerRevision, plural: "controllerrevisions", singular: "controllerrevision", scope: Namespaced {
    const FIELDS: &'static crate::fields::Shape = &crate::fields::CONTROLLER_REVISION;

    fn validate(&self, old: Option<&Self>) -> Vec<FieldError> {
        let mut errors = Vec::new();
        if self.data.as_ref().is_none_or(|data| data.0.is_null()) {
            errors.push(FieldError::required("data", "a revision is of something"));
        }
        if self.revision < 0 {
            errors.push(FieldError::invalid("revision", "must not be negative"));
        }
        if old.is_some_and(|old| old.data != self.data) {
            errors.push(FieldError::immutable("data"));
        }
        errors
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::text("Controller", "Whose revision it is", |revision: &Self, _| {
                let owners = revision.metadata.owner_references.iter().flatten();
                let mut controller = owners.filter(|owner| owner.controller == Some(true)).map(|owner| {
                    let group = owner.api_version.split_once('/').map_or(String::new(), |(group, _)| format!(".{group}"));
                    format!("{}{group}/{}", owner.kind.to_lowercase(), owner.name)
                });
                Some(controller.next_back().unwrap_or_else(|| "<none>".into())).into()
            }),
            Column::text("Revision", "Place in the history", |revision: &Self, _| revision.revision.into()).integer(),
        ]
    }
});
