//! How pods are shown in tables, and found by fields.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ContainerStatus;

use super::Pod;
use crate::{Column, human_age};

/// Columns of the table of pods.
pub(super) fn all() -> Vec<Column<Pod>> {
    vec![
        Column::text("Ready", "Ready containers of all", |pod: &Pod, _| ready(pod).into()),
        Column::text("Status", "What the pod is doing", |pod: &Pod, _| summary(pod).into()),
        Column::text("Restarts", "Restarts of all containers", |pod: &Pod, now| restarts(pod, now).into()),
        Column::text("IP", "Address of the pod", |pod: &Pod, _| {
            or_none(pod.status.as_ref().and_then(|s| s.pod_ip.clone())).into()
        })
        .wide(),
        Column::text("Node", "Node that runs the pod", |pod: &Pod, _| {
            or_none(pod.spec.as_ref().and_then(|s| s.node_name.clone())).into()
        })
        .wide(),
    ]
}

/// Values that field selectors may compare.
pub(super) fn selectable_fields(pod: &Pod) -> Vec<(&'static str, String)> {
    let (spec, status) = (pod.spec.as_ref(), pod.status.as_ref());
    vec![
        ("spec.nodeName", spec.and_then(|spec| spec.node_name.clone()).unwrap_or_default()),
        ("spec.restartPolicy", spec.and_then(|spec| spec.restart_policy.clone()).unwrap_or_default()),
        ("spec.serviceAccountName", spec.and_then(|spec| spec.service_account_name.clone()).unwrap_or_default()),
        ("status.phase", status.and_then(|status| status.phase.clone()).unwrap_or_default()),
        ("status.podIP", status.and_then(|status| status.pod_ip.clone()).unwrap_or_default()),
    ]
}

fn statuses(pod: &Pod) -> &[ContainerStatus] {
    pod.status.as_ref().and_then(|status| status.container_statuses.as_deref()).unwrap_or_default()
}

fn ready(pod: &Pod) -> String {
    let all = pod.spec.as_ref().map_or(0, |spec| spec.containers.len());
    format!("{}/{all}", statuses(pod).iter().filter(|status| status.ready).count())
}

/// The one word kubectl shows for a pod: the worst reason of its containers, or its phase.
pub fn summary(pod: &Pod) -> String {
    let status = pod.status.as_ref();
    let phase = status.and_then(|s| s.reason.clone().or_else(|| s.phase.clone())).unwrap_or_else(|| "Pending".into());
    if pod.metadata.deletion_timestamp.is_some() {
        return "Terminating".into();
    }
    let init = status.and_then(|s| s.init_container_statuses.as_deref()).unwrap_or_default();
    if let Some(reason) =
        init.iter().find_map(reason).filter(|reason| reason != "Completed" && reason != "PodInitializing")
    {
        return format!("Init:{reason}");
    }
    statuses(pod).iter().rev().find_map(reason).unwrap_or(phase)
}

fn reason(status: &ContainerStatus) -> Option<String> {
    let state = status.state.as_ref()?;
    if let Some(waiting) = &state.waiting {
        return waiting.reason.clone();
    }
    let terminated = state.terminated.as_ref()?;
    terminated.reason.clone().or_else(|| Some(format!("ExitCode:{}", terminated.exit_code)))
}

fn restarts(pod: &Pod, now: Timestamp) -> String {
    let count: i32 = statuses(pod).iter().map(|status| status.restart_count).sum();
    let last = statuses(pod)
        .iter()
        .filter_map(|s| s.last_state.as_ref()?.terminated.as_ref()?.finished_at.as_ref())
        .map(|time| time.0)
        .max();
    match last {
        Some(time) if count > 0 => format!("{count} ({} ago)", human_age(now, time)),
        _ => count.to_string(),
    }
}

fn or_none(text: Option<String>) -> String {
    text.unwrap_or_else(|| "<none>".into())
}
