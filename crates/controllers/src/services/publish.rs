//! Slices and endpoints of services with a selector, from their pods.
//!
//! A pod does not say which services select it, so a namespace is looked at as a whole.

use std::collections::BTreeMap;

use api::{
    Kind, ObjectKey, ObjectMeta,
    kinds::{
        EndpointSlice, Endpoints, Namespace, Node, Pod, Service,
        endpoint_slice::{IPV4, IPV6},
    },
    meta::controller_reference,
    names::label,
};
use async_trait::async_trait;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort};

use super::{
    backend::{Backend, backends},
    endpoints::{self, is_headless},
    slices::{Group, Slices},
};
use crate::{
    controller::{Change, Controller, Next, Watch, itself, namespace_of},
    error::Error,
    step::Step,
    workloads::health,
    world::{self, World},
};

/// Value of [`label::SLICE_MANAGED_BY`], as Kubernetes' controller has it.
pub(super) const MANAGED_BY: &str = "endpointslice-controller.k8s.io";

/// Reconciles the endpoints of all services of a namespace.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServiceEndpoints;

#[async_trait]
impl Controller for ServiceEndpoints {
    fn name(&self) -> &'static str {
        "endpoint-controller"
    }

    fn watches(&self) -> Vec<Watch> {
        vec![
            Watch::new(Kind::of::<Namespace>(), itself),
            Watch::new(Kind::of::<Service>(), home),
            Watch::new(Kind::of::<Pod>(), home),
            Watch::new(Kind::of::<Endpoints>(), home),
            Watch::new(Kind::of::<EndpointSlice>(), home),
        ]
    }

    async fn reconcile(&self, world: &dyn World, key: &ObjectKey) -> Result<Next, Error> {
        let namespace = Some(key.name.as_str());
        let services = world::list::<Service>(world, namespace).await?;
        if services.is_empty() {
            return Ok(Next::OnChange);
        }
        let observed = Observed {
            pods: world::list::<Pod>(world, namespace).await?,
            endpoints: world::list::<Endpoints>(world, namespace).await?,
            slices: world::list::<EndpointSlice>(world, namespace).await?,
            nodes: world::list::<Node>(world, None).await?,
        };
        let mut failed = Ok(());
        for service in services.iter().filter(|service| service.metadata.deletion_timestamp.is_none()) {
            // One service whose endpoints cannot be written does not keep the others from theirs.
            if let Err(error) = world::apply(world, &observed.plan(service)).await {
                failed = Err(error);
            }
        }
        failed.map(|()| Next::OnChange)
    }
}

fn home(change: Change<'_>) -> Vec<ObjectKey> {
    namespace_of(change.object).map(ObjectKey::cluster).into_iter().collect()
}

/// A namespace, and the nodes.
#[derive(Default)]
pub(super) struct Observed {
    pub(super) pods: Vec<Pod>,
    pub(super) endpoints: Vec<Endpoints>,
    pub(super) slices: Vec<EndpointSlice>,
    pub(super) nodes: Vec<Node>,
}

impl Observed {
    /// What is missing until a service's pods are in its slices and endpoints.
    pub(super) fn plan(&self, service: &Service) -> Vec<Step> {
        let Some(backends) = backends(service, &self.pods) else { return Vec::new() };
        let found = self.endpoints.iter().find(|found| found.metadata.name == service.metadata.name);
        let mut steps: Vec<_> = endpoints::plan(service, &backends, found).into_iter().collect();
        let name = service.metadata.name.as_deref().unwrap_or_default();
        let slices = Slices {
            template: ObjectMeta {
                namespace: service.metadata.namespace.clone(),
                labels: Some(labels(service, name)),
                owner_references: Some(vec![controller_reference(service)]),
                ..ObjectMeta::default()
            },
            name,
            uid: service.metadata.uid.as_deref().unwrap_or_default(),
            found: written_by(MANAGED_BY, name, &self.slices),
            taken: self.slices.iter().filter_map(|slice| slice.metadata.name.clone()).collect(),
        };
        steps.extend(slices.plan(self.groups(service, &backends)));
        steps
    }

    fn groups(&self, service: &Service, backends: &[Backend<'_>]) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        for backend in backends {
            let ports = backend.ports(service).into_iter().map(|(port, number)| EndpointPort {
                app_protocol: port.app_protocol.clone(),
                name: Some(port.name.clone().unwrap_or_default()),
                port: Some(number),
                protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".into())),
            });
            let ports: Vec<_> = ports.collect();
            let address_type = if backend.address.is_ipv4() { IPV4 } else { IPV6 };
            let endpoint = self.endpoint(service, backend);
            match groups.iter_mut().find(|group| group.address_type == address_type && group.ports == ports) {
                Some(group) => group.endpoints.push(endpoint),
                None => groups.push(Group { address_type, ports, endpoints: vec![endpoint] }),
            }
        }
        if groups.is_empty() {
            // That nobody is there is said, too.
            groups.push(Group { address_type: IPV4, ports: Vec::new(), endpoints: Vec::new() });
        }
        groups
    }

    fn endpoint(&self, service: &Service, backend: &Backend<'_>) -> Endpoint {
        let node = backend.node();
        let home = self.nodes.iter().find(|found| found.metadata.name == node);
        let zone = home.and_then(|node| node.metadata.labels.as_ref()?.get(label::ZONE).cloned());
        Endpoint {
            addresses: vec![backend.address.to_string()],
            conditions: Some(EndpointConditions {
                ready: Some(backend.ready),
                serving: Some(health::is_serving(backend.pod)),
                terminating: Some(health::is_terminating(backend.pod)),
            }),
            hostname: backend.hostname(service),
            node_name: node,
            target_ref: Some(backend.target()),
            zone,
            ..Endpoint::default()
        }
    }
}

/// The service's own labels, and those by which the slices of a service are found.
fn labels(service: &Service, name: &str) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(label::HEADLESS);
    if is_headless(service) {
        labels.insert(label::HEADLESS.into(), String::new());
    }
    labels.insert(label::SERVICE_NAME.into(), name.into());
    labels.insert(label::SLICE_MANAGED_BY.into(), MANAGED_BY.into());
    labels
}

/// The slices of a service that a controller of this name writes.
pub(super) fn written_by<'a>(controller: &str, service: &str, slices: &'a [EndpointSlice]) -> Vec<&'a EndpointSlice> {
    let labelled = |slice: &&EndpointSlice| {
        let label = |name: &str| slice.metadata.labels.as_ref()?.get(name).map(String::as_str);
        let (by, of) = (label(label::SLICE_MANAGED_BY), label(label::SERVICE_NAME));
        by == Some(controller) && of == Some(service) && slice.metadata.deletion_timestamp.is_none()
    };
    slices.iter().filter(labelled).collect()
}
