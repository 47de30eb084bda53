//! `v1 Namespace`.

use k8s_openapi::api::core::v1::{NamespaceSpec, NamespaceStatus};

pub use k8s_openapi::api::core::v1::Namespace;

use crate::Column;

/// The finalizer that keeps a namespace until its contents are gone.
pub const CONTENTS_FINALIZER: &str = "kubernetes";

kubernetes_kind!(Namespace, plural: "namespaces", singular: "namespace", scope: Cluster {
    const FIELDS: &'static crate::fields::Shape = &crate::fields::NAMESPACE;
    const SHORT_NAMES: &'static [&'static str] = &["ns"];
    const HAS_STATUS: bool = true;

    fn apply_defaults(&mut self) {
        self.spec.get_or_insert_with(|| NamespaceSpec { finalizers: Some(vec![CONTENTS_FINALIZER.into()]) });
        let terminating = self.metadata.deletion_timestamp.is_some();
        let status = self.status.get_or_insert_with(NamespaceStatus::default);
        status.phase = Some(if terminating { "Terminating" } else { "Active" }.into());
    }

    fn columns() -> Vec<Column<Self>> {
        vec![Column::text("Status", "Active or Terminating", |namespace: &Self, _| {
            namespace.status.as_ref().and_then(|status| status.phase.clone()).into()
        })]
    }
});
