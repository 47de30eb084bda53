//! What a request wants, for the decision whether it may.

use std::fmt;

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
