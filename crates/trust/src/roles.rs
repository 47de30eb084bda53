//! The built-in roles: least privilege for every actor, as tables.
//!
//! Kinds that hold secrets or grants ([`CONFIDENTIAL`]) are never meant by a `*`: a rule must name
//! them.

use crate::{
    attributes::Attributes,
    scope::Scope,
    subject::{BOOTSTRAPPERS, CONTROLLERS, MONITORING, SCHEDULER, Subject},
};

/// One line of a role: any of these verbs on any of these resources or paths.
#[derive(Debug)]
pub(crate) struct Rule {
    verbs: &'static [&'static str],
    groups: &'static [&'static str],
    /// `pods`, `pods/exec`, `*` (every kind that is not confidential, without subresources),
    /// `*/status`.
    resources: &'static [&'static str],
    /// Exact paths, or prefixes that end in `*`.
    paths: &'static [&'static str],
}

/// A named set of rules.
#[derive(Debug)]
pub(crate) struct Role {
    pub(crate) name: &'static str,
    pub(crate) rules: &'static [Rule],
}

const CONFIDENTIAL: &[&str] = &["secrets", "tokens", "keyspace"];

impl Rule {
    pub(crate) fn covers(&self, request: &Attributes<'_>) -> bool {
        if !is_in(self.verbs, request.verb) {
            return false;
        }
        if let Some(path) = request.non_resource_path {
            return self.paths.iter().any(|pattern| match pattern.strip_suffix('*') {
                Some(prefix) => path.starts_with(prefix),
                None => path == *pattern,
            });
        }
        is_in(self.groups, request.group) && self.resources.iter().any(|pattern| names(pattern, request))
    }
}

fn is_in(set: &[&str], value: &str) -> bool {
    set.contains(&"*") || set.contains(&value)
}

fn names(pattern: &str, request: &Attributes<'_>) -> bool {
    let (resource, subresource) = pattern.split_once('/').unwrap_or((pattern, ""));
    let resource_named = match resource {
        "*" => !CONFIDENTIAL.contains(&request.resource),
        named => named == request.resource,
    };
    // `bundles/actions` covers `bundles/actions/start` too.
    let asked = request.subresource.split('/').next().unwrap_or_default();
    resource_named && !request.resource.is_empty() && subresource == asked
}

const fn on(
    verbs: &'static [&'static str],
    groups: &'static [&'static str],
    resources: &'static [&'static str],
) -> Rule {
    Rule { verbs, groups, resources, paths: &[] }
}

const fn paths(verbs: &'static [&'static str], paths: &'static [&'static str]) -> Rule {
    Rule { verbs, groups: &[], resources: &[], paths }
}

const ANY: &[&str] = &["*"];
const CORE: &[&str] = &[""];
const OURS: &[&str] = &["nanocloud.io"];
const READ: &[&str] = &["get", "list", "watch"];
const CHANGE: &[&str] = &["create", "update", "patch", "delete", "deletecollection"];
const UPDATE: &[&str] = &["update", "patch"];
const LOOK: &[&str] = &["get", "head"];
const WRITE_EVENTS: Rule = on(&["create", "update", "patch"], CORE, &["events"]);

/// Health and version: what anybody may ask.
pub(crate) const EVERYBODY: &[Rule] =
    &[paths(LOOK, &["/healthz", "/livez", "/readyz", "/healthz/*", "/livez/*", "/readyz/*", "/version"])];

/// Discovery, and questions about oneself.
pub(crate) const AUTHENTICATED: &[Rule] = &[
    paths(LOOK, &["/", "/api", "/api/*", "/apis", "/apis/*", "/openapi/*", "/version/*"]),
    on(&["create"], &["authorization.k8s.io"], &["selfsubjectaccessreviews", "selfsubjectrulesreviews"]),
    on(&["create"], &["authentication.k8s.io"], &["selfsubjectreviews"]),
];

