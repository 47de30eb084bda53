//! What a request wants, for the decision whether it may.

use std::fmt;

use api::{Resource, kinds::ServiceAccount};

use crate::subject::SERVICE_ACCOUNT_PREFIX;

/// What a request wants, in the words of Kubernetes' authorisation attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes<'a> {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`; for paths
    /// that are no resource the HTTP method in lower case.
    pub verb: &'a str,
    /// API group, empty for the core group.
    pub group: &'a str,
    /// Plural, such as `pods`; empty for paths that are no resource.
    pub resource: &'a str,
    /// Subresource, such as `exec`, or empty.
    pub subresource: &'a str,
    /// Namespace, or empty when cluster-wide or across all namespaces.
    pub namespace: &'a str,
    /// Name of the object, or empty for collections.
    pub name: &'a str,
    /// Path of a request that is for no resource, such as `/metrics`.
    pub non_resource_path: Option<&'a str>,
}

/// What acting as a user of these groups asks: the verb `impersonate` for the user or service account, and each group.
pub fn impersonation<'a>(user: &'a str, groups: &'a [String]) -> Vec<Attributes<'a>> {
    let asked = Attributes { verb: "impersonate", ..Attributes::default() };
    let account = user.strip_prefix(SERVICE_ACCOUNT_PREFIX).and_then(|account| account.split_once(':'));
    let user = match account {
        Some((namespace, name)) => Attributes { resource: ServiceAccount::PLURAL, namespace, name, ..asked },
        None => Attributes { resource: "users", name: user, ..asked },
    };
    let groups = groups.iter().map(|name| Attributes { resource: "groups", name, ..asked });
    [user].into_iter().chain(groups).collect()
}

impl fmt::Display for Attributes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = self.non_resource_path {
            return write!(f, "{} {path}", self.verb);
        }
        write!(f, "{} {}", self.verb, self.resource)?;
        for (separator, part) in [("/", self.subresource), (".", self.group)] {
            if !part.is_empty() {
                write!(f, "{separator}{part}")?;
            }
        }
        if !self.name.is_empty() {
            write!(f, " {:?}", self.name)?;
        }
        if !self.namespace.is_empty() {
            write!(f, " in namespace {:?}", self.namespace)?;
        }
        Ok(())
    }
}
