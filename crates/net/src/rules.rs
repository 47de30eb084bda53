//! What the outside and other pods can reach: plain data, checked before it is rendered.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddrV4},
};

use ipnet::Ipv4Net;

use crate::{Error, HostPort, Protocol, Result};

/// A port of the host that leads to a pod.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Publish {
    /// The port on the host.
    pub port: HostPort,
    /// Pod address and port.
    pub target: SocketAddrV4,
    /// Who asked for it, for messages: `namespace/pod`.
    pub owner: String,
}

/// One port of a service address and what is behind it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Service {
    /// Virtual address, inside the service CIDR.
    pub address: Ipv4Addr,
    /// Port on the virtual address.
    pub port: u16,
    /// Protocol.
    pub protocol: Protocol,
    /// Port on every address of the host, if the service has one.
    pub node_port: Option<u16>,
    /// Who serves it; without anybody, connections are refused. Addresses outside the pod CIDR are of other machines, or
    /// of the host: there pods reach what the host lets them reach anyway.
    pub endpoints: Vec<SocketAddrV4>,
    /// Whether the endpoints are a program of the host that is for pods, too: this service leads them to it, even if
    /// they may not reach its port otherwise.
    pub host_program: bool,
    /// A client address keeps its endpoint as long as that one is there; one more endpoint takes over a few clients.
    pub sticky: bool,
    /// Whose port it is, for messages: `namespace/service`.
    pub owner: String,
}

/// Everything one table says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// Published ports.
    pub publish: Vec<Publish>,
    /// Services.
    pub services: Vec<Service>,
}

impl Rules {
    /// The same rules in one order, without repetitions: equal meaning gives equal text.
    #[must_use]
    pub fn normalised(&self) -> Self {
        let mut rules = self.clone();
        for service in &mut rules.services {
            service.endpoints.sort();
            service.endpoints.dedup();
        }
        rules.publish.sort();
        rules.publish.dedup();
        rules.services.sort();
        rules.services.dedup();
        rules
    }

    /// Checks that no host port and no service port has two owners and that addresses lie in their networks.
    ///
    /// # Errors
    /// [`Error::PortConflict`], [`Error::Outside`].
    pub fn validate(&self, pod_cidr: Ipv4Net, service_cidr: Ipv4Net) -> Result<()> {
        let within = |owner: &str, address: Ipv4Addr, cidr: Ipv4Net| {
            if cidr.contains(&address) {
                Ok(())
            } else {
                Err(Error::Outside { owner: owner.to_owned(), address, cidr })
            }
        };
        let mut claims = Claims::default();
        for publish in &self.publish {
            within(&publish.owner, *publish.target.ip(), pod_cidr)?;
            claims.claim(publish.port, &publish.owner)?;
        }
        let mut vips: BTreeMap<(Ipv4Addr, Protocol, u16), &str> = BTreeMap::new();
        for service in &self.services {
            within(&service.owner, service.address, service_cidr)?;
            let port = HostPort { address: Some(service.address), port: service.port, protocol: service.protocol };
            if let Some(first) = vips.insert((service.address, service.protocol, service.port), &service.owner) {
                return Err(Error::PortConflict { port, first: first.to_owned(), second: service.owner.clone() });
            }
            if let Some(node_port) = service.node_port {
                let port = HostPort { address: None, port: node_port, protocol: service.protocol };
                claims.claim(port, &service.owner)?;
            }
        }
        Ok(())
    }
}

/// The address a port was claimed on (`None`: every one) and by whom.
type Claim<'a> = (Option<Ipv4Addr>, &'a str);

/// Host ports and their owners.
#[derive(Default)]
struct Claims<'a>(BTreeMap<(Protocol, u16), Vec<Claim<'a>>>);

impl<'a> Claims<'a> {
    fn claim(&mut self, port: HostPort, owner: &'a str) -> Result<()> {
        let claimed = self.0.entry((port.protocol, port.port)).or_default();
        let clash = claimed.iter().find(|(address, _)| port.overlaps(*address));
        if let Some((_, first)) = clash {
            return Err(Error::PortConflict { port, first: (*first).to_owned(), second: owner.to_owned() });
        }
        claimed.push((port.address, owner));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(address: Option<[u8; 4]>, port: u16, owner: &str) -> Publish {
        Publish {
            port: HostPort { address: address.map(Ipv4Addr::from), port, protocol: Protocol::Tcp },
            target: "10.88.0.2:80".parse().unwrap(),
            owner: owner.into(),
        }
    }

    fn check(rules: &Rules) -> Result<()> {
        rules.validate("10.88.0.0/16".parse().unwrap(), "10.96.0.0/16".parse().unwrap())
    }

    #[test]
    fn host_ports_clash_by_address() {
        let lo = Some([127, 0, 0, 1]);
        let other = Some([192, 0, 2, 1]);
        for (a, b, clash) in
            [(lo, lo, true), (lo, other, false), (None, lo, true), (lo, None, true), (None, None, true)]
        {
            let rules = Rules { publish: vec![publish(a, 80, "x/a"), publish(b, 80, "x/b")], services: vec![] };
            match check(&rules) {
                Ok(()) => assert!(!clash, "{a:?} {b:?}"),
                Err(Error::PortConflict { first, second, .. }) => {
                    assert!(clash && first == "x/a" && second == "x/b");
                }
                Err(e) => panic!("{e}"),
            }
        }
    }

    #[test]
    fn addresses_must_lie_in_their_networks() {
        let mut stray = publish(None, 80, "x/a");
        stray.target = "192.0.2.9:80".parse().unwrap();
        assert!(matches!(check(&Rules { publish: vec![stray], services: vec![] }), Err(Error::Outside { .. })));
    }
}
