//! Where the servers of the API are reached: this one by its settings, other members by what they said when they joined.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use async_trait::async_trait;
use controllers::ports::ApiServers;
use keyspace::Cluster;

use super::facts;

/// The server of this node, and the members of its cluster.
pub struct Servers {
    /// Where this one listens.
    pub listen: SocketAddr,
    /// The interface of pods, whose address is not the host's own.
    pub bridge: String,
    /// The members, if the keyspace has some.
    pub cluster: Option<Arc<dyn Cluster>>,
}

#[async_trait]
impl ApiServers for Servers {
    async fn addresses(&self) -> Vec<SocketAddr> {
        let mut found: BTreeSet<SocketAddr> = self.own().into_iter().collect();
        if let Some(cluster) = &self.cluster {
            let state = cluster.members().await;
            for other in state.members.iter().filter(|other| other.member.id != state.asked) {
                found.extend(resolve(&other.member.api_url).await);
            }
        }
        found.into_iter().collect()
    }
}

impl Servers {
    fn own(&self) -> Option<SocketAddr> {
        match self.listen.ip() {
            ip if ip.is_unspecified() => {
                facts::local_ip(&self.bridge).map(|ip| SocketAddr::new(IpAddr::V4(ip), self.listen.port()))
            }
            _ => Some(self.listen).filter(is_elsewhere),
        }
    }
}

/// Whether other machines can mean this one by the address.
fn is_elsewhere(address: &SocketAddr) -> bool {
    !address.ip().is_loopback() && !address.ip().is_unspecified()
}

/// The first address of a URL's host that is one for other machines.
async fn resolve(url: &str) -> Option<SocketAddr> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split('/').next()?;
    let has_port = authority.rsplit(']').next().is_some_and(|end| end.contains(':'));
    let address = if has_port { authority.to_owned() } else { format!("{authority}:443") };
    tokio::net::lookup_host(address).await.ok()?.find(is_elsewhere)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_addresses_for_other_machines_count() {
        let at = |text: &str| -> Option<SocketAddr> { Some(text.parse().unwrap()) };
        for (url, wanted) in [
            ("https://192.0.2.7:6443", at("192.0.2.7:6443")),
            ("https://192.0.2.7", at("192.0.2.7:443")),
            ("https://[2001:db8::1]:6443/", at("[2001:db8::1]:6443")),
            ("https://127.0.0.1:6443", None),
            ("https://0.0.0.0:6443", None),
            ("", None),
        ] {
            assert_eq!(resolve(url).await, wanted, "{url}");
        }
        let own = |listen: &str| Servers { listen: listen.parse().unwrap(), bridge: String::new(), cluster: None };
        assert_eq!(own("192.0.2.7:1").addresses().await, ["192.0.2.7:1".parse().unwrap()]);
        assert!(own("127.0.0.1:6443").addresses().await.is_empty());
    }
}
