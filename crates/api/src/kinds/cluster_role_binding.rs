//! `rbac.authorization.k8s.io/v1 ClusterRoleBinding`: grants a cluster role to subjects, everywhere.

pub use k8s_openapi::api::rbac::v1::ClusterRoleBinding;

use super::{ServiceAccount, grant};
use crate::{Column, FieldError, meta::NameRule};

kubernetes_kind!(ClusterRoleBinding, plural: "clusterrolebindings", singular: "clusterrolebinding", scope: Cluster {
    const FIELDS: &'static crate::fields::Shape = &crate::fields::ROLE_BINDING;
    const NAMES: NameRule = NameRule::PathSegment;

    fn apply_defaults(&mut self) {
        grant::fill(&mut self.role_ref, self.subjects.as_mut());
    }

    fn validate(&self, old: Option<&Self>) -> Vec<FieldError> {
        grant::binding_errors(&self.role_ref, self.subjects.as_deref(), false, old.map(|old| &old.role_ref))
    }

    fn columns() -> Vec<Column<Self>> {
        let role = |binding: &Self, _| grant::role_text(&binding.role_ref).into();
        let users = |binding: &Self, _| grant::names_of(binding.subjects.as_deref(), grant::USER).into();
        let groups = |binding: &Self, _| grant::names_of(binding.subjects.as_deref(), grant::USERS).into();
        let accounts =
            |binding: &Self, _| grant::names_of(binding.subjects.as_deref(), ServiceAccount::KIND).into();
        vec![
            Column::text("Role", "What is granted", role),
            Column::text("Users", "Users to whom it is granted", users).wide(),
            Column::text("Groups", "Groups to whom it is granted", groups).wide(),
            Column::text("ServiceAccounts", "Service accounts to whom it is granted", accounts).wide(),
        ]
    }
});
