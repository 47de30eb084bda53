//! Settings of a node: flags, then environment, then the file, then defaults.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use api::names;
use ipnet::Ipv4Net;
use kubelet::{AppArmor, BindingConfig, CLUSTER_DOMAIN, ImageMarks};
use serde::{Serialize, Serializer};

use crate::{host_ports::HostPorts, telemetry::LogFormat};

/// File that is read when it exists and no other is named.
const DEFAULT_FILE: &str = "/etc/nanocloud/config.toml";
/// Longest name of a bridge, so that the kernel takes it.
const BRIDGE_MAX: usize = 15;

/// Shortest and longest election time: below, ordinary delays look like deaths; above, nobody waits so long.
const MIN_ELECTION_MS: u64 = 200;
const MAX_ELECTION_MS: u64 = 60_000;

/// Every setting that can be given; `--name`, `NANOCLOUD_NAME` and `name` in the file are the same.
const NAMES: [&str; 33] = [
    "agent",
    "api_url",
    "binding_apparmor",
    "binding_gid",
    "binding_timeout",
    "binding_uid",
    "bridge",
    "cgroup",
    "csi_root",
    "election_ms",
    "etcd_listen",
    "image_high_percent",
    "image_low_percent",
    "keyspace",
    "keyspace_ca",
    "keyspace_certificate",
    "keyspace_keep_age",
    "keyspace_keep_revisions",
    "keyspace_key",
    "keyspace_quota",
    "listen",
    "log",
    "log_format",
    "node",
    "peer_address",
    "peer_listen",
    "pod_cidr",
    "pod_host_ports",
    "registry",
    "require_client_certificate",
    "run_root",
    "service_cidr",
    "state_root",
];

/// Where settings come from, the stronger first.
pub struct Sources<'a> {
    flags: BTreeMap<&'static str, String>,
    variable: &'a dyn Fn(&str) -> Option<String>,
    file: toml::Table,
}

impl<'a> Sources<'a> {
    /// Flags and environment; the file they name, or the default one when it exists, is read.
    pub fn open(
        global: &cli::args::Global,
        server: &cli::args::Server,
        variable: &'a dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, SettingsError> {
        let named = global.config.clone().or_else(|| variable("NANOCLOUD_CONFIG").map(PathBuf::from));
        let file = match named {
            Some(path) => read(&path)?,
            None if Path::new(DEFAULT_FILE).exists() => read(Path::new(DEFAULT_FILE))?,
            None => toml::Table::new(),
        };
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let flags = [
            ("state_root", path(&global.state_root)),
            ("run_root", path(&server.run_root)),
            ("listen", server.listen.clone()),
            ("bridge", server.bridge.clone()),
            ("pod_cidr", server.pod_cidr.clone()),
            ("service_cidr", server.service_cidr.clone()),
            ("node", server.node.clone()),
            ("keyspace", server.keyspace.clone()),
            ("etcd_listen", server.etcd_listen.clone()),
            ("agent", server.agent.clone()),
            ("api_url", server.api_url.clone()),
            ("peer_address", server.peer_address.clone()),
            ("peer_listen", server.peer_listen.clone()),
            ("log_format", server.log_format.clone()),
            ("log", server.log.clone()),
        ];
        let flags = flags.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        Ok(Self { flags, variable, file })
    }

    fn text(&self, name: &'static str) -> Option<String> {
        let variable = || (self.variable)(&format!("NANOCLOUD_{}", name.to_ascii_uppercase()));
        let file = || self.file.get(name).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        self.flags.get(name).cloned().or_else(variable).or_else(file)
    }

    fn parse<T: FromStr>(&self, name: &'static str, form: &str, default: T) -> Result<T, SettingsError> {
        match self.text(name) {
            None => Ok(default),
            Some(value) => {
                let refuse =
                    |_| SettingsError::Value { name, value: value.clone(), message: format!("write it as {form}") };
                value.parse().map_err(refuse)
            }
        }
    }
}

