//! From services to names: the Kubernetes DNS specification 1.1.0. Pure.
//!
//! | Name | Answer |
//! |---|---|
//! | `<svc>.<ns>.svc.<cluster domain>` | the service's address, or its pods' if it has none |
//! | `<host>.<svc>.<ns>.svc.<cluster domain>` | a pod behind a headless service; see below |
//! | `_<port>._<protocol>.<svc>.<ns>.svc.<cluster domain>` | SRV of a named port; of a headless service, one for each pod with the pod's own port |
//! | `<address>.in-addr.arpa` | PTR of a service's address, and of the pods behind headless ones |
//! | `dns-version.<cluster domain>` | TXT, the version of the specification |
//! | `<svc>.<short domain>` | as the first, for services of namespace `default` |
//!
//! A pod's host is its host name if its `subdomain` is the service, and else its address with hyphens: `10-88-0-2`.

use std::{net::Ipv4Addr, sync::Arc};

use api::{
    kinds::{
        Pod, Service,
        service::{HEADLESS, target_port},
    },
    meta::is_dns_label,
};
use k8s_openapi::api::core::v1::ServicePort;
use net::dns::Zone;

use super::{Cidrs, backends, cluster_ip, name_of};
use crate::pod::etc;

/// Version of the specification that the names follow.
const DNS_VERSION: &str = "1.1.0";

/// The domains that names end in.
#[derive(Debug, Clone, Copy)]
pub struct Domains<'a> {
    /// Of everything.
    pub cluster: &'a str,
    /// Of short names of services in namespace `default`.
    pub short: &'a str,
}

/// The names of all services and of the pods behind headless ones. What is no DNS name is left out, and nothing else
/// with it.
#[must_use]
pub fn zone(pods: &[Arc<Pod>], services: &[Arc<Service>], domains: Domains<'_>, cidrs: Cidrs) -> Zone {
    let mut names = match Names::new(domains, cidrs) {
        Ok(names) => names,
        Err(error) => {
            tracing::error!(%error, "no names are served");
            return Zone::default();
        }
    };
    for service in services {
        names.add(service, pods);
    }
    names.zone
}

struct Names<'a> {
    zone: Zone,
    domains: Domains<'a>,
    cidrs: Cidrs,
}

impl<'a> Names<'a> {
    fn new(domains: Domains<'a>, cidrs: Cidrs) -> net::Result<Self> {
        let mut zone = Zone::new([domains.cluster, domains.short])?;
        zone.add_reverse(cidrs.pods)?;
        zone.add_reverse(cidrs.services)?;
        zone.insert_txt(&format!("dns-version.{}", domains.cluster), DNS_VERSION)?;
        Ok(Self { zone, domains, cidrs })
    }

    fn add(&mut self, service: &Service, pods: &[Arc<Pod>]) {
        let (namespace, name) = name_of(&service.metadata);
        let full = format!("{name}.{namespace}.svc.{}", self.domains.cluster);
        let short = (namespace == "default").then(|| format!("{name}.{}", self.domains.short));
        let all: Vec<&str> = std::iter::once(full.as_str()).chain(short.as_deref()).collect();
        if let Some(address) = cluster_ip(service) {
            self.addresses(&all, address);
            self.pointer(address, &full);
            for (port, label) in named_ports(service) {
                if let Ok(number) = u16::try_from(port.port) {
                    taken(self.zone.insert_srv(&format!("{label}.{full}"), number, &full));
                }
            }
        } else if service.spec.as_ref().and_then(|s| s.cluster_ip.as_deref()) == Some(HEADLESS) {
            for (pod, address) in backends(service, pods) {
                self.addresses(&all, address);
                let target = format!("{}.{full}", host(pod, &name, address));
                self.addresses(&[&target], address);
                self.pointer(address, &target);
                for (port, label) in named_ports(service) {
                    if let Some(number) = target_port(pod, port) {
                        taken(self.zone.insert_srv(&format!("{label}.{full}"), number, &target));
                    }
                }
            }
        }
    }

    fn addresses(&mut self, names: &[&str], address: Ipv4Addr) {
        for name in names {
            taken(self.zone.insert(name, address));
        }
    }

    fn pointer(&mut self, address: Ipv4Addr, target: &str) {
        if self.cidrs.pods.contains(&address) || self.cidrs.services.contains(&address) {
            taken(self.zone.insert_ptr(address, target));
        }
    }
}

/// One record that is refused takes no other with it.
fn taken(inserted: net::Result<()>) {
    if let Err(error) = inserted {
        tracing::warn!(%error, "a service lacks this name");
    }
}

/// Ports with a name, and the labels they have in DNS.
fn named_ports(service: &Service) -> impl Iterator<Item = (&ServicePort, String)> {
    let ports = service.spec.iter().flat_map(|s| s.ports.iter().flatten());
    ports.filter_map(|port| {
        let name = port.name.as_deref().filter(|name| !name.is_empty())?;
        let protocol = port.protocol.as_deref().unwrap_or("TCP").to_ascii_lowercase();
        Some((port, format!("_{name}._{protocol}")))
    })
}

