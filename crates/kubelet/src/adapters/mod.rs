//! The ports over the real mechanism crates.

mod mechanism;
mod pod_api;

pub use mechanism::{FileTail, HostNetwork, HostVolumes, NodeContainers, NodeImages};
pub use pod_api::{ApiEvents, ClientPodApi};