impl Sources<'_> {
    fn optional<T: FromStr>(&self, name: &'static str, form: &str) -> Result<Option<T>, SettingsError> {
        let parse = |value: String| {
            let message = format!("write it as {form}");
            value.parse().map_err(|_| SettingsError::Value { name, value, message })
        };
        self.text(name).map(parse).transpose()
    }
}

/// Word to join a cluster with, by flag, file or environment; it is no setting, so that nothing prints it.
pub fn join_word(
    server: &cli::args::Server,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<String>, SettingsError> {
    let file = server.join_file.clone().or_else(|| variable("NANOCLOUD_JOIN_FILE").map(PathBuf::from));
    match (&server.join, file) {
        (Some(word), _) => Ok(Some(word.clone())),
        (None, Some(path)) => {
            std::fs::read_to_string(&path).map(Some).map_err(|source| SettingsError::Read { path, source })
        }
        (None, None) => Ok(variable("NANOCLOUD_JOIN")),
    }
}

/// What a node runs with; as text it is a file that resolves to the same.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Settings {
    /// Folder of everything that must survive a reboot.
    pub state_root: PathBuf,
    /// Folder of sockets and secrets, in memory.
    pub run_root: PathBuf,
    /// Address of the API.
    pub listen: SocketAddr,
    /// URL at which others reach the API; empty: where it listens.
    pub api_url: String,
    /// Where other members of the cluster reach this one; nothing: it is alone.
    pub peer_listen: Option<SocketAddr>,
    /// What other members are told of that address; empty: the same.
    pub peer_address: String,
    /// Longest time to wait before an election, and the leader's lease, in milliseconds; the same on all members.
    pub election_ms: u64,
    /// Whether this node runs pods.
    pub agent: bool,
    /// Name of this node.
    #[serde(rename = "node")]
    pub node_name: String,
    /// Bridge of the pods.
    pub bridge: String,
    /// Addresses of pods.
    pub pod_cidr: Ipv4Net,
    /// Ports of the host that pods may reach beside names and published ports.
    pub pod_host_ports: HostPorts,
    /// Addresses of services.
    pub service_cidr: Ipv4Net,
    /// Control group of all containers.
    pub cgroup: String,
    /// Registry of services that name no image.
    pub registry: String,
    /// Whether clients without a certificate are refused.
    pub require_client_certificate: bool,
    /// Root of volumes.
    pub csi_root: PathBuf,
    /// Whether binding commands are confined by AppArmor.
    pub binding_apparmor: AppArmor,
    /// Group of binding commands.
    pub binding_gid: u32,
    /// Longest run of a binding command.
    #[serde(serialize_with = "seconds")]
    pub binding_timeout: Option<Duration>,
    /// User of binding commands.
    pub binding_uid: u32,
    /// Share of the disk, in percent, above which images that no container uses are removed.
    pub image_high_percent: u8,
    /// Share of the disk, in percent, until which they are removed.
    pub image_low_percent: u8,
    /// Revisions of history the keyspace keeps; 0 sets no bound.
    pub keyspace_keep_revisions: u64,
    /// Age to which the keyspace keeps history; without it, age sets no bound.
    #[serde(serialize_with = "seconds")]
    pub keyspace_keep_age: Option<Duration>,
    /// Bytes the keyspace may take; 0 sets no bound.
    pub keyspace_quota: u64,
    /// The etcd cluster that holds the keyspace; without one it is on this node.
    #[serde(flatten)]
    pub etcd_cluster: Option<EtcdCluster>,
    /// Address for etcd's clients; without one they are not served.
    pub etcd_listen: Option<SocketAddr>,
    /// What is logged.
    pub log: String,
    /// Form of log lines.
    pub log_format: LogFormat,
}

/// An etcd cluster, and what proves to it who this node is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EtcdCluster {
    /// URLs of its members, separated by commas.
    #[serde(rename = "keyspace", serialize_with = "etcd")]
    pub endpoints: String,
    /// What https needs.
    #[serde(flatten)]
    pub tls: Option<EtcdTls>,
}

