//! `v1 Service`.

mod backend;
mod validate;

use k8s_openapi::{
    api::core::v1::{ClientIPConfig, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

pub use k8s_openapi::api::core::v1::Service;

pub use self::{
    backend::{pod_selector, publishes_unready, target_port},
    validate::HEADLESS,
};

use crate::{Column, FieldError, meta::NameRule};

/// Seconds for which a client stays with its pod when the service does not say, as in Kubernetes.
pub const AFFINITY_SECONDS: i32 = 10_800;

kubernetes_kind!(Service, plural: "services", singular: "service", scope: Namespaced {
    const FIELDS: &'static crate::fields::Shape = &crate::fields::SERVICE;
    const SHORT_NAMES: &'static [&'static str] = &["svc"];
    const SHOWN_WHEN_DELETED: bool = true;
    const CATEGORIES: &'static [&'static str] = &["all"];
    const HAS_STATUS: bool = true;
    const NAMES: NameRule = NameRule::Label;

    fn apply_defaults(&mut self) {
        default_spec(self.spec.get_or_insert_default());
        self.status.get_or_insert_default().load_balancer.get_or_insert_default();
    }

    fn validate(&self, old: Option<&Self>) -> Vec<FieldError> {
        let mut errors = match &self.spec {
            Some(spec) => validate::spec_errors(spec),
            None => vec![FieldError::required("spec", "a service needs a spec")],
        };
        let before = old.and_then(|old| old.spec.as_ref()).and_then(|spec| spec.cluster_ip.as_deref());
        let now = self.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref());
        if before.is_some_and(|before| !before.is_empty() && now != Some(before)) {
            errors.push(FieldError::invalid("spec.clusterIPs[0]", "may not change once set: delete the service and create it again"));
        }
        let balanced = self.status.iter().filter_map(|status| status.load_balancer.as_ref()?.ingress.as_ref());
        if balanced.flatten().next().is_some() {
            errors.push(FieldError::forbidden("status.loadBalancer.ingress", "only services of type LoadBalancer have it, which are not served"));
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

fn default_spec(spec: &mut ServiceSpec) {
    spec.type_.get_or_insert_with(|| "ClusterIP".into());
    let sticky = spec.session_affinity.get_or_insert_with(|| "None".into()) == "ClientIP";
    if sticky {
        let config = spec.session_affinity_config.get_or_insert_default();
        let client: &mut ClientIPConfig = config.client_ip.get_or_insert_default();
        client.timeout_seconds.get_or_insert(AFFINITY_SECONDS);
    } else {
        spec.session_affinity_config = None;
    }
    for port in spec.ports.iter_mut().flatten() {
        port.protocol.get_or_insert_with(|| "TCP".into());
        if matches!(&port.target_port, None | Some(IntOrString::Int(0))) {
            port.target_port = Some(IntOrString::Int(port.port));
        }
    }
    let own = spec.cluster_ips.as_deref().unwrap_or_default();
    if let Some(address) = spec.cluster_ip.as_ref().filter(|address| !address.is_empty() && own.is_empty()) {
        spec.cluster_ips = Some(vec![address.clone()]);
    }
    if spec.type_.as_deref() == Some("ClusterIP") {
        spec.internal_traffic_policy.get_or_insert_with(|| "Cluster".into());
        spec.ip_family_policy.get_or_insert_with(|| "SingleStack".into());
        spec.ip_families.get_or_insert_with(|| vec!["IPv4".into()]);
    }
}
