//! The spec of a pod as a whole.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec};

use super::{
    GRACE_SECONDS, annotations,
    container::{self, Surroundings},
    dns, env, mounts, ports, probes,
    rules::{Errors, SECONDS_MAX, at_most, label, label_value, name, one_of, qualified, text, unless, within},
    scheduling, security, volumes,
};
use crate::{FieldError, Path};

/// Most containers of a pod, and most init containers.
const CONTAINERS_MAX: usize = 128;

/// Checks a spec. `claimed` are names of volumes that the kind adds to each pod.
pub(super) fn check(spec: &PodSpec, claimed: &[&str], path: &Path<'_>) -> Errors {
    let mut errors = volumes::check(spec, claimed.len(), path);
    errors.extend(unless(!spec.containers.is_empty(), || {
        FieldError::required(path.field("containers"), "at least one container is needed")
    }));
    errors.extend(containers(spec, claimed, path));
    errors.extend(ports::check_host(spec, path));
    let restarts = ["Always", "OnFailure", "Never"];
    errors.extend(one_of(&spec.restart_policy, &restarts, path.field("restartPolicy")));
    errors.extend(dns::check(spec, path));
    errors.extend(within(spec.active_deadline_seconds, 1, SECONDS_MAX, path.field("activeDeadlineSeconds")));
    // Less than nothing means at once, as in Kubernetes.
    let grace = path.field("terminationGracePeriodSeconds");
    errors.extend(within(spec.termination_grace_period_seconds, i64::MIN, SECONDS_MAX, grace));
    let account = text(&spec.service_account_name);
    errors.extend(account.map(|account| name(account, path.field("serviceAccountName"))).unwrap_or_default());
    errors.extend(scheduling::check(spec, path));
    errors.extend(security::check_pod(spec, path));
    errors
}

fn containers(spec: &PodSpec, claimed: &[&str], path: &Path<'_>) -> Errors {
    let volumes = spec.volumes.iter().flatten().map(|volume| volume.name.as_str());
    let around = Surroundings {
        volumes: volumes.chain(claimed.iter().copied()).collect(),
        containers: env::container_names(spec),
        grace: spec.termination_grace_period_seconds.unwrap_or(GRACE_SECONDS),
    };
    let mut names = BTreeSet::new();
    let mut errors = Errors::new();
    for (list, all) in [("containers", Some(&spec.containers)), ("initContainers", spec.init_containers.as_ref())] {
        let list = path.field(list);
        errors.extend(at_most(all.map_or(0, Vec::len), CONTAINERS_MAX, list));
        for (index, container) in all.into_iter().flatten().enumerate() {
            let path = list.index(index);
            errors.extend(unless(names.insert(container.name.as_str()), || {
                FieldError::duplicate(
                    path.field("name"),
                    format!("{:?} is the name of another container", container.name),
                )
            }));
            errors.extend(container::check(container, &around, &path));
        }
    }
    let list = path.field("initContainers");
    let init = spec.init_containers.iter().flatten().enumerate();
    errors.extend(init.flat_map(|(index, container)| probes::check_init(container, &list.index(index))));
    errors
}

/// The rules on which the safety of a node depends: names that become paths, volumes, users and filters.
pub(super) fn check_for_node(spec: &PodSpec, path: &Path<'_>) -> Errors {
    let volumes: BTreeSet<&str> = spec.volumes.iter().flatten().map(|volume| volume.name.as_str()).collect();
    let mut errors = volumes::check(spec, 0, path);
    errors.extend(security::check_pod(spec, path));
    for (list, all) in [("initContainers", spec.init_containers.as_ref()), ("containers", Some(&spec.containers))] {
        let list = path.field(list);
        for (index, container) in all.into_iter().flatten().enumerate() {
            let path = list.index(index);
            errors.extend(label(&container.name, path.field("name")));
            errors.extend(mounts::check(container, &volumes, &path));
            let context = container.security_context.as_ref();
            errors.extend(context.iter().flat_map(|own| security::check(own, &path.field("securityContext"))));
        }
    }
    errors
}

/// Checks a template of pods, for kinds that make some.
pub(in crate::kinds) fn check_template(template: &PodTemplateSpec, claimed: &[&str], path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    let meta = template.metadata.clone().unwrap_or_default();
    for (key, value) in meta.labels.iter().flatten() {
        errors.extend(qualified(key, path.field("labels")));
        errors.extend(label_value(value, path.field("labels")));
    }
    for key in meta.annotations.iter().flatten().map(|(key, _)| key) {
        errors.extend(qualified(&key.to_ascii_lowercase(), path.field("annotations")));
    }
    errors.extend(annotations::check(meta.annotations.as_ref(), &path.field("metadata.annotations")));
    match &template.spec {
        None => errors.push(FieldError::required(path.field("spec"), "a pod template needs a spec")),
        Some(spec) => errors.extend(check(spec, claimed, &path.field("spec"))),
    }
    errors
}