/// Files in PEM.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EtcdTls {
    /// Certificates of the cluster's authority.
    #[serde(rename = "keyspace_ca")]
    pub ca: PathBuf,
    /// The client certificate of this node.
    #[serde(rename = "keyspace_certificate")]
    pub certificate: PathBuf,
    /// Its private key.
    #[serde(rename = "keyspace_key")]
    pub key: PathBuf,
}

impl EtcdCluster {
    /// What `keyspace` says: `local`, or `etcd=URL,...` with three files for https.
    fn resolve(sources: &Sources<'_>) -> Result<Option<Self>, SettingsError> {
        let Some(text) = sources.text("keyspace").filter(|text| text != "local") else { return Ok(None) };
        let refuse =
            |message: &str| SettingsError::Value { name: "keyspace", value: text.clone(), message: message.to_owned() };
        let endpoints =
            text.strip_prefix("etcd=").ok_or_else(|| refuse("write it as local or etcd=https://HOST:2379,..."))?;
        let file = |name| sources.text(name).map(PathBuf::from);
        let tls = match (file("keyspace_ca"), file("keyspace_certificate"), file("keyspace_key")) {
            (Some(ca), Some(certificate), Some(key)) => Some(EtcdTls { ca, certificate, key }),
            (None, None, None) => None,
            _ => return Err(refuse("keyspace_ca, keyspace_certificate and keyspace_key go together")),
        };
        if tls.is_none() && endpoints.contains("https://") {
            return Err(refuse("https needs keyspace_ca, keyspace_certificate and keyspace_key"));
        }
        Ok(Some(Self { endpoints: endpoints.to_owned(), tls }))
    }
}

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("the configuration file {} is not valid: {message}", .path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        message: String,
    },
    /// A value is not usable.
    #[error("{name} = {value:?} is not usable: {message}")]
    Value {
        /// Name of the setting.
        name: &'static str,
        /// Its value.
        value: String,
        /// What would be right.
        message: String,
    },
}

