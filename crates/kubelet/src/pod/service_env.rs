//! Variables that tell a container where services are, for programs that do not ask DNS.
//!
//! Source: `k8s.io/kubernetes/pkg/kubelet/envvars`, and `getServiceEnvVarMap` of its kubelet.

use std::collections::BTreeMap;

use api::{
    kinds::{Pod, Service, service::HEADLESS},
    meta::DEFAULT_NAMESPACE,
    names::api_service,
};
use k8s_openapi::api::core::v1::ServicePort;

use super::env::Env;

/// Whether the pod wants variables of the services of its namespace (`enableServiceLinks`).
#[must_use]
pub fn wants_links(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|spec| spec.enable_service_links).unwrap_or(true)
}

/// The variables of a pod in `namespace`, from the services that exist. Services without an address have none.
#[must_use]
pub fn variables(pod: &Pod, services: &[Service]) -> Env {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
    let mut chosen: BTreeMap<&str, (&str, &Service)> = BTreeMap::new();
    for service in services {
        let (Some(name), Some(address)) = (service.metadata.name.as_deref(), address(service)) else { continue };
        let home = service.metadata.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
        if home == namespace && wants_links(pod) {
            chosen.insert(name, (address, service));
        } else if home == DEFAULT_NAMESPACE && name == api_service::NAME {
            chosen.entry(name).or_insert((address, service));
        }
    }
    chosen.into_iter().flat_map(|(name, (address, service))| of_service(name, address, service)).collect()
}

fn address(service: &Service) -> Option<&str> {
    let address = service.spec.as_ref()?.cluster_ip.as_deref()?;
    (!address.is_empty() && address != HEADLESS).then_some(address)
}

fn of_service(name: &str, address: &str, service: &Service) -> Env {
    let prefix = word(name);
    let ports: Vec<&ServicePort> = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten()).collect();
    let mut env = vec![(format!("{prefix}_SERVICE_HOST"), address.to_owned())];
    if let Some(first) = ports.first() {
        env.push((format!("{prefix}_SERVICE_PORT"), first.port.to_string()));
        env.push((format!("{prefix}_PORT"), url(address, first)));
    }
    for port in ports {
        if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            env.push((format!("{prefix}_SERVICE_PORT_{}", word(name)), port.port.to_string()));
        }
        // As Docker's links have them.
        let protocol = protocol(port);
        let link = format!("{prefix}_PORT_{}_{}", port.port, protocol.to_ascii_uppercase());
        env.extend([
            (link.clone(), url(address, port)),
            (format!("{link}_PROTO"), protocol.to_ascii_lowercase()),
            (format!("{link}_PORT"), port.port.to_string()),
            (format!("{link}_ADDR"), address.to_owned()),
        ]);
    }
    env
}

fn protocol(port: &ServicePort) -> &str {
    port.protocol.as_deref().unwrap_or("TCP")
}

fn url(address: &str, port: &ServicePort) -> String {
    let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    format!("{}://{host}:{}", protocol(port).to_ascii_lowercase(), port.port)
}

/// A name as a part of a variable's name.
fn word(name: &str) -> String {
    name.replace('-', "_").to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn service(namespace: &str, name: &str, address: &str, ports: Value) -> Service {
        serde_json::from_value(json!({"metadata": {"name": name, "namespace": namespace},
            "spec": {"clusterIP": address, "ports": ports}}))
        .unwrap()
    }

    fn pod(namespace: &str, links: Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p", "namespace": namespace},
            "spec": {"containers": [], "enableServiceLinks": links}}))
        .unwrap()
    }

    #[test]
    fn a_service_has_the_variables_of_kubernetes_and_of_docker() {
        let ports = json!([{"name": "sql", "port": 3306}, {"name": "dns-udp", "port": 53, "protocol": "UDP"}]);
        let env = variables(&pod("shop", Value::Null), &[service("shop", "my-db", "10.96.0.7", ports)]);
        let expected = [
            ("MY_DB_SERVICE_HOST", "10.96.0.7"),
            ("MY_DB_SERVICE_PORT", "3306"),
            ("MY_DB_PORT", "tcp://10.96.0.7:3306"),
            ("MY_DB_SERVICE_PORT_SQL", "3306"),
            ("MY_DB_PORT_3306_TCP", "tcp://10.96.0.7:3306"),
            ("MY_DB_PORT_3306_TCP_PROTO", "tcp"),
            ("MY_DB_PORT_3306_TCP_PORT", "3306"),
            ("MY_DB_PORT_3306_TCP_ADDR", "10.96.0.7"),
            ("MY_DB_SERVICE_PORT_DNS_UDP", "53"),
            ("MY_DB_PORT_53_UDP", "udp://10.96.0.7:53"),
            ("MY_DB_PORT_53_UDP_PROTO", "udp"),
            ("MY_DB_PORT_53_UDP_PORT", "53"),
            ("MY_DB_PORT_53_UDP_ADDR", "10.96.0.7"),
        ];
        assert_eq!(env, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn only_services_of_the_namespace_with_an_address_and_the_api_count() {
        let port = || json!([{"port": 443}]);
        let all = [
            service("default", "kubernetes", "10.96.0.1", port()),
            service("default", "other", "10.96.0.2", port()),
            service("shop", "web", "10.96.0.3", port()),
            service("shop", "peers", "None", port()),
            service("shop", "pending", "", port()),
        ];
        let hosts = |namespace: &str, links: Value| -> Vec<String> {
            let env = variables(&pod(namespace, links), &all).into_iter();
            env.filter_map(|(name, _)| name.strip_suffix("_SERVICE_HOST").map(str::to_owned)).collect()
        };
        assert_eq!(hosts("shop", Value::Null), ["KUBERNETES", "WEB"]);
        assert_eq!(hosts("shop", json!(false)), ["KUBERNETES"]);
        assert_eq!(hosts("default", json!(true)), ["KUBERNETES", "OTHER"]);
        let own = service("shop", "kubernetes", "10.96.0.9", port());
        let env = variables(&pod("shop", Value::Null), &[own, all[0].clone()]);
        assert!(env.contains(&("KUBERNETES_SERVICE_HOST".into(), "10.96.0.9".into())), "the pod's own namespace wins");
    }
}
