//! Whether a bundle's workload runs, and where it is reached.

use api::kinds::{Bundle, Pod, StatefulSet, pod};
use dockyard::{PortPlan, Protocol, Resolution, names::service_host};
use k8s_openapi::api::core::v1::ContainerStatus;

use super::{
    conditions::{Open, Progress},
    names,
};

/// Reasons for which a waiting container does not come up by itself.
const FAILURES: [&str; 7] = [
    "CrashLoopBackOff",
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
];

/// The progress of a bundle whose workload is applied.
pub(crate) fn progress(bundle: &Bundle, set: Option<&StatefulSet>, pod: Option<&Pod>) -> Progress {
    if !bundle.spec.start {
        return Progress::Stopped;
    }
    let Some(set) = set else {
        return Progress::Start(Open::Pending("the workload is being made".into()));
    };
    let status = set.status.clone().unwrap_or_default();
    let current = status.observed_generation == set.metadata.generation;
    if current && status.ready_replicas.unwrap_or(0) >= 1 && status.updated_replicas.unwrap_or(0) >= 1 {
        return Progress::Running;
    }
    Progress::Start(match pod {
        None => Open::Pending("the pod is being made".into()),
        Some(pod) => why_not(pod),
    })
}

fn why_not(pod: &Pod) -> Open {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let status = pod.status.clone().unwrap_or_default();
    let containers = status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten());
    for container in containers {
        let Some(waiting) = container.state.as_ref().and_then(|state| state.waiting.as_ref()) else { continue };
        let reason = waiting.reason.as_deref().unwrap_or_default();
        if FAILURES.contains(&reason) {
            return Open::Failed(failure(name, container, reason, waiting.message.as_deref().unwrap_or_default()));
        }
    }
    let conditions = status.conditions.iter().flatten();
    let unplaced = conditions.filter(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    match unplaced.filter_map(|condition| condition.message.clone()).next() {
        Some(message) => Open::Pending(format!("pod {name} has no node: {message}")),
        None => Open::Pending(format!("pod {name} is not ready yet ({})", pod::summary(pod))),
    }
}

/// What happened, with the exit code and the last log lines of the container that ended.
fn failure(pod: &str, container: &ContainerStatus, reason: &str, message: &str) -> String {
    let mut text = format!("{reason}: container {} of pod {pod}", container.name);
    let ended = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    if let Some(ended) = ended {
        text.push_str(&format!(" exited with code {} ({} restarts)", ended.exit_code, container.restart_count));
    }
    if !message.is_empty() {
        text.push_str(&format!("; {message}"));
    }
    match ended.and_then(|ended| ended.message.as_deref()).filter(|lines| !lines.trim().is_empty()) {
        Some(lines) => text.push_str(&format!("; last lines:\n{}", lines.trim_end())),
        None => text.push_str(&format!("; see `nanocloud logs {}`", pod.trim_end_matches("-0"))),
    }
    text
}

/// Where the bundle is reached: published ports first.
pub(crate) fn endpoints(bundle: &Bundle, resolution: &Resolution) -> Vec<String> {
    let host = service_host(names::name(bundle), names::namespace(bundle));
    let published = resolution.ports.iter().filter_map(published);
    let inside = resolution.ports.iter().map(|port| format!("{host}:{}", port.port));
    published.chain(inside).collect()
}

fn published(port: &PortPlan) -> Option<String> {
    let publish = port.publish?;
    let address = match publish.address {
        Some(address) if !address.is_unspecified() => address.to_string(),
        _ => "127.0.0.1".to_owned(),
    };
    let address = if address.contains(':') { format!("[{address}]") } else { address };
    let scheme = match (port.protocol, port.name.as_str()) {
        (Protocol::Tcp, name) if name.starts_with("https") => "https://",
        (Protocol::Tcp, name) if name.starts_with("http") || name.starts_with("web") => "http://",
        _ => "",
    };
    Some(format!("{scheme}{address}:{}", publish.port))
}
