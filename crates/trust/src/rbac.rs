//! Roles and bindings that users write (`rbac.authorization.k8s.io/v1`), and the decision by them. Pure.
//!
//! ```text
//!   Subject ──► bindings that name it ──► roles that these name ──► rules ──► one covers the request?
//! ```
//!
//! Source: `plugin/pkg/auth/authorizer/rbac` and `pkg/registry/rbac/validation` of Kubernetes.

mod cover;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use api::{
    Resource,
    k8s_openapi::api::rbac::v1::{PolicyRule, RoleRef, Subject as Named},
    kinds::{
        ClusterRole, ClusterRoleBinding, Role, RoleBinding, ServiceAccount,
        grant::{USER, USERS},
    },
};

pub use self::cover::{uncovered, written};
use crate::{
    attributes::Attributes,
    subject::{SERVICE_ACCOUNT_PREFIX, Subject},
};

/// Matches everything in a list of a rule.
const ALL: &str = "*";

/// Every role and binding. A clone shares what it holds.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    /// By namespace, none for cluster roles, and name.
    roles: HashMap<Option<String>, HashMap<String, Arc<[PolicyRule]>>>,
    /// By namespace, none for cluster role bindings, and name, in which order they are asked.
    bindings: BTreeMap<Option<String>, BTreeMap<String, Arc<Binding>>>,
}

/// A binding of any scope.
#[derive(Debug)]
struct Binding {
    role: RoleRef,
    subjects: Vec<Named>,
}

/// A rule that a subject has, and from where.
struct Held<'a> {
    rule: &'a PolicyRule,
    namespace: Option<&'a str>,
    name: &'a str,
    binding: &'a Binding,
    subject: &'a Named,
}

impl Policies {
    /// Puts a role of a namespace.
    pub fn put_role(&mut self, role: Role) {
        let (namespace, name) = (role.metadata.namespace, role.metadata.name.unwrap_or_default());
        self.put_rules(namespace, name, role.rules);
    }

    /// Puts a cluster role.
    pub fn put_cluster_role(&mut self, role: ClusterRole) {
        self.put_rules(None, role.metadata.name.unwrap_or_default(), role.rules);
    }

    fn put_rules(&mut self, namespace: Option<String>, name: String, rules: Option<Vec<PolicyRule>>) {
        self.roles.entry(namespace).or_default().insert(name, rules.unwrap_or_default().into());
    }

    /// Puts a binding of a namespace.
    pub fn put_role_binding(&mut self, binding: RoleBinding) {
        let (namespace, name) = (binding.metadata.namespace, binding.metadata.name.unwrap_or_default());
        let binding = Binding { role: binding.role_ref, subjects: binding.subjects.unwrap_or_default() };
        self.bindings.entry(namespace).or_default().insert(name, Arc::new(binding));
    }

    /// Puts a binding for the whole cluster.
    pub fn put_cluster_role_binding(&mut self, binding: ClusterRoleBinding) {
        let name = binding.metadata.name.unwrap_or_default();
        let binding = Binding { role: binding.role_ref, subjects: binding.subjects.unwrap_or_default() };
        self.bindings.entry(None).or_default().insert(name, Arc::new(binding));
    }

    /// Removes a role; without a namespace a cluster role.
    pub fn remove_role(&mut self, namespace: Option<String>, name: &str) {
        self.roles.entry(namespace).and_modify(|roles| drop(roles.remove(name)));
    }

    /// Removes a binding; without a namespace one for the whole cluster.
    pub fn remove_binding(&mut self, namespace: Option<String>, name: &str) {
        self.bindings.entry(namespace).and_modify(|bindings| drop(bindings.remove(name)));
    }

    /// Why the request is allowed; nothing when no rule allows it.
    pub(crate) fn allows(&self, subject: &Subject, request: &Attributes<'_>) -> Option<String> {
        self.held(subject, request.namespace).find(|held| covers(held.rule, request)).map(|held| held.to_string())
    }

