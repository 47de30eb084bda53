//! The network of one node: bridge, attachments, rules.

use std::{
    collections::BTreeSet,
    fs, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{net::TcpStream, sync::Mutex};

use crate::{
    Error, Lease, NetworkConfig, Result, Rules, dns,
    flow::Translations,
    guard,
    lease::Leases,
    link::{Links, Mac, controller_of, in_time, is_up, mac_of},
    netns, nft, render, sysctl,
    tables::{Part, Tables},
};

/// Interface name inside a pod.
const POD_INTERFACE: &str = "eth0";
/// First bytes of every MAC made here: locally administered, unicast.
const MAC_PREFIX: [u8; 2] = [0x0a, 0x58];
/// Longest attachment id (a DNS label).
const MAX_ID: usize = 63;

/// Longest wait for a program on the loopback of a pod to take a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A request for a pod's network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachRequest {
    /// Unique name, such as a pod's UID: 1 to 63 of `a-z0-9.-`.
    pub id: String,
    /// Host name of the pod, kept in the lease for people.
    pub hostname: String,
}

/// A pod's network as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Pinned namespace, to be joined by the pod's containers.
    pub netns: PathBuf,
    /// The pod's address.
    pub address: Ipv4Addr,
    /// The bridge's address, which is also the DNS server's.
    pub gateway: Ipv4Addr,
    /// MAC of the pod's interface.
    pub mac: [u8; 6],
    /// Host side of the veth pair.
    pub host_veth: String,
}

pub(crate) struct State {
    pub(crate) leases: Leases,
    pub(crate) tables: Tables,
    /// What the loaded rules translate; unknown after a start.
    pub(crate) translations: Option<Translations>,
    /// The kernel may remember connections that the rules no longer make.
    pub(crate) strays: bool,
}

/// The pod network of one node. All changes go through one lock, so they never interleave.
pub struct Network {
    pub(crate) config: NetworkConfig,
    pub(crate) links: Links,
    pub(crate) state: Mutex<State>,
    /// Pods whose network is to be removed by who has the lock next.
    leaving: parking_lot::Mutex<BTreeSet<String>>,
}

impl Network {
    /// Brings the bridge and kernel parameters to what `config` says, loads a table without services if there is none,
    /// and reads the leases. Needs root.
    ///
    /// # Errors
    /// [`Error::Config`], [`Error::NotABridge`], or the step that failed.
    pub async fn open(config: NetworkConfig) -> Result<Self> {
        config.validate()?;
        let leases = Leases::open(config.state_dir.join("leases"), config.pod_cidr)?;
        let links = Links::open()?;
        let tables = Tables::new(config.table.clone());
        let state = Mutex::new(State { leases, tables, translations: None, strays: true });
        let network = Self { config, links, state, leaving: parking_lot::Mutex::default() };
        // Whether the name is ours to judge by comes first: rules about somebody else's interface would cut it off.
        network.links.ensure_bridge(&network.config.bridge, mac_for(network.config.gateway())).await?;
        network.load_first().await?;
        network.ensure_bridge().await?;
        Ok(network)
    }

    /// Loads what must be there before a packet passes: never a moment with `route_localnet` and without the rules
    /// that guard it. Rules of an earlier run stay.
    async fn load_first(&self) -> Result<()> {
        let mut state = self.state.lock().await;
        let [has_rules, _] = nft::exist(&self.config.table).await?;
        if !has_rules {
            state.tables.put(Part::Rules, render::render(&self.config, &Rules::default()), None).await?;
        }
        let ports = self.guarded_ports(&state.leases);
        state.tables.put(Part::Ports, ports, None).await.map(drop)
    }

    fn guarded_port(&self, lease: &Lease) -> guard::Port {
        let (interface, mac) = (self.veth_name(&lease.id), mac_for(lease.address));
        guard::Port { interface, mac, address: lease.address }
    }

    /// The table of interfaces and addresses.
    fn guarded_ports(&self, leases: &Leases) -> String {
        let port = |lease| self.guarded_port(lease);
        let gateway = mac_for(self.config.gateway());
        guard::render(&self.config.table, gateway, &leases.all().map(port).collect::<Vec<_>>())
    }