impl Settings {
    /// Resolves every setting.
    pub fn resolve(sources: &Sources<'_>) -> Result<Self, SettingsError> {
        let binding = BindingConfig::default();
        let state_root: PathBuf = sources.parse("state_root", "a path", "/var/lib/nanocloud.io".into())?;
        let settings = Self {
            run_root: sources.parse("run_root", "a path", "/run/nanocloud".into())?,
            listen: sources.parse("listen", "ADDRESS:PORT", SocketAddr::from(([127, 0, 0, 1], 6443)))?,
            api_url: sources.text("api_url").unwrap_or_default(),
            peer_listen: sources.optional("peer_listen", "ADDRESS:PORT")?,
            peer_address: sources.text("peer_address").unwrap_or_default(),
            election_ms: sources.parse("election_ms", "a number of milliseconds", 1_000)?,
            agent: sources.parse("agent", "true or false", true)?,
            node_name: sources.parse("node", "a host name", host_name())?,
            bridge: sources.parse("bridge", "an interface name", "nanocloud0".into())?,
            pod_cidr: sources.parse("pod_cidr", "ADDRESS/BITS", Ipv4Net::new_assert([10, 88, 0, 0].into(), 16))?,
            pod_host_ports: sources.parse(
                "pod_host_ports",
                "PORT/PROTOCOL,... such as 6443/tcp,123/udp",
                HostPorts::default(),
            )?,
            service_cidr: sources.parse(
                "service_cidr",
                "ADDRESS/BITS",
                Ipv4Net::new_assert([10, 96, 0, 0].into(), 16),
            )?,
            cgroup: sources.parse("cgroup", "a name", "nanocloud".into())?,
            registry: sources.parse("registry", "a host name", "registry.nanocloud.io".into())?,
            require_client_certificate: sources.parse("require_client_certificate", "true or false", false)?,
            csi_root: sources.parse("csi_root", "a path", state_root.join("storage/csi"))?,
            binding_apparmor: sources.parse("binding_apparmor", "auto, require or disable", AppArmor::default())?,
            binding_gid: sources.parse("binding_gid", "a number", binding.gid)?,
            binding_timeout: sources
                .text("binding_timeout")
                .map(|text| duration("binding_timeout", &text))
                .transpose()?,
            binding_uid: sources.parse("binding_uid", "a number", binding.uid)?,
            image_high_percent: sources.parse("image_high_percent", "percent", ImageMarks::default().high_percent)?,
            image_low_percent: sources.parse("image_low_percent", "percent", ImageMarks::default().low_percent)?,
            keyspace_keep_revisions: sources.parse(
                "keyspace_keep_revisions",
                "a number",
                replica::config::DEFAULT_KEEP_REVISIONS,
            )?,
            keyspace_keep_age: sources
                .text("keyspace_keep_age")
                .map(|text| duration("keyspace_keep_age", &text))
                .transpose()?,
            keyspace_quota: sources.parse("keyspace_quota", "bytes", replica::config::DEFAULT_QUOTA_BYTES)?,
            etcd_cluster: EtcdCluster::resolve(sources)?,
            etcd_listen: sources
                .text("etcd_listen")
                .map(|_| sources.parse("etcd_listen", "ADDRESS:PORT", SocketAddr::from(([127, 0, 0, 1], 2379))))
                .transpose()?,
            log: sources.parse("log", "a filter such as info", "info".into())?,
            log_format: sources.parse("log_format", "text or json", LogFormat::default())?,
            state_root,
        };
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), SettingsError> {
        let refuse = |name, value: &dyn std::fmt::Display, message: &str| {
            Err(SettingsError::Value { name, value: value.to_string(), message: message.into() })
        };
        for (name, path) in
            [("state_root", &self.state_root), ("run_root", &self.run_root), ("csi_root", &self.csi_root)]
        {
            if !path.is_absolute() {
                return refuse(name, &path.display(), "it must be an absolute path");
            }
        }
        if !api::meta::is_host_name(&self.node_name) {
            return refuse("node", &self.node_name, "it must be lower-case letters, digits, '-' or '.' (RFC 1123)");
        }
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
        if self.bridge.is_empty() || self.bridge.len() > BRIDGE_MAX || !self.bridge.chars().all(plain) {
            return refuse("bridge", &self.bridge, "1 to 15 lower-case letters, digits, '-' or '_'");
        }
        if self.cgroup.is_empty() || !self.cgroup.chars().all(plain) {
            return refuse("cgroup", &self.cgroup, "lower-case letters, digits, '-' or '_'");
        }
        if self.image_high_percent > 100 || self.image_low_percent >= self.image_high_percent {
            let value = format!("{} to {}", self.image_low_percent, self.image_high_percent);
            return refuse("image_low_percent", &value, "it must be below image_high_percent, which is at most 100");
        }
        if !(MIN_ELECTION_MS..=MAX_ELECTION_MS).contains(&self.election_ms) {
            let message = format!("{MIN_ELECTION_MS} to {MAX_ELECTION_MS} are possible");
            return refuse("election_ms", &self.election_ms, &message);
        }
        if self.peer_listen.is_some_and(|address| address.ip().is_unspecified()) && self.peer_address.is_empty() {
            return refuse("peer_address", &"", "say at which HOST:PORT other members reach this one");
        }
        if let (Some(address), Some(_)) = (self.peer_listen, &self.etcd_cluster) {
            return refuse(
                "peer_listen",
                &address,
                "members share the local keyspace, and `keyspace` names an etcd cluster",
            );
        }
        let overlap = self.pod_cidr.contains(&self.service_cidr) || self.service_cidr.contains(&self.pod_cidr);
        if overlap {
            return refuse("service_cidr", &self.service_cidr, "it overlaps pod_cidr: choose another range");
        }
        Ok(())
    }

