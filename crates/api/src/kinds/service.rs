//! `v1 Service`.

use k8s_openapi::{api::core::v1::ServiceSpec, apimachinery::pkg::util::intstr::IntOrString};

pub use k8s_openapi::api::core::v1::Service;

use crate::{Column, FieldError};

/// The `clusterIP` of a service without an address of its own.
pub const HEADLESS: &str = "None";

kubernetes_kind!(Service, plural: "services", singular: "service", scope: Namespaced {
    const FIELDS: &'static crate::fields::Shape = &crate::fields::SERVICE;
    const SHORT_NAMES: &'static [&'static str] = &["svc"];
    const CATEGORIES: &'static [&'static str] = &["all"];
    const HAS_STATUS: bool = true;

    fn apply_defaults(&mut self) {
        let spec = self.spec.get_or_insert_default();
        spec.type_.get_or_insert_with(|| "ClusterIP".into());
        spec.session_affinity.get_or_insert_with(|| "None".into());
        for port in spec.ports.iter_mut().flatten() {
            port.protocol.get_or_insert_with(|| "TCP".into());
            port.target_port.get_or_insert(IntOrString::Int(port.port));
        }
        if let Some(address) = spec.cluster_ip.as_ref().filter(|address| !address.is_empty()) {
            spec.cluster_ips = Some(vec![address.clone()]);
        }
    }

    fn validate(&self, old: Option<&Self>) -> Vec<FieldError> {
        let Some(spec) = &self.spec else { return Vec::new() };
        let mut errors = Vec::new();
        if !matches!(spec.type_.as_deref(), None | Some("ClusterIP")) {
            errors.push(FieldError::not_supported("spec.type", "only ClusterIP (with or without clusterIP: None) is served; publish a port with hostPort"));
        }
        let ports = spec.ports.as_deref().unwrap_or_default();
        if ports.is_empty() && spec.cluster_ip.as_deref() != Some(HEADLESS) {
            errors.push(FieldError::required("spec.ports", "at least one port is needed"));
        }
        for (index, port) in ports.iter().enumerate() {
            if !(1..=65_535).contains(&port.port) {
                errors.push(FieldError::invalid(format!("spec.ports[{index}].port"), "must be between 1 and 65535"));
            }
            if ports.len() > 1 && port.name.as_deref().unwrap_or_default().is_empty() {
                errors.push(FieldError::required(format!("spec.ports[{index}].name"), "every port of several needs a name"));
            }
        }
        let before = old.and_then(|old| old.spec.as_ref()).and_then(|spec| spec.cluster_ip.as_ref());
        if before.is_some_and(|before| !before.is_empty() && spec.cluster_ip.as_ref() != Some(before)) {
            errors.push(FieldError::immutable("spec.clusterIP"));
        }
        errors
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::text("Type", "How the service is reached", |s: &Self, _| spec(s, |s| s.type_.clone()).into()),
            Column::text("Cluster-IP", "Address inside the cluster", |s: &Self, _| spec(s, |s| s.cluster_ip.clone()).into()),
            Column::text("Port(s)", "Ports and protocols", |s: &Self, _| ports(s).into()),
            Column::text("Selector", "Labels of the pods behind it", |s: &Self, _| selector(s).into()).wide(),
        ]
    }

    fn selectable_fields(&self) -> Vec<(&'static str, String)> {
        vec![("spec.clusterIP", spec(self, |s| s.cluster_ip.clone())), ("spec.type", spec(self, |s| s.type_.clone()))]
    }
});

fn spec(service: &Service, field: fn(&ServiceSpec) -> Option<String>) -> String {
    service.spec.as_ref().and_then(field).unwrap_or_else(|| "<none>".into())
}

fn ports(service: &Service) -> String {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let text: Vec<_> =
        ports.map(|port| format!("{}/{}", port.port, port.protocol.as_deref().unwrap_or("TCP"))).collect();
    if text.is_empty() { "<none>".into() } else { text.join(",") }
}

fn selector(service: &Service) -> String {
    let labels = service.spec.iter().flat_map(|spec| spec.selector.iter().flatten());
    labels.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}