/// The label of a pod behind a headless service.
fn host(pod: &Pod, service: &str, address: Ipv4Addr) -> String {
    let is_host = pod.spec.as_ref().and_then(|s| s.subdomain.as_deref()) == Some(service);
    let hostname = is_host.then(|| etc::hostname(pod)).filter(|name| is_dns_label(name));
    hostname.unwrap_or_else(|| address.to_string().replace('.', "-"))
}

#[cfg(test)]
mod tests {
    use hickory_proto::{
        op::{Message, Query},
        rr::{Name, RecordType},
    };
    use net::dns::{Answer, answer};
    use serde_json::json;

    use super::*;
    use crate::services::tests::*;

    /// The records of one name and type, in order.
    fn ask(zone: &Zone, name: &str, kind: RecordType) -> Vec<String> {
        let mut query = Message::query();
        query.add_query(Query::query(Name::from_utf8(name).unwrap(), kind));
        match answer(zone, &query) {
            Answer::Reply(reply) => {
                let mut data: Vec<String> = reply.answers.iter().map(|record| record.data.to_string()).collect();
                data.sort();
                data
            }
            Answer::Forward => panic!("{name} is not ours"),
        }
    }

    fn domains() -> Domains<'static> {
        Domains { cluster: "cluster.local", short: "nanocloud.local" }
    }

    #[test]
    fn services_and_the_pods_behind_headless_ones_have_their_names() {
        let mut set = plain();
        set["subdomain"] = json!("db");
        let mut other = plain();
        other["containers"][0]["ports"][0]["containerPort"] = json!(9090);
        let pods = [
            pod("db-0", "10.88.0.2", true, set.clone()),
            pod("db-1", "10.88.0.3", false, set),
            pod("x", "10.88.0.4", true, other),
        ];
        let services = [
            service("web", "10.96.0.1", json!({})),
            service("db", HEADLESS, json!({"publishNotReadyAddresses": true})),
        ];
        let zone = zone(&pods, &services, domains(), cidrs());
        let db = "db.default.svc.cluster.local.";
        for (name, kind, wanted) in [
            ("web.default.svc.cluster.local.", RecordType::A, vec!["10.96.0.1".to_owned()]),
            ("web.nanocloud.local.", RecordType::A, vec!["10.96.0.1".into()]),
            (db, RecordType::A, vec!["10.88.0.2".into(), "10.88.0.3".into(), "10.88.0.4".into()]),
            (&format!("db-1.{db}"), RecordType::A, vec!["10.88.0.3".into()]),
            (&format!("x.{db}"), RecordType::A, vec![]),
            (&format!("10-88-0-4.{db}"), RecordType::A, vec!["10.88.0.4".into()]),
            (
                "_http._tcp.web.default.svc.cluster.local.",
                RecordType::SRV,
                vec!["0 100 80 web.default.svc.cluster.local.".into()],
            ),
            // The pods' own port, not the service's 80.
            (
                &format!("_http._tcp.{db}"),
                RecordType::SRV,
                vec![
                    format!("0 100 8080 db-0.{db}"),
                    format!("0 100 8080 db-1.{db}"),
                    format!("0 100 9090 10-88-0-4.{db}"),
                ],
            ),
            ("1.0.96.10.in-addr.arpa.", RecordType::PTR, vec!["web.default.svc.cluster.local.".into()]),
            ("2.0.88.10.in-addr.arpa.", RecordType::PTR, vec![format!("db-0.{db}")]),
            ("4.0.88.10.in-addr.arpa.", RecordType::PTR, vec![format!("10-88-0-4.{db}")]),
            ("9.0.88.10.in-addr.arpa.", RecordType::PTR, vec![]),
            ("dns-version.cluster.local.", RecordType::TXT, vec!["1.1.0".into()]),
        ] {
            assert_eq!(ask(&zone, name, kind), wanted, "{name} {kind}");
        }
    }

    #[test]
    fn one_bad_name_takes_no_other_with_it() {
        let mut bad = plain();
        bad["subdomain"] = json!("db");
        bad["hostname"] = json!("not..a_label");
        let mut good = plain();
        good["subdomain"] = json!("db");
        let pods = [pod("a", "10.88.0.2", true, bad), pod("b", "10.88.0.3", true, good)];
        let ports = json!({"ports": [{"name": "http", "port": 80}, {"name": "a b..c", "port": 81}, {"name": "last", "port": 82}]});
        let services = [service("not..a-name", "10.96.0.9", json!({})), service("db", HEADLESS, ports)];
        let zone = zone(&pods, &services, domains(), cidrs());
        let db = "db.default.svc.cluster.local.";
        assert_eq!(ask(&zone, db, RecordType::A), ["10.88.0.2", "10.88.0.3"]);
        assert_eq!(ask(&zone, &format!("10-88-0-2.{db}"), RecordType::A), ["10.88.0.2"], "no label, no host name");
        assert_eq!(ask(&zone, &format!("b.{db}"), RecordType::A), ["10.88.0.3"]);
        assert_eq!(
            ask(&zone, &format!("_last._tcp.{db}"), RecordType::SRV),
            [format!("0 100 82 10-88-0-2.{db}"), format!("0 100 82 b.{db}")]
        );
    }
}
