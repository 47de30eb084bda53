//! The document, field for field as `nix/lib/cluster-schema.nix` declares it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A whole fleet: the document of kind `Cluster`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "Cluster")]
pub struct Fleet {
    /// Version of this document.
    pub api_version: Version,
    /// Kind of this document.
    pub kind: Kind,
    /// Name of the cluster.
    pub name: String,
    /// Machines by name.
    pub nodes: BTreeMap<String, Node>,
    /// Kinds of machines by name.
    #[serde(default)]
    pub classes: BTreeMap<String, Class>,
    /// Groups of machines of one class by name.
    #[serde(default)]
    pub pools: BTreeMap<String, Pool>,
    /// Changes of systems, node by node, by name.
    #[serde(default)]
    pub rollouts: BTreeMap<String, Rollout>,
    /// Services that run on the hosts themselves, by name.
    #[serde(default)]
    pub placements: BTreeMap<String, Placement>,
}

/// Versions that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Version {
    /// The first.
    #[serde(rename = "nanocloud.io/v1")]
    V1,
}

/// Says that the document is a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Kind {
    /// The only one.
    Cluster,
}

/// What a machine is in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Votes on the keyspace, and runs pods.
    Server,
    /// Runs pods.
    Agent,
}

/// A machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Node {
    /// Address or name the other nodes reach it by.
    pub address: String,
    /// What it is.
    pub role: Role,
    /// Pool it belongs to; its class comes from there.
    pub pool: Option<String>,
    /// Class of a node that belongs to no pool.
    pub class: Option<String>,
    /// What fails together: a rack, a room, a host of virtual machines.
    pub failure_domain: String,
    /// Serial number of the machine (DMI), by which an installer finds its node.
    pub serial: Option<String>,
    /// Labels of the node.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// A kind of machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Class {
    /// Name in `nixosConfigurations` of what its machines run.
    pub configuration: String,
    /// Disk to install on, by a name that does not depend on the order of detection.
    pub disk: Option<String>,
    /// Labels of its nodes.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// A group of machines of one class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Pool {
    /// Class of its nodes.
    pub class: String,
    /// Fewest nodes.
    pub min_size: u32,
    /// Most nodes.
    pub max_size: u32,
    /// Labels of its nodes.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// Which nodes are meant: those in every list that is not empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Selector {
    /// Names of nodes.
    #[serde(default)]
    pub nodes: Vec<String>,
    /// Names of pools.
    #[serde(default)]
    pub pools: Vec<String>,
    /// Names of classes.
    #[serde(default)]
    pub classes: Vec<String>,
}

/// A change of systems.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Rollout {
    /// Name in `nixosConfigurations` of what the nodes shall run.
    pub configuration: String,
    /// Nodes that get it.
    pub selector: Selector,
    /// Most nodes that change at the same time.
    pub max_unavailable: u32,
    /// How long a node may take to be healthy with the new system, in seconds.
    pub health_timeout_seconds: u32,
    /// Whether a node that is not healthy in time returns to what it ran before.
    pub rollback: bool,
    /// Whether no further node begins.
    pub paused: bool,
}

/// What no two replicas share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Spread {
    /// Nothing.
    None,
    /// A node.
    Node,
    /// A failure domain.
    FailureDomain,
}

/// A service that runs on the hosts themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Placement {
    /// Service that is placed.
    pub service: String,
    /// How many run.
    pub replicas: u32,
    /// Nodes it may run on.
    pub selector: Selector,
    /// What no two replicas share.
    pub spread: Spread,
}

impl Fleet {
    /// Class of a node: its pool's, or its own.
    #[must_use]
    pub fn class_of<'a>(&'a self, node: &'a Node) -> Option<&'a str> {
        let pool = node.pool.as_ref().and_then(|name| self.pools.get(name));
        pool.map(|pool| pool.class.as_str()).or(node.class.as_deref())
    }

    /// Nodes a selector means, by name.
    pub fn select<'a>(&'a self, selector: &'a Selector) -> impl Iterator<Item = (&'a str, &'a Node)> {
        let named = |list: &[String], name: Option<&str>| {
            list.is_empty() || name.is_some_and(|name| list.iter().any(|each| each == name))
        };
        let means = move |name: &str, node: &Node| {
            named(&selector.nodes, Some(name))
                && named(&selector.pools, node.pool.as_deref())
                && named(&selector.classes, self.class_of(node))
        };
        self.nodes.iter().filter(move |(name, node)| means(name, node)).map(|(name, node)| (name.as_str(), node))
    }
}
