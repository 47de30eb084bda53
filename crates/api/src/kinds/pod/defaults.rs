//! What a pod gets that says nothing else, as in Kubernetes.

use super::volumes::{TOKEN_SECONDS, has_no_source};
use k8s_openapi::{
    api::core::v1::{
        Container, DownwardAPIVolumeFile, HTTPGetAction, ObjectFieldSelector, PodSpec, Probe, ResourceFieldSelector,
        Volume,
    },
    apimachinery::pkg::api::resource::Quantity,
};

/// Seconds between TERM and KILL when the pod says nothing, as in Kubernetes.
pub const GRACE_SECONDS: i64 = 30;
/// Where a container leaves its termination message when it says nothing, as in Kubernetes.
pub const TERMINATION_MESSAGE_PATH: &str = "/dev/termination-log";
/// Permission bits of files when the volume says nothing.
const FILE_MODE: i32 = 0o644;

/// Fills the spec of a pod.
pub(super) fn fill(spec: &mut PodSpec) {
    fill_template(spec);
    // Less than nothing means at once; Kubernetes makes a second of it.
    spec.termination_grace_period_seconds = spec.termination_grace_period_seconds.map(|s| if s < 0 { 1 } else { s });
    spec.service_account = spec.service_account_name.clone();
    let in_host_network = spec.host_network == Some(true);
    for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
        requests(container);
        references(container);
        for port in container.ports.iter_mut().flatten().filter(|_| in_host_network) {
            if port.host_port.is_none_or(|number| number == 0) {
                port.host_port = Some(port.container_port);
            }
        }
    }
    spec.volumes.iter_mut().flatten().for_each(volume);
}

/// Fills the spec of a template. It gets less than a pod, which gets the rest when it is made: a template that changed
/// under a running set would restart all its pods.
pub(in crate::kinds) fn fill_template(spec: &mut PodSpec) {
    spec.restart_policy.get_or_insert_with(|| "Always".into());
    spec.dns_policy.get_or_insert_with(|| "ClusterFirst".into());
    spec.termination_grace_period_seconds.get_or_insert(GRACE_SECONDS);
    spec.scheduler_name.get_or_insert_with(|| "default-scheduler".into());
    let account =
        [&spec.service_account_name, &spec.service_account].into_iter().flatten().find(|name| !name.is_empty());
    spec.service_account_name = Some(account.cloned().unwrap_or_else(|| "default".into()));
    spec.enable_service_links.get_or_insert(true);
    spec.security_context.get_or_insert_default();
    for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
        fill_container(container);
    }
    for volume in spec.volumes.iter_mut().flatten() {
        if let Some(secret) = &mut volume.secret {
            secret.default_mode.get_or_insert(FILE_MODE);
        }
        if let Some(map) = &mut volume.config_map {
            map.default_mode.get_or_insert(FILE_MODE);
        }
    }
}

fn fill_container(container: &mut Container) {
    let image = container.image.clone().unwrap_or_default();
    let name = image.rsplit('/').next().unwrap_or_default();
    let floating = !image.contains('@') && (!name.contains(':') || name.ends_with(":latest"));
    container.image_pull_policy.get_or_insert_with(|| if floating { "Always" } else { "IfNotPresent" }.into());
    container.termination_message_path.get_or_insert_with(|| TERMINATION_MESSAGE_PATH.into());
    container.termination_message_policy.get_or_insert_with(|| "File".into());
    for port in container.ports.iter_mut().flatten() {
        port.protocol.get_or_insert_with(|| "TCP".into());
    }
    let probes = [&mut container.startup_probe, &mut container.liveness_probe, &mut container.readiness_probe];
    probes.into_iter().flatten().for_each(probe);
}

fn probe(probe: &mut Probe) {
    for (field, default) in [
        (&mut probe.timeout_seconds, 1),
        (&mut probe.period_seconds, 10),
        (&mut probe.success_threshold, 1),
        (&mut probe.failure_threshold, 3),
    ] {
        // Nought is the same as nothing for clients of Kubernetes.
        *field = field.filter(|number| *number != 0).or(Some(default));
    }
    probe.http_get.iter_mut().for_each(http_get);
    if let Some(grpc) = &mut probe.grpc {
        grpc.service.get_or_insert_default();
    }
}

fn http_get(get: &mut HTTPGetAction) {
    get.path.get_or_insert_with(|| "/".into());
    get.scheme.get_or_insert_with(|| "HTTP".into());
}

/// What is limited and not requested is requested as much as it is limited: it counts when a node is chosen.
fn requests(container: &mut Container) {
    let resources = container.resources.get_or_insert_default();
    if let Some(limits) = &resources.limits {
        let requests = resources.requests.get_or_insert_default();
        for (name, limit) in limits {
            requests.entry(name.clone()).or_insert_with(|| limit.clone());
        }
    }
}

fn references(container: &mut Container) {
    for source in container.env.iter_mut().flatten().filter_map(|variable| variable.value_from.as_mut()) {
        source.field_ref.iter_mut().for_each(field);
        source.resource_field_ref.iter_mut().for_each(resource);
    }
    let hooks =
        container.lifecycle.iter_mut().flat_map(|lifecycle| [&mut lifecycle.post_start, &mut lifecycle.pre_stop]);
    for hook in hooks.flatten() {
        hook.http_get.iter_mut().for_each(http_get);
    }
}

fn field(reference: &mut ObjectFieldSelector) {
    reference.api_version.get_or_insert_with(|| "v1".into());
}

fn resource(reference: &mut ResourceFieldSelector) {
    reference.divisor.get_or_insert_with(|| Quantity("0".into()));
}

fn volume(volume: &mut Volume) {
    if has_no_source(volume) {
        volume.empty_dir = Some(Default::default());
    }
    if let Some(host) = &mut volume.host_path {
        host.type_.get_or_insert_default();
    }
    if let Some(downward) = &mut volume.downward_api {
        downward.default_mode.get_or_insert(FILE_MODE);
        files(downward.items.as_deref_mut());
    }
    if let Some(projected) = &mut volume.projected {
        projected.default_mode.get_or_insert(FILE_MODE);
        for source in projected.sources.get_or_insert_default().iter_mut() {
            if let Some(token) = &mut source.service_account_token {
                token.expiration_seconds.get_or_insert(TOKEN_SECONDS);
            }
            files(source.downward_api.as_mut().and_then(|downward| downward.items.as_deref_mut()));
        }
    }
}

fn files(items: Option<&mut [DownwardAPIVolumeFile]>) {
    for item in items.into_iter().flatten() {
        item.field_ref.iter_mut().for_each(field);
        item.resource_field_ref.iter_mut().for_each(resource);
    }
}
