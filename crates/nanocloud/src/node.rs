//! The mechanisms of this node: network, images, containers, volumes.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4},
    path::PathBuf,
    sync::Arc,
};

use anyhow::Context;
use client::Client;
use images::{ImageConfig, ImageStore, RegistryConfig};
use kubelet::Kubelet;
use net::Network;
use runtime::container::{Runtime, RuntimeConfig};
use storage::Volumes;

use crate::{adapters::facts, settings::Settings};

/// The host's resolver configuration.
pub const RESOLV_CONF: &str = "/etc/resolv.conf";

/// The argument that starts this program as the DNS helper.
pub const DNS: &str = "dns";

/// The opened mechanisms of this node.
pub struct Node {
    /// Bridge, addresses, firewall.
    pub network: Arc<Network>,
    /// Images.
    pub images: Arc<ImageStore>,
    /// Containers.
    pub runtime: Arc<Runtime>,
    /// Volumes.
    pub volumes: Arc<Volumes>,
}

/// The configuration of the container runtime.
pub fn runtime_config(settings: &Settings) -> anyhow::Result<RuntimeConfig> {
    Ok(RuntimeConfig {
        run_root: settings.run_root.clone(),
        cgroup_root: settings.cgroup.clone(),
        // The running program itself, even if its file was replaced by an upgrade.
        shim_exe: std::env::current_exe().context("the path of this program")?,
        shim_args: vec!["shim".into()],
    })
}

/// The images of this node.
pub async fn images(settings: &Settings) -> anyhow::Result<Arc<ImageStore>> {
    let images = ImageConfig {
        root: settings.images(),
        catalog: Some(settings.catalog()),
        catalog_registries: vec![settings.registry.clone()],
        registries: RegistryConfig::default(),
        parallel_unpacks: 0,
    };
    let opened = tokio::task::spawn_blocking(move || ImageStore::open(images)).await?;
    Ok(Arc::new(opened.context("the image store")?))
}

impl Node {
    /// Opens all mechanisms; existing state is kept.
    pub async fn open(settings: &Settings, images: Arc<ImageStore>) -> anyhow::Result<Self> {
        let network = Network::open(settings.network_config()).await.context("the pod network")?;
        let (csi, keys) = (settings.csi_root.clone(), settings.secure_assets().join("volumes"));
        let opened = tokio::task::spawn_blocking(move || Volumes::open(csi)?.with_keys(keys)).await?;
        let volumes = opened.context("the volume root")?;
        let runtime = Runtime::open(runtime_config(settings)?).context("the container runtime")?;
        Ok(Self { network: Arc::new(network), images, runtime: Arc::new(runtime), volumes: Arc::new(volumes) })
    }

    /// The process that answers the DNS queries of pods.
    pub fn dns(&self) -> net::dns::Helper {
        net::dns::Helper::new(self.network.config(), vec![DNS.into()], RESOLV_CONF.into())
    }

    /// The kubelet of this node.
    pub fn kubelet(&self, settings: &Settings, client: Client) -> anyhow::Result<Arc<Kubelet>> {
        let host_ip = facts::local_ip(&settings.network.bridge).unwrap_or(self.network.config().gateway());
        let state: PathBuf = settings.state_root.clone();
        let mut config = kubelet::Config::new(&settings.node_name, host_ip, &settings.run_root, state);
        config.api_server = api_server(settings.listen);
        config.images = settings.image_marks;
        config.binding = settings.binding.clone();
        let (runtime, images) = (self.runtime.clone(), self.images.clone());
        let (network, volumes) = (self.network.clone(), self.volumes.clone());
        Ok(Arc::new(Kubelet::new(config, client, runtime, images, network, volumes)?))
    }
}

/// Where this machine's own programs reach the API, if it listens for IPv4.
fn api_server(listen: SocketAddr) -> Option<SocketAddrV4> {
    match listen.ip() {
        // A socket on every address of IPv6 is on those of IPv4, too.
        ip if ip.is_unspecified() => Some(SocketAddrV4::new(Ipv4Addr::LOCALHOST, listen.port())),
        IpAddr::V4(ip) => Some(SocketAddrV4::new(ip, listen.port())),
        IpAddr::V6(_) => None,
    }
}
