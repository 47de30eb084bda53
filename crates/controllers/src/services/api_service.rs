//! The service `kubernetes` of namespace `default`: the API itself, for clients in pods.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use api::{
    Kind, ObjectKey, ObjectMeta, Resource,
    kinds::{
        EndpointSlice, Endpoints, Namespace, Service,
        endpoint_slice::{IPV4, IPV6},
    },
    names::{api_service, label, namespace},
};
use async_trait::async_trait;
use k8s_openapi::{
    api::{
        core::v1::{EndpointAddress, EndpointPort, EndpointSubset, ServicePort, ServiceSpec},
        discovery::v1::{Endpoint, EndpointConditions, EndpointPort as SlicePort},
    },
    apimachinery::pkg::util::intstr::IntOrString,
};

use crate::{
    controller::{Change, Controller, Next, Watch, itself},
    error::Error,
    ports::ApiServers,
    step::Step,
    world::{self, World},
};

/// Time until the servers are asked for again.
const RECHECK: Duration = Duration::from_secs(30);

/// Reconciles the service of the API, its endpoints and its slices.
pub struct ApiService {
    servers: Arc<dyn ApiServers>,
}

impl ApiService {
    /// The service that leads to these servers.
    pub fn new(servers: Arc<dyn ApiServers>) -> Self {
        Self { servers }
    }
}

#[async_trait]
impl Controller for ApiService {
    fn name(&self) -> &'static str {
        "api-service-controller"
    }

    fn watches(&self) -> Vec<Watch> {
        vec![
            Watch::new(Kind::of::<Service>(), this),
            Watch::new(Kind::of::<Endpoints>(), this),
            Watch::new(Kind::of::<EndpointSlice>(), this),
            // The service may be missing from the start.
            Watch::new(Kind::of::<Namespace>(), |change| {
                let home = itself(change).first() == Some(&ObjectKey::cluster(namespace::DEFAULT));
                home.then(key).into_iter().collect()
            }),
        ]
    }

    async fn reconcile(&self, world: &dyn World, key: &ObjectKey) -> Result<Next, Error> {
        let observed = Observed {
            service: world::get(world, key).await?,
            endpoints: world::get(world, key).await?,
            slices: world::list(world, key.namespace.as_deref()).await?,
        };
        world::apply(world, &observed.plan(&self.servers.addresses().await)).await?;
        Ok(Next::After(RECHECK))
    }
}

fn key() -> ObjectKey {
    ObjectKey::namespaced(namespace::DEFAULT, api_service::NAME)
}

/// The key, if the change is of the service, its endpoints or its slices.
fn this(change: Change<'_>) -> Vec<ObjectKey> {
    let of = &change.object["metadata"]["labels"][label::SERVICE_NAME];
    let found = itself(change);
    let own = found.first().is_some_and(|found| {
        let named = found.name == api_service::NAME || of == api_service::NAME;
        named && found.namespace.as_deref() == Some(namespace::DEFAULT)
    });
    own.then(key).into_iter().collect()
}

/// What is there.
#[derive(Default)]
pub(super) struct Observed {
    pub(super) service: Option<Service>,
    pub(super) endpoints: Option<Endpoints>,
    /// All slices of the namespace.
    pub(super) slices: Vec<EndpointSlice>,
}

impl Observed {
    /// What is missing until the service leads to these servers.
    pub(super) fn plan(&self, servers: &[SocketAddr]) -> Vec<Step> {
        let groups = grouped(servers);
        let wanted = self.wanted_slices(&groups);
        let named = |slice: &EndpointSlice| self.slices.iter().find(|found| found.metadata.name == slice.metadata.name);
        let mut steps: Vec<_> = step(self.service.as_ref(), self.wanted_service(servers)).into_iter().collect();
        steps.extend(step(self.endpoints.as_ref(), self.wanted_endpoints(&groups)));
        steps.extend(wanted.iter().filter_map(|slice| step(named(slice), slice.clone())));
        let is_wanted = |found: &EndpointSlice| wanted.iter().any(|slice| slice.metadata.name == found.metadata.name);
        let ours = self.slices.iter().filter(|slice| leads_to_api(slice) && !is_wanted(slice));
        steps.extend(ours.map(Step::delete));
        steps
    }

