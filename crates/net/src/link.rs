//! Interfaces, addresses and routes over netlink.

use std::{collections::BTreeSet, io, net::Ipv4Addr, os::fd::AsRawFd as _, path::Path, time::Duration};

use futures::TryStreamExt as _;
use rtnetlink::{
    Handle, LinkBridge, LinkBridgePort, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder,
    packet_route::{
        address::AddressAttribute,
        link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
        route::{RouteAttribute, RouteScope},
    },
};
use tokio::task::JoinHandle;

use crate::{Error, Result, netns};

/// Group of interfaces (ip-link(8)) that are about to be removed; everything in it goes.
const LEAVING: u32 = 0x6e63_6c76;

/// A MAC address.
pub(crate) type Mac = [u8; 6];

/// Longest time the kernel may take over a pod's interfaces; a second is much. Who waits has the lock of the network.
const PATIENCE: Duration = Duration::from_secs(30);

/// Does some work with interfaces; an error when the kernel does not answer.
pub(crate) async fn in_time<T>(action: &'static str, name: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    let late = |_| failed(action, name, io::ErrorKind::TimedOut.into());
    tokio::time::timeout(PATIENCE, work).await.map_err(late).flatten()
}

/// One netlink connection; it belongs to the namespace it was opened in.
pub(crate) struct Links {
    handle: Handle,
    task: JoinHandle<()>,
}

impl Drop for Links {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Links {
    /// In the caller's namespace.
    pub(crate) fn open() -> Result<Self> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(|source| Error::Link {
            action: "open",
            name: "netlink socket".into(),
            source,
        })?;
        #[expect(clippy::disallowed_methods, reason = "aborted when the links are dropped")]
        Ok(Self { handle, task: tokio::spawn(connection) })
    }

    /// In the namespace pinned at `path`; the socket stays there, whichever thread uses it.
    pub(crate) fn open_in(path: &Path) -> Result<Self> {
        let reactor = tokio::runtime::Handle::current();
        let (connection, handle) = netns::inside(path, move || {
            let _entered = reactor.enter();
            rtnetlink::new_connection().map(|(connection, handle, _)| (connection, handle))
        })?;
        #[expect(clippy::disallowed_methods, reason = "aborted when the links are dropped")]
        Ok(Self { handle, task: tokio::spawn(connection) })
    }

    /// The interface called `name`, if there is one.
    pub(crate) async fn find(&self, name: &str) -> Result<Option<LinkMessage>> {
        match self.handle.link().get().match_name(name).execute().try_next().await {
            Ok(found) => Ok(found),
            Err(error) => match to_io(error) {
                e if e.raw_os_error() == Some(nix::libc::ENODEV) => Ok(None),
                source => Err(failed("find interface", name, source)),
            },
        }
    }

    /// Names of the interfaces whose controller is `index`.
    pub(crate) async fn ports_of(&self, index: u32) -> Result<Vec<(String, u32)>> {
        let mut links = self.handle.link().get().execute();
        let mut found = Vec::new();
        while let Some(link) = links.try_next().await.map_err(|e| failed("list", "interfaces", to_io(e)))? {
            if link.attributes.contains(&LinkAttribute::Controller(index)) {
                found.push((name_of(&link), link.header.index));
            }
        }
        Ok(found)
    }

    /// Makes the bridge `name` with a fixed MAC (otherwise it would change with the lowest port).
    pub(crate) async fn ensure_bridge(&self, name: &str, mac: Mac) -> Result<u32> {
        if self.find(name).await?.is_none() {
            let bridge = LinkBridge::new(name).address(mac.to_vec()).build();
            ignore(nix::libc::EEXIST, self.handle.link().add(bridge).execute().await)
                .map_err(|e| failed("create bridge", name, e))?;
        }
        let link = self.find(name).await?.ok_or_else(|| failed("find bridge", name, io::ErrorKind::NotFound.into()))?;
        if !is_bridge(&link) {
            return Err(Error::NotABridge { name: name.into() });
        }
        if mac_of(&link) != Some(mac) {
            let change = LinkUnspec::new_with_index(link.header.index).address(mac.to_vec()).build();
            self.handle.link().set(change).execute().await.map_err(|e| failed("set address of", name, to_io(e)))?;
        }
        Ok(link.header.index)
    }

