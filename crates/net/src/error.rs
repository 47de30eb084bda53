//! What can go wrong, by operation.

use std::{io, net::Ipv4Addr, path::PathBuf};

use crate::{HostPort, PortHolder};

/// Result of this crate's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failed network operation. `Display` names the thing and the remedy; causes are in `source()`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A configuration field has a value that cannot work.
    #[error("network config: {field}: {problem}")]
    Config {
        /// Field of [`crate::NetworkConfig`].
        field: &'static str,
        /// What is wrong and what is allowed.
        problem: String,
    },
    /// An attachment id or a host name is not usable as a file name.
    #[error(
        "attachment id {id:?}: use 1 to {max} characters of a-z, 0-9, '-' and '.', starting with a letter or digit"
    )]
    Id {
        /// The refused id.
        id: String,
        /// Longest allowed id.
        max: usize,
    },
    /// A file or directory of leases or pins cannot be used.
    #[error("{action} {path}")]
    File {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// A lease file has content that is not a lease.
    #[error("lease {path} is damaged: remove it and detach its pod")]
    Lease {
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: serde_json::Error,
    },
    /// Every address of the pod CIDR is leased.
    #[error("no free pod address in {cidr}: {used} are leased; remove pods or choose a larger pod CIDR")]
    Exhausted {
        /// The pod CIDR.
        cidr: ipnet::Ipv4Net,
        /// Leased addresses.
        used: usize,
    },
    /// A netlink request failed.
    #[error("{action} {name}")]
    Link {
        /// What was tried, as a verb.
        action: &'static str,
        /// Interface, route or address.
        name: String,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// An interface with the bridge's name exists and is not a bridge.
    #[error("interface {name} exists and is not a bridge: choose another bridge name or remove it")]
    NotABridge {
        /// The interface.
        name: String,
    },
    /// A namespace could not be made or entered.
    #[error("{action} network namespace {path} (root is needed)")]
    Namespace {
        /// What was tried, as a verb.
        action: &'static str,
        /// The pin.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// A kernel setting could not be written.
    #[error("set kernel parameter {key} to {value} (root is needed)")]
    Sysctl {
        /// Dotted name.
        key: String,
        /// Wanted value.
        value: &'static str,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// `nft` could not be started.
    #[error("run nft: install the nftables package")]
    NftMissing {
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// `nft` refused the rules or did not answer.
    #[error("nft refused {what}: {stderr}")]
    Nft {
        /// Table or command.
        what: String,
        /// What nft printed, cut to [`crate::nft::MAX_STDERR`].
        stderr: String,
    },
    /// Netfilter did not answer, or refused.
    #[error("{action} (root is needed, and a kernel with nf_tables and nf_conntrack_netlink)")]
    Netfilter {
        /// What was tried, as a verb.
        action: &'static str,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// Two owners publish the same host port.
    #[error("host port {port} is published by {first} and by {second}: change one of them")]
    PortConflict {
        /// The port.
        port: HostPort,
        /// One owner.
        first: String,
        /// The other owner.
        second: String,
    },
    /// A process of the host listens on the port.
    #[error("host port {port} is in use by {holder}: stop it or publish another port")]
    PortInUse {
        /// The port.
        port: HostPort,
        /// Who holds it.
        holder: PortHolder,
    },
    /// The port could not be probed.
    #[error("probe host port {port}")]
    PortProbe {
        /// The port.
        port: HostPort,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// Nothing in the pod answered at the port.
    #[error("connect to port {port} of attachment {id}")]
    Connect {
        /// Id of the attachment.
        id: String,
        /// The port.
        port: u16,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// An address of a rule lies outside the configured networks.
    #[error("{owner}: address {address} is outside {cidr}")]
    Outside {
        /// Owner of the rule.
        owner: String,
        /// The address.
        address: Ipv4Addr,
        /// The network it must be in.
        cidr: ipnet::Ipv4Net,
    },
    /// The DNS server could not listen.
    #[error("listen for DNS on {address}")]
    DnsListen {
        /// The address.
        address: std::net::SocketAddr,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The process that answers for DNS could not be looked for, started, replaced or ended.
    #[error("{action} the DNS helper")]
    DnsHelper {
        /// What was tried.
        action: &'static str,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// A zone name is not a DNS name.
    #[error("DNS name {name:?} is not valid")]
    DnsName {
        /// The name.
        name: String,
    },
}
