//! The decision whether a subject may do what it asks: pure, deny by default.

use crate::{
    attributes::Attributes,
    rbac::Policies,
    roles::{self, Rule},
    scope::Scope,
    subject::{MASTERS, Subject},
};

/// The answer, with the reason for the audit trail and for the person refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Go on.
    Allow {
        /// Which role or scope allows it.
        reason: String,
    },
    /// Refuse.
    Deny {
        /// What is missing.
        reason: String,
    },
}

impl Decision {
    /// Whether the request may go on.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allow { .. })
    }

    /// Why.
    pub fn reason(&self) -> &str {
        match self {
            Self::Allow { reason } | Self::Deny { reason } => reason,
        }
    }
}

/// Decides whether the subject may do it, by the built-in roles or else by those that users write. A request that no
/// rule names is refused; the reason of a refusal is for people, and may be empty.
///
/// Nodes are allowed what their own objects need by kind; whether a pod, claim or secret belongs to
/// the node can only be told from stored objects, so that check is the API server's.
pub fn authorize(subject: &Subject, request: &Attributes<'_>, policies: &Policies) -> Decision {
    match built_in(subject, request) {
        Decision::Deny { reason } => match policies.allows(subject, request) {
            Some(reason) => Decision::Allow { reason },
            None => Decision::Deny { reason },
        },
        allowed => allowed,
    }
}

/// Decides by the built-in roles and by scopes alone.
pub fn built_in(subject: &Subject, request: &Attributes<'_>) -> Decision {
    if allows(roles::EVERYBODY, request) {
        return allow("open to everybody");
    }
    if subject.is_anonymous() {
        return Decision::Deny { reason: format!("{request} needs authentication") };
    }
    if allows(roles::AUTHENTICATED, request) {
        return allow("open to everybody who is authenticated");
    }
    if let Some(scopes) = &subject.scopes {
        let covers = |scope: &Scope| *scope == Scope::ClusterAdmin || allows(roles::of_scope(*scope), request);
        return match scopes.iter().find(covers) {
            Some(scope) => allow(&format!("scope {scope}")),
            None => Decision::Deny {
                reason: format!("{request} is not within the scopes of {}'s token ({scopes})", subject.user),
            },
        };
    }
    if subject.in_group(MASTERS) {
        return allow("group system:masters");
    }
    if let Some(node) = subject.node_name()
        && (allows(roles::NODE, request) || roles::is_own_node_object(node, request))
    {
        return allow("role of nodes");
    }
    let mut roles = roles::of_user(&subject.user).into_iter().chain(roles::of_groups(subject));
    match roles.find(|role| allows(role.rules, request)) {
        Some(role) => allow(&format!("role {}", role.name)),
        None => Decision::Deny { reason: String::new() },
    }
}

fn allow(reason: &str) -> Decision {
    Decision::Allow { reason: reason.to_owned() }
}

fn allows(rules: &[Rule], request: &Attributes<'_>) -> bool {
    rules.iter().any(|rule| rule.covers(request))
}

#[cfg(test)]
mod tests;
