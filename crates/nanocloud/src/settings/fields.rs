//! The settings of a node, with their defaults.

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use api::names;
use kubelet::{BindingConfig, CLUSTER_DOMAIN, ImageMarks};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::telemetry::LogFormat;

/// What a node runs with; as text it is a file that resolves to the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Settings {
    /// Folder of everything that must survive a reboot.
    pub state_root: PathBuf,
    /// Folder of sockets and secrets, in memory.
    pub run_root: PathBuf,
    /// Address of the API.
    pub listen: SocketAddr,
    /// URL at which others reach the API; empty: where it listens.
    #[schemars(example = "https://node01.example.org:6443")]
    pub api_url: String,
    /// Address at which this member listens for the others; without it, it is alone.
    #[schemars(example = "10.0.0.1:6444")]
    pub peer_listen: Option<SocketAddr>,
    /// Address at which other members reach `peer_listen`; empty: the same.
    #[schemars(example = "node01.example.org:6444")]
    pub peer_address: String,
    /// Whether this node runs pods.
    pub agent: bool,
    /// Name of this node; empty: the name of the host.
    #[serde(rename = "node")]
    pub node_name: String,
    /// Control group of all containers.
    pub cgroup: String,
    /// Registry of services that name no image.
    pub registry: String,
    /// Whether clients without a certificate are refused.
    pub require_client_certificate: bool,
    /// Root of volumes; empty: `storage/csi` below `state_root`.
    pub csi_root: PathBuf,
    /// Where the keyspace is: `local`, or `etcd=` and the URLs of an etcd cluster, with commas between them.
    #[serde(rename = "keyspace")]
    #[schemars(with = "String", example = "etcd=https://a.example.org:2379,https://b.example.org:2379")]
    pub keyspace_place: KeyspacePlace,
    /// PEM file with the certificates of the etcd cluster's authority.
    pub keyspace_ca: Option<PathBuf>,
    /// PEM file with this node's client certificate for the etcd cluster.
    pub keyspace_certificate: Option<PathBuf>,
    /// PEM file with the private key of that certificate.
    pub keyspace_key: Option<PathBuf>,
    /// Address for etcd's clients; without one they are not served.
    #[schemars(example = "127.0.0.1:2379")]
    pub etcd_listen: Option<SocketAddr>,
    /// What is logged, such as `info` or `info,kubelet=debug`.
    pub log: String,
    /// Form of log lines: `text` or `json`.
    #[schemars(with = "String")]
    pub log_format: LogFormat,
    /// The pod network.
    #[serde(flatten, skip_deserializing)]
    pub network: net::Settings,
    /// The keyspace on this node.
    #[serde(flatten, skip_deserializing)]
    pub replica: replica::Settings,
    /// Binding commands.
    #[serde(flatten, skip_deserializing)]
    pub binding: BindingConfig,
    /// Images on the disk.
    #[serde(flatten, skip_deserializing)]
    pub image_marks: ImageMarks,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            state_root: "/var/lib/nanocloud.io".into(),
            run_root: "/run/nanocloud".into(),
            listen: SocketAddr::from(([127, 0, 0, 1], 6443)),
            api_url: String::new(),
            peer_listen: None,
            peer_address: String::new(),
            agent: true,
            node_name: String::new(),
            cgroup: "nanocloud".into(),
            registry: "registry.nanocloud.io".into(),
            require_client_certificate: false,
            csi_root: PathBuf::new(),
            keyspace_place: KeyspacePlace::Local,
            keyspace_ca: None,
            keyspace_certificate: None,
            keyspace_key: None,
            etcd_listen: None,
            log: "info".into(),
            log_format: LogFormat::default(),
            network: net::Settings::default(),
            replica: replica::Settings::default(),
            binding: BindingConfig::default(),
            image_marks: ImageMarks::default(),
        }
    }
}

/// Where the keyspace is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum KeyspacePlace {
    /// On this node.
    #[default]
    Local,
    /// In the etcd cluster with these URLs, which are separated by commas.
    Etcd(String),
}

impl TryFrom<String> for KeyspacePlace {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.strip_prefix("etcd=") {
            Some(urls) => Ok(Self::Etcd(urls.to_owned())),
            None if text == "local" => Ok(Self::Local),
            None => Err("it is neither local nor etcd=URL,..."),
        }
    }
}

impl From<KeyspacePlace> for String {
    fn from(place: KeyspacePlace) -> Self {
        place.to_string()
    }
}

impl fmt::Display for KeyspacePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("local"),
            Self::Etcd(urls) => write!(f, "etcd={urls}"),
        }
    }
}

/// Files in PEM that an etcd cluster asks for over https.
#[derive(Clone, Copy, Debug)]
pub struct EtcdTls<'a> {
    /// Certificates of the cluster's authority.
    pub ca: &'a Path,
    /// The client certificate of this node.
    pub certificate: &'a Path,
    /// Its private key.
    pub key: &'a Path,
}

impl Settings {
    /// The first setting that cannot work, with what would be right.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        let refuse = |name, problem: &str| Err((name, problem.to_owned()));
        for (name, path) in
            [("state_root", &self.state_root), ("run_root", &self.run_root), ("csi_root", &self.csi_root)]
        {
            if !path.is_absolute() {
                return refuse(name, "it must be an absolute path");
            }
        }
        if !api::meta::is_host_name(&self.node_name) {
            return refuse("node", "it must be lower-case letters, digits, '-' or '.' (RFC 1123)");
        }
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
        if self.cgroup.is_empty() || !self.cgroup.chars().all(plain) {
            return refuse("cgroup", "lower-case letters, digits, '-' or '_'");
        }
        self.check_keyspace()?;
        self.binding.check()?;
        self.image_marks.check()?;
        self.replica.check()?;
        match self.network_config().validate() {
            Err(net::Error::Config { field, problem }) => Err((field, problem)),
            _ => Ok(()),
        }
    }

    fn check_keyspace(&self) -> Result<(), (&'static str, String)> {
        let refuse = |name, problem: &str| Err((name, problem.to_owned()));
        let files = [&self.keyspace_ca, &self.keyspace_certificate, &self.keyspace_key];
        let given = files.into_iter().flatten().count();
        if let KeyspacePlace::Etcd(urls) = &self.keyspace_place {
            if given != 0 && given != files.len() {
                return refuse("keyspace", "keyspace_ca, keyspace_certificate and keyspace_key go together");
            }
            if given == 0 && urls.contains("https://") {
                return refuse("keyspace", "https needs keyspace_ca, keyspace_certificate and keyspace_key");
            }
            if self.peer_listen.is_some() {
                return refuse("peer_listen", "members share the local keyspace, and `keyspace` names an etcd cluster");
            }
        }
        if self.peer_listen.is_some_and(|address| address.ip().is_unspecified()) && self.peer_address.is_empty() {
            return refuse("peer_address", "say at which HOST:PORT other members reach this one");
        }
        Ok(())
    }

    /// The files for https to the etcd cluster that holds the keyspace.
    pub fn etcd_tls(&self) -> Option<EtcdTls<'_>> {
        let (ca, certificate) = (self.keyspace_ca.as_deref()?, self.keyspace_certificate.as_deref()?);
        Some(EtcdTls { ca, certificate, key: self.keyspace_key.as_deref()? })
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

    /// The pod network, with its files on this node.
    pub fn network_config(&self) -> net::NetworkConfig {
        net::NetworkConfig::new(&self.network, self.run_root.clone(), self.state_root.join("network"))
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
        names.extend(self.network.service_cidr.hosts().next().map(|first| first.to_string()));
        names.sort();
        names.dedup();
        names
    }
}