    fn wanted_service(&self, servers: &[SocketAddr]) -> Service {
        let found = self.service.clone().unwrap_or_default();
        let target = servers.first().map_or(i32::from(api_service::TARGET_PORT), |server| server.port().into());
        let port = ServicePort {
            name: Some(api_service::PORT_NAME.into()),
            port: api_service::PORT.into(),
            protocol: Some("TCP".into()),
            target_port: Some(IntOrString::Int(target)),
            ..ServicePort::default()
        };
        Service {
            metadata: over(
                found.metadata,
                api_service::NAME,
                &[("component", "apiserver"), ("provider", "kubernetes")],
            ),
            spec: Some(ServiceSpec { ports: Some(vec![port]), selector: None, ..found.spec.unwrap_or_default() }),
            status: found.status,
        }
    }

    fn wanted_endpoints(&self, groups: &BTreeMap<Group, BTreeSet<IpAddr>>) -> Endpoints {
        let found = self.endpoints.as_ref().map(|found| found.metadata.clone()).unwrap_or_default();
        let mut by_port: BTreeMap<u16, Vec<EndpointAddress>> = BTreeMap::new();
        for ((_, port), addresses) in groups {
            let all = addresses.iter().map(|ip| EndpointAddress { ip: ip.to_string(), ..EndpointAddress::default() });
            by_port.entry(*port).or_default().extend(all);
        }
        let subset = |(port, addresses): (u16, Vec<EndpointAddress>)| EndpointSubset {
            addresses: Some(addresses),
            ports: Some(vec![EndpointPort {
                name: Some(api_service::PORT_NAME.into()),
                port: port.into(),
                protocol: Some("TCP".into()),
                ..EndpointPort::default()
            }]),
            ..EndpointSubset::default()
        };
        let subsets: Vec<_> = by_port.into_iter().map(subset).collect();
        Endpoints {
            metadata: over(found, api_service::NAME, &[(label::SKIP_MIRROR, "true")]),
            subsets: (!subsets.is_empty()).then_some(subsets),
        }
    }

    /// One slice for each family and port; the first has the name of the service.
    fn wanted_slices(&self, groups: &BTreeMap<Group, BTreeSet<IpAddr>>) -> Vec<EndpointSlice> {
        let slice = |(index, ((is_v6, port), addresses)): (usize, (&Group, &BTreeSet<IpAddr>))| {
            let name = match index {
                0 => api_service::NAME.to_owned(),
                index => format!("{}-{index}", api_service::NAME),
            };
            let found = self.slices.iter().find(|found| found.metadata.name.as_ref() == Some(&name));
            let found = found.map(|found| found.metadata.clone()).unwrap_or_default();
            let endpoint = |address: &IpAddr| Endpoint {
                addresses: vec![address.to_string()],
                conditions: Some(EndpointConditions { ready: Some(true), ..EndpointConditions::default() }),
                ..Endpoint::default()
            };
            EndpointSlice {
                metadata: over(found, &name, &[(label::SERVICE_NAME, api_service::NAME)]),
                address_type: if *is_v6 { IPV6 } else { IPV4 }.into(),
                endpoints: Some(addresses.iter().map(endpoint).collect()),
                ports: Some(vec![SlicePort {
                    name: Some(api_service::PORT_NAME.into()),
                    port: Some((*port).into()),
                    protocol: Some("TCP".into()),
                    ..SlicePort::default()
                }]),
            }
        };
        groups.iter().enumerate().map(slice).collect()
    }
}

/// Whether addresses are of IPv6, and their port.
type Group = (bool, u16);

fn grouped(servers: &[SocketAddr]) -> BTreeMap<Group, BTreeSet<IpAddr>> {
    let mut groups: BTreeMap<Group, BTreeSet<IpAddr>> = BTreeMap::new();
    for server in servers {
        groups.entry((server.is_ipv6(), server.port())).or_default().insert(server.ip());
    }
    groups
}

/// The metadata of an object of the service, over what is there.
fn over(found: ObjectMeta, name: &str, labels: &[(&str, &str)]) -> ObjectMeta {
    let mut all = found.labels.clone().unwrap_or_default();
    all.extend(labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    let home = Some(namespace::DEFAULT.to_owned());
    ObjectMeta { name: Some(name.to_owned()), namespace: home, labels: Some(all), ..found }
}

fn leads_to_api(slice: &EndpointSlice) -> bool {
    let labels = slice.metadata.labels.as_ref();
    labels.and_then(|all| all.get(label::SERVICE_NAME)).is_some_and(|service| service == api_service::NAME)
}

/// The step after which the object is as it is wanted.
fn step<R: Resource + PartialEq>(found: Option<&R>, wanted: R) -> Option<Step> {
    match found {
        None => Some(Step::create(&wanted)),
        Some(found) => (*found != wanted).then(|| Step::replace(&wanted)),
    }
}
