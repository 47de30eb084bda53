//! The JSON document inside the `io.nanocloud.options` label, as it is written. Frozen: version 1.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::resolution::Protocol;

/// The version this crate reads and writes.
pub const LABEL_VERSION: u32 = 1;

/// The label, before the strings in it are understood. [`crate::Surface`] is the checked form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LabelDocument {
    /// [`LABEL_VERSION`].
    #[serde(default = "current_version")]
    pub version: u32,
    /// What the service is, one line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Option declarations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// Environment of the container: expressions.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub env: IndexMap<String, String>,
    /// Ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortDocument>,
    /// Volumes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<VolumeDocument>,
    /// By binding option: the commands to run in the selected bundle.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub bindings: IndexMap<String, Vec<CallDocument>>,
    /// By id: the binding commands this image offers to others.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub offers: IndexMap<String, OfferDocument>,
    /// When it can take requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<ProbeDocument>,
    /// When it must be restarted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness: Option<ProbeDocument>,
    /// Limits.
    #[serde(default, skip_serializing_if = "ResourcesDocument::is_empty")]
    pub resources: ResourcesDocument,
}

impl Default for LabelDocument {
    fn default() -> Self {
        Self {
            version: LABEL_VERSION,
            description: String::new(),
            options: Vec::new(),
            env: IndexMap::new(),
            ports: Vec::new(),
            volumes: Vec::new(),
            bindings: IndexMap::new(),
            offers: IndexMap::new(),
            readiness: None,
            liveness: None,
            resources: ResourcesDocument::default(),
        }
    }
}

fn current_version() -> u32 {
    LABEL_VERSION
}

/// A port of the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortDocument {
    /// Unique name, at most 15 characters (IANA service name).
    pub name: String,
    /// Port number in the container.
    pub port: u16,
    /// `TCP` (default) or `UDP`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub protocol: Protocol,
    /// The `<publish>` option that says where the host listens for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish: Option<String>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A volume of the service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeDocument {
    /// Unique name (DNS label).
    pub name: String,
    /// Absolute mount path.
    pub path: String,
    /// A quantity, or `${option}` of a `<size>` option.
    pub size: String,
}

/// A command to run in the bundle that an option selects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallDocument {
    /// `&bindings.<id>`: an offer of the selected service.
    pub run: String,
    /// Parameters: expressions by name.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub with: IndexMap<String, String>,
}

/// A binding command this image offers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfferDocument {
    /// What it does, one line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Its parameters, declared like options (literals and kinds only).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<String>,
    /// Id of the offer that takes it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<String>,
}

/// A health check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ProbeDocument {
    /// `GET` of a path on a named port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpDocument>,
    /// Connection to a named port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<String>,
    /// A command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec: Option<Vec<String>>,
    /// Seconds between two checks, 1 to 3600.
    #[serde(default = "default_period")]
    pub period_seconds: u32,
    /// Seconds until a check counts as failed, 1 to 3600.
    #[serde(default = "default_timeout")]
    pub timeout_seconds: u32,
    /// Consecutive failures until the state changes, 1 to 1000.
    #[serde(default = "default_threshold")]
    pub failure_threshold: u32,
    /// Seconds before the first check, 0 to 3600.
    #[serde(default)]
    pub initial_delay_seconds: u32,
}

fn default_period() -> u32 {
    1
}

fn default_timeout() -> u32 {
    5
}

fn default_threshold() -> u32 {
    3
}

/// An HTTP check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpDocument {
    /// Path and query.
    pub path: String,
    /// Name of a port.
    pub port: String,
}

/// Limits: quantities, or `${option}` of a `<size>` option.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResourcesDocument {
    /// CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<String>,
    /// Memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// Processes and threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
}

impl ResourcesDocument {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
