//! `nanocloud teardown`: removes everything an instance made on the host.

use std::time::Duration;

use anyhow::Context;
use net::Network;
use nix::libc::SIGTERM;
use runtime::container::Runtime;
use storage::Volumes;

use crate::{host, node, settings::Settings};

/// How long a container may take to end by itself.
const GRACE: Duration = Duration::from_secs(5);

/// Removes containers, namespaces, links, rules, mounts and control groups; with `purge` the state too.
///
/// Safe to repeat; a server of this instance must not be running.
pub async fn run(settings: &Settings, purge: bool) -> anyhow::Result<()> {
    host::require_root("teardown")?;
    if settings.run_root.exists() {
        host::prepare_run_root(&settings.run_root)?;
        let runtime = Runtime::open(node::runtime_config(settings)?)?;
        for container in runtime.adopt().await?.containers {
            println!("stopping {}", container.id);
            runtime.stop(&container.id, SIGTERM, GRACE).await?;
            runtime.remove(&container.id).await?;
        }
    }
    if settings.csi_root.exists() {
        Volumes::open(&settings.csi_root)?.teardown().context("volumes")?;
    }
    Network::open(node::network_config(settings)).await?.teardown().await.context("network")?;
    kubelet::files::unmount_below(&settings.run_root).context("mounts of pods")?;
    host::remove_run_root(&settings.run_root)?;
    remove_cgroups(&settings.cgroup);
    if purge {
        std::fs::remove_dir_all(&settings.state_root)
            .with_context(|| format!("cannot remove {}", settings.state_root.display()))?;
    }
    Ok(())
}

/// Removes the emptied control groups of this instance, in every hierarchy.
fn remove_cgroups(name: &str) {
    let Ok(mounts) = std::fs::read_to_string("/proc/self/mounts") else { return };
    let cgroups = mounts.lines().filter(|line| line.split(' ').nth(2).is_some_and(|kind| kind.starts_with("cgroup")));
    for root in cgroups.filter_map(|line| line.split(' ').nth(1)) {
        remove_empty_tree(&std::path::Path::new(root).join(name));
    }
}

/// A control group folder is removed with rmdir, deepest first; one with processes stays.
fn remove_empty_tree(folder: &std::path::Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_empty_tree(&entry.path());
        }
    }
    if folder.exists()
        && let Err(error) = std::fs::remove_dir(folder)
    {
        tracing::warn!(folder = %folder.display(), %error, "control group not removed");
    }
}
