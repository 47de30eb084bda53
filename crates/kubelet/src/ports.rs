//! What the kubelet needs of the world. The real things are in [`crate::adapters`], fakes in tests only.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use api::kinds::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service};
use async_trait::async_trait;
use images::{Credentials, ImageSettings};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::PodStatus;
use runtime::container::{ContainerError, ContainerInfo, ContainerSpec, ExecCapture, ExecSpec, Exit, UserIds};

pub use client::BoxError;

use crate::{config::ImageMarks, error::Result, pod::lookup::TokenWish};

/// Containers of the node.
#[async_trait]
pub trait Containers: Send + Sync + 'static {
    /// Takes over what an earlier server left.
    async fn adopt(&self) -> Result<Vec<ContainerInfo>, ContainerError>;
    /// Everything known, ended ones included.
    fn list(&self) -> Vec<ContainerInfo>;
    /// Starts a container.
    async fn start(&self, spec: ContainerSpec) -> Result<ContainerInfo, ContainerError>;
    /// Waits for the end of a container.
    async fn wait(&self, id: &str) -> Result<Exit, ContainerError>;
    /// Sends a signal to the first program.
    fn signal(&self, id: &str, signal: i32) -> Result<(), ContainerError>;
    /// Kills everything in a container and waits for its end.
    async fn kill(&self, id: &str) -> Result<Exit, ContainerError>;
    /// Removes what an ended container left.
    async fn remove(&self, id: &str) -> Result<(), ContainerError>;
    /// Runs a program in a container to its end; keeps `limit` bytes of each output.
    async fn exec(&self, id: &str, spec: ExecSpec, limit: usize) -> Result<ExecCapture, ContainerError>;
}

/// When an image is looked for outside the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pull {
    /// Before every start.
    Always,
    /// When it is not there.
    IfNotPresent,
    /// Never.
    Never,
}

/// An image on the node.
#[derive(Debug, Clone)]
pub struct ImageFacts {
    /// As the pod names it.
    pub reference: String,
    /// Digest of its manifest.
    pub digest: String,
    /// Unpacked layers, lowest first.
    pub layers: Vec<PathBuf>,
    /// Its configuration.
    pub settings: ImageSettings,
    /// Its own user, resolved.
    pub user: UserIds,
}

/// What a collection of images did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Room {
    /// Images removed.
    pub images: usize,
    /// Bytes freed.
    pub bytes: u64,
    /// How full the disk is then, in percent.
    pub used_percent: u8,
}

/// Images of the node.
#[async_trait]
pub trait Images: Send + Sync + 'static {
    /// Whether the image is on the node already.
    async fn present(&self, reference: &str) -> bool;
    /// Finds, verifies and unpacks an image. Where it must be fetched, the logins are tried in order.
    async fn ensure(&self, reference: &str, pull: Pull, logins: &[Credentials]) -> Result<ImageFacts, BoxError>;
    /// Whether more than a share of the disk of the images is used, in percent.
    fn is_fuller_than(&self, percent: u8) -> Result<bool, BoxError>;
    /// Removes images that nothing uses, as the marks say; `in_use` are layers of containers.
    async fn collect(&self, in_use: &BTreeSet<PathBuf>, marks: ImageMarks) -> Result<Room, BoxError>;
    /// A user the image's own user database describes, by number.
    async fn user(&self, image: &ImageFacts, uid: u32) -> Result<UserIds, BoxError>;
}

/// Networks of the node's pods.
#[async_trait]
pub trait PodNetwork: Send + Sync + 'static {
    /// Gives a pod its network.
    async fn attach(&self, request: &net::AttachRequest) -> Result<net::Attachment, net::Error>;
    /// Takes it back.
    async fn detach(&self, id: &str) -> Result<(), net::Error>;
    /// Connects to a TCP port of a pod's own loopback.
    async fn connect(&self, id: &str, port: u16) -> Result<tokio::net::TcpStream, net::Error>;
    /// Ids of everything attached.
    async fn inventory(&self) -> Result<Vec<String>, net::Error>;
    /// Loads rules.
    async fn reconcile_rules(&self, rules: &net::Rules) -> Result<bool, net::Error>;
    /// Makes these the names that pods can ask for.
    fn publish_names(&self, names: &net::dns::Zone) -> Result<bool, net::Error>;
    /// Checks that no process of the host listens on a port.
    async fn check_port(&self, port: net::HostPort) -> Result<(), net::Error>;
    /// Address of the DNS server for pods.
    fn gateway(&self) -> Ipv4Addr;
    /// Networks of pods and of services.
    fn cidrs(&self) -> (ipnet::Ipv4Net, ipnet::Ipv4Net);
}