    /// `HOST:PORT` at which other members reach this one; empty when it is alone.
    pub fn peer_address(&self) -> String {
        match self.peer_listen {
            Some(address) if self.peer_address.is_empty() => address.to_string(),
            Some(_) => self.peer_address.clone(),
            None => String::new(),
        }
    }

    /// URL at which others reach the API.
    pub fn api_url(&self) -> String {
        if self.api_url.is_empty() { format!("https://{}", self.listen) } else { self.api_url.clone() }
    }

    /// Keys and certificates.
    pub fn secure_assets(&self) -> PathBuf {
        self.state_root.join("secure_assets")
    }

    /// The keyspace.
    pub fn keyspace(&self) -> PathBuf {
        self.state_root.join("keyspace")
    }

    /// Images that were built or imported here.
    pub fn catalog(&self) -> PathBuf {
        self.state_root.join("catalog")
    }

    /// Images that were unpacked.
    pub fn images(&self) -> PathBuf {
        self.state_root.join("images")
    }

    /// What `setup` left for the first start of the server.
    pub fn first_start(&self) -> PathBuf {
        self.secure_assets().join("first-start.json")
    }

    /// Names and addresses the API's certificate is for.
    pub fn server_names(&self) -> Vec<String> {
        let mut names = vec!["localhost".to_owned(), self.node_name.clone(), "127.0.0.1".into(), "::1".into()];
        for listen in [Some(self.listen), self.etcd_listen].into_iter().flatten().map(|address| address.ip()) {
            if !listen.is_unspecified() {
                names.push(listen.to_string());
            }
        }
        let named = self.api_url.split_once("://").map_or("", |(_, rest)| rest);
        let host = named.split('/').next().unwrap_or_default();
        let host = host.rsplit_once(':').map_or(host, |(host, _)| host).trim_matches(['[', ']']);
        if !host.is_empty() {
            names.push(host.to_owned());
        }
        // For clients in pods.
        let service = format!("{}.{}", names::api_service::NAME, names::namespace::DEFAULT);
        names.push(names::api_service::NAME.to_owned());
        names.extend(
            [&service, &format!("{service}.svc"), &format!("{service}.svc.{CLUSTER_DOMAIN}")].map(String::clone),
        );
        names.extend(self.service_cidr.hosts().next().map(|first| first.to_string()));
        names.sort();
        names.dedup();
        names
    }
}

fn read(path: &Path) -> Result<toml::Table, SettingsError> {
    let text = std::fs::read_to_string(path).map_err(|source| SettingsError::Read { path: path.to_owned(), source })?;
    let syntax = |message| SettingsError::Syntax { path: path.to_owned(), message };
    let table: toml::Table = toml::from_str(&text).map_err(|error| syntax(error.to_string()))?;
    match table.keys().find(|key| !NAMES.contains(&key.as_str())) {
        Some(key) => Err(syntax(format!("there is no setting {key:?}; there are {}", NAMES.join(", ")))),
        None => Ok(table),
    }
}

/// A duration such as `90s`, `5m` or `1h`.
fn duration(name: &'static str, text: &str) -> Result<Duration, SettingsError> {
    let refuse = || SettingsError::Value { name, value: text.into(), message: "write it like 90s, 5m or 1h".into() };
    let end = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(refuse)?;
    let number: u64 = text[..end].parse().map_err(|_| refuse())?;
    let seconds = match &text[end..] {
        "s" => number,
        "m" => number.saturating_mul(60),
        "h" => number.saturating_mul(3600),
        _ => return Err(refuse()),
    };
    if seconds == 0 { Err(refuse()) } else { Ok(Duration::from_secs(seconds)) }
}

/// Writes a duration as [`duration`] reads it.
fn seconds<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    duration.map(|duration| format!("{}s", duration.as_secs())).serialize(serializer)
}

fn etcd<S: Serializer>(endpoints: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("etcd={endpoints}"))
}

fn host_name() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    let name = name.unwrap_or_default().to_ascii_lowercase();
    if api::meta::is_host_name(&name) { name } else { "node".into() }
}

#[cfg(test)]
mod tests;