/// Kubelet and node agent, for every node alike. See [`is_own_node_object`] for the rest.
pub(crate) const NODE: &[Rule] = &[
    on(READ, CORE, &["pods", "services", "configmaps", "persistentvolumeclaims", "namespaces", "nodes"]),
    on(READ, &["discovery.k8s.io"], &["endpointslices"]),
    // A pod's secrets are fetched one by one; nodes cannot list what belongs to others.
    on(&["get"], CORE, &["secrets"]),
    on(UPDATE, CORE, &["pods/status", "persistentvolumeclaims/status"]),
    // Tokens for the node's own pods; which, is checked where they are made.
    on(&["create"], CORE, &["serviceaccounts/token"]),
    // The volume a claim is bound to and the finalizer that keeps it until the volume is gone.
    on(UPDATE, CORE, &["persistentvolumeclaims"]),
    on(&["delete"], CORE, &["pods"]),
    on(&["create"], CORE, &["nodes"]),
    on(READ, OURS, &["bindings"]),
    on(UPDATE, OURS, &["bindings/status"]),
    on(&["create"], &["coordination.k8s.io"], &["leases"]),
    WRITE_EVENTS,
];

/// Whether the request changes the node's own `Node` or heartbeat `Lease`.
pub(crate) fn is_own_node_object(node: &str, request: &Attributes<'_>) -> bool {
    let own = request.name == node && request.non_resource_path.is_none();
    let change = ["get", "update", "patch"].contains(&request.verb);
    let node_itself =
        request.group.is_empty() && request.resource == "nodes" && ["", "status"].contains(&request.subresource);
    let lease =
        request.group == "coordination.k8s.io" && request.resource == "leases" && request.subresource.is_empty();
    own && change && (node_itself || lease)
}

const CONTROLLER_GROUPS: &[&str] = &["", "apps", "batch", "discovery.k8s.io", "apiextensions.k8s.io", "nanocloud.io"];
const WORKLOAD_GROUPS: &[&str] = &["apps", "batch"];

const CONTROLLERS_ROLE: Role = Role {
    name: CONTROLLERS,
    rules: &[
        // Garbage collection reads and deletes children of every kind.
        on(READ, ANY, &["*"]),
        on(&["delete", "deletecollection"], ANY, &["*"]),
        // Finalizers and owner references of every kind that controllers look after.
        on(UPDATE, CONTROLLER_GROUPS, &["*", "*/status", "*/finalize"]),
        // Custom resources are in groups of any name.
        on(UPDATE, ANY, &["*"]),
        on(
            &["create"],
            CONTROLLER_GROUPS,
            &[
                "bindings",
                "bundles",
                "configmaps",
                "endpoints",
                "endpointslices",
                // One that always exists is created again when it is missing.
                "namespaces",
                "persistentvolumeclaims",
                "pods",
                "serviceaccounts",
                "services",
            ],
        ),
        // Workloads are made of others, down to pods.
        on(&["create"], WORKLOAD_GROUPS, &["*"]),
        on(READ, CORE, &["secrets"]),
        on(CHANGE, CORE, &["secrets"]),
        // The scheduler is one of them.
        on(&["create"], CORE, &["pods/binding"]),
        // Expired grants are removed; grants are never made by controllers.
        on(&["get", "list", "watch", "delete"], OURS, &["tokens"]),
        on(CHANGE, &["coordination.k8s.io"], &["leases"]),
        WRITE_EVENTS,
    ],
};

const SCHEDULER_ROLE: Role = Role {
    name: SCHEDULER,
    rules: &[
        on(READ, CORE, &["pods", "nodes", "persistentvolumeclaims", "namespaces"]),
        on(&["create"], CORE, &["pods/binding"]),
        on(UPDATE, CORE, &["pods/status"]),
        WRITE_EVENTS,
    ],
};

const BOOTSTRAP_ROLE: Role =
    Role { name: BOOTSTRAPPERS, rules: &[on(&["create"], OURS, &["certificates", "tokens/exchange", "members/join"])] };

const MONITORING_ROLE: Role =
    Role { name: MONITORING, rules: &[paths(LOOK, &["/metrics"]), on(READ, ANY, &["*", "*/status"])] };

/// The role of a built-in actor.
pub(crate) fn of_user(user: &str) -> Option<&'static Role> {
    [&CONTROLLERS_ROLE, &SCHEDULER_ROLE].into_iter().find(|role| role.name == user)
}

