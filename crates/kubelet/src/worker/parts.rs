//! What a worker consists of.

use std::{collections::BTreeMap, net::Ipv4Addr, path::PathBuf, sync::Arc, time::Duration};

use api::kinds::Pod;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::PodStatus;
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
};

use super::shared::Shared;
use crate::{
    files::{PodUid, VolumeName},
    pod::{
        lifecycle::{Ending, State},
        status::{Waiting, initial_state},
    },
    ports::ImageFacts,
    probe::{Health, Probes},
};

/// A pod as the API has it, or had it last.
#[derive(Debug, Clone)]
pub(crate) struct Desired {
    pub(crate) pod: Arc<Pod>,
    /// The object is gone from the API.
    pub(crate) gone: bool,
}

/// The network of a pod.
#[derive(Debug, Clone)]
pub(super) struct Sandbox {
    pub(super) address: Ipv4Addr,
    pub(super) gateway: Ipv4Addr,
    /// `None`: the host's own network.
    pub(super) netns: Option<PathBuf>,
}

/// Mounted volumes by name.
#[derive(Debug, Clone, Default)]
pub(super) struct Mounted {
    pub(super) volumes: BTreeMap<VolumeName, MountedVolume>,
}

/// A volume that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MountedVolume {
    pub(super) path: PathBuf,
    /// No container may write to it, whatever its mount says.
    pub(super) read_only: bool,
}

/// A deletion as the node sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deletion {
    pub(super) grace: Duration,
    pub(super) until: Timestamp,
}

/// A step that failed.
#[derive(Debug, Clone)]
pub(super) struct Trouble {
    pub(super) until: Timestamp,
    pub(super) times: u32,
    pub(super) waiting: Waiting,
    /// The container it is about; `None` is all.
    pub(super) container: Option<String>,
}

/// A run that is watched.
pub(super) struct Watched {
    pub(super) health: watch::Receiver<Health>,
    /// What is to be probed, until there is an address for it.
    pub(super) unprobed: Option<(Probes, watch::Sender<Health>)>,
    pub(super) tasks: Vec<tokio::task::AbortHandle>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::AbortHandle::abort);
    }
}

/// What a worker knows of its pod beside the API's objects. Another worker finds all of it again, on the host and in
/// the pod's status.
#[derive(Default)]
pub(super) struct WorkerCache {
    pub(super) sandbox: Option<Sandbox>,
    pub(super) images: Option<BTreeMap<String, ImageFacts>>,
    pub(super) mounted: Option<Mounted>,
    pub(super) cleaned: bool,
    pub(super) released: bool,
    pub(super) gone_since: Option<Timestamp>,
    pub(super) deletion: Option<Deletion>,
    pub(super) trouble: Option<Trouble>,
    pub(super) blocked: BTreeMap<String, Trouble>,
    /// Runs that were asked to end.
    pub(super) ending: BTreeMap<String, Ending>,
    pub(super) watched: BTreeMap<String, Watched>,
    /// Termination messages of ended runs.
    pub(super) termination_messages: BTreeMap<String, Option<String>>,
    pub(super) reported: Option<PodStatus>,
}

/// The worker of one pod.
pub(crate) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) uid: PodUid,
    pub(super) desired: watch::Receiver<Desired>,
    pub(super) state: State,
    pub(super) cache: WorkerCache,
    pub(super) wake: Arc<Notify>,
    pub(super) tasks: JoinSet<()>,
}

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>, uid: PodUid, desired: watch::Receiver<Desired>) -> Self {
        let pod = desired.borrow().pod.clone();
        let cache = WorkerCache { reported: pod.status.clone(), ..WorkerCache::default() };
        let state = initial_state(&pod);
        Self { shared, uid, desired, state, cache, wake: Arc::new(Notify::new()), tasks: JoinSet::new() }
    }
}
