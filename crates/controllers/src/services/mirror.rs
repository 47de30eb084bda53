//! Slices of services without a selector, from the endpoints that their makers write.

use api::{
    Kind, ObjectKey, ObjectMeta,
    kinds::{
        EndpointSlice, Endpoints, Service,
        endpoint_slice::{IPV4, IPV6},
        endpoints::ADDRESSES_MAX,
        service::pod_selector,
    },
    meta::controller_reference,
    names::{
        annotation::{LAST_APPLIED, LAST_CHANGE_TRIGGER, LEADER},
        label,
    },
};
use async_trait::async_trait;
use k8s_openapi::api::{
    core::v1::{EndpointAddress, EndpointSubset},
    discovery::v1::{Endpoint, EndpointConditions, EndpointPort},
};
use serde_json::Value;

use super::{
    endpoints,
    publish::written_by,
    slices::{Group, Slices},
};
use crate::{
    controller::{Change, Controller, Next, Watch, itself, namespace_of},
    error::Error,
    step::Step,
    world::{self, World},
};

/// Value of [`label::SLICE_MANAGED_BY`], as Kubernetes' controller has it.
const MANAGED_BY: &str = "endpointslicemirroring-controller.k8s.io";

/// Reconciles the slices that stand for endpoints written by others.
#[derive(Clone, Copy, Debug, Default)]
pub struct EndpointsMirror;

#[async_trait]
impl Controller for EndpointsMirror {
    fn name(&self) -> &'static str {
        "endpointslicemirroring-controller"
    }

    fn watches(&self) -> Vec<Watch> {
        vec![
            Watch::new(Kind::of::<Endpoints>(), itself),
            Watch::new(Kind::of::<Service>(), itself),
            Watch::new(Kind::of::<EndpointSlice>(), mirrored),
        ]
    }

    async fn reconcile(&self, world: &dyn World, key: &ObjectKey) -> Result<Next, Error> {
        let slices = world::list::<EndpointSlice>(world, key.namespace.as_deref()).await?;
        let endpoints = world::get::<Endpoints>(world, key).await?;
        let service = world::get::<Service>(world, key).await?;
        let mirrored = endpoints.filter(|endpoints| is_mirrored(endpoints, service.as_ref()));
        world::apply(world, &plan(&key.name, mirrored.as_ref(), &slices)).await?;
        Ok(Next::OnChange)
    }
}

/// The endpoints that a slice stands for.
fn mirrored(change: Change<'_>) -> Vec<ObjectKey> {
    let label = |name: &str| change.object["metadata"]["labels"].get(name).and_then(Value::as_str);
    let name = label(label::SERVICE_NAME).filter(|_| label(label::SLICE_MANAGED_BY) == Some(MANAGED_BY));
    let key = |name: &str| ObjectKey { namespace: namespace_of(change.object), name: name.to_owned() };
    name.map(key).into_iter().collect()
}

fn is_mirrored(endpoints: &Endpoints, service: Option<&Service>) -> bool {
    let meta = &endpoints.metadata;
    let label = |name: &str| meta.labels.as_ref()?.get(name).map(String::as_str);
    let is_lock = meta.annotations.as_ref().is_some_and(|all| all.contains_key(LEADER));
    service.is_some_and(|service| pod_selector(service).is_none())
        && meta.deletion_timestamp.is_none()
        && label(label::SKIP_MIRROR) != Some("true")
        && label(label::ENDPOINTS_MANAGED_BY) != Some(endpoints::MANAGED_BY)
        && !is_lock
}

/// The steps after which the slices of a service hold the mirrored endpoints, or are gone.
pub(super) fn plan(service: &str, endpoints: Option<&Endpoints>, slices: &[EndpointSlice]) -> Vec<Step> {
    let found = written_by(MANAGED_BY, service, slices);
    let Some(endpoints) = endpoints else { return found.into_iter().map(Step::delete).collect() };
    let meta = &endpoints.metadata;
    let mut labels = meta.labels.clone().unwrap_or_default();
    labels.insert(label::SERVICE_NAME.into(), service.into());
    labels.insert(label::SLICE_MANAGED_BY.into(), MANAGED_BY.into());
    let mut annotations = meta.annotations.clone().unwrap_or_default();
    annotations.retain(|name, _| name != LAST_APPLIED && name != LAST_CHANGE_TRIGGER);
    let slices = Slices {
        template: ObjectMeta {
            namespace: meta.namespace.clone(),
            labels: Some(labels),
            annotations: Some(annotations),
            owner_references: Some(vec![controller_reference(endpoints)]),
            ..ObjectMeta::default()
        },
        name: service,
        uid: meta.uid.as_deref().unwrap_or_default(),
        found,
        taken: slices.iter().filter_map(|slice| slice.metadata.name.clone()).collect(),
    };
    slices.plan(groups(endpoints))
}

fn groups(endpoints: &Endpoints) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for subset in endpoints.subsets.iter().flatten() {
        let ports = ports(subset);
        let ready = subset.addresses.iter().flatten().map(|address| (address, true));
        let other = subset.not_ready_addresses.iter().flatten().map(|address| (address, false));
        for (address, ready) in ready.chain(other).take(ADDRESSES_MAX) {
            let address_type = if address.ip.contains(':') { IPV6 } else { IPV4 };
            let endpoint = endpoint(address, ready);
            match groups.iter_mut().find(|group| group.address_type == address_type && group.ports == ports) {
                Some(group) => group.endpoints.push(endpoint),
                None => groups.push(Group { address_type, ports: ports.clone(), endpoints: vec![endpoint] }),
            }
        }
    }
    groups
}

fn ports(subset: &EndpointSubset) -> Vec<EndpointPort> {
    let port = |port: &k8s_openapi::api::core::v1::EndpointPort| EndpointPort {
        app_protocol: port.app_protocol.clone(),
        name: Some(port.name.clone().unwrap_or_default()),
        port: Some(port.port),
        protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".into())),
    };
    subset.ports.iter().flatten().map(port).collect()
}

fn endpoint(address: &EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: Some(EndpointConditions { ready: Some(ready), ..EndpointConditions::default() }),
        hostname: address.hostname.clone(),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    }
}
