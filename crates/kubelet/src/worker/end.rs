//! Ending containers and removing what they leave.

use std::{str::FromStr as _, sync::Arc, time::Duration};

use api::kinds::Pod;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::LifecycleHandler;
use nix::sys::signal::Signal;
use runtime::container::{ContainerInfo, State as RuntimeState};
use tokio::task::JoinSet;

use super::{mount::blocking, observe, parts::WorkerCache, shared::Shared};
use crate::{
    error::{Error, Result, chain},
    files::{PodUid, remove_dir, unmount_below},
    pod::{
        container::label,
        lifecycle::{Ending, MINIMUM_GRACE, State},
        plan::{between, later},
    },
    ports::{Severity, exec_spec},
};

/// Bytes of a hook's output kept for the event.
const HOOK_OUTPUT_MAX: usize = 1024;

fn runs(shared: &Shared, uid: &str, container: Option<&str>) -> Vec<ContainerInfo> {
    let named =
        |info: &ContainerInfo| container.is_none_or(|c| info.labels.get(label::CONTAINER).is_some_and(|n| n == c));
    observe::runs_of(shared.ports.containers.list(), uid).filter(named).collect()
}

fn running(shared: &Shared, uid: &str, container: &str) -> Option<ContainerInfo> {
    runs(shared, uid, Some(container)).into_iter().find(|info| info.state == RuntimeState::Running)
}

/// Asks a container to end: first its preStop hook, then the signal. Returns at once; the end is seen by the watch.
pub(super) fn terminate(
    cache: &mut WorkerCache,
    shared: &Arc<Shared>,
    tasks: &mut JoinSet<()>,
    state: State,
    pod: &Arc<Pod>,
    uid: &str,
    (container, deadline): (&str, Timestamp),
) {
    let Some(info) = running(shared, uid, container) else { return };
    let unhealthy = cache.watched.get(&info.id).and_then(|w| w.health.borrow().unhealthy.clone());
    let stopping = matches!(state, State::Stopping { .. });
    let (message, deadline) = match unhealthy.filter(|_| !stopping) {
        Some(unhealthy) => {
            let own = unhealthy.grace.map(|grace| later(Timestamp::now(), grace.max(MINIMUM_GRACE)));
            let probe = unhealthy.kind.name().to_ascii_lowercase();
            (format!("Container {container} failed {probe} probe, will be restarted"), own.unwrap_or(deadline))
        }
        None => (format!("Stopping container {container}"), deadline),
    };
    shared.ports.events.pod(pod, Severity::Normal, "Killing", message);
    cache.ending.insert(info.id.clone(), Ending { asked: Timestamp::now(), deadline });
    let hook = observe::container(pod, container).and_then(|c| c.lifecycle.as_ref()?.pre_stop.clone());
    let signal = info.labels.get(label::STOP_SIGNAL).map_or(Signal::SIGTERM, |name| signal(name));
    let (shared, pod) = (Arc::clone(shared), Arc::clone(pod));
    tasks.spawn(async move {
        if let Some(hook) = hook {
            pre_stop(&shared, &pod, &info.id, &hook, between(Timestamp::now(), deadline)).await;
        }
        if let Err(error) = shared.ports.containers.signal(&info.id, signal as i32) {
            tracing::warn!(id = info.id, error = chain(&error), "container not signalled");
        }
    });
}

/// A signal by name or number; SIGTERM when it is neither.
fn signal(name: &str) -> Signal {
    let upper = name.to_ascii_uppercase();
    let full = if upper.starts_with("SIG") { upper.clone() } else { format!("SIG{upper}") };
    let number = upper.parse::<i32>().ok().and_then(|n| Signal::try_from(n).ok());
    number.or_else(|| Signal::from_str(&full).ok()).unwrap_or(Signal::SIGTERM)
}

async fn pre_stop(shared: &Shared, pod: &Pod, id: &str, hook: &LifecycleHandler, limit: Duration) {
    if let Some(sleep) = &hook.sleep {
        let wanted = Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0));
        return tokio::time::sleep(wanted.min(limit)).await;
    }
    let Some(command) = hook.exec.as_ref().and_then(|e| e.command.clone()) else { return };
    let problem = match shared.ports.containers.exec(id, exec_spec(command, limit), HOOK_OUTPUT_MAX).await {
        Ok(done) if done.exit.code == 0 => return,
        Ok(done) => format!("exit code {}: {}", done.exit.code, String::from_utf8_lossy(&done.stderr).trim()),
        Err(error) => chain(&error),
    };
    shared.ports.events.pod(pod, Severity::Warning, "FailedPreStopHook", format!("PreStop hook failed: {problem}"));
}

/// Kills a container and waits for its end.
pub(super) async fn kill(shared: &Shared, uid: &str, container: &str) -> Result<()> {
    if let Some(info) = running(shared, uid, container) {
        let fail = |source| Error::Container { container: container.to_owned(), source };
        shared.ports.containers.kill(&info.id).await.map_err(fail)?;
    }
    Ok(())
}

/// Removes ended runs of one container or of all.
pub(super) async fn remove(shared: &Shared, uid: &str, container: Option<&str>) -> Result<()> {
    for info in runs(shared, uid, container) {
        if info.state != RuntimeState::Running {
            let name = info.labels.get(label::CONTAINER).cloned().unwrap_or_default();
            let fail = |source| Error::Container { container: name, source };
            shared.ports.containers.remove(&info.id).await.map_err(fail)?;
        }
    }
    Ok(())
}

/// Unmounts, removes directories, takes back network and host ports. Logs go only with the object.
pub(super) async fn clean(shared: &Arc<Shared>, pod: &Pod, uid: &PodUid, with_logs: bool) -> Result<()> {
    shared.tokens.forget(uid.as_str());
    let had_ports = {
        let mut ports = shared.host_ports.lock();
        let before = ports.len();
        ports.retain(|_, owner| owner != uid.as_str());
        ports.len() != before
    };
    if had_ports {
        shared.host_ports_changed.notify_one();
    }
    shared.ports.volumes.unpublish_all(uid.as_str()).await?;
    let (run, state) = (shared.layout.run(uid), shared.layout.state(uid));
    let logs = if with_logs { shared.layout.log_dirs(pod) } else { Vec::new() };
    blocking(move || {
        unmount_below(&run)?;
        remove_dir(&run)?;
        remove_dir(&state)?;
        logs.iter().try_for_each(|dir| remove_dir(dir))
    })
    .await?;
    shared.ports.network.detach(uid.as_str()).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for (name, wanted) in [
            ("SIGINT", Signal::SIGINT),
            ("quit", Signal::SIGQUIT),
            ("9", Signal::SIGKILL),
            ("", Signal::SIGTERM),
            ("nope", Signal::SIGTERM),
        ] {
            assert_eq!(signal(name), wanted, "{name}");
        }
    }
}
