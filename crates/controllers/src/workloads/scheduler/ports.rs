//! Ports of the node that pods take.

use k8s_openapi::api::core::v1::PodSpec;

/// A port of a node: one address of it, or all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostPort {
    /// `None`: every address.
    address: Option<String>,
    protocol: String,
    port: i32,
}

impl HostPort {
    /// Whether two pods cannot have these ports at the same time.
    fn clashes(&self, other: &Self) -> bool {
        let overlap = self.address.is_none() || other.address.is_none() || self.address == other.address;
        self.port == other.port && self.protocol == other.protocol && overlap
    }
}

/// The ports of the node that the pod's containers ask for.
pub(crate) fn wanted(spec: &PodSpec) -> Vec<HostPort> {
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let ports = containers.flat_map(|container| container.ports.iter().flatten());
    let taken = ports.filter_map(|port| {
        let number = port.host_port.filter(|number| *number > 0)?;
        let everywhere = |address: &String| address.is_empty() || address == "0.0.0.0" || address == "::";
        Some(HostPort {
            address: port.host_ip.clone().filter(|address| !everywhere(address)),
            protocol: port.protocol.clone().unwrap_or_else(|| "TCP".into()),
            port: number,
        })
    });
    taken.collect()
}

/// Whether all that is wanted is free beside what is taken.
pub(crate) fn free(wanted: &[HostPort], taken: &[HostPort]) -> bool {
    !wanted.iter().any(|port| taken.iter().any(|other| port.clashes(other)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ports(address: &str, protocol: &str, port: i32) -> Vec<HostPort> {
        let port = json!({"containerPort": 80, "hostPort": port, "hostIP": address, "protocol": protocol});
        let spec = json!({"containers": [{"name": "c", "ports": [port, {"containerPort": 81}]}]});
        wanted(&serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn ports_clash_by_number_protocol_and_address() {
        let taken = ports("127.0.0.1", "TCP", 80);
        assert_eq!(taken.len(), 1, "a port of the container alone takes none of the node");
        for (address, protocol, port, fits) in [
            ("127.0.0.1", "TCP", 80, false),
            ("", "TCP", 80, false),
            ("0.0.0.0", "TCP", 80, false),
            ("10.0.0.1", "TCP", 80, true),
            ("127.0.0.1", "UDP", 80, true),
            ("127.0.0.1", "TCP", 81, true),
        ] {
            assert_eq!(free(&ports(address, protocol, port), &taken), fits, "{address} {protocol} {port}");
            assert_eq!(free(&taken, &ports(address, protocol, port)), fits, "{address} {protocol} {port}");
        }
    }
}
