//! The pods behind a service, as clients of the service should see them. Pure.

use std::net::IpAddr;

use api::kinds::{
    Pod, Service,
    service::{pod_selector, publishes_unready, target_port},
};
use k8s_openapi::api::core::v1::{ObjectReference, ServicePort};

use crate::workloads::health;

/// A pod behind a service.
pub(super) struct Backend<'a> {
    pub(super) pod: &'a Pod,
    pub(super) address: IpAddr,
    /// Whether clients may connect to it.
    pub(super) ready: bool,
}

impl Backend<'_> {
    /// The host name by which the service's DNS name leads to this pod alone.
    pub(super) fn hostname(&self, service: &Service) -> Option<String> {
        let spec = self.pod.spec.as_ref()?;
        spec.subdomain.as_ref().filter(|subdomain| Some(*subdomain) == service.metadata.name.as_ref())?;
        spec.hostname.clone().filter(|name| !name.is_empty())
    }

    pub(super) fn node(&self) -> Option<String> {
        health::node(self.pod).map(str::to_owned)
    }

    /// What the address belongs to.
    pub(super) fn target(&self) -> ObjectReference {
        let meta = &self.pod.metadata;
        ObjectReference {
            kind: Some("Pod".into()),
            namespace: meta.namespace.clone(),
            name: meta.name.clone(),
            uid: meta.uid.clone(),
            ..ObjectReference::default()
        }
    }

    /// The ports of the service, with their numbers in this pod. One that the pod does not have is left out.
    pub(super) fn ports<'s>(&self, service: &'s Service) -> Vec<(&'s ServicePort, i32)> {
        let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
        ports.filter_map(|port| Some((port, target_port(self.pod, port)?.into()))).collect()
    }
}

/// The pods behind a service that have an address and have not ended, by address. `None` for a service whose endpoints
/// are not written from pods.
pub(super) fn backends<'a>(service: &Service, pods: &'a [Pod]) -> Option<Vec<Backend<'a>>> {
    let selector = pod_selector(service)?;
    let unready = publishes_unready(service);
    let of = |pod: &'a Pod| {
        let address = pod.status.as_ref()?.pod_ip.as_deref()?.parse().ok()?;
        Some(Backend { pod, address, ready: unready || health::is_ready(pod) })
    };
    let selected = pods.iter().filter(|pod| pod.metadata.namespace == service.metadata.namespace);
    let selected = selected.filter(|pod| selector.matches(pod.metadata.labels.as_ref()) && !health::has_ended(pod));
    let mut backends: Vec<_> = selected.filter_map(of).collect();
    backends
        .sort_by(|one, other| (one.address, &one.pod.metadata.name).cmp(&(other.address, &other.pod.metadata.name)));
    Some(backends)
}
