//! Text of `/etc/hosts` and `/etc/resolv.conf` of a pod.

use std::net::Ipv4Addr;

use api::{kinds::Pod, meta::DEFAULT_NAMESPACE};

use crate::error::{Error, Result};

/// Most name servers a resolver reads (resolv.conf(5)).
const MAX_NAMESERVERS: usize = 3;

/// The pod's host name: `spec.hostname`, else its own name, cut to what the kernel takes.
#[must_use]
pub fn hostname(pod: &Pod) -> String {
    /// Longest host name (`HOST_NAME_MAX`, 64) that is also a DNS label.
    const MAX: usize = 63;
    let name = pod.spec.as_ref().and_then(|s| s.hostname.clone()).filter(|h| !h.is_empty());
    let mut name = name.or_else(|| pod.metadata.name.clone()).unwrap_or_default();
    name.truncate(name.floor_char_boundary(MAX));
    name.trim_end_matches(['-', '.']).to_owned()
}

/// The name that the kernel tells the containers: the full one if the pod asks for it (`setHostnameAsFQDN`).
///
/// # Errors
/// [`Error::Refused`] for a full name that the kernel does not take.
pub fn kernel_hostname(pod: &Pod, cluster_domain: &str) -> Result<String> {
    /// Longest host name (`HOST_NAME_MAX`).
    const MAX: usize = 64;
    let asked = pod.spec.as_ref().and_then(|s| s.set_hostname_as_fqdn) == Some(true);
    match fqdn(pod, cluster_domain).filter(|_| asked) {
        None => Ok(hostname(pod)),
        Some(name) if name.len() <= MAX => Ok(name),
        Some(name) => {
            let problem = format!("{name:?} is longer than {MAX} characters; shorten the pod's name or its subdomain");
            Err(Error::refused("spec.setHostnameAsFQDN", problem))
        }
    }
}

/// The fully qualified name of a pod of a stateful set: `<hostname>.<subdomain>.<namespace>.svc.<cluster domain>`.
#[must_use]
pub fn fqdn(pod: &Pod, cluster_domain: &str) -> Option<String> {
    let subdomain = pod.spec.as_ref()?.subdomain.as_deref().filter(|s| !s.is_empty())?;
    let namespace = pod.metadata.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
    Some(format!("{}.{subdomain}.{namespace}.svc.{cluster_domain}", hostname(pod)))
}

/// `/etc/hosts`.
#[must_use]
pub fn hosts(pod: &Pod, address: Ipv4Addr, cluster_domain: &str) -> String {
    let names = match fqdn(pod, cluster_domain) {
        Some(fqdn) => format!("{fqdn}\t{}", hostname(pod)),
        None => hostname(pod),
    };
    let mut text = format!("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n{address}\t{names}\n");
    for alias in pod.spec.iter().flat_map(|s| s.host_aliases.iter().flatten()) {
        let names = alias.hostnames.iter().flatten().cloned().collect::<Vec<_>>().join("\t");
        text.push_str(&format!("{}\t{names}\n", alias.ip));
    }
    text
}

/// What the node answers for names.
#[derive(Debug, Clone)]
pub struct Dns<'a> {
    /// The cluster's DNS server.
    pub server: Ipv4Addr,
    /// `cluster.local`.
    pub cluster_domain: &'a str,
    /// `nanocloud.local`, where services of the default namespace have short names.
    pub short_domain: &'a str,
    /// The host's own resolv.conf, for `dnsPolicy: Default`.
    pub host: &'a str,
}

/// `/etc/resolv.conf`, by `spec.dnsPolicy` and `spec.dnsConfig`.
#[must_use]
pub fn resolv_conf(pod: &Pod, dns: &Dns<'_>) -> String {
    let spec = pod.spec.as_ref();
    let namespace = pod.metadata.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
    let Dns { server, cluster_domain, short_domain, .. } = dns;
    let (mut servers, mut search, mut options) = match spec.and_then(|s| s.dns_policy.as_deref()) {
        Some("None") => (Vec::new(), Vec::new(), Vec::new()),
        Some("Default") => return with_config(spec, parse(dns.host)),
        _ => (
            vec![server.to_string()],
            vec![
                format!("{namespace}.svc.{cluster_domain}"),
                format!("svc.{cluster_domain}"),
                (*cluster_domain).to_owned(),
                (*short_domain).to_owned(),
            ],
            vec!["ndots:5".to_owned()],
        ),
    };
    let parts = (std::mem::take(&mut servers), std::mem::take(&mut search), std::mem::take(&mut options));
    with_config(spec, parts)
}

type Parts = (Vec<String>, Vec<String>, Vec<String>);

