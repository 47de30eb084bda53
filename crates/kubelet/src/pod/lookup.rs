//! Values of the pod's own fields, and the ConfigMaps and Secrets its spec refers to.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::Arc,
};

use api::kinds::{ConfigMap, Pod, Secret, pod::TOKEN_SECONDS};
use k8s_openapi::api::core::v1::{Container, ResourceFieldSelector, ServiceAccountTokenProjection};

use crate::error::{Error, Result};

/// What a pod may refer to, fetched before it is used. Values of secrets live here only for as long as a start takes.
#[derive(Default, Clone)]
pub struct References {
    /// Secrets by name; `None` was asked for and does not exist.
    pub secrets: BTreeMap<String, Option<Arc<Secret>>>,
    /// ConfigMaps by name.
    pub config_maps: BTreeMap<String, Option<Arc<ConfigMap>>>,
    /// Tokens of the pod's service account.
    pub tokens: BTreeMap<TokenWish, String>,
}

/// A token that a pod asks for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenWish {
    /// For whom it is meant; empty: for the API.
    pub audience: String,
    /// How long it should be valid, in seconds.
    pub seconds: i64,
}

impl TokenWish {
    /// What a source of a projected volume asks for.
    #[must_use]
    pub fn of(source: &ServiceAccountTokenProjection) -> Self {
        let audience = source.audience.clone().unwrap_or_default();
        Self { audience, seconds: source.expiration_seconds.unwrap_or(TOKEN_SECONDS) }
    }
}

/// The tokens that the volumes of a pod ask for.
#[must_use]
pub fn tokens(pod: &Pod) -> BTreeSet<TokenWish> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let sources = volumes.filter_map(|volume| volume.projected.as_ref()).flat_map(|p| p.sources.iter().flatten());
    sources.filter_map(|source| source.service_account_token.as_ref()).map(TokenWish::of).collect()
}

impl std::fmt::Debug for References {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let secrets: Vec<&String> = self.secrets.keys().collect();
        let config_maps: Vec<&String> = self.config_maps.keys().collect();
        f.debug_struct("References").field("secrets", &secrets).field("config_maps", &config_maps).finish()
    }
}

/// The two kinds of maps a pod refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// `v1 Secret`.
    Secret,
    /// `v1 ConfigMap`.
    ConfigMap,
}

impl Source {
    fn kind(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::ConfigMap => "configmap",
        }
    }
}

impl References {
    /// All keys and values of a map; `None` if it is missing and may be.
    ///
    /// # Errors
    /// [`Error::Missing`] when it must exist.
    pub fn all(&self, source: Source, name: &str, optional: bool) -> Result<Option<BTreeMap<String, Vec<u8>>>> {
        let found = match source {
            Source::Secret => self.secrets.get(name).and_then(Option::as_ref).map(|s| bytes_of_secret(s)),
            Source::ConfigMap => self.config_maps.get(name).and_then(Option::as_ref).map(|m| bytes_of_map(m)),
        };
        match found {
            None if !optional => Err(Error::Missing { kind: source.kind(), name: name.to_owned() }),
            found => Ok(found),
        }
    }

    /// One value of a map; `None` if it is missing and may be.
    ///
    /// # Errors
    /// [`Error::Missing`] when it must exist.
    pub fn value(&self, source: Source, name: &str, key: &str, optional: bool) -> Result<Option<Vec<u8>>> {
        let value = self.all(source, name, optional)?.and_then(|mut all| all.remove(key));
        match value {
            None if !optional => Err(Error::Missing { kind: source.kind(), name: format!("{name} key {key}") }),
            value => Ok(value),
        }
    }
}

fn bytes_of_secret(secret: &Secret) -> BTreeMap<String, Vec<u8>> {
    secret.data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())).collect()
}

fn bytes_of_map(map: &ConfigMap) -> BTreeMap<String, Vec<u8>> {
    let text = map.data.iter().flatten().map(|(key, value)| (key.clone(), value.clone().into_bytes()));
    let binary = map.binary_data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone()));
    text.chain(binary).collect()
}

/// Names of the Secrets and ConfigMaps a pod's containers and volumes refer to.
#[must_use]
pub fn references(pod: &Pod) -> (Vec<String>, Vec<String>) {
    let (mut secrets, mut maps) = (Vec::new(), Vec::new());
    let Some(spec) = &pod.spec else { return (secrets, maps) };
    for container in spec.containers.iter().chain(spec.init_containers.iter().flatten()) {
        for from in container.env_from.iter().flatten() {
            secrets.extend(from.secret_ref.as_ref().map(|r| r.name.clone()));
            maps.extend(from.config_map_ref.as_ref().map(|r| r.name.clone()));
        }
        for from in container.env.iter().flatten().filter_map(|env| env.value_from.as_ref()) {
            secrets.extend(from.secret_key_ref.as_ref().map(|r| r.name.clone()));
            maps.extend(from.config_map_key_ref.as_ref().map(|r| r.name.clone()));
        }
    }
    for volume in spec.volumes.iter().flatten() {
        secrets.extend(volume.secret.as_ref().and_then(|s| s.secret_name.clone()));
        maps.extend(volume.config_map.as_ref().map(|m| m.name.clone()));
        for source in volume.projected.iter().flat_map(|p| p.sources.iter().flatten()) {
            secrets.extend(source.secret.as_ref().map(|s| s.name.clone()));
            maps.extend(source.config_map.as_ref().map(|m| m.name.clone()));
        }
    }
    for names in [&mut secrets, &mut maps] {
        names.sort();
        names.dedup();
    }
    (secrets, maps)
}

