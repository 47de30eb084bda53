//! Which tracked connections the rules no longer make: pure.
//!
//! The kernel translates the first packet of a connection by the rules and every later one by what it remembers. A
//! client that keeps its source port (DNS, syslog, statsd, QUIC) is therefore never asked again, whatever the rules say
//! by then; its connection has to be forgotten.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddrV4},
};

use ipnet::Ipv4Net;

use crate::{NetworkConfig, Protocol, Rules};

/// A connection as the kernel remembers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flow {
    /// Transport protocol.
    pub(crate) protocol: Protocol,
    /// Where the client sends to.
    pub(crate) destination: SocketAddrV4,
    /// Who answers: another than `destination` if it was translated.
    pub(crate) answers: SocketAddrV4,
}

/// An address and port that is translated; without an address, the port on every address of the host.
type Entrance = (Option<Ipv4Addr>, Protocol, u16);

/// Every translation that the rules make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Translations {
    pods: Ipv4Net,
    services: Ipv4Net,
    targets: BTreeMap<Entrance, BTreeSet<SocketAddrV4>>,
}

/// The host's side of the question.
pub(crate) struct Host {
    /// Addresses of its interfaces.
    pub(crate) local: BTreeSet<Ipv4Addr>,
    /// Addresses of pods that exist.
    pub(crate) pods: BTreeSet<Ipv4Addr>,
}

impl Host {
    fn is_local(&self, address: Ipv4Addr) -> bool {
        address.is_loopback() || self.local.contains(&address)
    }
}

impl Translations {
    /// What `rules` translate.
    pub(crate) fn of(rules: &Rules, config: &NetworkConfig) -> Self {
        let mut targets: BTreeMap<Entrance, BTreeSet<SocketAddrV4>> = BTreeMap::new();
        for publish in &rules.publish {
            let entrance = (publish.port.address, publish.port.protocol, publish.port.port);
            targets.entry(entrance).or_default().insert(publish.target);
        }
        for service in rules.services.iter().filter(|service| !service.endpoints.is_empty()) {
            let at = |address, port| (address, service.protocol, port);
            let vip = at(Some(service.address), service.port);
            let node = service.node_port.map(|port| at(None, port));
            for entrance in std::iter::once(vip).chain(node) {
                targets.entry(entrance).or_default().extend(&service.endpoints);
            }
        }
        Self { pods: config.pod_cidr, services: config.service_cidr, targets }
    }

    /// Whether connections made under these rules may be stale under `next`: something is translated no longer, or a
    /// port of the host is translated for the first time. An endpoint more makes nothing stale.
    pub(crate) fn strands(&self, next: &Self) -> bool {
        let lost = self.targets.iter().any(|(entrance, targets)| {
            next.targets.get(entrance).is_none_or(|new| targets.iter().any(|target| !new.contains(target)))
        });
        let is_host_port = |(address, ..): &Entrance| address.is_none_or(|address| !self.services.contains(&address));
        lost || next.targets.keys().any(|entrance| is_host_port(entrance) && !self.targets.contains_key(entrance))
    }

