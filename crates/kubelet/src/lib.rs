//! Runs the pods of one node: network, volumes, images, containers, probes, bindings.
//!
//! ```text
//!   Store<Pod> ──► Kubelet ──► Worker (one per pod)                    Store<Service> + Store<Pod>
//!                                │  observe ─► step (pure) ─► act           │
//!                                │       ▲                     │            └─► rules, names (pure) ─► net
//!                                └───────┴── status, events ◄──┘
//!   ports: Containers  Images  PodNetwork  VolumeDriver  PodApi             adapters: runtime, net, storage, client
//! ```
//!
//! Invariants:
//! - The API and the host are the only memory. The server may be killed at any moment; containers run on, and the next
//!   start continues where they are.
//! - A container never runs twice at the same time. An object is deleted from the API only when nothing of its pod is
//!   left on the node.
//! - Decisions are pure ([`pod::lifecycle::step`], [`services::rules`], [`pod::status::compute`]); actions are
//!   idempotent.
//! - Values of Secrets reach containers as files in memory or as environment. They are in no log, event or status.
//!
//! Limits: the named constants of each module. Not available: host PID and IPC namespaces, privileged containers,
//! sidecars among init containers, ephemeral containers, gRPC probes, block volumes.

pub mod adapters;
pub mod binding;
mod claims;
pub mod config;
pub mod error;
pub mod files;
mod kubelet;
mod metrics;
mod node;
pub mod pod;
pub mod ports;
pub mod probe;
pub mod room;
pub mod services;
pub mod streams;
mod worker;

pub use config::{AppArmor, BindingConfig, CLUSTER_DOMAIN, Config, ImageMarks, LayerStore};
pub use error::{Error, Result};
pub use kubelet::Kubelet;
pub use metrics::Metrics;