    /// The configuration it was opened with.
    #[must_use]
    pub fn config(&self) -> &NetworkConfig {
        &self.config
    }

    pub(crate) async fn ensure_bridge(&self) -> Result<()> {
        let NetworkConfig { bridge, pod_cidr, service_cidr, .. } = &self.config;
        let gateway = self.config.gateway();
        let index = self.links.ensure_bridge(bridge, mac_for(gateway)).await?;
        sysctl::set_if_present(&format!("net/ipv6/conf/{bridge}/disable_ipv6"), "1")?;
        self.links.set_address(index, gateway, pod_cidr.prefix_len()).await?;
        self.links.up(bridge).await?;
        for (key, value) in bridge_parameters(bridge) {
            sysctl::set(&key, value)?;
        }
        // Without a route here, an unserved service address would leave through the uplink.
        self.links.add_route(index, (service_cidr.network(), service_cidr.prefix_len()), None).await
    }

    /// Gives a pod its namespace, address and interface; repeating it returns the same attachment.
    ///
    /// After an error the call may be repeated, or [`Network::detach`] removes what was made.
    ///
    /// # Errors
    /// [`Error::Id`], [`Error::Exhausted`], or the step that failed.
    pub async fn attach(&self, request: &AttachRequest) -> Result<Attachment> {
        check_id(&request.id)?;
        let mut state = self.state.lock().await;
        let lease = state.leases.assign(&request.id, &request.hostname)?;
        let attachment = self.attachment(&lease);
        let State { leases, tables, .. } = &mut *state;
        let ports = self.guarded_ports(leases);
        // Two things of the kernel's that take a while; no program runs in the pod before both are done.
        let change = guard::add(&self.config.table, &self.guarded_port(&lease));
        let (guarded, plugged) = tokio::join!(tables.put(Part::Ports, ports, Some(&change)), self.plug(&attachment));
        guarded?;
        plugged?;
        Ok(attachment)
    }

    /// Namespace and interface of a pod, as far as they are missing.
    pub(crate) async fn plug(&self, attachment: &Attachment) -> Result<()> {
        netns::pin(&attachment.netns)?;
        let inner = Links::open_in(&attachment.netns)?;
        let plugged = async {
            if self.is_wired(&inner, attachment).await? { Ok(()) } else { self.wire(&inner, attachment).await }
        };
        in_time("plug in", &attachment.host_veth, plugged).await
    }

    async fn is_wired(&self, inner: &Links, attachment: &Attachment) -> Result<bool> {
        let bridge = self.bridge_index().await?;
        let outside = self.links.find(&attachment.host_veth).await?;
        let outside = outside.is_some_and(|link| is_up(&link) && controller_of(&link) == Some(bridge));
        let Some(inside) = inner.find(POD_INTERFACE).await? else { return Ok(false) };
        let addresses = inner.addresses(inside.header.index).await?;
        Ok(outside
            && is_up(&inside)
            && mac_of(&inside) == Some(attachment.mac)
            && addresses.contains(&(attachment.address, 32)))
    }

    async fn wire(&self, inner: &Links, attachment: &Attachment) -> Result<()> {
        let Attachment { netns, address, gateway, mac, host_veth } = attachment;
        let bridge = self.bridge_index().await?;
        self.links.remove(host_veth).await?;
        inner.remove(POD_INTERFACE).await?;
        self.links.add_veth(host_veth, POD_INTERFACE, *mac, netns).await?;
        netns::inside(netns, || {
            for (key, value) in POD_PARAMETERS {
                sysctl::set_if_present(key, value).map_err(io::Error::other)?;
            }
            Ok(())
        })?;
        self.links.join_bridge(host_veth, bridge).await?;
        inner.up("lo").await?;
        let index = inner.up(POD_INTERFACE).await?;
        inner.set_address(index, *address, 32).await?;
        inner.add_route(index, (*gateway, 32), None).await?;
        inner.add_route(index, (Ipv4Addr::UNSPECIFIED, 0), Some(*gateway)).await
    }

