//! From pods and services to address translation, and to names. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddrV4},
    sync::Arc,
};

use api::{
    kinds::{
        EndpointSlice, Pod, Service,
        service::{HEADLESS, pod_selector, publishes_unready, target_port},
    },
    meta::DEFAULT_NAMESPACE,
    names::{api_service, label},
};
use ipnet::Ipv4Net;
use k8s_openapi::api::{core::v1::ServicePort, discovery::v1::EndpointPort};
use net::{HostPort, Protocol, Publish, Rules};

pub use self::names::{Domains, zone};
use crate::error::Result;

mod names;

/// The networks that rules may speak of.
#[derive(Debug, Clone, Copy)]
pub struct Cidrs {
    /// Pods.
    pub pods: Ipv4Net,
    /// Services.
    pub services: Ipv4Net,
}

/// A host port a pod asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The port on the host.
    pub port: HostPort,
    /// The port in the pod.
    pub target: u16,
}

/// The host ports of a pod, all or none.
///
/// # Errors
/// [`crate::Error::Refused`] for a `hostIP` that is no IPv4 address: it is never read as "every address".
pub fn host_ports(pod: &Pod) -> Result<Vec<Wanted>> {
    let number = |n: i32| u16::try_from(n).ok().filter(|n| *n > 0);
    let mut wanted = Vec::new();
    for (c, container) in pod.spec.iter().flat_map(|s| &s.containers).enumerate() {
        for (p, port) in container.ports.iter().flatten().enumerate() {
            let Some(host_port) = port.host_port.and_then(number) else { continue };
            let (Some(protocol), Some(target)) = (protocol(port.protocol.as_deref()), number(port.container_port))
            else {
                continue;
            };
            let address = host_address(port.host_ip.as_deref())
                .map_err(|problem| crate::Error::refused(format!("spec.containers[{c}].ports[{p}].hostIP"), problem))?;
            wanted.push(Wanted { port: HostPort { address, port: host_port, protocol }, target });
        }
    }
    Ok(wanted)
}

/// The one address of the host to publish on; `None` is every address.
fn host_address(text: Option<&str>) -> std::result::Result<Option<Ipv4Addr>, String> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    match text.parse::<Ipv4Addr>() {
        Ok(address) => Ok((!address.is_unspecified()).then_some(address)),
        Err(_) => Err(format!(
            "{text:?} is not an IPv4 address, and ports are published on IPv4 only; name an address of the host such \
             as 127.0.0.1, or leave hostIP out to publish on every address"
        )),
    }
}

fn protocol(name: Option<&str>) -> Option<Protocol> {
    match name.unwrap_or("TCP") {
        "TCP" => Some(Protocol::Tcp),
        "UDP" => Some(Protocol::Udp),
        "SCTP" => Some(Protocol::Sctp),
        _ => None,
    }
}

/// The pod's address while it may have traffic: not once it has ended.
fn address(pod: &Pod) -> Option<Ipv4Addr> {
    let status = pod.status.as_ref()?;
    if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
        return None;
    }
    status.pod_ip.as_deref()?.parse().ok()
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
    pod.metadata.deletion_timestamp.is_none()
        && conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True")
}

fn name_of(meta: &api::ObjectMeta) -> (String, String) {
    (meta.namespace.clone().unwrap_or_else(|| DEFAULT_NAMESPACE.into()), meta.name.clone().unwrap_or_default())
}

/// Pods behind a service with their addresses.
fn backends<'a>(service: &Service, pods: &'a [Arc<Pod>]) -> Vec<(&'a Pod, Ipv4Addr)> {
    let Some(selector) = pod_selector(service) else { return Vec::new() };
    let unready = publishes_unready(service);
    let mine = pods.iter().filter(|p| p.metadata.namespace == service.metadata.namespace);
    mine.filter(|p| selector.matches(p.metadata.labels.as_ref()))
        .filter(|p| unready || is_ready(p))
        .filter_map(|p| Some((p.as_ref(), address(p)?)))
        .collect()
}

