//! What the client should know of a pod that is accepted.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, PodSpec};

use super::{annotations, rules::text, volumes};
use crate::{ObjectMeta, Path, meta::is_dns_label, quantity};

/// The capability that every node gives on request.
const FREE_CAPABILITY: &str = "CAP_NET_BIND_SERVICE";
/// The same, as Kubernetes writes it.
const FREE_CAPABILITY_BARE: &str = "NET_BIND_SERVICE";

/// Texts about a pod: its name and its spec.
pub(super) fn of_pod(meta: &ObjectMeta, spec: &PodSpec) -> Vec<String> {
    let mut warnings = of_spec(spec, &Path::ROOT.field("spec"));
    warnings.extend(annotations::warnings(meta.annotations.as_ref(), &Path::ROOT.field("metadata.annotations")));
    if meta.name.as_deref().is_some_and(|name| !is_dns_label(name)) {
        let problem =
            "this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended";
        warnings.push(format!("metadata.name: {problem}: [must be no more than 63 characters and not contain dots]"));
    }
    warnings
}

/// Texts about the spec of a pod or of a template.
pub(in crate::kinds) fn of_spec(spec: &PodSpec, path: &Path<'_>) -> Vec<String> {
    let mut warnings = volumes::warnings(spec, path);
    let list = path.field("imagePullSecrets");
    let nameless = spec.image_pull_secrets.iter().flatten().enumerate().filter(|(_, secret)| secret.name.is_empty());
    warnings
        .extend(nameless.map(|(index, _)| format!("{}: invalid empty name {:?}", list.index(index).field("name"), "")));
    let list = path.field("topologySpreadConstraints");
    for (index, constraint) in spec.topology_spread_constraints.iter().flatten().enumerate() {
        if constraint.label_selector.is_none() {
            let path = list.index(index);
            warnings.push(format!("{}: a null labelSelector results in matching no pod", path.field("labelSelector")));
        }
    }
    let mut ports = BTreeSet::new();
    for (list, containers) in
        [("initContainers", spec.init_containers.as_ref()), ("containers", Some(&spec.containers))]
    {
        let main = list == "containers";
        let list = path.field(list);
        for (index, container) in containers.into_iter().flatten().enumerate() {
            let path = list.index(index);
            warnings.extend(of_container(container, &path));
            if main {
                warnings.extend(same_ports(container, &mut ports, &path));
            }
        }
    }
    warnings
}

fn of_container(container: &Container, path: &Path<'_>) -> Vec<String> {
    let mut warnings = Vec::new();
    let list = path.field("env");
    let mut names = BTreeSet::new();
    for (index, variable) in container.env.iter().flatten().enumerate() {
        if !names.insert(variable.name.as_str()) {
            let name = &variable.name;
            let problem = format!("hides previous definition of {name:?}, which may be dropped when using apply");
            warnings.push(format!("{}: {problem}", list.index(index)));
        }
    }
    warnings.extend(capabilities(container, path));
    if let Some(resources) = &container.resources {
        for (field, list) in [("limits", &resources.limits), ("requests", &resources.requests)] {
            let path = path.field("resources");
            let path = path.field(field);
            for (name, amount) in list.iter().flatten() {
                let fraction = quantity::milli(&amount.0).is_ok_and(|milli| milli % 1000 != 0);
                if name != "cpu" && fraction {
                    let value = &amount.0;
                    warnings.push(format!(
                        "{}: fractional byte value {value:?} is invalid, must be an integer",
                        path.key(name)
                    ));
                }
                if name == "ephemeral-storage" && field == "limits" {
                    warnings.push(format!("{}: what a container writes to its disk is not limited", path.key(name)));
                }
            }
        }
    }
    warnings
}

/// Capabilities that are the owner's of a node to give.
fn capabilities(container: &Container, path: &Path<'_>) -> Vec<String> {
    let context = container.security_context.as_ref().and_then(|context| context.capabilities.as_ref());
    let added = context.iter().flat_map(|set| set.add.iter().flatten());
    let special =
        added.filter(|name| !matches!(name.to_ascii_uppercase().as_str(), FREE_CAPABILITY | FREE_CAPABILITY_BARE));
    let path = path.field("securityContext.capabilities.add");
    special.map(|name| format!("{path}: only nodes whose owner allows {name} run the pod")).collect()
}

fn same_ports<'a>(container: &'a Container, seen: &mut BTreeSet<(&'a str, i32)>, path: &Path<'_>) -> Vec<String> {
    let list = path.field("ports");
    let mut warnings = Vec::new();
    for (index, port) in container.ports.iter().flatten().enumerate() {
        let protocol = text(&port.protocol).unwrap_or("TCP");
        if !seen.insert((protocol, port.container_port)) {
            warnings.push(format!("{}: duplicate port definition with another port of the pod", list.index(index)));
        }
    }
    warnings
}
