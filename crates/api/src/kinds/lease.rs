//! `coordination.k8s.io/v1 Lease`.

pub use k8s_openapi::api::coordination::v1::Lease;

use crate::Column;

kubernetes_kind!(Lease, plural: "leases", singular: "lease", scope: Namespaced {
    const FIELDS: &'static crate::fields::Shape = &crate::fields::LEASE;
    fn columns() -> Vec<Column<Self>> {
        vec![Column::text("Holder", "Who holds the lease", |lease: &Self, _| {
            lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone()).into()
        })]
    }
});