/// The roles of the subject's groups.
pub(crate) fn of_groups(subject: &Subject) -> impl Iterator<Item = &'static Role> {
    [&BOOTSTRAP_ROLE, &MONITORING_ROLE].into_iter().filter(|role| subject.in_group(role.name))
}

const PODS_READ: &[Rule] = &[on(READ, CORE, &["pods", "pods/status", "pods/log"])];
const PODS_WRITE: &[Rule] = &[on(CHANGE, CORE, &["pods"]), on(READ, CORE, &["pods", "pods/status"])];
const PODS_EXEC: &[Rule] =
    &[on(&["get", "create"], CORE, &["pods/exec", "pods/attach", "pods/portforward"]), on(&["get"], CORE, &["pods"])];
const BUNDLES_READ: &[Rule] = &[on(READ, OURS, &["bundles", "bundles/status", "bindings", "bindings/status"])];
const BUNDLES_WRITE: &[Rule] = &[
    on(CHANGE, OURS, &["bundles"]),
    on(&["create"], OURS, &["bundles/actions"]),
    on(READ, OURS, &["bundles", "bundles/status"]),
];
const BUNDLES_BACKUP: &[Rule] =
    &[on(&["get", "create"], OURS, &["bundles/exportProfile", "bundles/backups"]), on(&["get"], OURS, &["bundles"])];
const EVENTS_READ: &[Rule] = &[on(READ, CORE, &["events"])];
const CLUSTER_READ: &[Rule] = &[on(READ, ANY, &["*", "*/status", "pods/log"]), paths(LOOK, &["/metrics"])];

/// What a scope allows; [`Scope::ClusterAdmin`] needs no rules, it allows everything.
pub(crate) fn of_scope(scope: Scope) -> &'static [Rule] {
    match scope {
        Scope::PodsRead => PODS_READ,
        Scope::PodsWrite => PODS_WRITE,
        Scope::PodsExec => PODS_EXEC,
        Scope::BundlesRead => BUNDLES_READ,
        Scope::BundlesWrite => BUNDLES_WRITE,
        Scope::BundlesBackup => BUNDLES_BACKUP,
        Scope::EventsRead => EVENTS_READ,
        Scope::ClusterRead => CLUSTER_READ,
        Scope::ClusterAdmin => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Resources that a scope names before they are served.
    const AHEAD: [&str; 2] = ["bundles/exportProfile", "bundles/backups"];

    /// Whether a path of the API is for the resource, in one of the groups.
    fn is_served(paths: &[String], groups: &[&str], resource: &str) -> bool {
        let (plural, part) = resource.split_once('/').unwrap_or((resource, ""));
        paths.iter().any(|path| {
            let rest = groups.iter().find_map(|group| match *group {
                "" => path.strip_prefix("/api/v1/"),
                group => path.strip_prefix(&format!("/apis/{group}/v1/")),
            });
            let rest = rest.map(|rest| rest.strip_prefix("namespaces/{namespace}/").unwrap_or(rest));
            let mut parts = rest.unwrap_or_default().split('/').filter(|part| *part != "{name}");
            parts.next() == Some(plural) && parts.next().unwrap_or_default() == part
        })
    }

    #[test]
    fn roles_name_what_is_served() {
        let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json")).unwrap();
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        let paths: Vec<String> = document["paths"].as_object().unwrap().keys().cloned().collect();
        let roles = [&CONTROLLERS_ROLE, &SCHEDULER_ROLE, &BOOTSTRAP_ROLE, &MONITORING_ROLE];
        let scopes = Scope::ALL.iter().flat_map(|scope| of_scope(*scope));
        let rules = [EVERYBODY, AUTHENTICATED, NODE].into_iter().chain(roles.map(|role| role.rules)).flatten();
        for rule in rules.chain(scopes) {
            for resource in rule.resources.iter().filter(|name| !name.starts_with('*') && !AHEAD.contains(name)) {
                let groups: Vec<&str> = match rule.groups {
                    ["*"] => CONTROLLER_GROUPS.to_vec(),
                    named => named.to_vec(),
                };
                assert!(is_served(&paths, &groups, resource), "{resource} of {groups:?} is not served");
            }
        }
    }
}
