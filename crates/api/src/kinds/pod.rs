//! `v1 Pod`.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerStatus, PodSpec, PodTemplateSpec};
use serde_json::{Value, json};

pub use k8s_openapi::api::core::v1::Pod;

use crate::{Column, FieldError, human_age, meta::is_dns_label, quantity};

/// Seconds between TERM and KILL when the pod says nothing, as in Kubernetes.
pub const GRACE_SECONDS: i64 = 30;

kubernetes_kind!(Pod, plural: "pods", singular: "pod", scope: Namespaced {
    const SHORT_NAMES: &'static [&'static str] = &["po"];
    const CATEGORIES: &'static [&'static str] = &["all"];
    const HAS_STATUS: bool = true;

    fn apply_defaults(&mut self) {
        if let Some(spec) = &mut self.spec {
            default_spec(spec);
        }
        let status = self.status.get_or_insert_default();
        status.phase.get_or_insert_with(|| "Pending".into());
    }

    fn validate(&self, old: Option<&Self>) -> Vec<FieldError> {
        let Some(spec) = &self.spec else { return vec![FieldError::required("spec", "a pod needs a spec")] };
        let mut errors = validate_spec(spec, "spec", &[]);
        if let Some(before) = old.and_then(|old| old.spec.as_ref()) {
            if before.node_name.is_some() && before.node_name != spec.node_name {
                errors.push(FieldError::immutable("spec.nodeName"));
            }
            errors.extend(changes(before, spec));
        }
        errors
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::text("Ready", "Ready containers of all", |pod: &Self, _| ready(pod).into()),
            Column::text("Status", "What the pod is doing", |pod: &Self, _| summary(pod).into()),
            Column::text("Restarts", "Restarts of all containers", |pod: &Self, now| restarts(pod, now).into()),
            Column::text("IP", "Address of the pod", |pod: &Self, _| or_none(pod.status.as_ref().and_then(|s| s.pod_ip.clone())).into()).wide(),
            Column::text("Node", "Node that runs the pod", |pod: &Self, _| or_none(pod.spec.as_ref().and_then(|s| s.node_name.clone())).into()).wide(),
        ]
    }

    fn selectable_fields(&self) -> Vec<(&'static str, String)> {
        let (spec, status) = (self.spec.as_ref(), self.status.as_ref());
        vec![
            ("spec.nodeName", spec.and_then(|spec| spec.node_name.clone()).unwrap_or_default()),
            ("spec.restartPolicy", spec.and_then(|spec| spec.restart_policy.clone()).unwrap_or_default()),
            ("spec.serviceAccountName", spec.and_then(|spec| spec.service_account_name.clone()).unwrap_or_default()),
            ("status.phase", status.and_then(|status| status.phase.clone()).unwrap_or_default()),
            ("status.podIP", status.and_then(|status| status.pod_ip.clone()).unwrap_or_default()),
        ]
    }
});

/// Fields of a spec that may change while the pod lives; beside them, as in Kubernetes, images of containers may, which
/// a container gets when it is started the next time.
const CHANGEABLE: [&str; 3] = ["activeDeadlineSeconds", "nodeName", "tolerations"];

/// Refuses changes that a pod would not follow: what runs is what it was created with.
fn changes(before: &PodSpec, after: &PodSpec) -> Vec<FieldError> {
    if before == after {
        return Vec::new();
    }
    let mut paths = Vec::new();
    differences(&json!(before), &json!(after), "spec", &mut paths);
    let field_of = |path: &str| path.split(['.', '[']).nth(1).unwrap_or_default().to_owned();
    let may_change = |path: &str| match field_of(path).as_str() {
        "containers" | "initContainers" => path.ends_with("].image"),
        field => CHANGEABLE.contains(&field),
    };
    let changed = paths.into_iter().filter(|path| !may_change(path));
    let message = "cannot change while the pod exists: delete the pod and create it anew";
    changed.map(|field| FieldError { field, reason: "FieldValueForbidden", message: message.into() }).collect()
}

/// Paths of fields that differ: down to lists of another length, and to what is no object.
fn differences(before: &Value, after: &Value, path: &str, out: &mut Vec<String>) {
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for name in names {
                let field = |object: &serde_json::Map<String, Value>| object.get(name).cloned().unwrap_or_default();
                differences(&field(old), &field(new), &format!("{path}.{name}"), out);
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (index, (old, new)) in old.iter().zip(new).enumerate() {
                differences(old, new, &format!("{path}[{index}]"), out);
            }
        }
        (old, new) if old == new => {}
        _ => out.push(path.to_owned()),
    }
}

/// Fills what Kubernetes fills in a pod's spec.
pub(super) fn default_spec(spec: &mut PodSpec) {
    spec.restart_policy.get_or_insert_with(|| "Always".into());
    spec.dns_policy.get_or_insert_with(|| "ClusterFirst".into());
    spec.termination_grace_period_seconds.get_or_insert(GRACE_SECONDS);
    spec.scheduler_name.get_or_insert_with(|| "default-scheduler".into());
    spec.service_account_name.get_or_insert_with(|| "default".into());
    spec.enable_service_links.get_or_insert(false);
    spec.security_context.get_or_insert_default();
    for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
        default_container(container);
    }
    for volume in spec.volumes.iter_mut().flatten() {
        if let Some(secret) = &mut volume.secret {
            secret.default_mode.get_or_insert(0o644);
        }
        if let Some(map) = &mut volume.config_map {
            map.default_mode.get_or_insert(0o644);
        }
    }
}

