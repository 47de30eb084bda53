//! What the repository's chores read of `cargo metadata` (format version 1).

use std::{path::PathBuf, process::Command};

use anyhow::{Context, ensure};
use serde::Deserialize;

#[derive(Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
    pub(crate) workspace_root: PathBuf,
}

#[derive(Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) manifest_path: PathBuf,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) targets: Vec<Target>,
}

#[derive(Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// None for an ordinary one, else `dev` or `build`.
    pub(crate) kind: Option<String>,
}

/// One program or library of a package.
#[derive(Deserialize)]
pub(crate) struct Target {
    pub(crate) kind: Vec<String>,
    pub(crate) src_path: PathBuf,
}

/// Asks cargo, which is the one that runs this if cargo does.
pub(crate) fn read(options: &[&str]) -> anyhow::Result<Metadata> {
    let output = cargo().args(["metadata", "--format-version=1"]).args(options).output().context("cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("the answer of cargo metadata")
}

/// The cargo that runs this program, or else the one in PATH.
#[expect(clippy::disallowed_methods, reason = "cargo names itself in this variable, and is a program")]
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}
