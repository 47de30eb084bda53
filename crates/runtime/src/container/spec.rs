//! What a container is: a plain description that knows Linux, not nanocloud.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use rooted::UserIds;
use serde::{Deserialize, Serialize};

/// Default size of `/dev/shm` (what OCI runtimes and Docker use): 64 MiB.
pub const SHM_BYTES_DEFAULT: u64 = 64 << 20;
/// Default limit of one log file before it is rotated (the kubelet's default): 10 MiB.
pub const LOG_BYTES_DEFAULT: u64 = 10 << 20;
/// Default number of log files kept per container instance (the kubelet's default).
pub const LOG_FILES_DEFAULT: u32 = 5;
/// `PATH` of a container whose image and spec name none.
pub const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Everything needed to run one container.
///
/// It travels to the shim over a socket, never through a file: `env` may hold secrets.
#[derive(Clone, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Unique name on this node: 1 to 128 of `[a-zA-Z0-9_.-]`, starting with a letter or digit.
    pub id: String,
    /// The caller's marks, given back by [`Runtime::adopt`](super::Runtime::adopt). Written to the
    /// run root in clear: no secrets.
    pub labels: BTreeMap<String, String>,
    /// Unpacked image layers, lowest first.
    pub layers: Vec<PathBuf>,
    /// Where changes to the root filesystem go.
    pub writable: WritableLayer,
    /// Program and its arguments. A name without `/` is looked up in the container's `PATH`.
    pub argv: Vec<String>,
    /// Environment, in order; a later entry of a name wins.
    pub env: Vec<(String, String)>,
    /// Working directory (absolute); created when missing, as image builders expect.
    pub cwd: PathBuf,
    /// Numeric user the program runs as.
    pub user: UserIds,
    /// Mounts besides the standard ones (`/proc`, `/dev`, `/dev/shm`, `/sys`), applied in order.
    pub mounts: Vec<MountSpec>,
    /// Host name; only with a new UTS namespace.
    pub hostname: Option<String>,
    /// Which namespaces are new and which are shared.
    pub namespaces: Namespaces,
    /// Limits enforced by the kernel.
    pub resources: Resources,
    /// Capabilities kept (`CAP_NET_RAW`, ...). Empty, the default, means none in any set.
    pub capabilities: Vec<String>,
    /// System call filter.
    pub seccomp: SeccompProfile,
    /// Permits [`SeccompProfile::Unconfined`] and capabilities; says that the caller has decided so.
    pub privileged: bool,
    /// Root filesystem read-only.
    pub read_only_rootfs: bool,
    /// Allocate a terminal as stdin, stdout and stderr.
    pub tty: bool,
    /// Keep stdin open for [`Runtime::attach`](super::Runtime::attach); else it is `/dev/null`.
    pub stdin: bool,
    /// Kernel parameters of the container's own namespaces (`net.ipv4.ip_unprivileged_port_start`).
    pub sysctls: BTreeMap<String, String>,
    /// Paths hidden; `None` is the OCI runtimes' usual list.
    pub masked_paths: Option<Vec<PathBuf>>,
    /// Paths made read-only; `None` is the OCI runtimes' usual list.
    pub readonly_paths: Option<Vec<PathBuf>>,
    /// Size of `/dev/shm` in bytes.
    pub shm_bytes: u64,
    /// Cgroup of the group (pod) this container belongs to, relative to
    /// [`RuntimeConfig::cgroup_root`](super::RuntimeConfig); the container's own cgroup is a child.
    pub cgroup_parent: Option<String>,
    /// Where output goes, in the CRI log format; `None` discards it.
    pub log: Option<LogTarget>,
}

impl ContainerSpec {
    /// A container with nothing but a root filesystem and a program: all namespaces new, nobody's
    /// user, no capability, baseline filter, 64 MiB of `/dev/shm`.
    pub fn new(id: impl Into<String>, layers: Vec<PathBuf>, argv: Vec<String>) -> Self {
        Self {
            id: id.into(),
            labels: BTreeMap::new(),
            layers,
            writable: WritableLayer::RunRoot,
            argv,
            env: Vec::new(),
            cwd: PathBuf::from("/"),
            user: UserIds::default(),
            mounts: Vec::new(),
            hostname: None,
            namespaces: Namespaces::default(),
            resources: Resources::default(),
            capabilities: Vec::new(),
            seccomp: SeccompProfile::Baseline,
            privileged: false,
            read_only_rootfs: false,
            tty: false,
            stdin: false,
            sysctls: BTreeMap::new(),
            masked_paths: None,
            readonly_paths: None,
            shm_bytes: SHM_BYTES_DEFAULT,
            cgroup_parent: None,
            log: None,
        }
    }
}

