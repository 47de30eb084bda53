//! Who makes a request.

use std::fmt;

use crate::scope::Scopes;

/// Group whose members may do everything.
pub const MASTERS: &str = "system:masters";
/// Group of everybody who proved who they are.
pub const AUTHENTICATED: &str = "system:authenticated";
/// Group of everybody who did not.
pub const UNAUTHENTICATED: &str = "system:unauthenticated";
/// Group of nodes.
pub const NODES: &str = "system:nodes";
/// Group of holders of a single-use token that was not exchanged yet.
pub const BOOTSTRAPPERS: &str = "system:bootstrappers";
/// Group that may read metrics and see every object but confidential ones.
pub const MONITORING: &str = "system:monitoring";
/// Prefix of a node's user name.
pub const NODE_PREFIX: &str = "system:node:";
/// Group of the members of a cluster, for connections among themselves. It is allowed nothing in the API.
pub const MEMBERS: &str = "system:nanocloud:members";
/// Prefix of a member's user name; its id in hexadecimal digits follows.
pub const MEMBER_PREFIX: &str = "system:nanocloud:member:";
/// User name of a server that joins; its token allows to ask for membership, once.
pub const JOINING: &str = "system:nanocloud:joining";
/// User name of the controllers in the server.
pub const CONTROLLERS: &str = "system:nanocloud:controllers";
/// User name of the scheduler in the server.
pub const SCHEDULER: &str = "system:nanocloud:scheduler";
/// Prefix of a service account's user name; its namespace and name follow, with a colon between.
pub const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";
/// Group of all service accounts; with a colon and a namespace behind it, of those of the namespace.
pub const SERVICE_ACCOUNTS: &str = "system:serviceaccounts";
const ANONYMOUS: &str = "system:anonymous";
const BOOTSTRAP_PREFIX: &str = "system:bootstrap:";

/// The maker of a request, as authentication found it.
///
/// Kubernetes' convention for certificates holds: the common name is the user, organisations are
/// groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// User name, such as `admin` or `system:node:one`.
    pub user: String,
    /// Groups, such as `system:masters`.
    pub groups: Vec<String>,
    /// What the credential was made for: `None` leaves user and groups to decide, `Some` allows
    /// exactly these scopes.
    pub scopes: Option<Scopes>,
}

impl Subject {
    /// An authenticated user with the groups that the credential names.
    pub fn authenticated(user: impl Into<String>, groups: impl IntoIterator<Item = String>) -> Self {
        let mut groups: Vec<String> =
            groups.into_iter().filter(|group| group != AUTHENTICATED && group != UNAUTHENTICATED).collect();
        groups.push(AUTHENTICATED.to_owned());
        Self { user: user.into(), groups, scopes: None }
    }

    /// Somebody without credentials.
    pub fn anonymous() -> Self {
        Self { user: ANONYMOUS.into(), groups: vec![UNAUTHENTICATED.into()], scopes: None }
    }

    /// An administrator: member of `system:masters`.
    pub fn admin(user: impl Into<String>) -> Self {
        Self::authenticated(user, [MASTERS.to_owned()])
    }

    /// The node agent and kubelet of a node.
    pub fn node(name: &str) -> Self {
        Self::authenticated(format!("{NODE_PREFIX}{name}"), [NODES.to_owned()])
    }

    /// The controllers in the server.
    pub fn controllers() -> Self {
        Self::authenticated(CONTROLLERS, [])
    }

    /// The scheduler in the server.
    pub fn scheduler() -> Self {
        Self::authenticated(SCHEDULER, [])
    }

    /// A service account.
    pub fn service_account(namespace: &str, name: &str) -> Self {
        let groups = [SERVICE_ACCOUNTS.to_owned(), format!("{SERVICE_ACCOUNTS}:{namespace}")];
        Self::authenticated(format!("{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}"), groups)
    }

    /// The holder of a single-use token, by the token's public id.
    pub fn bootstrapper(token_id: &str) -> Self {
        Self::authenticated(format!("{BOOTSTRAP_PREFIX}{token_id}"), [BOOTSTRAPPERS.to_owned()])
    }

    /// Whether this is somebody without credentials.
    pub fn is_anonymous(&self) -> bool {
        !self.in_group(AUTHENTICATED)
    }

    /// Whether the subject is a member of the group.
    pub fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|member| member == group)
    }

    /// The node's name, if the subject is a node: both the user name and the group must say so.
    pub fn node_name(&self) -> Option<&str> {
        self.user.strip_prefix(NODE_PREFIX).filter(|name| !name.is_empty() && self.in_group(NODES))
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_cannot_choose_the_built_in_groups() {
        let subject = Subject::authenticated("x", [UNAUTHENTICATED.to_owned(), AUTHENTICATED.to_owned()]);
        assert_eq!(subject.groups, [AUTHENTICATED]);
        assert!(!subject.is_anonymous() && Subject::anonymous().is_anonymous());
    }

    #[test]
    fn a_node_needs_both_name_and_group() {
        assert_eq!(Subject::node("one").node_name(), Some("one"));
        assert_eq!(Subject::authenticated("system:node:one", []).node_name(), None);
        assert_eq!(Subject::authenticated("one", [NODES.to_owned()]).node_name(), None);
        assert_eq!(Subject::authenticated(NODE_PREFIX, [NODES.to_owned()]).node_name(), None);
    }
}
