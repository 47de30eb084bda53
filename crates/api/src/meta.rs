//! Names, keys and metadata rules.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde::{Deserialize, Serialize};

use crate::resource::{FieldError, Resource, Scope};

/// Longest name of an object (RFC 1123 subdomain).
pub const NAME_MAX: usize = 253;
/// Longest DNS label (RFC 1123).
pub const LABEL_MAX: usize = 63;
/// Most bytes of all annotations of one object, as Kubernetes allows.
pub const ANNOTATIONS_MAX_BYTES: usize = 256 * 1024;
/// Namespace used when none is named.
pub const DEFAULT_NAMESPACE: &str = "default";

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

/// Whether `text` is an RFC 1123 label: `[a-z0-9]([-a-z0-9]*[a-z0-9])?`, at most 63 characters.
pub fn is_dns_label(text: &str) -> bool {
    let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
    let bytes = text.as_bytes();
    !bytes.is_empty()
        && bytes.len() <= LABEL_MAX
        && bytes.iter().all(inner)
        && bytes[0] != b'-'
        && bytes[bytes.len() - 1] != b'-'
}

/// Whether `text` is an RFC 1123 subdomain: labels joined by dots, at most 253 characters.
pub fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= NAME_MAX && text.split('.').all(is_dns_label)
}

/// Whether `text` is a label or annotation key: an optional DNS prefix and a name of at most 63 characters.
pub fn is_qualified_name(text: &str) -> bool {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    prefix.is_none_or(is_dns_subdomain) && !name.is_empty() && is_label_value(name)
}

/// Whether `text` may be the value of a label: empty, or 63 characters of `[A-Za-z0-9_.-]` with alphanumeric ends.
pub fn is_label_value(text: &str) -> bool {
    let bytes = text.as_bytes();
    let Some((first, last)) = bytes.first().zip(bytes.last()) else {
        return true;
    };
    bytes.len() <= LABEL_MAX
        && first.is_ascii_alphanumeric()
        && last.is_ascii_alphanumeric()
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// Checks the metadata every kind shares.
pub fn validate(meta: &ObjectMeta, scope: Scope) -> Vec<FieldError> {
    let mut errors = Vec::new();
    match meta.name.as_deref() {
        // Names of roles hold colons in Kubernetes; ours follow the subdomain rule without exception.
        Some(name) if !name.is_empty() && !is_dns_subdomain(name) => errors.push(FieldError::invalid(
            "metadata.name",
            format!("{name:?} must be lower-case letters, digits, '-' or '.', start and end with a letter or digit (RFC 1123 subdomain, {NAME_MAX} characters at most)"),
        )),
        None | Some("") if meta.generate_name.as_deref().unwrap_or_default().is_empty() => {
            errors.push(FieldError::required("metadata.name", "name or generateName is required"));
        }
        _ => {}
    }
    match (scope, meta.namespace.as_deref()) {
        (Scope::Namespaced, Some(namespace)) if !is_dns_label(namespace) => errors.push(FieldError::invalid(
            "metadata.namespace",
            format!("{namespace:?} must be lower-case letters, digits or '-' (RFC 1123 label, {LABEL_MAX} characters at most)"),
        )),
        (Scope::Cluster, Some(namespace)) if !namespace.is_empty() => {
            errors.push(FieldError::invalid("metadata.namespace", "must be empty: the kind is cluster-wide"));
        }
        _ => {}
    }
    for (key, value) in meta.labels.iter().flatten() {
        if !is_qualified_name(key) {
            errors.push(FieldError::invalid(
                format!("metadata.labels.{key}"),
                "key must be [prefix/]name of letters, digits, '-', '_' or '.'",
            ));
        }
        if !is_label_value(value) {
            errors.push(FieldError::invalid(
                format!("metadata.labels.{key}"),
                format!("value {value:?} must be at most {LABEL_MAX} letters, digits, '-', '_' or '.'"),
            ));
        }
    }
    let size: usize = meta.annotations.iter().flatten().map(|(key, value)| key.len() + value.len()).sum();
    if size > ANNOTATIONS_MAX_BYTES {
        errors.push(FieldError::invalid(
            "metadata.annotations",
            format!("{size} bytes in all, at most {ANNOTATIONS_MAX_BYTES} are allowed"),
        ));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_rfc_1123() {
        for good in ["a", "a-b", "a.b-c.d", "0", &"x".repeat(63)] {
            assert!(is_dns_subdomain(good), "{good}");
        }
        for bad in ["", "A", "-a", "a-", "a..b", "a_b", "a/b", "ä", &"x".repeat(64)] {
            assert!(!is_dns_subdomain(bad), "{bad}");
        }
        assert!(is_qualified_name("app.kubernetes.io/name"));
        assert!(!is_qualified_name("a/b/c"));
        assert!(!is_qualified_name("/x"));
    }

    #[test]
    fn metadata_errors_name_their_field() {
        let meta = ObjectMeta {
            name: Some("Bad".into()),
            namespace: Some("also bad".into()),
            labels: Some([("ok".to_owned(), "no good".to_owned())].into()),
            ..ObjectMeta::default()
        };
        let fields: Vec<_> = validate(&meta, Scope::Namespaced).into_iter().map(|e| e.field).collect();
        assert_eq!(fields, ["metadata.name", "metadata.namespace", "metadata.labels.ok"]);
    }
}
