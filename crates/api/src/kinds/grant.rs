//! What the four kinds of `rbac.authorization.k8s.io/v1` have in common: rules, references and subjects.
//!
//! Source: `pkg/apis/rbac/validation` and `pkg/apis/rbac/v1/defaults.go` of Kubernetes.

use k8s_openapi::api::rbac::v1::{PolicyRule, RoleRef, Subject};

use super::{ClusterRole, Role, ServiceAccount};
use crate::{Column, ColumnDefinition, FieldError, Resource, meta};

/// The API group of roles and bindings, and of the subjects that are no objects.
pub const GROUP: &str = Role::GROUP;
/// A subject that is a user.
pub const USER: &str = "User";
/// A subject that is a group of users.
pub const USERS: &str = "Group";

/// Most combinations of a verb with a resource of a group, or with a path, that the rules of a role may have: each is
/// compared with what the author of the role holds.
const COMBINATIONS_MAX: usize = 16_384;

/// What is wrong with the rules of a role. A role of a namespace cannot speak of paths.
pub(super) fn rule_errors(rules: Option<&[PolicyRule]>, namespaced: bool) -> Vec<FieldError> {
    let rules = rules.unwrap_or_default();
    let count = rules.iter().map(combinations).fold(0, usize::saturating_add);
    let message =
        format!("{count} combinations of a verb with a resource or path, at most {COMBINATIONS_MAX} are allowed");
    let too_many = FieldError { message, ..FieldError::too_many("rules", count, COMBINATIONS_MAX) };
    let too_many = (count > COMBINATIONS_MAX).then_some(too_many);
    let rules = rules.iter().enumerate();
    let errors = rules.flat_map(|(index, rule)| one_rule_errors(rule, namespaced, &format!("rules[{index}]")));
    too_many.into_iter().chain(errors).collect()
}

fn combinations(rule: &PolicyRule) -> usize {
    let count = |list: &Option<Vec<String>>| list.as_ref().map_or(0, Vec::len);
    let names = count(&rule.resource_names).max(1);
    let resources = count(&rule.api_groups).saturating_mul(count(&rule.resources)).saturating_mul(names);
    rule.verbs.len().saturating_mul(resources.saturating_add(count(&rule.non_resource_urls)))
}

fn one_rule_errors(rule: &PolicyRule, namespaced: bool, field: &str) -> Vec<FieldError> {
    let is_set = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let mut errors = Vec::new();
    if rule.verbs.is_empty() {
        errors.push(FieldError::required(format!("{field}.verbs"), "verbs must contain at least one value"));
    }
    if is_set(&rule.non_resource_urls) {
        let field = format!("{field}.nonResourceURLs");
        if namespaced {
            errors.push(FieldError::invalid(&field, "namespaced rules cannot apply to non-resource URLs"));
        }
        if is_set(&rule.api_groups) || is_set(&rule.resources) || is_set(&rule.resource_names) {
            let message = "rules cannot apply to both regular resources and non-resource URLs";
            errors.push(FieldError::invalid(field, message));
        }
        return errors;
    }
    if !is_set(&rule.api_groups) {
        let message = "resource rules must supply at least one api group";
        errors.push(FieldError::required(format!("{field}.apiGroups"), message));
    }
    if !is_set(&rule.resources) {
        let message = "resource rules must supply at least one resource";
        errors.push(FieldError::required(format!("{field}.resources"), message));
    }
    errors
}

/// Fills the API groups of what a binding names.
pub(super) fn fill(role: &mut RoleRef, subjects: Option<&mut Vec<Subject>>) {
    let none = |group: &Option<String>| group.as_deref().unwrap_or_default().is_empty();
    if none(&role.api_group) {
        role.api_group = Some(GROUP.into());
    }
    for subject in subjects.into_iter().flatten().filter(|subject| [USER, USERS].contains(&subject.kind.as_str())) {
        if none(&subject.api_group) {
            subject.api_group = Some(GROUP.into());
        }
    }
}

