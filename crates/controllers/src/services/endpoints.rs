//! `Endpoints` from the pods behind a service. Pure.

use std::collections::{BTreeMap, BTreeSet};

use api::{
    ObjectMeta,
    kinds::{
        Endpoints, Service,
        endpoints::ADDRESSES_MAX,
        service::{HEADLESS, publishes_unready},
    },
    meta::controller_reference,
    names::{annotation::OVER_CAPACITY, label},
};
use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset};

use super::backend::Backend;
use crate::{step::Step, workloads::health};

/// Value of [`label::ENDPOINTS_MANAGED_BY`], as Kubernetes' controller has it.
pub(super) const MANAGED_BY: &str = "endpoint-controller";

/// A port that orders: name, number, protocol, application protocol.
type Port = (String, i32, String, Option<String>);

/// The step that makes the endpoints of a service right, if one is needed.
pub(super) fn plan(service: &Service, backends: &[Backend<'_>], found: Option<&Endpoints>) -> Option<Step> {
    let unready = publishes_unready(service);
    let mut listed: Vec<_> = backends.iter().filter(|one| unready || !health::is_terminating(one.pod)).collect();
    let truncated = listed.len() > ADDRESSES_MAX;
    if truncated {
        listed.sort_by_key(|backend| !backend.ready);
        listed.truncate(ADDRESSES_MAX);
    }
    let subsets = subsets(service, &listed);
    let before = found.map(|found| found.metadata.clone()).unwrap_or_default();
    let mut annotations = before.annotations.clone().unwrap_or_default();
    annotations.remove(OVER_CAPACITY);
    if truncated {
        annotations.insert(OVER_CAPACITY.into(), "truncated".into());
    }
    let metadata = ObjectMeta {
        name: service.metadata.name.clone(),
        namespace: service.metadata.namespace.clone(),
        labels: Some(labels(service)),
        annotations: (!annotations.is_empty()).then_some(annotations),
        owner_references: Some(vec![controller_reference(service)]),
        ..before
    };
    let wanted = Endpoints { metadata, subsets: (!subsets.is_empty()).then_some(subsets) };
    match found {
        None => Some(Step::create(&wanted)),
        Some(found) => (*found != wanted).then(|| Step::replace(&wanted)),
    }
}

fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(label::HEADLESS);
    if is_headless(service) {
        labels.insert(label::HEADLESS.into(), String::new());
    }
    labels.insert(label::ENDPOINTS_MANAGED_BY.into(), MANAGED_BY.into());
    labels
}

/// Whether the service has no address of its own.
pub(super) fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some(HEADLESS)
}

/// One subset for each set of ports that the same addresses have.
fn subsets(service: &Service, backends: &[&Backend<'_>]) -> Vec<EndpointSubset> {
    let has_ports = service.spec.iter().any(|spec| spec.ports.iter().flatten().next().is_some());
    let mut by_port: BTreeMap<Option<Port>, Vec<usize>> = BTreeMap::new();
    for (index, backend) in backends.iter().enumerate() {
        let ports = backend.ports(service).into_iter().map(|(port, number)| {
            let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".into());
            Some((port.name.clone().unwrap_or_default(), number, protocol, port.app_protocol.clone()))
        });
        let ports: BTreeSet<_> = if has_ports { ports.collect() } else { [None].into() };
        for port in ports {
            by_port.entry(port).or_default().push(index);
        }
    }
    let mut by_addresses: BTreeMap<Vec<usize>, Vec<Option<Port>>> = BTreeMap::new();
    for (port, addresses) in by_port {
        by_addresses.entry(addresses).or_default().push(port);
    }
    let subset = |(addresses, ports): (Vec<usize>, Vec<Option<Port>>)| {
        let of = |ready: bool| {
            let all = addresses.iter().filter_map(|index| backends.get(*index)).filter(|one| one.ready == ready);
            let list: Vec<_> = all.map(|backend| address(service, backend)).collect();
            (!list.is_empty()).then_some(list)
        };
        let ports: Vec<_> = ports.into_iter().flatten().map(endpoint_port).collect();
        EndpointSubset {
            addresses: of(true),
            not_ready_addresses: of(false),
            ports: (!ports.is_empty()).then_some(ports),
        }
    };
    by_addresses.into_iter().map(subset).collect()
}

fn address(service: &Service, backend: &Backend<'_>) -> EndpointAddress {
    EndpointAddress {
        hostname: backend.hostname(service),
        ip: backend.address.to_string(),
        node_name: backend.node(),
        target_ref: Some(backend.target()),
    }
}

fn endpoint_port((name, port, protocol, app_protocol): Port) -> EndpointPort {
    EndpointPort { app_protocol, name: (!name.is_empty()).then_some(name), port, protocol: Some(protocol) }
}