fn parse(text: &str) -> Parts {
    let mut parts: Parts = Default::default();
    for line in text.lines() {
        let mut words = line.split_whitespace().map(str::to_owned);
        match words.next().as_deref() {
            Some("nameserver") => parts.0.extend(words.next()),
            Some("search") => parts.1 = words.collect(),
            Some("options") => parts.2.extend(words),
            _ => {}
        }
    }
    parts
}

fn with_config(spec: Option<&k8s_openapi::api::core::v1::PodSpec>, parts: Parts) -> String {
    let (mut servers, mut search, mut options) = parts;
    if let Some(config) = spec.and_then(|s| s.dns_config.as_ref()) {
        servers.extend(config.nameservers.iter().flatten().cloned());
        search.extend(config.searches.iter().flatten().cloned());
        for option in config.options.iter().flatten() {
            let name = option.name.clone().unwrap_or_default();
            options.retain(|known| known.split(':').next() != Some(&name));
            let value = option.value.as_ref().filter(|value| !value.is_empty());
            options.push(value.map_or(name.clone(), |value| format!("{name}:{value}")));
        }
    }
    let mut text = String::new();
    for server in servers.iter().take(MAX_NAMESERVERS) {
        text.push_str(&format!("nameserver {server}\n"));
    }
    for (word, values) in [("search", search), ("options", options)] {
        if !values.is_empty() {
            text.push_str(&format!("{word} {}\n", values.join(" ")));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "db-0", "namespace": "shop"}, "spec": spec})).unwrap()
    }

    fn dns() -> Dns<'static> {
        Dns {
            server: Ipv4Addr::new(10, 88, 0, 1),
            cluster_domain: "cluster.local",
            short_domain: "nanocloud.local",
            host: "nameserver 192.0.2.53\nsearch lan\n",
        }
    }

    #[test]
    fn cluster_first_searches_the_namespace_and_short_names() {
        let text = resolv_conf(&pod(json!({"containers": []})), &dns());
        assert_eq!(
            text,
            "nameserver 10.88.0.1\nsearch shop.svc.cluster.local svc.cluster.local cluster.local nanocloud.local\noptions ndots:5\n"
        );
    }

    #[test]
    fn other_policies_and_dns_config_are_honoured() {
        let host = pod(json!({"containers": [], "dnsPolicy": "Default"}));
        assert_eq!(resolv_conf(&host, &dns()), "nameserver 192.0.2.53\nsearch lan\n");
        let own = pod(json!({"containers": [], "dnsPolicy": "None", "dnsConfig": {"nameservers": ["192.0.2.9"],
            "searches": ["x"], "options": [{"name": "ndots", "value": "2"}, {"name": "rotate"}]}}));
        assert_eq!(resolv_conf(&own, &dns()), "nameserver 192.0.2.9\nsearch x\noptions ndots:2 rotate\n");
        let merged = pod(json!({"containers": [], "dnsConfig": {"options": [{"name": "ndots", "value": "1"}]}}));
        assert!(resolv_conf(&merged, &dns()).ends_with("options ndots:1\n"));
    }

    #[test]
    fn the_full_name_is_the_host_name_where_the_pod_asks_for_it() {
        let name = |spec: serde_json::Value| kernel_hostname(&pod(spec), "cluster.local");
        assert_eq!(name(json!({"containers": [], "subdomain": "db"})).unwrap(), "db-0");
        assert_eq!(name(json!({"containers": [], "setHostnameAsFQDN": true})).unwrap(), "db-0", "without a subdomain");
        let full = json!({"containers": [], "subdomain": "db", "setHostnameAsFQDN": true});
        assert_eq!(name(full).unwrap(), "db-0.db.shop.svc.cluster.local");
        let long = json!({"containers": [], "subdomain": "d".repeat(40), "setHostnameAsFQDN": true});
        assert!(name(long).unwrap_err().to_string().starts_with("spec.setHostnameAsFQDN: "));
    }

    #[test]
    fn hosts_has_the_pod_its_full_name_and_aliases() {
        let plain = hosts(&pod(json!({"containers": []})), Ipv4Addr::new(10, 88, 0, 2), "cluster.local");
        assert!(plain.ends_with("10.88.0.2\tdb-0\n"));
        let set = pod(
            json!({"containers": [], "subdomain": "db", "hostAliases": [{"ip": "192.0.2.7", "hostnames": ["a", "b"]}]}),
        );
        let text = hosts(&set, Ipv4Addr::new(10, 88, 0, 2), "cluster.local");
        assert!(text.ends_with("10.88.0.2\tdb-0.db.shop.svc.cluster.local\tdb-0\n192.0.2.7\ta\tb\n"));
        assert_eq!(
            hostname(&pod(json!({"containers": [], "hostname": format!("{}-x", "a".repeat(62))}))),
            "a".repeat(62)
        );
    }
}
