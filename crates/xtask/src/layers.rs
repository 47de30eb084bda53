//! A crate may name only what its row in ARCHITECTURE.md's table allows.

use anyhow::bail;

use crate::{
    architecture::{self, Row},
    metadata::{self, Package},
};

/// The crate that all others name (see ARCHITECTURE.md).
const NAMED_BY_ALL: &str = "features";

/// Compares the workspace with the table; fails with every edge that is not allowed.
pub(crate) fn check() -> anyhow::Result<()> {
    let metadata = metadata::read(&["--no-deps"])?;
    let table = architecture::read(&metadata.workspace_root)?;
    let edges: Vec<Edges> = metadata.packages.into_iter().map(edges).collect();
    let errors = violations(&table, &edges);
    if !errors.is_empty() {
        bail!("layers are broken (the table is in ARCHITECTURE.md):\n  {}", errors.join("\n  "));
    }
    println!("layers: {} crates, no edge upwards", edges.len());
    Ok(())
}

/// A crate of the workspace with what it depends on, and whether only in its tests.
struct Edges {
    name: String,
    to: Vec<(String, bool)>,
}

fn edges(package: Package) -> Edges {
    let to = package.dependencies.into_iter();
    Edges { name: package.name, to: to.map(|to| (to.name, to.kind.as_deref() == Some("dev"))).collect() }
}

/// What is wrong, one line each.
fn violations(table: &[Row], crates: &[Edges]) -> Vec<String> {
    let mut errors: Vec<String> = Vec::new();
    let known = |name: &str| table.iter().find(|row| row.name == name);
    for row in table {
        if !crates.iter().any(|edges| edges.name == row.name) {
            errors.push(format!("the table has a row for {}, which is no crate", row.name));
        }
        let upwards = |name: &&String| known(name).is_none_or(|other| other.rank >= row.rank);
        let named = row.may_name.iter().find(upwards);
        errors.extend(named.map(|name| format!("the row of {} allows {name}, which has no lower rank", row.name)));
    }
    for Edges { name, to } in crates {
        match known(name) {
            Some(row) => errors.extend(to.iter().filter_map(|(to, tests)| refused(row, to, *tests, table))),
            None => errors.push(format!("{name} has no row in the table")),
        }
    }
    errors
}

/// Why a crate may not depend on another, if it may not.
fn refused(row: &Row, to: &str, tests: bool, table: &[Row]) -> Option<String> {
    let Row { name, rank, .. } = row;
    if to == NAMED_BY_ALL {
        return None;
    }
    if let Some(other) = table.iter().find(|other| other.name == to) {
        let allowed = row.may_name.iter().any(|name| name == to);
        let in_tests = tests && row.tests_may_name.iter().any(|name| name == to);
        return match other.rank {
            _ if allowed || in_tests => None,
            above if above > *rank => {
                Some(format!("{name} (rank {rank}) names {to} (rank {above}): a crate names lower ranks only"))
            }
            _ if tests => Some(format!("tests of {name} name {to}, which its row does not allow")),
            _ => Some(format!("{name} names {to}, which its row does not allow")),
        };
    }
    let walled = |row: &Row| row.walls.iter().any(|wall| wall == to);
    let owners: Vec<&str> = table.iter().filter(|row| walled(row)).map(|row| row.name.as_str()).collect();
    let outside = !owners.is_empty() && !walled(row);
    outside.then(|| format!("{name} names {to}, which only {} may", owners.join(" and ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(rank: u8, name: &str, may_name: &[&str], walls: &[&str]) -> Row {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Row { rank, name: name.into(), may_name: list(may_name), tests_may_name: list(&["wires"]), walls: list(walls) }
    }

    fn found(name: &str, to: &[(&str, bool)]) -> Vec<String> {
        let table = [
            row(0, "words", &[], &[]),
            row(0, "wires", &[], &[]),
            row(1, "disk", &["words"], &["rocks"]),
            row(2, "server", &["words", "disk"], &[]),
        ];
        let edges = |name: &str, to: &[(&str, bool)]| Edges {
            name: name.into(),
            to: to.iter().map(|(to, tests)| ((*to).to_owned(), *tests)).collect(),
        };
        let others = ["words", "wires", "disk", "server"].into_iter().filter(|other| *other != name);
        let mut crates: Vec<Edges> = others.map(|other| edges(other, &[])).collect();
        crates.push(edges(name, to));
        violations(&table, &crates)
    }

    #[test]
    fn every_kind_of_fault_is_found() {
        let one = |name, to, tests, text: &str| {
            let found = found(name, &[(to, tests)]);
            assert!(found.len() == 1 && found[0].contains(text), "{name} to {to}: {found:?}");
        };
        one("words", "server", false, "words (rank 0) names server (rank 2)");
        one("server", "wires", false, "which its row does not allow");
        one("disk", "disk", true, "tests of disk name disk");
        one("server", "rocks", false, "which only disk may");
        one("server", "rocks", true, "which only disk may");
        assert!(found("another", &[])[0].contains("no row"));
        assert!(violations(&[row(0, "gone", &[], &[])], &[])[0].contains("which is no crate"));
        let upwards = [row(1, "a", &["b"], &[]), row(1, "b", &[], &[])];
        let crates = ["a", "b"].map(|name| Edges { name: name.into(), to: Vec::new() });
        assert!(violations(&upwards, &crates)[0].contains("no lower rank"));
    }

    #[test]
    fn what_the_rows_allow_is_no_fault() {
        assert_eq!(found("server", &[("words", false), ("disk", false), ("wires", true), ("serde", false)]), [""; 0]);
        assert_eq!(found("disk", &[("rocks", false)]), [""; 0]);
    }

    #[test]
    fn the_workspace_keeps_its_layers() {
        check().unwrap();
    }
}