    /// The rules that a subject has: everywhere, and in the namespace unless it is empty.
    pub fn rules<'a>(&'a self, subject: &'a Subject, namespace: &'a str) -> impl Iterator<Item = &'a PolicyRule> {
        self.held(subject, namespace).map(|held| held.rule)
    }

    fn held<'a>(&'a self, subject: &'a Subject, namespace: &'a str) -> impl Iterator<Item = Held<'a>> {
        // A token that is limited to scopes has what these allow and nothing more.
        let places = subject.scopes.is_none().then(|| [None, (!namespace.is_empty()).then(|| namespace.to_owned())]);
        let mut places: Vec<_> = places.into_iter().flatten().collect();
        places.dedup();
        let bindings = places.into_iter().filter_map(|place| self.bindings.get_key_value(&place));
        let all =
            bindings.flat_map(|(place, bindings)| bindings.iter().map(move |(name, binding)| (place, name, binding)));
        all.flat_map(move |(place, name, binding)| {
            let namespace = place.as_deref();
            let named = binding.subjects.iter().find(|named| is_named(subject, named, namespace));
            let rules = named.and_then(|_| self.rules_of(&binding.role, namespace)).unwrap_or_default();
            rules
                .iter()
                .zip(std::iter::repeat(named))
                .filter_map(move |(rule, named)| named.map(|subject| Held { rule, namespace, name, binding, subject }))
        })
    }

    /// The rules of a role that a binding of the namespace names; nothing when there is no such role.
    fn rules_of(&self, role: &RoleRef, namespace: Option<&str>) -> Option<&[PolicyRule]> {
        let place = if role.kind == Role::KIND { Some(namespace?.to_owned()) } else { None };
        self.roles.get(&place)?.get(&role.name).map(|rules| &**rules)
    }
}

impl std::fmt::Display for Held<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Binding { role, .. } = self.binding;
        match self.namespace {
            Some(namespace) => write!(f, "RBAC: allowed by RoleBinding \"{}/{namespace}\"", self.name)?,
            None => write!(f, "RBAC: allowed by ClusterRoleBinding {:?}", self.name)?,
        }
        write!(f, " of {} {:?} to {} {:?}", role.kind, role.name, self.subject.kind, self.subject.name)
    }
}

/// Whether a subject of a binding in a namespace is this one.
fn is_named(subject: &Subject, named: &Named, namespace: Option<&str>) -> bool {
    match named.kind.as_str() {
        USER => named.name == subject.user,
        USERS => subject.in_group(&named.name),
        ServiceAccount::KIND => {
            let own = named.namespace.as_deref().filter(|own| !own.is_empty()).or(namespace);
            let account = subject.user.strip_prefix(SERVICE_ACCOUNT_PREFIX).and_then(|account| account.split_once(':'));
            own.is_some() && account == own.map(|own| (own, named.name.as_str()))
        }
        _ => false,
    }
}

/// Whether the rule allows the request.
fn covers(rule: &PolicyRule, request: &Attributes<'_>) -> bool {
    if !has(&rule.verbs, request.verb) {
        return false;
    }
    let list = |list: &'_ Option<Vec<String>>| -> Vec<String> { list.clone().unwrap_or_default() };
    if let Some(path) = request.non_resource_path {
        return list(&rule.non_resource_urls).iter().any(|pattern| cover::path(pattern, path));
    }
    let names = rule.resource_names.as_deref().unwrap_or_default();
    has(rule.api_groups.as_deref().unwrap_or_default(), request.group)
        && rule
            .resources
            .iter()
            .flatten()
            .any(|pattern| cover::resource(pattern, request.resource, request.subresource))
        && (names.is_empty() || names.iter().any(|name| name == request.name))
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|item| item == ALL || item == wanted)
}

#[cfg(test)]
mod tests;
