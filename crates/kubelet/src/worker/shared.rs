//! What all workers of a node share.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use tokio::{
    sync::{Notify, Semaphore},
    time::Instant,
};

use super::tokens::Tokens;
use crate::{config::Config, files::Layout, pod::lookup::Allocatable, ports::Ports};

/// Most images pulled at the same time.
pub(crate) const MAX_PULLS: usize = 3;

/// What all workers share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) layout: Layout,
    pub(crate) ports: Ports,
    pub(crate) http: reqwest::Client,
    /// Who has which host port, by UID.
    pub(crate) host_ports: Mutex<BTreeMap<net::HostPort, String>>,
    /// Told when `host_ports` changes.
    pub(crate) host_ports_changed: Notify,
    pub(crate) pulls: Semaphore,
    /// Tokens of service accounts that pods have.
    pub(crate) tokens: Tokens,
    /// Told when an image found no room on the disk.
    pub(crate) disk_full: Notify,
    /// Held while images are collected; when that was last in vain.
    pub(crate) collection: tokio::sync::Mutex<Option<Instant>>,
    /// What the node can give to pods.
    pub(crate) allocatable: Allocatable,
}