/// Prints names, never values of the environment.
impl fmt::Debug for ContainerSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.env.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("ContainerSpec")
            .field("id", &self.id)
            .field("argv", &self.argv)
            .field("env_names", &names)
            .field("user", &self.user)
            .field("layers", &self.layers.len())
            .finish_non_exhaustive()
    }
}

/// Where the overlay's upper directory is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WritableLayer {
    /// In the run root (memory); gone with the container.
    RunRoot,
    /// `upper` and `work` below this directory (same filesystem, not an overlay). It is made when
    /// missing and removed with the container.
    Dir(PathBuf),
}

/// One mount of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountSpec {
    /// A host file or directory.
    Bind {
        /// Path on the host; must exist.
        source: PathBuf,
        /// Absolute path in the container; made when missing.
        target: PathBuf,
        /// Not writable from inside.
        read_only: bool,
    },
    /// Memory.
    Tmpfs {
        /// Absolute path in the container; made when missing.
        target: PathBuf,
        /// Limit in bytes.
        size_bytes: u64,
        /// Permission bits of its root directory, for example `0o1777`.
        mode: u32,
        /// Owner of its root directory.
        uid: u32,
        /// Group of its root directory.
        gid: u32,
    },
}

impl MountSpec {
    /// A bind mount.
    pub fn bind(source: impl Into<PathBuf>, target: impl Into<PathBuf>, read_only: bool) -> Self {
        Self::Bind { source: source.into(), target: target.into(), read_only }
    }

    /// Path in the container.
    pub fn target(&self) -> &PathBuf {
        match self {
            Self::Bind { target, .. } | Self::Tmpfs { target, .. } => target,
        }
    }
}

/// Where one namespace comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Namespace {
    /// A new one.
    #[default]
    New,
    /// The one at this path: a pinned file or `/proc/<pid>/ns/<type>`.
    Path(PathBuf),
    /// The host's.
    Host,
}

/// Namespaces of a container. Mount and cgroup namespaces are always new.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces {
    /// Network devices, addresses, ports.
    pub network: Namespace,
    /// System V IPC and POSIX message queues.
    pub ipc: Namespace,
    /// Host name.
    pub uts: Namespace,
    /// Process ids.
    pub pid: Namespace,
}

/// Limits; `None` is no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Memory in bytes, swap included.
    pub memory_bytes: Option<u64>,
    /// Relative weight in cgroup v1 shares (1024 is one CPU's worth); converted on v2.
    pub cpu_shares: Option<u64>,
    /// CPU bandwidth in thousandths of a CPU: 1500 is one and a half.
    pub cpu_millis: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Wanted `oom_score_adj` (-1000 to 1000). Lowering it may be forbidden: then the lowest allowed.
    pub oom_score_adj: Option<i32>,
    /// Wanted limit of open files. Raising it over the hard limit may be forbidden: then the most allowed.
    pub open_files: Option<u64>,
}

/// Choice of system call filter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SeccompProfile {
    /// Ours: see [`crate::seccomp`].
    #[default]
    Baseline,
    /// A profile in the OCI/Docker JSON format, as text.
    Localhost(String),
    /// None at all; refused unless the container is explicitly privileged.
    Unconfined,
}

/// Where a container's output is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogTarget {
    /// The current file; older ones are `<path>.1` (newest) and so on. The directory is made.
    pub path: PathBuf,
    /// Rotate once the current file is this long, in bytes.
    pub max_bytes: u64,
    /// Files kept, the current one included (at least 1).
    pub max_files: u32,
}

impl LogTarget {
    /// Default limits.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), max_bytes: LOG_BYTES_DEFAULT, max_files: LOG_FILES_DEFAULT }
    }
}

/// Size of a terminal in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TermSize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}