fn cluster_ip(service: &Service) -> Option<Ipv4Addr> {
    let address = service.spec.as_ref()?.cluster_ip.as_deref()?;
    (address != HEADLESS).then(|| address.parse().ok()).flatten()
}

/// What rules are made from.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    /// Pods of the node.
    pub pods: &'a [Arc<Pod>],
    /// All services.
    pub services: &'a [Arc<Service>],
    /// All slices; they count for services whose pods are not known.
    pub slices: &'a [Arc<EndpointSlice>],
    /// Which pod (by UID) has which host port.
    pub claims: &'a BTreeMap<HostPort, String>,
    /// The API server of this machine.
    pub api_server: Option<SocketAddrV4>,
}

/// The rules of the node. Rules that could not be loaded (addresses outside the node's networks, a second service with
/// an address) are left out, so that one bad object does not take the others down.
#[must_use]
pub fn rules(observed: Observed<'_>, cidrs: Cidrs) -> Rules {
    let mut rules = Rules { publish: published(observed, cidrs), ..Rules::default() };
    let mut taken = BTreeSet::new();
    for service in observed.services {
        let Some(vip) = cluster_ip(service).filter(|a| cidrs.services.contains(a)) else { continue };
        let (namespace, name) = name_of(&service.metadata);
        let host_program = observed.api_server.filter(|_| namespace == DEFAULT_NAMESPACE && name == api_service::NAME);
        let backends = backends(service, observed.pods);
        let spec = service.spec.as_ref();
        for port in spec.iter().flat_map(|s| s.ports.iter().flatten()) {
            let (Some(protocol), Ok(number)) = (protocol(port.protocol.as_deref()), u16::try_from(port.port)) else {
                continue;
            };
            if !taken.insert((vip, protocol, number)) {
                continue;
            }
            let endpoints = match host_program {
                Some(server) => vec![server],
                None if pod_selector(service).is_none() => sliced(observed.slices, service, port),
                None => {
                    let own = backends.iter().filter(|(_, a)| cidrs.pods.contains(a));
                    own.filter_map(|(pod, a)| Some(SocketAddrV4::new(*a, target_port(pod, port)?))).collect()
                }
            };
            rules.services.push(net::Service {
                address: vip,
                port: number,
                protocol,
                node_port: None,
                endpoints,
                host_program: host_program.is_some(),
                sticky: spec.and_then(|s| s.session_affinity.as_deref()) == Some("ClientIP"),
                owner: format!("{namespace}/{name}"),
            });
        }
    }
    rules
}

/// Host ports of the pods that have them.
fn published(observed: Observed<'_>, cidrs: Cidrs) -> Vec<Publish> {
    let mut published = Vec::new();
    for pod in observed.pods {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let Some(address) = address(pod).filter(|a| cidrs.pods.contains(a)) else { continue };
        let (namespace, name) = name_of(&pod.metadata);
        // A pod whose host ports cannot be understood publishes none of them.
        for wanted in host_ports(pod).unwrap_or_default() {
            if observed.claims.get(&wanted.port).is_some_and(|owner| owner == uid) {
                let target = SocketAddrV4::new(address, wanted.target);
                published.push(Publish { port: wanted.port, target, owner: format!("{namespace}/{name}") });
            }
        }
    }
    published
}