    /// Makes a veth pair: `name` here, `peer` inside the namespace.
    pub(crate) async fn add_veth(&self, name: &str, peer: &str, mac: Mac, target: &Path) -> Result<()> {
        let pin = std::fs::File::open(target).map_err(|e| failed("open namespace of", name, e))?;
        let peer = LinkMessageBuilder::<LinkUnspec>::new()
            .name(peer)
            .address(mac.to_vec())
            .setns_by_fd(pin.as_raw_fd())
            .build();
        let pair = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
            .name(name)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .build();
        self.handle.link().add(pair).execute().await.map_err(|e| failed("create veth", name, to_io(e)))
    }

    /// Puts an interface into a bridge, brings it up, and lets frames return through the port they came from. The port
    /// is not `isolated`: with `br_netfilter`, what was translated goes from port to port and would be lost.
    pub(crate) async fn join_bridge(&self, name: &str, bridge: u32) -> Result<()> {
        let index = self.index(name).await?;
        let change = LinkUnspec::new_with_index(index).controller(bridge).up().build();
        self.handle.link().set(change).execute().await.map_err(|e| failed("attach to bridge", name, to_io(e)))?;
        let port = LinkBridgePort::new(index).hairpin(true).build();
        self.handle.link().set_port(port).execute().await.map_err(|e| failed("set hairpin of", name, to_io(e)))
    }

    /// Brings an interface up.
    pub(crate) async fn up(&self, name: &str) -> Result<u32> {
        let index = self.index(name).await?;
        let change = LinkUnspec::new_with_index(index).up().build();
        self.handle.link().set(change).execute().await.map_err(|e| failed("bring up", name, to_io(e)))?;
        Ok(index)
    }

    /// Removes an interface if it exists.
    pub(crate) async fn remove(&self, name: &str) -> Result<()> {
        let Some(link) = self.find(name).await? else { return Ok(()) };
        ignore(nix::libc::ENODEV, self.handle.link().del(link.header.index).execute().await)
            .map_err(|e| failed("remove interface", name, e))
    }

    /// Removes the interfaces that exist among these, in one step: each step waits until no packet is under way
    /// anywhere in the kernel.
    pub(crate) async fn remove_all(&self, names: impl Iterator<Item = String>) -> Result<()> {
        let mut last = None;
        for name in names {
            let Some(link) = self.find(&name).await? else { continue };
            let mut change = LinkUnspec::new_with_index(link.header.index).build();
            change.attributes.push(LinkAttribute::Group(LEAVING));
            ignore(nix::libc::ENODEV, self.handle.link().set(change).execute().await)
                .map_err(|e| failed("mark interface", &name, e))?;
            last = Some(name);
        }
        let Some(name) = last else { return Ok(()) };
        let mut request = self.handle.link().del(0);
        request.message_mut().attributes.push(LinkAttribute::Group(LEAVING));
        ignore(nix::libc::ENODEV, request.execute().await).map_err(|e| failed("remove interface", &name, e))
    }

    /// IPv4 addresses of an interface, with prefix length.
    pub(crate) async fn addresses(&self, index: u32) -> Result<Vec<(Ipv4Addr, u8)>> {
        let mut all = self.handle.address().get().set_link_index_filter(index).execute();
        let mut found = Vec::new();
        while let Some(message) = all.try_next().await.map_err(|e| failed("list", "addresses", to_io(e)))? {
            found.extend(message.attributes.iter().filter_map(|a| match a {
                AddressAttribute::Local(std::net::IpAddr::V4(v4)) => Some((*v4, message.header.prefix_len)),
                _ => None,
            }));
        }
        Ok(found)
    }

    /// IPv4 addresses of all interfaces.
    pub(crate) async fn all_addresses(&self) -> Result<BTreeSet<Ipv4Addr>> {
        let mut all = self.handle.address().get().execute();
        let mut found = BTreeSet::new();
        while let Some(message) = all.try_next().await.map_err(|e| failed("list", "addresses", to_io(e)))? {
            found.extend(message.attributes.iter().filter_map(|a| match a {
                AddressAttribute::Local(std::net::IpAddr::V4(v4)) => Some(*v4),
                _ => None,
            }));
        }
        Ok(found)
    }

