//! A part of the workspace is built with the libraries that the whole is built with (see crate `features`).

use std::collections::BTreeSet;

use anyhow::{Context, bail, ensure};

use crate::metadata::{self, cargo};

/// Fails with every library that `cargo build -p` of some crate builds with other features than `--workspace`.
pub(crate) fn check() -> anyhow::Result<()> {
    let packages = metadata::read(&["--no-deps"])?.packages;
    let all = "normal,build,dev";
    let whole = tree(&["--workspace", "--edges", all])?;
    let mut found = Vec::new();
    for package in &packages {
        let part = tree(&["--package", &package.name, "--edges", all])?;
        found.extend(differences(&package.name, &whole, &part));
    }
    // The program itself is built without what only tests need.
    let program = tree(&["--package", "nanocloud", "--edges", "normal,build"])?;
    found.extend(differences("nanocloud", &whole, &program));
    if !found.is_empty() {
        bail!("libraries are built twice:\n  {}", found.join("\n  "));
    }
    println!("features: {} crates, each built with the features of all", packages.len());
    Ok(())
}

/// A library with its version, and the features it has.
type Library = (String, String);

fn tree(options: &[&str]) -> anyhow::Result<BTreeSet<Library>> {
    let mut command = cargo();
    command.args(["tree", "--locked", "--prefix", "none", "--no-dedupe", "--format", "{p}|{f}"]).args(options);
    let output = command.output().context("cargo tree")?;
    ensure!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    Ok(libraries(&String::from_utf8_lossy(&output.stdout)))
}

/// Lines such as `serde v1.0.229|default,std`; what stands in parentheses is left out, and so are our own crates.
fn libraries(text: &str) -> BTreeSet<Library> {
    let library = |line: &str| {
        let (package, features) = line.split_once('|')?;
        let mut words = package.split(' ');
        let (name, version) = (words.next()?, words.next()?);
        let own = words.next().is_some_and(|path| path.starts_with("(/"));
        let features = features.split(' ').next().unwrap_or_default();
        (!own).then(|| (format!("{name} {version}"), features.to_owned()))
    };
    text.lines().filter_map(library).collect()
}

/// What `part` builds in another way than `whole`, one line each.
fn differences(name: &str, whole: &BTreeSet<Library>, part: &BTreeSet<Library>) -> Vec<String> {
    let shown = |(library, features): &Library| {
        let have: BTreeSet<&str> = features.split(',').collect();
        let lacks = |other: &str| -> Vec<String> {
            other.split(',').filter(|feature| !have.contains(feature)).map(str::to_owned).collect()
        };
        let others = whole.iter().filter(|(other, _)| other == library);
        let lacking = others.map(|(_, features)| lacks(features)).min_by_key(Vec::len).unwrap_or_default();
        format!("-p {name}: {library} lacks {}: add them to crates/features/Cargo.toml", lacking.join(", "))
    };
    part.difference(whole).map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_that_a_part_lacks_is_found() {
        let whole =
            libraries("api v0.1.0 (/w/crates/api)|\nserde v1.0.2|alloc,std\nserde_derive v1.0.2 (proc-macro)|\n");
        let part = libraries("api v0.1.0 (/w/crates/api)|\nserde v1.0.2|std\nserde v1.0.2|std (*)\n");
        let found = differences("api", &whole, &part);
        assert_eq!(found, ["-p api: serde v1.0.2 lacks alloc: add them to crates/features/Cargo.toml"]);
        assert!(differences("api", &whole, &libraries("serde v1.0.2|alloc,std (*)")).is_empty());
    }
}