    /// Whether the rules would lead the packets of `flow` elsewhere than the kernel does.
    ///
    /// Of TCP and SCTP only connections to pods that are gone are stale: one that runs is not cut because its pod is
    /// not ready or about to end, as everywhere in Kubernetes.
    pub(crate) fn is_stale(&self, flow: &Flow, host: &Host) -> bool {
        let address = *flow.destination.ip();
        let at = |address| self.targets.get(&(address, flow.protocol, flow.destination.port()));
        let local = host.is_local(address);
        let wanted = at(Some(address)).or_else(|| at(None).filter(|_| local));
        if flow.answers == flow.destination {
            let ours = local || self.services.contains(&address);
            return flow.protocol == Protocol::Udp && ours && wanted.is_some();
        }
        // Translations to others are none of ours.
        let ours = self.services.contains(&address) || self.pods.contains(flow.answers.ip());
        let made = wanted.is_some_and(|targets| targets.contains(&flow.answers));
        ours && !made && (flow.protocol == Protocol::Udp || !host.pods.contains(flow.answers.ip()))
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::{HostPort, Publish, Service};

    fn config() -> NetworkConfig {
        NetworkConfig {
            bridge: "nc0".into(),
            pod_cidr: "10.88.0.0/16".parse().unwrap(),
            service_cidr: "10.96.0.0/16".parse().unwrap(),
            run_dir: PathBuf::new(),
            state_dir: PathBuf::new(),
            table: "nc0".into(),
            host_ports: Default::default(),
        }
    }

    fn service(endpoints: &[&str], protocol: Protocol) -> Service {
        Service {
            address: "10.96.0.1".parse().unwrap(),
            port: 53,
            protocol,
            node_port: None,
            endpoints: endpoints.iter().map(|e| e.parse().unwrap()).collect(),
            host_program: false,
            sticky: false,
            owner: String::new(),
        }
    }

    fn publish(address: Option<[u8; 4]>, target: &str) -> Publish {
        let port = HostPort { address: address.map(Ipv4Addr::from), port: 514, protocol: Protocol::Udp };
        Publish { port, target: target.parse().unwrap(), owner: String::new() }
    }

    fn translations(publish: Vec<Publish>, services: Vec<Service>) -> Translations {
        Translations::of(&Rules { publish, services }, &config())
    }

    fn flow(protocol: Protocol, destination: &str, answers: &str) -> Flow {
        Flow { protocol, destination: destination.parse().unwrap(), answers: answers.parse().unwrap() }
    }

    #[test]
    fn a_flow_is_stale_when_no_rule_would_make_it() {
        use Protocol::{Tcp, Udp};
        let rules = translations(
            vec![publish(None, "10.88.0.2:514"), publish(Some([192, 0, 2, 7]), "10.88.0.3:514")],
            vec![service(&["10.88.0.2:53"], Udp)],
        );
        let host =
            Host { local: ["192.0.2.1", "192.0.2.7"].map(|a| a.parse().unwrap()).into(), pods: [2, 3].map(pod).into() };
        for (protocol, destination, answers, stale, why) in [
            (Udp, "10.96.0.1:53", "10.88.0.2:53", false, "the endpoint is there"),
            (Udp, "10.96.0.1:53", "10.88.0.3:53", true, "it is no endpoint any more"),
            (Udp, "10.96.0.1:53", "10.88.0.2:54", true, "another port"),
            (Udp, "10.96.0.1:53", "10.96.0.1:53", true, "from a time without endpoints"),
            (Udp, "10.96.0.9:53", "10.88.0.2:53", true, "the service was deleted"),
            (Udp, "10.96.0.9:53", "10.96.0.9:53", false, "nothing would translate it"),
            (Udp, "10.96.0.9:53", "192.0.2.9:53", true, "service addresses lead to pods only"),
            (Udp, "192.0.2.1:514", "10.88.0.2:514", false, "published"),
            (Udp, "127.0.0.1:514", "10.88.0.2:514", false, "published on loopback too"),
            (Udp, "192.0.2.1:514", "10.88.0.3:514", true, "passed to another pod"),
            (Udp, "192.0.2.7:514", "10.88.0.3:514", false, "one address"),
            (Udp, "192.0.2.7:514", "10.88.0.2:514", true, "one address goes before all"),
            (Udp, "192.0.2.1:515", "10.88.0.2:514", true, "published no longer"),
            (Udp, "192.0.2.1:514", "192.0.2.1:514", true, "from before it was published"),
            (Udp, "198.51.100.1:514", "198.51.100.1:514", false, "somebody else's port of that number"),
            (Udp, "198.51.100.1:514", "172.17.0.2:514", false, "somebody else's translation"),
            (Udp, "10.88.0.2:514", "10.88.0.2:514", false, "straight to the pod"),
            (Tcp, "10.96.0.1:80", "10.88.0.2:80", false, "its pod runs, perhaps not ready"),
            (Tcp, "10.96.0.1:80", "10.88.0.9:80", true, "its pod is gone"),
            (Tcp, "192.0.2.1:80", "10.88.0.9:80", true, "its pod is gone"),
            (Tcp, "192.0.2.1:514", "192.0.2.1:514", false, "a program of the host"),
        ] {
            assert_eq!(rules.is_stale(&flow(protocol, destination, answers), &host), stale, "{destination}: {why}");
        }
    }

    fn pod(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 88, 0, last)
    }

    #[test]
    fn only_changes_that_take_something_away_strand_flows() {
        use Protocol::Udp;
        let of = |publish: &[&str], endpoints: &[&str]| {
            let publish = publish.iter().map(|target| self::publish(None, target)).collect();
            translations(publish, vec![service(endpoints, Udp)])
        };
        for (old, new, stranded) in [
            ((&[][..], &["10.88.0.2:53"][..]), (&[][..], &["10.88.0.2:53"][..]), false),
            ((&[], &["10.88.0.2:53"]), (&[], &["10.88.0.2:53", "10.88.0.3:53"]), false),
            ((&[], &[]), (&[], &["10.88.0.2:53"]), false),
            ((&[], &["10.88.0.2:53"]), (&[], &["10.88.0.3:53"]), true),
            ((&[], &["10.88.0.2:53"]), (&[], &[]), true),
            ((&[], &[]), (&["10.88.0.2:514"], &[]), true),
            ((&["10.88.0.2:514"], &[]), (&["10.88.0.2:514"], &[]), false),
            ((&["10.88.0.2:514"], &[]), (&["10.88.0.3:514"], &[]), true),
            ((&["10.88.0.2:514"], &[]), (&[], &[]), true),
        ] {
            assert_eq!(of(old.0, old.1).strands(&of(new.0, new.1)), stranded, "{old:?} {new:?}");
        }
    }
}