    /// Removes a pod's interface, namespace and address, in this order: an address is free only when nothing uses it.
    /// Does nothing for an unknown id.
    ///
    /// Who gets the lock takes all that wait for it along: the kernel removes a hundred interfaces in the time of one,
    /// and one run of `nft` is enough for all of them.
    ///
    /// # Errors
    /// [`Error::Id`] or the step that failed; repeat it then.
    pub async fn detach(&self, id: &str) -> Result<()> {
        check_id(id)?;
        self.leaving.lock().insert(id.to_owned());
        let mut state = self.state.lock().await;
        let mut ids = std::mem::take(&mut *self.leaving.lock());
        // Who took this one along may have failed; where it did not, nothing is left to do for it.
        ids.insert(id.to_owned());
        self.detach_all(&ids, &mut state).await
    }

    async fn detach_all(&self, ids: &BTreeSet<String>, state: &mut State) -> Result<()> {
        let removed = self.links.remove_all(ids.iter().map(|id| self.veth_name(id)));
        in_time("remove", "interfaces of pods", removed).await?;
        let mut change = String::new();
        for id in ids {
            netns::unpin(&self.pin(id))?;
            let Some(lease) = state.leases.get(id).cloned() else { continue };
            state.strays = true;
            state.leases.release(id)?;
            change += &guard::remove(&self.config.table, &self.guarded_port(&lease));
        }
        if change.is_empty() && state.tables.are_loaded() {
            return Ok(());
        }
        let ports = self.guarded_ports(&state.leases);
        state.tables.put(Part::Ports, ports, Some(&change)).await.map(drop)
    }

    /// Connects to a TCP port of the pod's own loopback, where programs listen that are not meant for others.
    ///
    /// # Errors
    /// [`Error::Connect`] if the pod has no network or does not answer, or what kept us from entering the namespace.
    pub async fn connect(&self, id: &str, port: u16) -> Result<TcpStream> {
        check_id(id)?;
        let fail = |source| Error::Connect { id: id.to_owned(), port, source };
        let pin = self.pin(id);
        if !netns::is_pinned(&pin) {
            return Err(fail(io::Error::new(io::ErrorKind::NotFound, "the pod has no network on this node")));
        }
        // The socket belongs to the namespace in which it is made; whoever holds it may use it elsewhere.
        let entered = tokio::task::spawn_blocking(move || netns::inside(&pin, move || Ok(dial(port)))).await;
        let stream = entered.map_err(|error| fail(io::Error::other(error)))??.map_err(fail)?;
        stream.set_nonblocking(true).map_err(fail)?;
        TcpStream::from_std(stream).map_err(fail)
    }

    /// The attachment of `id`, if it has an address.
    pub async fn find(&self, id: &str) -> Option<Attachment> {
        self.state.lock().await.leases.get(id).map(|lease| self.attachment(lease))
    }

    /// Ids of all attachments, and of namespaces without one: what [`Network::detach`] would have to be called for.
    ///
    /// # Errors
    /// When the directory of pins cannot be read.
    pub async fn inventory(&self) -> Result<Vec<String>> {
        let state = self.state.lock().await;
        let mut ids: Vec<String> = state.leases.all().map(|lease| lease.id.clone()).collect();
        ids.extend(netns::pins(&self.pins())?.into_iter().map(|(id, _)| id));
        ids.sort();
        ids.dedup();
        Ok(ids)
    }

    /// Makes `zone` the names that pods can ask for; whether anything changed. A server of the network answers them
    /// ([`dns::Helper`]).
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn publish_names(&self, zone: &dns::Zone) -> Result<bool> {
        dns::publish(&self.config, zone)
    }

