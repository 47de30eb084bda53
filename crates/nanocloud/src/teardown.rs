//! `nanocloud teardown`: removes everything that an instance created on the host.

use std::time::Duration;

use anyhow::Context;
use futures::StreamExt as _;
use net::Network;
use nix::libc::SIGTERM;
use runtime::container::Runtime;
use storage::Volumes;

use crate::{host, node, settings::Settings};

/// Grace period of a container after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);
/// Number of containers that are stopped at the same time.
const AT_ONCE: usize = 64;

/// Removes containers, namespaces, links, rules, mounts and control groups; with `purge` the state too.
///
/// Can be repeated. The server of this instance must not be running.
pub async fn run(settings: &Settings, purge: bool) -> anyhow::Result<()> {
    host::require_root("teardown")?;
    if settings.run_root.exists() {
        host::prepare_run_root(&settings.run_root)?;
        let runtime = Runtime::open(node::runtime_config(settings)?)?;
        let found = runtime.adopt().await?.containers.into_iter().map(|container| container.id);
        end_all(found, |id| cli::note!("stopping {id}"), |id| end(runtime.clone(), id)).await?;
    }
    if settings.csi_root.exists() {
        Volumes::open(&settings.csi_root)?.teardown().context("volumes")?;
    }
    Network::open(settings.network_config()).await?.teardown().await.context("network")?;
    kubelet::files::unmount_below(&settings.run_root).context("mounts of pods")?;
    host::remove_run_root(&settings.run_root)?;
    remove_cgroups(&settings.cgroup);
    if purge {
        std::fs::remove_dir_all(&settings.state_root)
            .with_context(|| format!("cannot remove {}", settings.state_root.display()))?;
    }
    Ok(())
}

/// Stops and removes one container.
async fn end(runtime: Runtime, id: String) -> anyhow::Result<()> {
    runtime.stop(&id, SIGTERM, GRACE).await.with_context(|| format!("stop {id}"))?;
    runtime.remove(&id).await.with_context(|| format!("remove {id}"))
}

/// Stops containers, many at the same time, because each can use up its grace period. A failure does not keep others
/// from being stopped; the first one is returned.
async fn end_all<F>(
    ids: impl Iterator<Item = String>,
    tell: impl Fn(&str),
    end: impl Fn(String) -> F,
) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let ends = ids.map(|id| {
        tell(&id);
        end(id)
    });
    let results: Vec<_> = futures::stream::iter(ends).buffer_unordered(AT_ONCE).collect().await;
    results.into_iter().collect()
}

/// Removes the empty cgroups of this instance, in every hierarchy.
fn remove_cgroups(name: &str) {
    let Ok(mounts) = std::fs::read_to_string("/proc/self/mounts") else { return };
    let cgroups = mounts.lines().filter(|line| line.split(' ').nth(2).is_some_and(|kind| kind.starts_with("cgroup")));
    for root in cgroups.filter_map(|line| line.split(' ').nth(1)) {
        remove_empty_tree(&std::path::Path::new(root).join(name));
    }
}

/// Removes cgroup directories with rmdir, deepest first; those with processes remain.
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn fifty_stubborn_containers_take_one_grace_and_one_that_fails_keeps_none_from_ending() {
        let ended = Mutex::new(Vec::new());
        let begin = tokio::time::Instant::now();
        let ids = (0..50).map(|number| number.to_string());
        let result = end_all(
            ids,
            |_| (),
            |id| {
                let ended = &ended;
                async move {
                    tokio::time::sleep(GRACE).await;
                    anyhow::ensure!(id != "7", "{id} does not end");
                    ended.lock().unwrap().push(id);
                    Ok(())
                }
            },
        )
        .await;
        assert_eq!(begin.elapsed(), GRACE);
        assert_eq!(ended.lock().unwrap().len(), 49);
        assert!(result.unwrap_err().to_string().contains("7 does not end"));
    }
}
