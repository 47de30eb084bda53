//! Validation beyond the types of a document. The rules and their messages are those of
//! `nix/lib/cluster-schema.nix`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use crate::document::{Fleet, Node, Placement, Pool, Role, Rollout, Selector, Spread};

/// Useful numbers of voters: an even one tolerates no more failures than the odd one below it.
const SERVERS: [usize; 3] = [1, 3, 5];

/// A problem in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Path in the document, such as `nodes.node01.pool`.
    pub path: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.path, self.message)
    }
}

/// Findings, in the order of the document.
#[must_use]
pub fn check(cluster: &Fleet) -> Vec<Finding> {
    let mut found = Findings::default();
    let servers = cluster.nodes.values().filter(|node| node.role == Role::Server).count();
    found.unless(SERVERS.contains(&servers), "nodes", || {
        format!("a cluster has 1, 3 or 5 servers, this one {servers}.")
    });
    found.unless(all_differ(cluster.nodes.values().map(|node| Some(&node.address))), "nodes", || {
        "two nodes have the same address.".into()
    });
    found.unless(all_differ(cluster.nodes.values().map(|node| node.serial.as_ref())), "nodes", || {
        "two nodes have the same serial.".into()
    });
    for (name, node) in &cluster.nodes {
        found.node(cluster, name, node);
    }
    for (name, pool) in &cluster.pools {
        found.pool(cluster, name, pool);
    }
    for (name, rollout) in &cluster.rollouts {
        found.rollout(cluster, name, rollout, servers);
    }
    for (name, placement) in &cluster.placements {
        found.placement(cluster, name, placement);
    }
    found.0
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn unless(&mut self, holds: bool, path: impl Into<String>, message: impl FnOnce() -> String) {
        if !holds {
            self.0.push(Finding { path: path.into(), message: message() });
        }
    }

    fn node(&mut self, cluster: &Fleet, name: &str, node: &Node) {
        let at = |key: &str| format!("nodes.{name}.{key}");
        if let Some(pool) = &node.pool {
            self.unless(cluster.pools.contains_key(pool), at("pool"), || {
                format!("there is no pool {pool}; there is {}.", names(&cluster.pools))
            });
        }
        if let Some(class) = &node.class {
            self.unless(cluster.classes.contains_key(class), at("class"), || {
                format!("there is no class {class}; there is {}.", names(&cluster.classes))
            });
        }
        self.unless(node.pool.is_none() || node.class.is_none(), at("class"), || {
            "the pool says the class; leave it out.".into()
        });
        self.unless(node.pool.is_some() || node.class.is_some(), at("pool"), || {
            "a node needs a pool or a class.".into()
        });
    }

    fn pool(&mut self, cluster: &Fleet, name: &str, pool: &Pool) {
        let (least, most) = (pool.min_size, pool.max_size);
        self.unless(cluster.classes.contains_key(&pool.class), format!("pools.{name}.class"), || {
            format!("there is no class {}; there is {}.", pool.class, names(&cluster.classes))
        });
        self.unless(least <= most, format!("pools.{name}.minSize"), || format!("{least} is more than maxSize {most}."));
        let size = cluster.nodes.values().filter(|node| node.pool.as_deref() == Some(name)).count();
        self.unless(size >= least as usize && size <= most as usize, format!("pools.{name}"), || {
            format!("it has {size} nodes; allowed are {least} to {most}.")
        });
    }

    fn rollout(&mut self, cluster: &Fleet, name: &str, rollout: &Rollout, servers: usize) {
        let at = format!("rollouts.{name}");
        self.selector(cluster, &at, &rollout.selector);
        let voters = cluster.select(&rollout.selector).filter(|(_, node)| node.role == Role::Server).count();
        // How many voters can be unavailable while the rest is a majority.
        let tolerated = servers.saturating_sub(1) / 2;
        let asked = rollout.max_unavailable;
        self.unless(voters <= 1 || asked as usize <= tolerated, format!("{at}.maxUnavailable"), || {
            format!("{asked} of {servers} servers at once leaves no majority; at most {tolerated}.")
        });
    }

    fn placement(&mut self, cluster: &Fleet, name: &str, placement: &Placement) {
        let at = format!("placements.{name}");
        self.selector(cluster, &at, &placement.selector);
        let nodes: Vec<&Node> = cluster.select(&placement.selector).map(|(_, node)| node).collect();
        let (what, room) = match placement.spread {
            Spread::None => return,
            Spread::Node => ("node", nodes.len()),
            Spread::FailureDomain => {
                ("failureDomain", nodes.iter().map(|node| &node.failure_domain).collect::<BTreeSet<_>>().len())
            }
        };
        let asked = placement.replicas;
        self.unless(nodes.is_empty() || asked as usize <= room, format!("{at}.replicas"), || {
            format!("{asked} do not fit when no two share a {what}: there is room for {room}.")
        });
    }

    fn selector(&mut self, cluster: &Fleet, at: &str, selector: &Selector) {
        self.known(at, "nodes", &selector.nodes, &cluster.nodes);
        self.known(at, "pools", &selector.pools, &cluster.pools);
        self.known(at, "classes", &selector.classes, &cluster.classes);
        self.unless(cluster.select(selector).next().is_some(), format!("{at}.selector"), || {
            "it selects no node.".into()
        });
    }

    fn known<T>(&mut self, at: &str, table: &str, wanted: &[String], there: &BTreeMap<String, T>) {
        for name in wanted {
            self.unless(there.contains_key(name), format!("{at}.selector.{table}"), || {
                format!("no {table} are called {name}; there is {}.", names(there))
            });
        }
    }
}

