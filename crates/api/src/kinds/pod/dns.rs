//! Names of a pod, and how it finds others by name.

use k8s_openapi::api::core::v1::{PodDNSConfig, PodSpec};

use super::rules::{Errors, address, label, name, one_of, text, unless};
use crate::{FieldError, Path, meta::NAME_MAX};

/// Policies of name resolution.
const POLICIES: [&str; 4] = ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"];
/// Most name servers, as resolv.conf(5) allows.
const NAMESERVERS_MAX: usize = 3;
/// Most search domains, as in Kubernetes.
const SEARCHES_MAX: usize = 32;
/// Most characters of all search domains, as in Kubernetes.
const SEARCH_CHARS_MAX: usize = 2048;

/// Checks host name, subdomain, aliases and name resolution.
pub(super) fn check(spec: &PodSpec, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    errors.extend(text(&spec.hostname).map(|name| label(name, path.field("hostname"))).unwrap_or_default());
    errors.extend(text(&spec.subdomain).map(|name| label(name, path.field("subdomain"))).unwrap_or_default());
    let list = path.field("hostAliases");
    for (index, alias) in spec.host_aliases.iter().flatten().enumerate() {
        let path = list.index(index);
        errors.extend(address(&alias.ip, path.field("ip")));
        errors.extend(alias.hostnames.iter().flatten().flat_map(|host| name(host, path.field("hostnames"))));
    }
    errors.extend(one_of(&spec.dns_policy, &POLICIES, path.field("dnsPolicy")));
    let config = path.field("dnsConfig");
    let servers = spec.dns_config.iter().flat_map(|config| config.nameservers.iter().flatten()).count();
    if spec.dns_policy.as_deref() == Some("None") && servers == 0 {
        let field = if spec.dns_config.is_some() { config.field("nameservers") } else { config };
        errors.push(FieldError::required(field, "name at least one name server, as dnsPolicy is None"));
    }
    errors.extend(spec.dns_config.iter().flat_map(|own| dns_config(own, &config)));
    errors
}

fn dns_config(config: &PodDNSConfig, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    let servers = config.nameservers.as_deref().unwrap_or_default();
    let field = path.field("nameservers");
    errors.extend(unless(servers.len() <= NAMESERVERS_MAX, || {
        FieldError::invalid(field, format!("at most {NAMESERVERS_MAX} are asked"))
    }));
    errors.extend(servers.iter().enumerate().flat_map(|(index, server)| address(server, field.index(index))));
    let searches = config.searches.as_deref().unwrap_or_default();
    let field = path.field("searches");
    let characters = searches.iter().map(String::len).sum::<usize>() + searches.len().saturating_sub(1);
    errors.extend(unless(searches.len() <= SEARCHES_MAX && characters <= SEARCH_CHARS_MAX, || {
        FieldError::invalid(field, format!("at most {SEARCHES_MAX} domains of {SEARCH_CHARS_MAX} characters in all"))
    }));
    errors.extend(searches.iter().enumerate().flat_map(|(index, domain)| search(domain, field.index(index))));
    let list = path.field("options");
    for (index, option) in config.options.iter().flatten().enumerate() {
        let path = list.index(index);
        if text(&option.name).is_none() {
            errors.push(FieldError::required(path, "name the option, such as ndots"));
        }
        errors.extend(text(&option.name).map(|name| word(name, path.field("name"))).unwrap_or_default());
        errors.extend(text(&option.value).map(|value| word(value, path.field("value"))).unwrap_or_default());
    }
    errors
}

/// A word of the line of options in resolv.conf(5): a blank would begin another one, and a line break anything.
fn word(text: &str, path: Path<'_>) -> Errors {
    unless(text.bytes().all(|byte| byte.is_ascii_graphic()), || {
        FieldError::invalid(path, format!("{text:?} must be printable ASCII characters without blanks"))
    })
}

/// A domain to search: labels may have underscores, as names of services may.
fn search(domain: &str, path: Path<'_>) -> Errors {
    let whole = domain.strip_suffix('.').unwrap_or(domain);
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    let plain =
        |part: &str| !part.is_empty() && part.bytes().all(inner) && !part.starts_with('-') && !part.ends_with('-');
    unless(domain == "." || (whole.len() <= NAME_MAX && whole.split('.').all(plain)), || {
        FieldError::invalid(path, format!("{domain:?} must be a domain, such as svc.cluster.local"))
    })
}
