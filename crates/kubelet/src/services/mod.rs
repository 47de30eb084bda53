//! From pods and services to address translation, and to names. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddrV4},
    sync::Arc,
};

use api::{
    LabelSelector,
    kinds::{Pod, Service, service::HEADLESS},
    meta::DEFAULT_NAMESPACE,
    names::annotation::TOLERATE_UNREADY,
};
use ipnet::Ipv4Net;
use k8s_openapi::{api::core::v1::ServicePort, apimachinery::pkg::util::intstr::IntOrString};
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
    let spec = service.spec.as_ref();
    let Some(selector) = spec.and_then(|s| s.selector.as_ref()).filter(|s| !s.is_empty()) else { return Vec::new() };
    let selector = LabelSelector::equals(selector);
    let annotated =
        service.metadata.annotations.as_ref().and_then(|a| a.get(TOLERATE_UNREADY)).is_some_and(|v| v == "true");
    let unready = annotated || spec.and_then(|s| s.publish_not_ready_addresses) == Some(true);
    let mine = pods.iter().filter(|p| p.metadata.namespace == service.metadata.namespace);
    mine.filter(|p| selector.matches(p.metadata.labels.as_ref()))
        .filter(|p| unready || is_ready(p))
        .filter_map(|p| Some((p.as_ref(), address(p)?)))
        .collect()
}

/// The port in the pod that a service's port leads to.
fn target_port(pod: &Pod, port: &ServicePort) -> Option<u16> {
    let number = |n: i32| u16::try_from(n).ok().filter(|n| *n > 0);
    match &port.target_port {
        None => number(port.port),
        Some(IntOrString::Int(n)) => number(*n),
        Some(IntOrString::String(name)) => {
            let containers = pod.spec.iter().flat_map(|s| &s.containers);
            let ports = containers.flat_map(|c| c.ports.iter().flatten());
            let wanted = protocol(port.protocol.as_deref());
            let named = ports.filter(|p| p.name.as_ref() == Some(name) && protocol(p.protocol.as_deref()) == wanted);
            named.map(|p| p.container_port).next().and_then(number)
        }
    }
}

fn cluster_ip(service: &Service) -> Option<Ipv4Addr> {
    let address = service.spec.as_ref()?.cluster_ip.as_deref()?;
    (address != HEADLESS).then(|| address.parse().ok()).flatten()
}

/// The rules of the node. `claims` says which pod (by UID) has which host port. Rules that could not be loaded
/// (addresses outside the node's networks, a second service with an address) are left out, so that one bad object
/// does not take the others down.
#[must_use]
pub fn rules(pods: &[Arc<Pod>], services: &[Arc<Service>], claims: &BTreeMap<HostPort, String>, cidrs: Cidrs) -> Rules {
    let mut rules = Rules::default();
    for pod in pods {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let Some(address) = address(pod).filter(|a| cidrs.pods.contains(a)) else { continue };
        let (namespace, name) = name_of(&pod.metadata);
        // A pod whose host ports cannot be understood publishes none of them.
        for wanted in host_ports(pod).unwrap_or_default() {
            if claims.get(&wanted.port).is_some_and(|owner| owner == uid) {
                let target = SocketAddrV4::new(address, wanted.target);
                rules.publish.push(Publish { port: wanted.port, target, owner: format!("{namespace}/{name}") });
            }
        }
    }
    let mut taken = BTreeSet::new();
    for service in services {
        let Some(vip) = cluster_ip(service).filter(|a| cidrs.services.contains(a)) else { continue };
        let (namespace, name) = name_of(&service.metadata);
        let backends = backends(service, pods);
        let spec = service.spec.as_ref();
        for port in spec.iter().flat_map(|s| s.ports.iter().flatten()) {
            let (Some(protocol), Ok(number)) = (protocol(port.protocol.as_deref()), u16::try_from(port.port)) else {
                continue;
            };
            if !taken.insert((vip, protocol, number)) {
                continue;
            }
            let endpoints = backends.iter().filter(|(_, a)| cidrs.pods.contains(a));
            let endpoints = endpoints.filter_map(|(pod, a)| Some(SocketAddrV4::new(*a, target_port(pod, port)?)));
            rules.services.push(net::Service {
                address: vip,
                port: number,
                protocol,
                node_port: None,
                endpoints: endpoints.collect(),
                sticky: spec.and_then(|s| s.session_affinity.as_deref()) == Some("ClientIP"),
                owner: format!("{namespace}/{name}"),
            });
        }
    }
    rules
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

    #[test]
    fn only_ready_pods_are_endpoints_and_only_owners_publish() {
        let pods = [pod("a", "10.88.0.2", true, plain()), pod("b", "10.88.0.3", false, plain())];
        let rules = rules(&pods, &[service("web", "10.96.0.1", json!({}))], &claims("u-b"), cidrs());
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
            assert_eq!(rules(&[pod], &[], &claims("u-a"), cidrs()).publish, [], "{bad}");
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
        let rules = rules(&pods, &services, &BTreeMap::new(), cidrs());
        assert!(rules.validate(cidrs().pods, cidrs().services).is_ok());
        let owners: Vec<&str> = rules.services.iter().map(|s| s.owner.as_str()).collect();
        assert_eq!(owners, ["default/web", "default/free"]);
        assert_eq!(rules.services[0].endpoints, ["10.88.0.3:8080".parse().unwrap()]);
        assert!(rules.services[1].endpoints.is_empty(), "no selector, no endpoints");
    }
}
