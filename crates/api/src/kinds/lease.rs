//! `coordination.k8s.io/v1 Lease`.

pub use k8s_openapi::api::coordination::v1::Lease;

use crate::{Column, FieldError};

kubernetes_kind!(Lease, plural: "leases", singular: "lease", scope: Namespaced {
    const FIELDS: &'static crate::fields::Shape = &crate::fields::LEASE;
    fn validate(&self, _old: Option<&Self>) -> Vec<FieldError> {
        let Some(spec) = &self.spec else { return Vec::new() };
        let mut errors = Vec::new();
        if spec.lease_duration_seconds.is_some_and(|seconds| seconds <= 0) {
            errors.push(FieldError::invalid("spec.leaseDurationSeconds", "must be at least 1"));
        }
        if spec.lease_transitions.is_some_and(|count| count < 0) {
            errors.push(FieldError::invalid("spec.leaseTransitions", "must not be negative"));
        }
        errors
    }

    fn columns() -> Vec<Column<Self>> {
        vec![Column::text("Holder", "Who holds the lease", |lease: &Self, _| {
            lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone()).into()
        })]
    }
});