/// Volumes of the node. Calls may block for as long as files take.
#[async_trait]
pub trait VolumeDriver: Send + Sync + 'static {
    /// Makes a volume or confirms it.
    async fn create(&self, request: storage::VolumeRequest) -> Result<(), storage::Error>;
    /// Mounts it for a pod.
    async fn publish(&self, volume: &str, pod: &str, name: &str, read_only: bool) -> Result<PathBuf, storage::Error>;
    /// Unmounts everything of a pod.
    async fn unpublish_all(&self, pod: &str) -> Result<(), storage::Error>;
    /// Whether the node has this volume.
    async fn holds(&self, volume: &str) -> Result<bool, storage::Error>;
    /// Deletes a volume.
    async fn delete(&self, volume: &str) -> Result<(), storage::Error>;
    /// Pods that something is mounted for.
    async fn pods(&self) -> Result<Vec<String>, storage::Error>;
}

/// A token of a service account.
#[derive(Clone, PartialEq, Eq)]
pub struct AccountToken {
    /// The token itself.
    pub value: String,
    /// When it ends.
    pub expires: Timestamp,
}

/// Prints when it ends only: the token is secret.
impl std::fmt::Debug for AccountToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccountToken").field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// The API, as far as a pod's worker needs it.
#[async_trait]
pub trait PodApi: Send + Sync + 'static {
    /// Writes a pod's status if the pod of this uid still exists; returns the pod as it is then.
    async fn write_status(&self, pod: &Pod, status: PodStatus) -> Result<Option<Pod>>;
    /// Deletes the object of a pod that is being deleted, for good.
    async fn release(&self, pod: &Pod) -> Result<()>;
    /// A Secret.
    async fn secret(&self, namespace: &str, name: &str) -> Result<Option<Secret>>;
    /// A ConfigMap.
    async fn config_map(&self, namespace: &str, name: &str) -> Result<Option<ConfigMap>>;
    /// A Service.
    async fn service(&self, namespace: &str, name: &str) -> Result<Option<Service>>;
    /// All Services of a namespace.
    async fn services(&self, namespace: &str) -> Result<Vec<Service>>;
    /// A new token of a pod's service account, bound to the pod.
    async fn token(&self, pod: &Pod, wish: &TokenWish) -> Result<AccountToken>;
    /// A claim.
    async fn claim(&self, namespace: &str, name: &str) -> Result<Option<PersistentVolumeClaim>>;
    /// Writes a claim if it is as it was read; one that is gone is fine.
    async fn replace_claim(&self, claim: &PersistentVolumeClaim) -> Result<()>;
    /// Says that a claim is bound to its volume on this node, and keeps the claim until the volume is deleted.
    async fn bind_claim(&self, claim: &PersistentVolumeClaim, node: &str, capacity: &str) -> Result<()>;
}

/// Severity of an event.
pub use client::Severity;

/// Events about pods and claims.
pub trait Events: Send + Sync + 'static {
    /// Something happened to a pod.
    fn pod(&self, pod: &Pod, severity: Severity, reason: &str, message: String);
    /// Something happened to a claim.
    fn claim(&self, claim: &PersistentVolumeClaim, severity: Severity, reason: &str, message: String);
}

/// The end of a container's log, for termination messages.
#[async_trait]
pub trait LogTail: Send + Sync + 'static {
    /// The last lines of a log file, at most `lines` and `bytes`.
    async fn tail(&self, path: &Path, lines: usize, bytes: usize) -> String;
}

/// All ports together.
#[derive(Clone)]
pub struct Ports {
    /// Containers.
    pub containers: Arc<dyn Containers>,
    /// Images.
    pub images: Arc<dyn Images>,
    /// Networks.
    pub network: Arc<dyn PodNetwork>,
    /// Volumes.
    pub volumes: Arc<dyn VolumeDriver>,
    /// API.
    pub api: Arc<dyn PodApi>,
    /// Events.
    pub events: Arc<dyn Events>,
    /// Logs.
    pub logs: Arc<dyn LogTail>,
}

/// A program to run in a container and when to give up.
#[must_use]
pub fn exec_spec(argv: Vec<String>, timeout: Duration) -> ExecSpec {
    let mut spec = ExecSpec::new(argv);
    spec.timeout = Some(timeout);
    spec
}

/// Labels as the runtime keeps them.
pub type Labels = BTreeMap<String, String>;