    /// The interface that packets to `address` leave by, if there is a route.
    pub(crate) async fn way_to(&self, address: Ipv4Addr) -> Result<Option<u32>> {
        let request = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(address, 32).build();
        match self.handle.route().get(request).execute().try_next().await {
            Ok(route) => Ok(route.and_then(|route| {
                route.attributes.iter().find_map(|a| match a {
                    RouteAttribute::Oif(index) => Some(*index),
                    _ => None,
                })
            })),
            Err(error) => match to_io(error) {
                e if e.raw_os_error() == Some(nix::libc::ENETUNREACH) => Ok(None),
                source => Err(failed("find route to", &address.to_string(), source)),
            },
        }
    }

    /// Gives an interface exactly this IPv4 address.
    pub(crate) async fn set_address(&self, index: u32, address: Ipv4Addr, prefix: u8) -> Result<()> {
        let mut all = self.handle.address().get().set_link_index_filter(index).execute();
        let mut stale = Vec::new();
        while let Some(message) = all.try_next().await.map_err(|e| failed("list", "addresses", to_io(e)))? {
            let local = message.attributes.iter().find_map(|a| match a {
                AddressAttribute::Local(std::net::IpAddr::V4(v4)) => Some(*v4),
                _ => None,
            });
            if local.is_some_and(|l| l != address || message.header.prefix_len != prefix) {
                stale.push(message);
            }
        }
        for message in stale {
            ignore(nix::libc::EADDRNOTAVAIL, self.handle.address().del(message).execute().await)
                .map_err(|e| failed("remove address from interface", &index.to_string(), e))?;
        }
        let add = self.handle.address().add(index, address.into(), prefix).execute().await;
        ignore(nix::libc::EEXIST, add).map_err(|e| failed("add address", &address.to_string(), e))
    }

    /// Adds a route out of `index`; with a gateway, the gateway must be reachable on the link.
    pub(crate) async fn add_route(
        &self,
        index: u32,
        (network, prefix): (Ipv4Addr, u8),
        gateway: Option<Ipv4Addr>,
    ) -> Result<()> {
        let route = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(network, prefix).output_interface(index);
        let route = match gateway {
            Some(gateway) => route.gateway(gateway),
            None => route.scope(RouteScope::Link),
        };
        let add = self.handle.route().add(route.build()).replace().execute().await;
        add.map_err(|e| failed("add route to", &format!("{network}/{prefix}"), to_io(e)))
    }

    async fn index(&self, name: &str) -> Result<u32> {
        let link = self.find(name).await?;
        link.map(|l| l.header.index).ok_or_else(|| failed("find interface", name, io::ErrorKind::NotFound.into()))
    }
}

/// Whether the interface is administratively up.
pub(crate) fn is_up(link: &LinkMessage) -> bool {
    link.header.flags.contains(LinkFlags::Up)
}

/// The bridge the interface belongs to.
pub(crate) fn controller_of(link: &LinkMessage) -> Option<u32> {
    link.attributes.iter().find_map(|a| match a {
        LinkAttribute::Controller(index) => Some(*index),
        _ => None,
    })
}

/// The interface's MAC address.
pub(crate) fn mac_of(link: &LinkMessage) -> Option<Mac> {
    link.attributes.iter().find_map(|a| match a {
        LinkAttribute::Address(bytes) => Mac::try_from(bytes.as_slice()).ok(),
        _ => None,
    })
}

fn name_of(link: &LinkMessage) -> String {
    let name = link.attributes.iter().find_map(|a| match a {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    });
    name.unwrap_or_default()
}

fn is_bridge(link: &LinkMessage) -> bool {
    link.attributes.iter().any(|a| match a {
        LinkAttribute::LinkInfo(info) => info.contains(&LinkInfo::Kind(InfoKind::Bridge)),
        _ => false,
    })
}

fn ignore(errno: i32, result: Result<(), rtnetlink::Error>) -> io::Result<()> {
    match result.map_err(to_io) {
        Err(e) if e.raw_os_error() == Some(errno) => Ok(()),
        other => other,
    }
}

fn to_io(error: rtnetlink::Error) -> io::Error {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io(),
        other => io::Error::other(other),
    }
}

fn failed(action: &'static str, name: &str, source: io::Error) -> Error {
    Error::Link { action, name: name.to_owned(), source }
}
