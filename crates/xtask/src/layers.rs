//! A crate may name only the crates that the table of ARCHITECTURE.md allows it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::bail;

use crate::metadata::{self, Package};

/// Each crate with its rank and the crates it may depend on. A new edge needs a line here and one
/// in ARCHITECTURE.md.
const TABLE: &[(&str, u8, &[&str])] = &[
    ("api", 0, &[]),
    ("fleet", 0, &[]),
    ("dockyard", 0, &[]),
    ("keyspace", 1, &[]),
    ("trust", 1, &["api"]),
    ("net", 1, &[]),
    ("storage", 1, &[]),
    ("runtime", 1, &[]),
    ("imagebuilder", 1, &["dockyard"]),
    ("replica", 2, &["keyspace", "trust"]),
    ("keyspace-sim", 3, &["keyspace", "replica"]),
    ("etcd", 2, &["keyspace", "trust"]),
    ("client", 2, &["api", "trust"]),
    ("apiserver", 2, &["api", "keyspace", "trust"]),
    ("controllers", 3, &["api", "client", "dockyard", "trust"]),
    ("kubelet", 3, &["api", "client", "net", "storage", "runtime"]),
    ("cli", 4, &["api", "client", "dockyard", "fleet", "trust"]),
    (
        "nanocloud",
        5,
        &[
            "api",
            "apiserver",
            "cli",
            "client",
            "controllers",
            "dockyard",
            "etcd",
            "imagebuilder",
            "keyspace",
            "kubelet",
            "net",
            "replica",
            "runtime",
            "storage",
            "trust",
        ],
    ),
    ("vmtest", 0, &[]),
    ("xtask", 0, &[]),
];

/// Crates that only the named crates may depend on directly, so that an exchange stays local.
const WALLS: &[(&str, &[&str])] = &[
    ("rocksdb", &["replica"]),
    ("openraft", &["replica"]),
    ("turmoil", &["keyspace-sim"]),
    ("mad-turmoil", &["keyspace-sim"]),
    ("tonic", &["etcd"]),
    ("prost", &["etcd"]),
    ("rtnetlink", &["net"]),
    ("netlink-packet-netfilter", &["net"]),
    ("oci-client", &["runtime"]),
    ("axum", &["apiserver", "nanocloud"]),
    ("clap", &["cli", "nanocloud"]),
];

/// Compares the workspace with the table; fails with every edge that is not allowed.
pub(crate) fn check() -> anyhow::Result<()> {
    let edges = workspace_edges()?;
    let errors = violations(&edges);
    if !errors.is_empty() {
        bail!("layers are broken:\n  {}", errors.join("\n  "));
    }
    println!("layers: {} crates, no edge upwards", edges.len());
    Ok(())
}

/// Each crate of the workspace with the crates it names outside its tests.
fn workspace_edges() -> anyhow::Result<BTreeMap<String, BTreeSet<String>>> {
    let metadata = metadata::read(&["--no-deps"])?;
    let named = |package: Package| {
        let normal = package.dependencies.into_iter().filter(|dependency| dependency.kind.is_none());
        (package.name, normal.map(|dependency| dependency.name).collect())
    };
    Ok(metadata.packages.into_iter().map(named).collect())
}

/// What is wrong with the edges between crates, one line each.
fn violations(edges: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let rank = |name: &str| TABLE.iter().find(|(known, _, _)| *known == name).map(|(_, rank, _)| *rank);
    let mut errors = Vec::new();
    for (name, dependencies) in edges {
        let Some((_, own, allowed)) = TABLE.iter().find(|(known, _, _)| known == name) else {
            errors.push(format!("{name} is in no rank: add it to the table in xtask and to ARCHITECTURE.md"));
            continue;
        };
        for dependency in dependencies {
            if let Some(other) = rank(dependency) {
                if other > *own {
                    errors.push(format!(
                        "{name} (rank {own}) names {dependency} (rank {other}): a crate names lower ranks only"
                    ));
                } else if !allowed.contains(&dependency.as_str()) {
                    errors.push(format!("{name} names {dependency}, which the table does not allow it"));
                }
            }
            if let Some((_, users)) = WALLS.iter().find(|(walled, _)| walled == dependency)
                && !users.contains(&name.as_str())
            {
                errors.push(format!("{name} names {dependency}, which only {} may", users.join(" and ")));
            }
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(list: &[(&str, &[&str])]) -> BTreeMap<String, BTreeSet<String>> {
        list.iter().map(|(name, to)| ((*name).into(), to.iter().map(|to| (*to).into()).collect())).collect()
    }

    #[test]
    fn the_table_itself_never_points_upwards() {
        for (name, own, allowed) in TABLE {
            for other in *allowed {
                let rank = TABLE.iter().find(|(known, _, _)| known == other).unwrap().1;
                assert!(rank < *own, "{name} -> {other}");
            }
        }
    }

    #[test]
    fn an_edge_upwards_a_new_edge_and_a_wall_are_each_found() {
        let found = violations(&edges(&[
            ("api", &["client"]),
            ("kubelet", &["keyspace"]),
            ("cli", &["rocksdb"]),
            ("new", &[]),
        ]));
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(found[0].contains("api (rank 0) names client (rank 2)"));
        assert!(violations(&edges(&[("client", &["api", "trust", "serde"])])).is_empty());
    }

    #[test]
    fn the_workspace_keeps_its_layers() {
        check().unwrap();
    }
}