    /// Removes everything this network made on the host: DNS helper, attachments, bridge with its ports, table, lease
    /// files.
    /// `ip_forward` stays as it is. The network must not be used afterwards; open it again instead.
    ///
    /// # Errors
    /// The step that failed; repeat it then.
    pub async fn teardown(&self) -> Result<()> {
        dns::end(&self.config).await?;
        for id in self.inventory().await? {
            self.detach(&id).await?;
        }
        if let Some(link) = self.links.find(&self.config.bridge).await? {
            for (port, _) in self.links.ports_of(link.header.index).await? {
                self.links.remove(&port).await?;
            }
        }
        self.links.remove(&self.config.bridge).await?;
        self.state.lock().await.tables.remove().await?;
        for dir in [self.pins(), self.config.state_dir.join("leases")] {
            match fs::remove_dir_all(&dir) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::File { action: "remove", path: dir, source });
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(crate) async fn bridge_index(&self) -> Result<u32> {
        let name = &self.config.bridge;
        let missing =
            || Error::Link { action: "find bridge", name: name.clone(), source: io::ErrorKind::NotFound.into() };
        self.links.find(name).await?.map(|link| link.header.index).ok_or_else(missing)
    }

    pub(crate) fn attachment(&self, lease: &Lease) -> Attachment {
        Attachment {
            netns: self.pin(&lease.id),
            address: lease.address,
            gateway: self.config.gateway(),
            mac: mac_for(lease.address),
            host_veth: self.veth_name(&lease.id),
        }
    }

    pub(crate) fn pins(&self) -> PathBuf {
        self.config.run_dir.join("netns")
    }

    pub(crate) fn pin(&self, id: &str) -> PathBuf {
        self.pins().join(Path::new(id))
    }

    /// Stable name of the host side: the same after a restart, different between instances.
    fn veth_name(&self, id: &str) -> String {
        let hash = fnv1a(format!("{}/{id}", self.config.bridge).as_bytes());
        format!("nc{:012x}", hash & 0xffff_ffff_ffff)
    }
}

/// Parameters of the host; the last two are the bridge's own.
///
/// `route_localnet` lets a connection to a published port on 127.0.0.1 leave through the bridge; the `martian` chain
/// keeps pods from using it towards the host's loopback. An interface sends redirects if it or `all` says so (ip-sysctl);
/// between two pods each packet would be a case for one, and redirects use up the rate at which the kernel sends a pod
/// any ICMP error, so that refusals would be silence. Other interfaces keep their own value.
pub(crate) fn bridge_parameters(bridge: &str) -> [(String, &'static str); 4] {
    [
        ("net/ipv4/ip_forward".to_owned(), "1"),
        ("net/ipv4/conf/all/send_redirects".to_owned(), "0"),
        (format!("net/ipv4/conf/{bridge}/route_localnet"), "1"),
        (format!("net/ipv4/conf/{bridge}/send_redirects"), "0"),
    ]
}

/// Parameters of a pod's namespace: no IPv6 on its interface, no route changes by redirects, and low ports and ping for
/// processes without capabilities.
const POD_PARAMETERS: [(&str, &str); 5] = [
    ("net/ipv6/conf/eth0/disable_ipv6", "1"),
    ("net/ipv4/conf/all/accept_redirects", "0"),
    ("net/ipv4/conf/eth0/accept_redirects", "0"),
    ("net/ipv4/ip_unprivileged_port_start", "0"),
    ("net/ipv4/ping_group_range", "0\t2147483647"),
];

/// One MAC per address, so neighbour caches stay right when an address changes its pod.
fn mac_for(address: Ipv4Addr) -> Mac {
    let [a, b, c, d] = address.octets();
    [MAC_PREFIX[0], MAC_PREFIX[1], a, b, c, d]
}

/// FNV-1a, 64 bits (RFC 9923): stable across releases, which the standard library's hasher does not promise.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn check_id(id: &str) -> Result<()> {
    let fits = (1..=MAX_ID).contains(&id.len())
        && id.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.'));
    if fits { Ok(()) } else { Err(Error::Id { id: id.to_owned(), max: MAX_ID }) }
}

/// Connects to this namespace's loopback, by IPv4 or else by IPv6.
fn dial(port: u16) -> io::Result<std::net::TcpStream> {
    let connect = |address| std::net::TcpStream::connect_timeout(&address, CONNECT_TIMEOUT);
    let first = connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    first.or_else(|refused| connect(SocketAddr::from((Ipv6Addr::LOCALHOST, port))).map_err(|_| refused))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_cannot_leave_the_directory() {
        for bad in ["", ".", "..", "../x", "a/b", "A", "-a", &"a".repeat(64)] {
            assert!(check_id(bad).is_err(), "{bad}");
        }
        assert!(check_id("3f6f9b1e-6b1f-4d0a-9a9f-000000000001").is_ok());
    }

    #[test]
    fn veth_names_depend_on_bridge_and_id() {
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(mac_for(Ipv4Addr::new(10, 88, 0, 7)), [0x0a, 0x58, 10, 88, 0, 7]);
    }
}