fn default_container(container: &mut Container) {
    let image = container.image.clone().unwrap_or_default();
    let name = image.rsplit('/').next().unwrap_or_default();
    let floating = !image.contains('@') && (!name.contains(':') || name.ends_with(":latest"));
    container.image_pull_policy.get_or_insert_with(|| if floating { "Always" } else { "IfNotPresent" }.into());
    container.termination_message_path.get_or_insert_with(|| "/dev/termination-log".into());
    container.termination_message_policy.get_or_insert_with(|| "File".into());
    for port in container.ports.iter_mut().flatten() {
        port.protocol.get_or_insert_with(|| "TCP".into());
    }
    let probes = [&mut container.startup_probe, &mut container.liveness_probe, &mut container.readiness_probe];
    for probe in probes.into_iter().flatten() {
        probe.timeout_seconds.get_or_insert(1);
        probe.period_seconds.get_or_insert(10);
        probe.success_threshold.get_or_insert(1);
        probe.failure_threshold.get_or_insert(3);
        if let Some(get) = &mut probe.http_get {
            get.path.get_or_insert_with(|| "/".into());
            get.scheme.get_or_insert_with(|| "HTTP".into());
        }
    }
}

/// Checks a pod template, for kinds that make pods. `claimed` are volumes that the kind adds to each pod.
pub(super) fn validate_template(template: &PodTemplateSpec, path: &str, claimed: &[&str]) -> Vec<FieldError> {
    match &template.spec {
        None => vec![FieldError::required(format!("{path}.spec"), "a pod template needs a spec")],
        Some(spec) => validate_spec(spec, &format!("{path}.spec"), claimed),
    }
}

fn validate_spec(spec: &PodSpec, path: &str, claimed: &[&str]) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if spec.containers.is_empty() {
        errors.push(FieldError::required(format!("{path}.containers"), "at least one container is needed"));
    }
    if !matches!(spec.restart_policy.as_deref(), None | Some("Always" | "OnFailure" | "Never")) {
        errors.push(FieldError::not_supported(format!("{path}.restartPolicy"), "must be Always, OnFailure or Never"));
    }
    let mut names = BTreeSet::new();
    let volumes = spec.volumes.iter().flatten().map(|volume| volume.name.as_str());
    let volumes: BTreeSet<&str> = volumes.chain(claimed.iter().copied()).collect();
    let lists = [("containers", Some(&spec.containers)), ("initContainers", spec.init_containers.as_ref())];
    for (list, containers) in lists {
        for (index, container) in containers.into_iter().flatten().enumerate() {
            let path = format!("{path}.{list}[{index}]");
            if !names.insert(container.name.as_str()) {
                errors.push(FieldError {
                    field: format!("{path}.name"),
                    reason: "FieldValueDuplicate",
                    message: format!("{:?} is used twice", container.name),
                });
            }
            errors.extend(validate_container(container, &volumes, &path));
        }
    }
    errors
}

fn validate_container(container: &Container, volumes: &BTreeSet<&str>, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if !is_dns_label(&container.name) {
        errors.push(FieldError::invalid(
            format!("{path}.name"),
            "must be lower-case letters, digits or '-' (RFC 1123 label)",
        ));
    }
    if container.image.as_deref().unwrap_or_default().trim().is_empty() {
        errors.push(FieldError::required(format!("{path}.image"), "name the image to run"));
    }
    if !matches!(container.image_pull_policy.as_deref(), None | Some("Always" | "IfNotPresent" | "Never")) {
        errors.push(FieldError::not_supported(
            format!("{path}.imagePullPolicy"),
            "must be Always, IfNotPresent or Never",
        ));
    }
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        if !volumes.contains(mount.name.as_str()) {
            errors.push(FieldError::invalid(
                format!("{path}.volumeMounts[{index}].name"),
                format!("no volume {:?} in spec.volumes", mount.name),
            ));
        }
        if !mount.mount_path.starts_with('/') {
            errors.push(FieldError::invalid(
                format!("{path}.volumeMounts[{index}].mountPath"),
                "must be an absolute path",
            ));
        }
    }
    for (index, port) in container.ports.iter().flatten().enumerate() {
        for (field, number) in [("containerPort", Some(port.container_port)), ("hostPort", port.host_port)] {
            if number.is_some_and(|number| !(1..=65_535).contains(&number)) {
                errors
                    .push(FieldError::invalid(format!("{path}.ports[{index}].{field}"), "must be between 1 and 65535"));
            }
        }
    }
    let resources = container.resources.iter();
    for (list, quantities) in resources.flat_map(|r| [("limits", &r.limits), ("requests", &r.requests)]) {
        for (name, value) in quantities.iter().flatten() {
            if let Err(error) = quantity::units(&value.0) {
                errors.push(FieldError::invalid(format!("{path}.resources.{list}.{name}"), error.to_string()));
            }
        }
    }
    errors
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
