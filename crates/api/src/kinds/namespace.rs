//! `v1 Namespace`.

use k8s_openapi::api::core::v1::NamespaceStatus;

pub use k8s_openapi::api::core::v1::Namespace;

use crate::{
    Column, FieldError, Subresource,
    meta::{NameRule, finalizer_errors},
    names::finalizer::NAMESPACE_CONTENTS,
};

kubernetes_kind!(Namespace, plural: "namespaces", singular: "namespace", scope: Cluster {
    const FIELDS: &'static crate::fields::Shape = &crate::fields::NAMESPACE;
    const SHORT_NAMES: &'static [&'static str] = &["ns"];
    const HAS_STATUS: bool = true;
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::own("finalize", &["update"])];
    const DELETES_COLLECTION: bool = false;
    const NAMES: NameRule = NameRule::Label;

    fn apply_defaults(&mut self) {
        let terminating = self.metadata.deletion_timestamp.is_some();
        // Whatever else holds it: a namespace that lives never goes before its contents.
        let finalizers = self.spec.get_or_insert_default().finalizers.get_or_insert_default();
        if !terminating && !finalizers.iter().any(|name| NAMESPACE_CONTENTS.is(name)) {
            finalizers.push(NAMESPACE_CONTENTS.name().into());
        }
        let status = self.status.get_or_insert_with(NamespaceStatus::default);
        status.phase = Some(if terminating { "Terminating" } else { "Active" }.into());
    }

    fn validate(&self, _old: Option<&Self>) -> Vec<FieldError> {
        let finalizers = self.spec.iter().filter_map(|spec| spec.finalizers.as_deref());
        finalizers.flat_map(|list| finalizer_errors(list, "spec.finalizers")).collect()
    }

    fn columns() -> Vec<Column<Self>> {
        vec![Column::text("Status", "Active or Terminating", |namespace: &Self, _| {
            namespace.status.as_ref().and_then(|status| status.phase.clone()).into()
        })]
    }
});