/// What is wrong with a binding: with its role, its subjects, and with a change of its role.
pub(super) fn binding_errors(
    role: &RoleRef,
    subjects: Option<&[Subject]>,
    namespaced: bool,
    before: Option<&RoleRef>,
) -> Vec<FieldError> {
    let mut errors = role_errors(role, namespaced);
    for (index, subject) in subjects.unwrap_or_default().iter().enumerate() {
        errors.extend(subject_errors(subject, namespaced, &format!("subjects[{index}]")));
    }
    if before.is_some_and(|before| before != role) {
        errors.push(FieldError::invalid("roleRef", "cannot change roleRef"));
    }
    errors
}

fn role_errors(role: &RoleRef, namespaced: bool) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if role.api_group.as_deref() != Some(GROUP) {
        errors.push(FieldError::not_supported("roleRef.apiGroup", format!("supported values: {GROUP:?}")));
    }
    if role.kind != ClusterRole::KIND && !(namespaced && role.kind == Role::KIND) {
        let supported = if namespaced { "\"ClusterRole\", \"Role\"" } else { "\"ClusterRole\"" };
        errors.push(FieldError::not_supported("roleRef.kind", format!("supported values: {supported}")));
    }
    if role.name.is_empty() {
        errors.push(FieldError::required("roleRef.name", "name the role that is bound"));
    } else if !meta::is_path_segment(&role.name) {
        errors.push(FieldError::invalid("roleRef.name", meta::NameRule::PathSegment.words()));
    }
    errors
}

fn subject_errors(subject: &Subject, namespaced: bool, field: &str) -> Vec<FieldError> {
    let group = subject.api_group.as_deref().unwrap_or_default();
    let of_group = |wanted: &str| {
        let message = format!("supported values: {wanted:?}");
        (group != wanted).then(|| FieldError::not_supported(format!("{field}.apiGroup"), message))
    };
    let mut errors = Vec::new();
    if subject.name.is_empty() {
        errors.push(FieldError::required(format!("{field}.name"), "name the subject"));
    }
    match subject.kind.as_str() {
        ServiceAccount::KIND => {
            if !subject.name.is_empty() && !meta::is_dns_subdomain(&subject.name) {
                errors.push(FieldError::invalid(format!("{field}.name"), meta::NameRule::Subdomain.words()));
            }
            errors.extend(of_group(""));
            if !namespaced && subject.namespace.as_deref().unwrap_or_default().is_empty() {
                let message = "name the namespace of the service account";
                errors.push(FieldError::required(format!("{field}.namespace"), message));
            }
        }
        USER | USERS => errors.extend(of_group(GROUP)),
        _ => {
            let message = "supported values: \"ServiceAccount\", \"User\", \"Group\"";
            errors.push(FieldError::not_supported(format!("{field}.kind"), message));
        }
    }
    errors
}

/// The columns of roles: the name, and when it was created.
pub(super) fn role_columns<R: Resource>() -> Vec<Column<R>> {
    let name = |role: &R, _| role.meta().name.clone().into();
    let created = |role: &R, _| role.meta().creation_timestamp.as_ref().map(|time| time.0.to_string()).into();
    vec![
        Column { definition: ColumnDefinition::name(), cell: name },
        Column::text("Created At", "When it was created", created),
    ]
}

/// The role of a binding, as tables show it.
pub(super) fn role_text(role: &RoleRef) -> String {
    format!("{}/{}", role.kind, role.name)
}

/// The names of a binding's subjects of a kind, as tables show them.
pub(super) fn names_of(subjects: Option<&[Subject]>, kind: &str) -> String {
    let of_kind = subjects.unwrap_or_default().iter().filter(|subject| subject.kind == kind);
    let name = |subject: &Subject| match subject.namespace.as_deref().unwrap_or_default() {
        namespace if kind == ServiceAccount::KIND => format!("{namespace}/{}", subject.name),
        _ => subject.name.clone(),
    };
    of_kind.map(name).collect::<Vec<_>>().join(", ")
}
