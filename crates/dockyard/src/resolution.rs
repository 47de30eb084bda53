//! The outcome of resolving an install: plain data for the controller.

use std::net::IpAddr;

use indexmap::IndexMap;

use crate::charset::Charset;

/// Directory in a container that holds one file per secret, named after the option.
pub const SECRETS_DIR: &str = "/var/run/nanocloud.io/secrets";
/// Directory in a container that holds `tls.crt`, `tls.key` and `ca.crt`.
pub const TLS_DIR: &str = "/var/run/nanocloud.io/tls";
/// Directory in an image that holds one executable per offered binding, named after its id.
pub const BINDINGS_DIR: &str = "/usr/lib/nanocloud/bindings";

/// What a bundle needs, complete. Equal requests give equal resolutions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolution {
    /// Every option that has a value, in the label's order; secrets are not among them.
    pub options: IndexMap<String, String>,
    /// Every secret of the service by option name. Generate only those for which
    /// [`SecretPlan::exists`] is false.
    pub secrets: IndexMap<String, SecretPlan>,
    /// A certificate for this service, mounted at [`TLS_DIR`]; `None` when nothing asked for one.
    pub tls: Option<TlsRequest>,
    /// The bundles this one needs to be Ready, in the label's order.
    pub requires: Vec<Requirement>,
    /// Commands to run in other bundles before this one starts, in order.
    pub bindings: Vec<BindingPlan>,
    /// Environment of the container.
    pub env: IndexMap<String, Value>,
    /// Ports of the container, in the label's order.
    pub ports: Vec<PortPlan>,
    /// Volumes of the container, in the label's order.
    pub volumes: Vec<VolumePlan>,
    /// When the service can take requests.
    pub readiness: Option<Probe>,
    /// When the service must be restarted.
    pub liveness: Option<Probe>,
    /// What it may use.
    pub resources: Resources,
}

/// A secret of the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretPlan {
    /// How to make it.
    pub recipe: SecretRecipe,
    /// True when the profile already holds it: keep that one.
    pub exists: bool,
}

/// How a secret value is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretRecipe {
    /// `len` characters, each drawn evenly and independently from `charset`.
    Random {
        /// Number of characters.
        len: usize,
        /// The alphabet ([`Charset::alphabet`]).
        charset: Charset,
    },
}

/// A server certificate to issue for the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsRequest {
    /// Subject common name: the service's fully qualified name.
    pub common_name: String,
    /// DNS subject alternative names, the common name among them.
    pub san: Vec<String>,
}

/// A bundle that an option selected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The option that selected it.
    pub option: String,
    /// The service it must be an instance of.
    pub service: String,
    /// Its `metadata.name`, in the same namespace.
    pub bundle: String,
}

/// A command to run in a bundle this one is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindingPlan {
    /// Id of the offered binding, e.g. `create_user`; goes to `NANOCLOUD_BINDING_ID`.
    pub id: String,
    /// Unique in the bundle and a valid object name part: `<option>-<id>` with other characters as `-`.
    pub name: String,
    /// The option that selected the target.
    pub option: String,
    /// The bundle to run it in, same namespace.
    pub target: String,
    /// Absolute path of the command in the target's image.
    pub command: String,
    /// Id and path of the command that takes it back, when the target offers one.
    pub undo: Option<Undo>,
    /// `name=value` lines for the command's file descriptor 3, in the order the target declares them.
    pub parameters: IndexMap<String, Value>,
}

/// The command that takes a binding back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undo {
    /// Id of the offered binding, e.g. `revoke_user`.
    pub id: String,
    /// Absolute path of the command in the target's image.
    pub command: String,
    /// Those of the binding's parameters that this command declares.
    pub parameters: IndexMap<String, Value>,
}

/// A value that is either known or a secret that the caller must look up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Known text.
    Literal(String),
    /// The value of the secret of this name in [`Resolution::secrets`].
    SecretRef(String),
}

/// A port of the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortPlan {
    /// Name, unique in the service (an IANA service name as Kubernetes wants it).
    pub name: String,
    /// Port number in the container and of the Service.
    pub port: u16,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Where the host listens for it; `None` keeps it inside the pod network.
    pub publish: Option<Publish>,
}

/// Transport protocol of a port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// TCP, the default.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// The Kubernetes spelling.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }
}

/// Where the host listens for a published port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publish {
    /// Host address; `None` means every one.
    pub address: Option<IpAddr>,
    /// Host port.
    pub port: u16,
}

/// A volume of the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumePlan {
    /// Name, unique in the service (DNS label).
    pub name: String,
    /// Absolute mount path in the container.
    pub path: String,
    /// Requested size as a Kubernetes quantity.
    pub size: String,
}

/// A health check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// What is done.
    pub check: Check,
    /// Seconds between two checks.
    pub period_seconds: u32,
    /// Seconds until a check counts as failed.
    pub timeout_seconds: u32,
    /// Consecutive failures until the state changes.
    pub failure_threshold: u32,
    /// Seconds after the start before the first check.
    pub initial_delay_seconds: u32,
}

/// What a probe does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// `GET http://<pod>:<port><path>`; 200..=399 is healthy.
    Http {
        /// Path and query.
        path: String,
        /// Port number.
        port: u16,
    },
    /// A TCP connection can be made.
    Tcp {
        /// Port number.
        port: u16,
    },
    /// A command in the container exits with 0.
    Exec {
        /// The argument vector, without a shell.
        command: Vec<String>,
    },
}

/// What a container may use; `None` leaves it to the platform.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resources {
    /// CPU limit as a Kubernetes quantity, e.g. `1500m`.
    pub cpu: Option<String>,
    /// Memory limit as a Kubernetes quantity, e.g. `512Mi`.
    pub memory: Option<String>,
    /// Limit of processes and threads.
    pub pids: Option<u32>,
}
