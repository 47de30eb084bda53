//! From pods and services to address translation and names. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddrV4},
    sync::Arc,
};

use api::{
    LabelSelector,
    kinds::{Pod, Service, service::HEADLESS},
};
use ipnet::Ipv4Net;
use k8s_openapi::{api::core::v1::ServicePort, apimachinery::pkg::util::intstr::IntOrString};
use net::{HostPort, Protocol, Publish, Rules, dns::Zone};

use crate::pod::etc;

/// Annotation by which a service also answers for pods that are not ready (for peers that find each other).
const PUBLISH_UNREADY: &str = "service.alpha.kubernetes.io/tolerate-unready-endpoints";

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

/// The host ports of a pod.
#[must_use]
pub fn host_ports(pod: &Pod) -> Vec<Wanted> {
    let containers = pod.spec.iter().flat_map(|s| &s.containers);
    let ports = containers.flat_map(|c| c.ports.iter().flatten());
    let wanted = ports.filter_map(|p| {
        let number = |n: i32| u16::try_from(n).ok().filter(|n| *n > 0);
        let address = p.host_ip.as_deref().and_then(|ip| ip.parse::<Ipv4Addr>().ok());
        let address = address.filter(|ip| !ip.is_unspecified());
        let port = HostPort { address, port: number(p.host_port?)?, protocol: protocol(p.protocol.as_deref())? };
        Some(Wanted { port, target: number(p.container_port)? })
    });
    wanted.collect()
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
    (meta.namespace.clone().unwrap_or_else(|| "default".into()), meta.name.clone().unwrap_or_default())
}

/// Pods behind a service with their addresses.
fn backends<'a>(service: &Service, pods: &'a [Arc<Pod>]) -> Vec<(&'a Pod, Ipv4Addr)> {
    let spec = service.spec.as_ref();
    let Some(selector) = spec.and_then(|s| s.selector.as_ref()).filter(|s| !s.is_empty()) else { return Vec::new() };
    let selector = LabelSelector::equals(selector);
    let annotated =
        service.metadata.annotations.as_ref().and_then(|a| a.get(PUBLISH_UNREADY)).is_some_and(|v| v == "true");
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
        for wanted in host_ports(pod) {
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

/// The names of all services and of the pods behind headless ones.
///
/// | Name | Answer |
/// |---|---|
/// | `<svc>.<ns>.svc.<cluster domain>` | the service's address, or its pods' if it has none |
/// | `<hostname>.<svc>.<ns>.svc.<cluster domain>` | a pod with this `subdomain` behind a headless service |
/// | `_<port>._<protocol>.<svc>.<ns>.svc.<cluster domain>` | SRV of a named port |
/// | `<svc>.<short domain>` | as the first, for services of namespace `default` |
///
/// Objects whose names are not DNS names are left out.
#[must_use]
pub fn zone(pods: &[Arc<Pod>], services: &[Arc<Service>], cluster_domain: &str, short_domain: &str) -> Zone {
    let mut zone = match Zone::new([cluster_domain, short_domain]) {
        Ok(zone) => zone,
        Err(error) => {
            tracing::error!(%error, "no names are served");
            return Zone::default();
        }
    };
    for service in services {
        if let Err(error) = add_service(&mut zone, service, pods, cluster_domain, short_domain) {
            tracing::warn!(%error, service = ?service.metadata.name, "service has no name");
        }
    }
    zone
}

fn add_service(
    zone: &mut Zone,
    service: &Service,
    pods: &[Arc<Pod>],
    cluster_domain: &str,
    short_domain: &str,
) -> net::Result<()> {
    let (namespace, name) = name_of(&service.metadata);
    let full = format!("{name}.{namespace}.svc.{cluster_domain}");
    let short = (namespace == "default").then(|| format!("{name}.{short_domain}"));
    let insert = |zone: &mut Zone, address| {
        zone.insert(&full, address)?;
        short.iter().try_for_each(|short| zone.insert(short, address))
    };
    let headless = service.spec.as_ref().and_then(|s| s.cluster_ip.as_deref()) == Some(HEADLESS);
    if let Some(address) = cluster_ip(service) {
        insert(zone, address)?;
    }
    let mut targets = vec![full.clone()];
    if headless {
        targets.clear();
        for (pod, address) in backends(service, pods) {
            insert(zone, address)?;
            if pod.spec.as_ref().and_then(|s| s.subdomain.as_ref()) == Some(&name) {
                let target = format!("{}.{full}", etc::hostname(pod));
                zone.insert(&target, address)?;
                targets.push(target);
            }
        }
    }
    let ports = service.spec.iter().flat_map(|s| s.ports.iter().flatten());
    for port in ports.filter(|p| p.name.as_ref().is_some_and(|n| !n.is_empty())) {
        let label = port.name.as_deref().unwrap_or_default();
        let protocol = port.protocol.as_deref().unwrap_or("TCP").to_ascii_lowercase();
        let Ok(number) = u16::try_from(port.port) else { continue };
        for target in &targets {
            zone.insert_srv(&format!("_{label}._{protocol}.{full}"), number, target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, ip: &str, ready: bool, spec: serde_json::Value) -> Arc<Pod> {
        let status = if ready { "True" } else { "False" };
        Arc::new(
            serde_json::from_value(json!({"metadata": {"name": name, "namespace": "default", "uid": format!("u-{name}"), "labels": {"app": "web"}},
                "spec": spec, "status": {"phase": "Running", "podIP": ip, "conditions": [{"type": "Ready", "status": status}]}}))
            .unwrap(),
        )
    }

    fn plain() -> serde_json::Value {
        json!({"containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 8080, "hostPort": 80}]}]})
    }

    fn service(name: &str, ip: &str, spec: serde_json::Value) -> Arc<Service> {
        let mut all = json!({"selector": {"app": "web"}, "clusterIP": ip, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]});
        all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        Arc::new(
            serde_json::from_value(json!({"metadata": {"name": name, "namespace": "default"}, "spec": all})).unwrap(),
        )
    }

    fn cidrs() -> Cidrs {
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

    fn addresses(zone: &Zone, name: &str) -> usize {
        use net::dns::{Answer, answer};
        let mut query = hickory_proto::op::Message::query();
        let name = hickory_proto::rr::Name::from_utf8(name).unwrap();
        query.add_query(hickory_proto::op::Query::query(name, hickory_proto::rr::RecordType::A));
        match answer(zone, &query) {
            Answer::Reply(reply) => reply.answers.len(),
            Answer::Forward => panic!("not ours"),
        }
    }

    #[test]
    fn services_and_headless_pods_have_names() {
        let mut set = plain();
        set["subdomain"] = json!("db");
        let pods = [
            pod("db-0", "10.88.0.2", true, set.clone()),
            pod("db-1", "10.88.0.3", false, set),
            pod("x", "10.88.0.4", true, plain()),
        ];
        let services = [
            service("web", "10.96.0.1", json!({})),
            service("db", HEADLESS, json!({"publishNotReadyAddresses": true})),
        ];
        let zone = zone(&pods, &services, "cluster.local", "nanocloud.local");
        for (name, count) in [
            ("web.default.svc.cluster.local.", 1),
            ("web.nanocloud.local.", 1),
            ("db.default.svc.cluster.local.", 3),
            ("db-1.db.default.svc.cluster.local.", 1),
            ("x.db.default.svc.cluster.local.", 0),
        ] {
            assert_eq!(addresses(&zone, name), count, "{name}");
        }
    }
}
