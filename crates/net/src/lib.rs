//! Pod networking on one Linux host: bridge, veth pairs, addresses, nftables and DNS.
//!
//! ```text
//!   pod netns                      host netns
//!  ┌───────────────┐              ┌──────────────────────────────────────────────┐
//!  │ eth0 10.88.0.7├──veth────────┤ bridge (10.88.0.1)   ── routes ── uplink      │
//!  │  /32, default │              │   │ dns::Helper :53 (a process of its own)    │
//!  │  via gateway  │              │   └ inet table: publish, services, masquerade │
//!  └───────────────┘              └──────────────────────────────────────────────┘
//! ```
//!
//! A pod holds a /32 and reaches everything, other pods included, through the gateway. So every packet passes the
//! host's `inet` hooks with connection tracking in both directions, and service addresses work between two pods of
//! one bridge without the `br_netfilter` module.
//!
//! # Invariants
//! - The lease directory decides who has which address. A lease file is created with `link(2)`, so two owners of one
//!   address cannot exist, not even across two processes.
//! - `attach`, `detach`, `reconcile_rules` and `teardown` are idempotent; each may be repeated after a crash at any point.
//! - Two nftables tables per instance, `inet` and `bridge`, each replaced in one transaction. No other table is read or
//!   written, and no chain has a `drop` policy: traffic that is not for this bridge is never judged.
//! - A pod speaks for its own address only: each frame carries the MAC and address given to its interface.
//! - On the host a pod reaches names, published ports, and what [`NetworkConfig::host_ports`] names. Nothing else.
//! - The kernel remembers no connection that the rules would not make: see [`Network::reconcile_rules`].
//! - Several instances with different bridges, CIDRs, tables and directories live side by side.
//!
//! # Limits
//! - IPv4 only; IPv6 is off on the bridge and on pod interfaces (loopback keeps `::1`).
//! - `net.ipv4.ip_forward` is switched on and stays on after `teardown`, because other software may rely on it by then.
//! - A TCP connection to an endpoint that is only not ready any more goes on, as everywhere in Kubernetes.

mod config;
pub mod dns;
mod error;
mod flow;
mod guard;
mod host_ports;
mod ipam;
mod lease;
mod link;
mod netfilter;
mod netns;
mod network;
mod nft;
mod port;
mod port_check;
mod reconcile;
mod render;
mod repair;
mod rules;
mod sysctl;
mod tables;

#[cfg(test)]
mod live;
#[cfg(test)]
mod testing;

pub use config::{NetworkConfig, Settings};
pub use error::{Error, Result};
pub use host_ports::HostPorts;
pub use ipam::Pool;
pub use lease::Lease;
pub use network::{AttachRequest, Attachment, Network};
pub use port::{HostPort, PortHolder, Protocol};
pub use port_check::check_port;
pub use render::render;
pub use repair::{Finding, Health};
pub use rules::{Publish, Rules, Service};
