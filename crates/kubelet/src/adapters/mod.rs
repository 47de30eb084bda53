//! The ports over the real mechanism crates.

mod cluster;
mod mechanism;

pub use cluster::{ApiCluster, ApiEvents};
pub use mechanism::{FileTail, HostNetwork, HostVolumes, NodeContainers, NodeImages};
