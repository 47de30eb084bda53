//! `rbac.authorization.k8s.io/v1 Role`: what may be done in its namespace.

pub use k8s_openapi::api::rbac::v1::Role;

use super::grant;
use crate::{Column, FieldError, meta::NameRule};

kubernetes_kind!(Role, plural: "roles", singular: "role", scope: Namespaced {
    const FIELDS: &'static crate::fields::Shape = &crate::fields::ROLE;
    const NAMES: NameRule = NameRule::PathSegment;
    const NAMED_ROWS: bool = false;

    fn validate(&self, _old: Option<&Self>) -> Vec<FieldError> {
        grant::rule_errors(self.rules.as_deref(), true)
    }

    fn columns() -> Vec<Column<Self>> {
        grant::role_columns()
    }
});
