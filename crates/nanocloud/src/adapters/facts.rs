//! Facts of the host for the macros of options.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
};

use controllers::ports::HostFacts;
use dockyard::Facts;

/// Reads the host as it is now.
#[derive(Debug)]
pub struct Host {
    /// Resolver of the pods: the bridge's address.
    pub dns: Ipv4Addr,
    /// Interfaces that do not count as the host's own address.
    pub bridge: String,
    /// The host's resolver configuration.
    pub resolv_conf: PathBuf,
}

impl HostFacts for Host {
    fn facts(&self) -> Facts {
        let text = fs::read_to_string(&self.resolv_conf).unwrap_or_default();
        let reachable = |address: &IpAddr| !address.is_loopback() && !address.is_unspecified();
        // A pod cannot reach a resolver on the host's loopback; the node's own DNS server answers instead.
        let dns = first_nameserver(&text).filter(reachable).unwrap_or(IpAddr::V4(self.dns));
        Facts { dns: Some(dns), local_ip: local_ip(&self.bridge).map(IpAddr::V4) }
    }
}

fn first_nameserver(resolv_conf: &str) -> Option<IpAddr> {
    resolv_conf
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .find_map(|rest| rest.trim().parse().ok())
}

/// The first IPv4 address that is neither loopback nor of the pods' bridge.
pub fn local_ip(bridge: &str) -> Option<Ipv4Addr> {
    let addresses = nix::ifaddrs::getifaddrs().ok()?;
    let own = addresses.filter(|interface| interface.interface_name != bridge);
    own.filter_map(|interface| Some(interface.address?.as_sockaddr_in()?.ip()))
        .find(|ip| !ip.is_loopback() && !ip.is_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_nameserver_counts() {
        let text = "# comment\nsearch example.org\nnameserver 192.0.2.53\nnameserver 192.0.2.54\n";
        assert_eq!(first_nameserver(text), Some([192, 0, 2, 53].into()));
        assert_eq!(first_nameserver("nameserver nonsense\n"), None);
    }
}
