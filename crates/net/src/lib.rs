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
//! - One nftables table per instance, replaced in one transaction. No other table is read or written, and no chain
//!   has a `drop` policy: traffic that is not for this bridge is never judged.
//! - Several instances with different bridges, CIDRs, tables and directories live side by side.
//!
//! # Limits
//! - IPv4 only; IPv6 is off on the bridge and on pod interfaces (loopback keeps `::1`).
//! - `net.ipv4.ip_forward` is switched on and stays on after `teardown`, because other software may rely on it by then.
//! - Connection-tracking entries of a removed endpoint live until they time out.

mod config;
pub mod dns;
mod error;
mod ipam;
mod lease;
mod link;
mod netns;
mod network;
mod nft;
mod port;
mod rules;
mod sysctl;

#[cfg(test)]
mod live_tests;
#[cfg(test)]
mod testing;

pub use config::NetworkConfig;
pub use error::Error;
pub use ipam::Pool;
pub use lease::Lease;
pub use network::{AttachRequest, Attachment, Finding, Network};
pub use nft::render;
pub use port::{HostPort, PortHolder, check_port};
pub use rules::{Protocol, Publish, Rules, Service};

/// Result of this crate's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;
