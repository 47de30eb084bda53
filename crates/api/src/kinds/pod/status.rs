//! What a node, or who writes in its place, may report of a pod.

use k8s_openapi::api::core::v1::{ContainerStatus, PodStatus};

use super::rules::{Errors, address, at_least, name, one_of, qualified, text};
use crate::Path;

/// Phases of a pod, as Kubernetes knows them.
const PHASES: [&str; 5] = ["Pending", "Running", "Succeeded", "Failed", "Unknown"];
/// Quality-of-service classes, as Kubernetes knows them.
const CLASSES: [&str; 3] = ["Guaranteed", "Burstable", "BestEffort"];
/// Values of a condition (API conventions).
const TRUTHS: [&str; 3] = ["True", "False", "Unknown"];

/// Checks a status.
pub(super) fn check(status: &PodStatus, path: &Path<'_>) -> Errors {
    let mut errors = one_of(&status.phase, &PHASES, path.field("phase"));
    errors.extend(one_of(&status.qos_class, &CLASSES, path.field("qosClass")));
    for (field, value) in [("podIP", &status.pod_ip), ("hostIP", &status.host_ip)] {
        errors.extend(text(value).map(|value| address(value, path.field(field))).unwrap_or_default());
    }
    let list = path.field("podIPs");
    for (index, pod_ip) in status.pod_ips.iter().flatten().enumerate() {
        errors.extend(address(&pod_ip.ip, list.index(index).field("ip")));
    }
    let list = path.field("hostIPs");
    for (index, host_ip) in status.host_ips.iter().flatten().enumerate() {
        errors.extend(address(&host_ip.ip, list.index(index).field("ip")));
    }
    let nominated = text(&status.nominated_node_name);
    errors.extend(nominated.map(|node| name(node, path.field("nominatedNodeName"))).unwrap_or_default());
    let list = path.field("conditions");
    for (index, condition) in status.conditions.iter().flatten().enumerate() {
        let path = list.index(index);
        errors.extend(qualified(&condition.type_, path.field("type")));
        errors.extend(one_of(&Some(condition.status.clone()), &TRUTHS, path.field("status")));
    }
    for (field, containers) in [
        ("initContainerStatuses", &status.init_container_statuses),
        ("containerStatuses", &status.container_statuses),
        ("ephemeralContainerStatuses", &status.ephemeral_container_statuses),
    ] {
        let list = path.field(field);
        errors.extend(
            containers.iter().flatten().enumerate().flat_map(|(index, one)| container(one, &list.index(index))),
        );
    }
    errors
}

fn container(status: &ContainerStatus, path: &Path<'_>) -> Errors {
    at_least(Some(status.restart_count), 0, path.field("restartCount"))
}
