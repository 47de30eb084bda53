//! Roles and bindings grant no more than their author holds.
//!
//! Source: the `policybased` storages of `pkg/registry/rbac` of Kubernetes.

use api::{
    Kind, Reason, Resource, Status,
    k8s_openapi::api::rbac::v1::PolicyRule,
    kinds::{Role, grant::GROUP},
};
use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde_json::Value;
use trust::{Attributes, rbac::written};

use super::strategy::{Objects, Strategy};
use crate::{
    api_error::{ApiError, Result},
    authorizer::Author,
    object,
};

/// `Role` and `ClusterRole`.
pub(super) struct Roles;

/// `RoleBinding` and `ClusterRoleBinding`.
pub(super) struct Bindings;

#[async_trait]
impl Strategy for Roles {
    /// A role says nothing that its author does not hold, unless the author may `escalate` it.
    async fn permit(
        &self,
        _objects: &dyn Objects,
        kind: &Kind,
        author: &Author,
        role: &Value,
        old: Option<&Value>,
    ) -> Result<()> {
        if is_same(role, old, &["rules", "aggregationRule"]) {
            return Ok(());
        }
        let escalates = verb("escalate", kind.plural(), role, object::name(role));
        if author.may(&escalates).await? {
            return Ok(());
        }
        let mut rules: Vec<PolicyRule> = parsed(role.get("rules"))?;
        if role.get("aggregationRule").is_some_and(|rule| !rule.is_null()) {
            rules.extend(everything());
        }
        holds(kind, author, role, &rules).await
    }
}

#[async_trait]
impl Strategy for Bindings {
    /// A binding grants nothing that its author does not hold, unless the author may `bind` the role.
    async fn permit(
        &self,
        objects: &dyn Objects,
        kind: &Kind,
        author: &Author,
        binding: &Value,
        old: Option<&Value>,
    ) -> Result<()> {
        if is_same(binding, old, &["roleRef", "subjects"]) {
            return Ok(());
        }
        let name = object::text(binding, "/roleRef/name");
        let namespaced = object::text(binding, "/roleRef/kind") == Role::KIND;
        let plural = if namespaced { Role::PLURAL } else { api::kinds::ClusterRole::PLURAL };
        if author.may(&verb("bind", plural, binding, name)).await? {
            return Ok(());
        }
        let place = namespaced.then(|| object::namespace(binding));
        let Some(role) = objects.find(plural, place, name).await? else {
            return Err(Status::not_found(&format!("{plural}.{GROUP}"), name).into());
        };
        holds(kind, author, binding, &parsed::<Vec<PolicyRule>>(role.get("rules"))?).await
    }
}

/// Whether an object is as it was in these fields.
fn is_same(object: &Value, old: Option<&Value>, fields: &[&str]) -> bool {
    old.is_some_and(|old| fields.iter().all(|field| old.get(field) == object.get(field)))
}

/// What a verb beyond reading and writing asks, in the namespace of an object.
fn verb<'a>(verb: &'a str, resource: &'a str, object: &'a Value, name: &'a str) -> Attributes<'a> {
    Attributes { verb, group: GROUP, resource, namespace: object::namespace(object), name, ..Attributes::default() }
}

/// The rules of those who may do everything.
fn everything() -> [PolicyRule; 2] {
    let all = || Some(vec!["*".to_owned()]);
    let verbs = || vec!["*".to_owned()];
    [
        PolicyRule { api_groups: all(), resources: all(), verbs: verbs(), ..PolicyRule::default() },
        PolicyRule { non_resource_urls: all(), verbs: verbs(), ..PolicyRule::default() },
    ]
}

fn parsed<T: DeserializeOwned + Default>(value: Option<&Value>) -> Result<T> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(T::default()) };
    T::deserialize(value).map_err(|error| ApiError::internal("the rules of a role cannot be read", error))
}

/// Refuses rules that the author does not hold where the object is.
async fn holds(kind: &Kind, author: &Author, object: &Value, rules: &[PolicyRule]) -> Result<()> {
    let lacking = author.lacks(object::namespace(object), rules).await?;
    if lacking.is_empty() {
        return Ok(());
    }
    let (name, user, groups) = (object::name(object), &author.subject.user, &author.subject.groups);
    let groups = groups.iter().map(|group| format!("{group:?}")).collect::<Vec<_>>().join(" ");
    let lacking = lacking.iter().map(written).collect::<Vec<_>>().join("\n");
    let message = format!(
        "{} {name:?} is forbidden: user {user:?} (groups=[{groups}]) is attempting to grant RBAC permissions not \
         currently held:\n{lacking}",
        kind.resource()
    );
    let refusal = Status::failure(Reason::Forbidden, message).about(&kind.resource(), name);
    Err(ApiError::from(refusal).remedy("grant what you hold yourself, or ask an administrator"))
}
