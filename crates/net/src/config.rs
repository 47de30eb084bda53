//! Configuration of one pod network.

use std::{collections::BTreeSet, net::Ipv4Addr, path::PathBuf};

use ipnet::Ipv4Net;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Error, Protocol, Result, host_ports::HostPorts};

/// Longest interface name the kernel takes (`IFNAMSIZ` without the NUL).
const MAX_INTERFACE: usize = 15;
/// Longest nftables table name accepted here.
const MAX_TABLE: usize = 63;
/// A pod CIDR needs a gateway, one pod, and the two addresses that are no hosts.
const MAX_PREFIX: u8 = 30;

/// What an operator says of the pod network. Names are those of the server's settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Settings {
    /// Bridge of the pods, 1 to 15 characters.
    pub bridge: String,
    /// Addresses of pods.
    #[schemars(with = "String")]
    pub pod_cidr: Ipv4Net,
    /// Addresses of services; outside `pod_cidr`.
    #[schemars(with = "String")]
    pub service_cidr: Ipv4Net,
    /// Ports of the host that pods may reach beside names and published ports.
    #[schemars(with = "String", example = "6443/tcp,123/udp")]
    pub pod_host_ports: HostPorts,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            bridge: "nanocloud0".into(),
            pod_cidr: Ipv4Net::new_assert(Ipv4Addr::new(10, 88, 0, 0), 16),
            service_cidr: Ipv4Net::new_assert(Ipv4Addr::new(10, 96, 0, 0), 16),
            pod_host_ports: HostPorts::default(),
        }
    }
}

/// One pod network. Instances with different values live side by side.
#[derive(Debug, Clone)]
pub struct NetworkConfig {
    /// Bridge interface, 1 to 15 characters.
    pub bridge: String,
    /// Addresses of pods. The first host address is the gateway: the bridge's own address and the DNS server's.
    pub pod_cidr: Ipv4Net,
    /// Virtual addresses of services; must not overlap the pod CIDR.
    pub service_cidr: Ipv4Net,
    /// Directory for namespace pins (`<run_dir>/netns/<id>`), on a tmpfs.
    pub run_dir: PathBuf,
    /// Directory for lease files (`<state_dir>/leases/<address>`).
    pub state_dir: PathBuf,
    /// Name of the `inet` and of the `bridge` nftables table.
    pub table: String,
    /// Ports of the host that pods may reach. Names are answered and published ports are translated without being
    /// named here; everything else on the host refuses pods.
    pub host_ports: BTreeSet<(Protocol, u16)>,
}

impl NetworkConfig {
    /// The network of these settings, with its files in these directories.
    #[must_use]
    pub fn new(settings: &Settings, run_dir: PathBuf, state_dir: PathBuf) -> Self {
        Self {
            bridge: settings.bridge.clone(),
            pod_cidr: settings.pod_cidr,
            service_cidr: settings.service_cidr,
            run_dir,
            state_dir,
            table: settings.bridge.replace('-', "_"),
            host_ports: settings.pod_host_ports.0.clone(),
        }
    }

    /// The bridge's address: the first host address of the pod CIDR.
    #[must_use]
    pub fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.pod_cidr.network()).saturating_add(1))
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first field that cannot work.
    pub fn validate(&self) -> Result<()> {
        let word = |field, value: &str, max: usize| {
            let fits = (1..=max).contains(&value.len())
                && value.starts_with(|c: char| c.is_ascii_lowercase())
                && value.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_'));
            if fits {
                Ok(())
            } else {
                Err(Error::Config {
                    field,
                    problem: format!(
                        "{value:?} must be 1 to {max} characters of a-z, 0-9, '-', '_' and start with a letter"
                    ),
                })
            }
        };
        word("bridge", &self.bridge, MAX_INTERFACE)?;
        word("table", &self.table, MAX_TABLE)?;
        if self.pod_cidr.prefix_len() > MAX_PREFIX {
            return Err(Error::Config {
                field: "pod_cidr",
                problem: format!("{} has no room for pods: use a prefix of at most /{MAX_PREFIX}", self.pod_cidr),
            });
        }
        let overlap = self.pod_cidr.contains(&self.service_cidr) || self.service_cidr.contains(&self.pod_cidr);
        if overlap {
            return Err(Error::Config {
                field: "service_cidr",
                problem: format!("{} overlaps the pod CIDR {}", self.service_cidr, self.pod_cidr),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> NetworkConfig {
        NetworkConfig {
            bridge: "nanocloud0".into(),
            pod_cidr: "10.88.0.0/16".parse().unwrap(),
            service_cidr: "10.96.0.0/16".parse().unwrap(),
            run_dir: "/run/x".into(),
            state_dir: "/run/x/net".into(),
            table: "nanocloud0".into(),
            host_ports: BTreeSet::new(),
        }
    }

    #[test]
    fn the_gateway_is_the_first_host() {
        assert_eq!(config().gateway(), Ipv4Addr::new(10, 88, 0, 1));
        assert!(config().validate().is_ok());
    }

    #[test]
    fn each_bad_field_is_named() {
        type Change = fn(&mut NetworkConfig);
        let cases: [(&str, Change); 6] = [
            ("bridge", |c| c.bridge = String::new()),
            ("bridge", |c| c.bridge = "sixteen-letters1".into()),
            ("bridge", |c| c.bridge = "a\"b".into()),
            ("table", |c| c.table = "a b".into()),
            ("pod_cidr", |c| c.pod_cidr = "10.0.0.0/31".parse().unwrap()),
            ("service_cidr", |c| c.service_cidr = "10.88.3.0/24".parse().unwrap()),
        ];
        for (wanted, change) in cases {
            let mut c = config();
            change(&mut c);
            match c.validate() {
                Err(Error::Config { field, .. }) => assert_eq!(field, wanted),
                other => panic!("{wanted}: {other:?}"),
            }
        }
    }
}
