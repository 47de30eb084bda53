//! `rbac.authorization.k8s.io/v1 ClusterRole`: what may be done in every namespace and to the cluster, or, where a
//! `RoleBinding` names it, in one namespace.

pub use k8s_openapi::api::rbac::v1::ClusterRole;

use super::grant;
use crate::{Column, FieldError, meta::NameRule, selector::selector_errors};

kubernetes_kind!(ClusterRole, plural: "clusterroles", singular: "clusterrole", scope: Cluster {
    const FIELDS: &'static crate::fields::Shape = &crate::fields::CLUSTER_ROLE;
    const NAMES: NameRule = NameRule::PathSegment;
    const NAMED_ROWS: bool = false;

    fn validate(&self, _old: Option<&Self>) -> Vec<FieldError> {
        let mut errors = grant::rule_errors(self.rules.as_deref(), false);
        let Some(aggregation) = &self.aggregation_rule else { return errors };
        let field = "aggregationRule.clusterRoleSelectors";
        let selectors = aggregation.cluster_role_selectors.as_deref().unwrap_or_default();
        if selectors.is_empty() {
            let message = "at least one clusterRoleSelector required if aggregationRule is non-nil";
            errors.push(FieldError::required(field, message));
        }
        let each = selectors.iter().enumerate();
        errors.extend(each.flat_map(|(index, selector)| selector_errors(selector, &format!("{field}[{index}]"))));
        errors
    }

    fn columns() -> Vec<Column<Self>> {
        grant::role_columns()
    }
});
