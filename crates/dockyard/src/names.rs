//! Names under which services find each other.

/// The cluster's DNS suffix, as in Kubernetes.
pub const CLUSTER_DOMAIN: &str = "svc.cluster.local";
/// Short suffix for the default namespace: `<bundle>.nanocloud.local`.
pub const LOCAL_DOMAIN: &str = "nanocloud.local";
/// The namespace that [`LOCAL_DOMAIN`] speaks of.
pub const DEFAULT_NAMESPACE: &str = "default";

/// The fully qualified name of a bundle's Service.
#[must_use]
pub fn service_host(bundle: &str, namespace: &str) -> String {
    format!("{bundle}.{namespace}.{CLUSTER_DOMAIN}")
}

/// Every DNS name a bundle's Service answers to, the fully qualified one first.
#[must_use]
pub fn service_names(bundle: &str, namespace: &str) -> Vec<String> {
    let mut names = vec![
        service_host(bundle, namespace),
        bundle.to_owned(),
        format!("{bundle}.{namespace}"),
        format!("{bundle}.{namespace}.svc"),
    ];
    if namespace == DEFAULT_NAMESPACE {
        names.push(format!("{bundle}.{LOCAL_DOMAIN}"));
    }
    names
}

/// True for a DNS label (RFC 1123): 1 to 63 of `a-z`, `0-9` and inner `-`.
#[must_use]
pub fn is_dns_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && text.len() <= 63 && text.chars().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// True for a DNS name: labels in either case, joined by dots, at most 253 characters.
pub(crate) fn is_dns_name(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(|label| is_dns_label(&label.to_ascii_lowercase()))
}

/// True for the id of an offered binding: a letter, then letters, digits and `_`; at most 63.
pub(crate) fn is_id(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_default_namespace_has_the_short_domain() {
        assert!(service_names("db", "default").contains(&"db.nanocloud.local".to_owned()));
        assert_eq!(service_names("db", "shop"), ["db.shop.svc.cluster.local", "db", "db.shop", "db.shop.svc"]);
    }
}
