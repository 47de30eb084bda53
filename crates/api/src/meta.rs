//! Names, keys and metadata rules.

mod names;
mod validate;

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde::{Deserialize, Serialize};

pub use self::{
    names::{
        LABEL_MAX, NAME_MAX, NameRule, is_dns_label, is_dns_subdomain, is_host_name, is_label_value, is_path_segment,
        is_port_name, is_qualified_name,
    },
    validate::{
        ANNOTATIONS_MAX_BYTES, FINALIZERS_MAX, LABELS_MAX, MANAGED_FIELDS_MAX, OWNERS_MAX, drop_repeated_owners,
        finalizer_errors, label_errors, validate,
    },
};
pub use crate::names::namespace::DEFAULT as DEFAULT_NAMESPACE;
use crate::resource::{Resource, Scope};

/// Address of an object within its kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectKey {
    /// Namespace; `None` for cluster-wide kinds.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
}

impl ObjectKey {
    /// Key of an object in a namespace.
    pub fn namespaced(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: Some(namespace.into()), name: name.into() }
    }

    /// Key of a cluster-wide object.
    pub fn cluster(name: impl Into<String>) -> Self {
        Self { namespace: None, name: name.into() }
    }

    /// Key of an object, from its metadata.
    pub fn of<R: Resource>(object: &R) -> Self {
        let meta = object.meta();
        Self {
            namespace: match R::SCOPE {
                Scope::Namespaced => Some(meta.namespace.clone().unwrap_or_else(|| DEFAULT_NAMESPACE.into())),
                Scope::Cluster => None,
            },
            name: meta.name.clone().unwrap_or_default(),
        }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// A reference by which `owner` owns an object and controls it.
pub fn controller_reference<R: Resource>(owner: &R) -> OwnerReference {
    OwnerReference {
        api_version: R::api_version(),
        kind: R::KIND.into(),
        name: owner.meta().name.clone().unwrap_or_default(),
        uid: owner.meta().uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}
