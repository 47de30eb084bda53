//! Names, labels and metadata of a bundle's objects.

use std::collections::BTreeMap;

use api::{
    ObjectKey, ObjectMeta,
    kinds::Bundle,
    meta::controller_reference,
    names::{label, manager},
};

/// Name of a bundle.
pub(crate) fn name(bundle: &Bundle) -> &str {
    bundle.metadata.name.as_deref().unwrap_or_default()
}

/// Namespace of a bundle.
pub(crate) fn namespace(bundle: &Bundle) -> &str {
    bundle.metadata.namespace.as_deref().unwrap_or(api::meta::DEFAULT_NAMESPACE)
}

/// Name of the Secret with the bundle's generated secrets.
#[must_use]
pub fn profile_secret(bundle: &str) -> String {
    format!("{bundle}-profile")
}

/// Name of the Secret with the bundle's certificate.
#[must_use]
pub fn tls_secret(bundle: &str) -> String {
    format!("{bundle}-tls")
}

/// Name of the bundle's one pod.
#[must_use]
pub fn pod(bundle: &str) -> String {
    format!("{bundle}-0")
}

/// Key of an object beside the bundle.
pub(crate) fn beside(bundle: &Bundle, name: String) -> ObjectKey {
    ObjectKey::namespaced(namespace(bundle), name)
}

/// The service as one DNS label: `diagnostics/loopback` is `diagnostics-loopback`.
pub(crate) fn service_label(bundle: &Bundle) -> String {
    let text: String = bundle.spec.service.replace('/', "-").chars().take(api::meta::LABEL_MAX).collect();
    text.trim_end_matches('-').to_owned()
}

/// Labels that select the bundle's pods; they never change.
pub(crate) fn selector(bundle: &Bundle) -> BTreeMap<String, String> {
    BTreeMap::from([
        (label::INSTANCE.to_owned(), name(bundle).to_owned()),
        (label::NAME.to_owned(), service_label(bundle)),
    ])
}

/// Labels of everything that belongs to the bundle.
pub(crate) fn labels(bundle: &Bundle) -> BTreeMap<String, String> {
    let mut labels = selector(bundle);
    labels.insert(label::MANAGED_BY.into(), manager::NANOCLOUD.into());
    labels
}

/// Metadata of an object the bundle owns.
pub(crate) fn owned(bundle: &Bundle, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(namespace(bundle).to_owned()),
        labels: Some(labels(bundle)),
        owner_references: Some(vec![controller_reference(bundle)]),
        ..ObjectMeta::default()
    }
}

/// Whether the object is the bundle's own, by uid.
pub(crate) fn is_owned(bundle: &Bundle, meta: &ObjectMeta) -> bool {
    meta.owner_references.iter().flatten().any(|owner| Some(&owner.uid) == bundle.metadata.uid.as_ref())
}
