//! Configuration of a kubelet.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    path::PathBuf,
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pod::{plan::Backoff, security::Policy};

/// Most processes and threads of one container.
pub const PIDS_DEFAULT: u64 = 4096;
/// Directory of `Localhost` seccomp profiles, below the state root.
const SECCOMP_PROFILES: &str = "policies/seccomp";
/// Domain of services and pods.
pub const CLUSTER_DOMAIN: &str = "cluster.local";
/// Most pods of one node (Kubernetes).
pub const PODS_MAX: u32 = 110;

/// Where writable layers of containers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerStore {
    /// Below the state root; its file system must not be an overlay itself.
    Disk,
    /// In memory, below the run root.
    Memory,
}

/// Whether binding commands enter the AppArmor profile `nanocloud-bindings`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AppArmor {
    /// When the kernel has loaded it.
    #[default]
    Auto,
    /// Always: without it no command runs.
    Require,
    /// Never.
    Disable,
}

/// Who runs binding commands, and for how long. Names are those of the server's settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct BindingConfig {
    /// User of binding commands.
    #[serde(rename = "binding_uid")]
    pub uid: u32,
    /// Group of binding commands.
    #[serde(rename = "binding_gid")]
    pub gid: u32,
    /// Longest run of a binding command, whatever the binding asks for; without it, as the binding says.
    #[serde(rename = "binding_timeout", with = "jiff::fmt::serde::unsigned_duration::friendly::compact::optional")]
    #[schemars(with = "Option<String>", example = "5m")]
    pub timeout: Option<Duration>,
    /// Whether binding commands are confined by AppArmor: `auto` (when the profile `nanocloud-bindings` is loaded),
    /// `require` or `disable`.
    #[serde(rename = "binding_apparmor")]
    #[schemars(with = "String")]
    pub apparmor: AppArmor,
}

impl BindingConfig {
    /// Names the first setting that cannot work, with what would be right.
    ///
    /// # Errors
    /// The setting, and the text.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        if self.timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Err(("binding_timeout", "it must be longer than nothing".into()));
        }
        Ok(())
    }
}

impl Default for BindingConfig {
    fn default() -> Self {
        Self { uid: 65534, gid: 65534, timeout: None, apparmor: AppArmor::Auto }
    }
}

/// Configuration of a kubelet.
#[derive(Debug, Clone)]
pub struct Config {
    /// Name of the node object and value of `spec.nodeName` of its pods.
    pub node_name: String,
    /// The node's own address, `status.hostIP` of its pods.
    pub host_ip: Ipv4Addr,
    /// Where the API server of this machine listens, for the service of the API; without, the service leads to the
    /// addresses in its slices.
    pub api_server: Option<SocketAddrV4>,
    /// Directory in memory: files of pods, secret files, pinned namespaces (`<run_root>/pods`).
    pub run_root: PathBuf,
    /// Directory on disk: emptyDirs and writable layers (`<state_root>/pods`).
    pub state_root: PathBuf,
    /// Directory of container logs, `<namespace>_<pod>_<uid>/<container>/<run>.log`.
    pub log_root: PathBuf,
    /// Writable layers.
    pub layers: LayerStore,
    /// Domain of services and pods.
    pub cluster_domain: String,
    /// Domain of short names of services in the default namespace.
    pub short_domain: String,
    /// The host's resolver configuration.
    pub host_resolv_conf: PathBuf,
    /// Pause between runs of a container that keeps ending.
    pub backoff: Backoff,
    /// How long containers of unknown pods are left alone after a start.
    pub orphan_grace: Duration,
    /// Most processes and threads of one container.
    pub pids_per_container: u64,
    /// What pods may do. Seccomp profiles are in `<state_root>/policies/seccomp`.
    pub policy: Policy,
    /// How full the disk of the images may become.
    pub images: ImageMarks,
    /// Binding commands.
    pub binding: BindingConfig,
    /// Version reported as `nodeInfo.kubeletVersion`.
    pub version: String,
}

impl Config {
    /// Defaults for everything but names and places.
    #[must_use]
    pub fn new(
        node_name: impl Into<String>,
        host_ip: Ipv4Addr,
        run_root: impl Into<PathBuf>,
        state_root: impl Into<PathBuf>,
    ) -> Self {
        let state_root = state_root.into();
        let policy = Policy { seccomp_profiles: state_root.join(SECCOMP_PROFILES), ..Policy::default() };
        Self {
            node_name: node_name.into(),
            host_ip,
            api_server: None,
            run_root: run_root.into(),
            log_root: state_root.join("logs/pods"),
            state_root,
            layers: LayerStore::Disk,
            cluster_domain: CLUSTER_DOMAIN.into(),
            short_domain: "nanocloud.local".into(),
            host_resolv_conf: PathBuf::from("/etc/resolv.conf"),
            backoff: Backoff::default(),
            orphan_grace: Duration::from_secs(30),
            pids_per_container: PIDS_DEFAULT,
            policy,
            images: ImageMarks::default(),
            binding: BindingConfig::default(),
            version: env!("CARGO_PKG_VERSION").into(),
        }
    }
}

/// How full the disk of the images may become. Names are those of the server's settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ImageMarks {
    /// Share of the disk, in percent, above which images that no container uses are removed.
    #[serde(rename = "image_high_percent")]
    pub high_percent: u8,
    /// Share of the disk, in percent, until which they are removed.
    #[serde(rename = "image_low_percent")]
    pub low_percent: u8,
}

impl ImageMarks {
    /// Names the first setting that cannot work, with what would be right.
    ///
    /// # Errors
    /// The setting, and the text.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        if self.high_percent > 100 || self.low_percent >= self.high_percent {
            let problem = format!("it must be below image_high_percent ({}), which is at most 100", self.high_percent);
            return Err(("image_low_percent", problem));
        }
        Ok(())
    }
}

impl Default for ImageMarks {
    /// Kubernetes' defaults.
    fn default() -> Self {
        Self { high_percent: 85, low_percent: 80 }
    }
}