/// What the node can give to pods.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allocatable {
    /// Processors, in thousandths.
    pub cpu_millis: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Bytes of the disk with the pods' files.
    pub disk_bytes: u64,
}

/// What only the node knows of a pod.
#[derive(Debug, Clone)]
pub struct Place {
    /// What the node can give.
    pub allocatable: Allocatable,
    /// The node.
    pub node_name: String,
    /// The node's address.
    pub host_ip: Ipv4Addr,
    /// The pod's address.
    pub pod_ip: Ipv4Addr,
}

/// The value of a `fieldRef`, with the paths Kubernetes allows for environment and files.
///
/// # Errors
/// [`Error::Refused`] for any other path.
pub fn field(pod: &Pod, place: &Place, path: &str) -> Result<String> {
    let meta = &pod.metadata;
    if let Some((map, key)) = path.strip_suffix("']").and_then(|p| p.split_once("['")) {
        let map = match map {
            "metadata.labels" => &meta.labels,
            "metadata.annotations" => &meta.annotations,
            _ => return Err(unknown_field(path)),
        };
        return Ok(map.as_ref().and_then(|m| m.get(key)).cloned().unwrap_or_default());
    }
    let spec = pod.spec.as_ref();
    Ok(match path {
        "metadata.name" => meta.name.clone().unwrap_or_default(),
        "metadata.namespace" => meta.namespace.clone().unwrap_or_default(),
        "metadata.uid" => meta.uid.clone().unwrap_or_default(),
        "metadata.labels" => lines(meta.labels.as_ref()),
        "metadata.annotations" => lines(meta.annotations.as_ref()),
        "spec.nodeName" => place.node_name.clone(),
        "spec.serviceAccountName" => spec.and_then(|s| s.service_account_name.clone()).unwrap_or_default(),
        "status.podIP" | "status.podIPs" => place.pod_ip.to_string(),
        "status.hostIP" | "status.hostIPs" => place.host_ip.to_string(),
        _ => return Err(unknown_field(path)),
    })
}

fn unknown_field(path: &str) -> Error {
    Error::refused("fieldRef.fieldPath", format!("{path:?} is not a field that can be referred to"))
}

/// `key="escaped value"` lines, the format of Kubernetes' downward API.
fn lines(map: Option<&BTreeMap<String, String>>) -> String {
    map.into_iter().flatten().map(|(key, value)| format!("{key}={value:?}\n")).collect()
}

/// The value of a `resourceFieldRef` of a container. Without a limit of its own, a container has the node's.
///
/// # Errors
/// [`Error::Refused`] for an unknown resource or a bad divisor.
pub fn resource(container: &Container, place: &Place, selector: &ResourceFieldSelector) -> Result<String> {
    let refuse = |problem: String| Error::refused("resourceFieldRef", problem);
    let resources = container.resources.as_ref();
    let (list, name) = selector.resource.split_once('.').unwrap_or_default();
    let quantities = match list {
        "limits" => resources.and_then(|r| r.limits.as_ref()),
        "requests" => resources.and_then(|r| r.requests.as_ref()),
        _ => return Err(refuse(format!("{:?} must be limits.<name> or requests.<name>", selector.resource))),
    };
    let text = quantities.and_then(|q| q.get(name)).map(|q| q.0.as_str());
    let divisor = selector.divisor.as_ref().map(|d| d.0.as_str()).filter(|d| *d != "0").unwrap_or("1");
    let amount = |text: &str| match name {
        "cpu" => api::quantity::milli(text),
        _ => api::quantity::units(text),
    };
    let of_node = match (list, name) {
        ("limits", "cpu") => place.allocatable.cpu_millis,
        ("limits", "memory") => place.allocatable.memory_bytes,
        ("limits", "ephemeral-storage") => place.allocatable.disk_bytes,
        _ => 0,
    };
    let own = text.map(amount).transpose().map_err(|e| refuse(e.to_string()))?.filter(|amount| *amount > 0);
    let (amount, divisor) = (own.unwrap_or(of_node), amount(divisor).map_err(|e| refuse(e.to_string()))?);
    // Kubernetes rounds up.
    Ok(amount.div_ceil(divisor.max(1)).to_string())
}