/// The ready addresses that the slices of a service name for one of its ports.
fn sliced(slices: &[Arc<EndpointSlice>], service: &Service, port: &ServicePort) -> Vec<SocketAddrV4> {
    let of = |slice: &&Arc<EndpointSlice>| {
        let labels = slice.metadata.labels.as_ref();
        slice.metadata.namespace == service.metadata.namespace
            && slice.metadata.deletion_timestamp.is_none()
            && labels.and_then(|all| all.get(label::SERVICE_NAME)) == service.metadata.name.as_ref()
    };
    let mut found = Vec::new();
    for slice in slices.iter().filter(of) {
        let same = |sliced: &&EndpointPort| {
            sliced.name.as_deref().unwrap_or_default() == port.name.as_deref().unwrap_or_default()
                && protocol(sliced.protocol.as_deref()) == protocol(port.protocol.as_deref())
        };
        let number = slice.ports.iter().flatten().find(same).and_then(|sliced| u16::try_from(sliced.port?).ok());
        let Some(number) = number else { continue };
        let ready = slice.endpoints.iter().flatten().filter(|endpoint| {
            // Not to say means ready.
            endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) != Some(false)
        });
        let addresses = ready.filter_map(|endpoint| endpoint.addresses.first()?.parse::<Ipv4Addr>().ok());
        found.extend(addresses.map(|address| SocketAddrV4::new(address, number)));
    }
    found
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    pub(super) fn pod(name: &str, ip: &str, ready: bool, spec: serde_json::Value) -> Arc<Pod> {
        let status = if ready { "True" } else { "False" };
        Arc::new(
            serde_json::from_value(json!({"metadata": {"name": name, "namespace": "default", "uid": format!("u-{name}"), "labels": {"app": "web"}},
                "spec": spec, "status": {"phase": "Running", "podIP": ip, "conditions": [{"type": "Ready", "status": status}]}}))
            .unwrap(),
        )
    }

    pub(super) fn plain() -> serde_json::Value {
        json!({"containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 8080, "hostPort": 80}]}]})
    }

    pub(super) fn service(name: &str, ip: &str, spec: serde_json::Value) -> Arc<Service> {
        let mut all = json!({"selector": {"app": "web"}, "clusterIP": ip, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]});
        all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        Arc::new(
            serde_json::from_value(json!({"metadata": {"name": name, "namespace": "default"}, "spec": all})).unwrap(),
        )
    }

    pub(super) fn cidrs() -> Cidrs {
        Cidrs { pods: "10.88.0.0/16".parse().unwrap(), services: "10.96.0.0/16".parse().unwrap() }
    }

    fn claims(uid: &str) -> BTreeMap<HostPort, String> {
        BTreeMap::from([(HostPort { address: None, port: 80, protocol: Protocol::Tcp }, uid.to_owned())])
    }

    /// The rules of these pods and services, without slices.
    fn rules(pods: &[Arc<Pod>], services: &[Arc<Service>], claims: &BTreeMap<HostPort, String>) -> Rules {
        super::rules(Observed { pods, services, slices: &[], claims, api_server: None }, cidrs())
    }

    #[test]
    fn only_ready_pods_are_endpoints_and_only_owners_publish() {
        let pods = [pod("a", "10.88.0.2", true, plain()), pod("b", "10.88.0.3", false, plain())];
        let rules = rules(&pods, &[service("web", "10.96.0.1", json!({}))], &claims("u-b"));
        assert_eq!(rules.services[0].endpoints, ["10.88.0.2:8080".parse().unwrap()]);
        assert_eq!(rules.publish.len(), 1);
        assert_eq!(
            (rules.publish[0].owner.as_str(), rules.publish[0].target.to_string()),
            ("default/b", "10.88.0.3:8080".into())
        );
        assert!(rules.validate(cidrs().pods, cidrs().services).is_ok());
    }

    #[test]
    fn a_host_ip_that_is_no_ipv4_address_is_never_every_address() {
        let with = |ip: serde_json::Value| {
            let ports = json!([{"containerPort": 1}, {"containerPort": 8080, "hostPort": 80, "hostIP": ip}]);
            pod("a", "10.88.0.2", true, json!({"containers": [{"name": "c", "ports": ports}]}))
        };
        for bad in ["::1", "::", "localhost", "127.0.0.1 ", "300.1.1.1", "127.1", "0x7f000001", "fe80::1%eth0"] {
            let pod = with(json!(bad));
            match host_ports(&pod) {
                Err(crate::Error::Refused { field, problem }) => {
                    assert_eq!(field, "spec.containers[0].ports[1].hostIP", "{bad}");
                    assert!(problem.contains(bad), "{problem}");
                }
                other => panic!("{bad}: {other:?}"),
            }
            assert_eq!(rules(&[pod], &[], &claims("u-a")).publish, [], "{bad}");
        }
        for (good, address) in [
            (json!(null), None),
            (json!(""), None),
            (json!("0.0.0.0"), None),
            (json!("127.0.0.1"), Some(Ipv4Addr::LOCALHOST)),
        ] {
            assert_eq!(host_ports(&with(good)).unwrap()[0].port.address, address);
        }
    }

    #[test]
    fn bad_objects_do_not_spoil_the_rest() {
        let pods = [pod("a", "192.0.2.9", true, plain()), pod("b", "10.88.0.3", true, plain())];
        let services = [
            service("stray", "192.0.2.1", json!({})),
            service("web", "10.96.0.1", json!({})),
            service("twin", "10.96.0.1", json!({})),
            service("none", HEADLESS, json!({})),
            service("free", "10.96.0.2", json!({"selector": {}})),
        ];
        let rules = rules(&pods, &services, &BTreeMap::new());
        assert!(rules.validate(cidrs().pods, cidrs().services).is_ok());
        let owners: Vec<&str> = rules.services.iter().map(|s| s.owner.as_str()).collect();
        assert_eq!(owners, ["default/web", "default/free"]);
        assert_eq!(rules.services[0].endpoints, ["10.88.0.3:8080".parse().unwrap()]);
        assert!(rules.services[1].endpoints.is_empty(), "no selector, no endpoints");
    }

    #[test]
    fn a_service_without_selector_leads_to_its_slices_and_that_of_the_api_to_the_server_of_the_node() {
        let slice = |service: &str, ports: serde_json::Value, endpoints: serde_json::Value| -> Arc<EndpointSlice> {
            let labels = json!({"kubernetes.io/service-name": service});
            let metadata = json!({"name": "x", "namespace": "default", "labels": labels});
            let slice = json!({"metadata": metadata, "addressType": "IPv4", "ports": ports, "endpoints": endpoints});
            Arc::new(serde_json::from_value(slice).unwrap())
        };
        let ports = || json!([{"name": "http", "port": 8080, "protocol": "TCP"}]);
        let slices = [
            slice(
                "out",
                ports(),
                json!([{"addresses": ["192.0.2.1"]}, {"addresses": ["192.0.2.2"], "conditions": {"ready": false}}]),
            ),
            slice("out", json!([{"name": "other", "port": 1}]), json!([{"addresses": ["192.0.2.3"]}])),
            slice("else", ports(), json!([{"addresses": ["192.0.2.4"]}])),
            slice("kubernetes", ports(), json!([{"addresses": ["192.0.2.5"]}])),
        ];
        let services = [
            service("out", "10.96.0.2", json!({"selector": null})),
            service("kubernetes", "10.96.0.1", json!({"selector": null})),
        ];
        let of = |api_server: Option<&str>| {
            let api_server = api_server.map(|address| address.parse().unwrap());
            let observed =
                Observed { pods: &[], services: &services, slices: &slices, claims: &BTreeMap::new(), api_server };
            let rules = super::rules(observed, cidrs());
            assert!(rules.validate(cidrs().pods, cidrs().services).is_ok());
            let shown = |found: &net::Service| (found.endpoints.clone(), found.host_program);
            rules.services.iter().map(shown).collect::<Vec<_>>()
        };
        let at = |address: &str| vec![address.parse().unwrap()];
        let out = (at("192.0.2.1:8080"), false);
        assert_eq!(of(None), [out.clone(), (at("192.0.2.5:8080"), false)]);
        assert_eq!(of(Some("127.0.0.1:6443")), [out, (at("127.0.0.1:6443"), true)]);
    }
}