fn names<T>(table: &BTreeMap<String, T>) -> String {
    table.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn all_differ<'a>(values: impl Iterator<Item = Option<&'a String>>) -> bool {
    let mut seen = BTreeSet::new();
    values.flatten().all(|value| seen.insert(value))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The golden document with one value changed; `pointer` is of RFC 6901.
    fn changed(pointer: &str, value: Value) -> Fleet {
        let mut document: Value = serde_json::from_str(include_str!("../../../nix/ci/golden/cluster.json")).unwrap();
        *document.pointer_mut(pointer).unwrap() = value;
        serde_json::from_value(document).unwrap()
    }

    /// The same changes and findings as in `nix/tests/cluster.nix`.
    #[test]
    fn what_does_not_fit_together_is_named_by_its_path() {
        for (pointer, value, finding) in [
            ("/nodes/node03/role", json!("agent"), "nodes: a cluster has 1, 3 or 5 servers, this one 2."),
            ("/nodes/node02/address", json!("192.0.2.11"), "nodes: two nodes have the same address."),
            (
                "/nodes/worker01/pool",
                json!("none"),
                "nodes.worker01.pool: there is no pool none; there is control, workers.",
            ),
            ("/nodes/worker01/class", json!("worker"), "nodes.worker01.class: the pool says the class; leave it out."),
            (
                "/pools/workers/class",
                json!("none"),
                "pools.workers.class: there is no class none; there is control-plane, worker.",
            ),
            ("/pools/workers/minSize", json!(2), "pools.workers: it has 1 nodes; allowed are 2 to 10000."),
            (
                "/rollouts/control/maxUnavailable",
                json!(2),
                "rollouts.control.maxUnavailable: 2 of 3 servers at once leaves no majority; at most 1.",
            ),
            (
                "/rollouts/workers/selector/pools",
                json!(["none"]),
                "rollouts.workers.selector.pools: no pools are called none; there is control, workers.",
            ),
            (
                "/placements/registry/replicas",
                json!(4),
                "placements.registry.replicas: 4 do not fit when no two share a failureDomain: there is room for 3.",
            ),
        ] {
            let found = check(&changed(pointer, value));
            assert_eq!(found.first().map(ToString::to_string).as_deref(), Some(finding), "{pointer}");
        }
    }

    #[test]
    fn serials_and_classes_of_lone_nodes_are_checked() {
        let mut cluster = changed("/nodes/node01/serial", json!("A1"));
        assert!(check(&cluster).is_empty());
        cluster.nodes.get_mut("node02").unwrap().serial = Some("A1".into());
        let node = cluster.nodes.get_mut("worker01").unwrap();
        (node.pool, node.class) = (None, None);
        let found: Vec<String> = check(&cluster).iter().map(ToString::to_string).collect();
        assert!(found.contains(&"nodes: two nodes have the same serial.".to_owned()), "{found:?}");
        assert!(found.contains(&"nodes.worker01.pool: a node needs a pool or a class.".to_owned()), "{found:?}");
    }
}
