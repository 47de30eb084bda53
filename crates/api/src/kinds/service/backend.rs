//! Which pods are behind a service, and where its ports lead in them.

use k8s_openapi::{
    api::core::v1::{Pod, Service, ServicePort},
    apimachinery::pkg::util::intstr::IntOrString,
};

use crate::{LabelSelector, names::annotation::TOLERATE_UNREADY};

/// What selects the pods of a service; `None` when whoever made it writes its endpoints, too.
pub fn pod_selector(service: &Service) -> Option<LabelSelector> {
    let labels = service.spec.as_ref()?.selector.as_ref().filter(|labels| !labels.is_empty())?;
    Some(LabelSelector::equals(labels))
}

/// Whether pods that are not ready count as ready for the service.
pub fn publishes_unready(service: &Service) -> bool {
    let annotations = service.metadata.annotations.as_ref();
    let annotated = annotations.and_then(|all| all.get(TOLERATE_UNREADY)).is_some_and(|value| value == "true");
    annotated || service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses) == Some(true)
}

/// The port in the pod that a service's port leads to.
pub fn target_port(pod: &Pod, port: &ServicePort) -> Option<u16> {
    let number = |number: i32| u16::try_from(number).ok().filter(|number| *number > 0);
    match &port.target_port {
        None => number(port.port),
        Some(IntOrString::Int(target)) => number(*target),
        Some(IntOrString::String(name)) => {
            let ports = pod.spec.iter().flat_map(|spec| &spec.containers).flat_map(|c| c.ports.iter().flatten());
            let same_protocol = |one: Option<&str>, other: Option<&str>| one.unwrap_or("TCP") == other.unwrap_or("TCP");
            let mut named = ports.filter(|found| found.name.as_ref() == Some(name));
            let found = named.find(|found| same_protocol(found.protocol.as_deref(), port.protocol.as_deref()))?;
            number(found.container_port)
        }
    }
}
