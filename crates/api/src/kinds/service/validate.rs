//! What a service may be.

use std::{collections::BTreeSet, net::IpAddr};

use k8s_openapi::{
    api::core::v1::{ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use crate::{
    FieldError,
    meta::{is_dns_label, is_port_name, is_qualified_name, label_errors},
};

/// The `clusterIP` of a service without an address of its own.
pub const HEADLESS: &str = "None";
/// Most ports of one service: each is a set of rules in the kernel of every node.
pub const PORTS_MAX: usize = 1_000;
/// Longest time for which a client stays with its pod: a day, as in Kubernetes.
const AFFINITY_SECONDS_MAX: i32 = 86_400;
/// Where connections may go first, as Kubernetes knows it.
const DISTRIBUTIONS: [&str; 3] = ["PreferClose", "PreferSameZone", "PreferSameNode"];

/// What is wrong with the spec of a service.
pub(super) fn spec_errors(spec: &ServiceSpec) -> Vec<FieldError> {
    if spec.type_.as_deref().is_some_and(|kind| kind != "ClusterIP") {
        let message = "only ClusterIP (with or without clusterIP: None) is served; publish a port with hostPort";
        return vec![FieldError::not_supported("spec.type", message)];
    }
    let mut errors = port_list_errors(spec);
    errors.extend(spec.selector.iter().flat_map(|labels| label_errors(labels, "spec.selector")));
    errors.extend(affinity_errors(spec));
    errors.extend(address_errors(spec));
    errors.extend(family_errors(spec));
    if spec.traffic_distribution.as_deref().is_some_and(|text| !DISTRIBUTIONS.contains(&text)) {
        let message = format!("must be {}", DISTRIBUTIONS.join(", "));
        errors.push(FieldError::not_supported("spec.trafficDistribution", message));
    }
    let inside = spec.internal_traffic_policy.as_deref();
    if inside.is_some_and(|text| !matches!(text, "Cluster" | "Local")) {
        errors.push(FieldError::not_supported("spec.internalTrafficPolicy", "must be Cluster or Local"));
    }
    errors
}

fn port_list_errors(spec: &ServiceSpec) -> Vec<FieldError> {
    let ports = spec.ports.as_deref().unwrap_or_default();
    let mut errors = Vec::new();
    if ports.is_empty() && spec.cluster_ip.as_deref() != Some(HEADLESS) {
        errors.push(FieldError::required("spec.ports", "at least one port is needed"));
    }
    if ports.len() > PORTS_MAX {
        errors.push(FieldError::too_many("spec.ports", ports.len(), PORTS_MAX));
        return errors;
    }
    let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for (index, port) in ports.iter().enumerate() {
        let field = format!("spec.ports[{index}]");
        let name = port.name.as_deref().unwrap_or_default();
        errors.extend(port_errors(port, &field));
        if name.is_empty() && ports.len() > 1 {
            errors.push(FieldError::required(format!("{field}.name"), "every port of several needs a name"));
        }
        if !name.is_empty() && !names.insert(name) {
            errors.push(FieldError::duplicate(format!("{field}.name"), format!("{name:?} names another port already")));
        }
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        if !numbers.insert((protocol, port.port)) {
            let message = format!("port {} of {protocol} is another item's already", port.port);
            errors.push(FieldError::duplicate(field, message));
        }
    }
    errors
}

fn port_errors(port: &ServicePort, field: &str) -> Vec<FieldError> {
    const NUMBER: &str = "must be between 1 and 65535";
    let is_number = |number: i32| (1..=65_535).contains(&number);
    let at = |name: &str| format!("{field}.{name}");
    let mut errors = Vec::new();
    if port.name.as_deref().is_some_and(|name| !name.is_empty() && !is_dns_label(name)) {
        errors.push(FieldError::invalid(at("name"), "must be lower-case letters, digits or '-' (RFC 1123 label)"));
    }
    if !is_number(port.port) {
        errors.push(FieldError::invalid(at("port"), NUMBER));
    }
    if !matches!(port.protocol.as_deref(), None | Some("TCP" | "UDP" | "SCTP")) {
        errors.push(FieldError::not_supported(at("protocol"), "must be TCP, UDP or SCTP"));
    }
    match &port.target_port {
        Some(IntOrString::Int(number)) if !is_number(*number) => {
            errors.push(FieldError::invalid(at("targetPort"), NUMBER));
        }
        Some(IntOrString::String(name)) if !is_port_name(name) => {
            let message = "must be a number, or the name of a port: at most 15 lower-case letters, digits or '-', and \
                           a letter among them";
            errors.push(FieldError::invalid(at("targetPort"), message));
        }
        _ => {}
    }
    if port.app_protocol.as_deref().is_some_and(|name| !is_qualified_name(name)) {
        let message = "must be [prefix/]name of letters, digits, '-', '_' or '.'";
        errors.push(FieldError::invalid(at("appProtocol"), message));
    }
    errors
}

fn affinity_errors(spec: &ServiceSpec) -> Vec<FieldError> {
    let seconds = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref()?.timeout_seconds);
    let mut errors = Vec::new();
    if !matches!(spec.session_affinity.as_deref(), None | Some("None" | "ClientIP")) {
        errors.push(FieldError::not_supported("spec.sessionAffinity", "must be None or ClientIP"));
    }
    if seconds.is_some_and(|seconds| !(1..=AFFINITY_SECONDS_MAX).contains(&seconds)) {
        let field = "spec.sessionAffinityConfig.clientIP.timeoutSeconds";
        errors.push(FieldError::invalid(field, format!("must be between 1 and {AFFINITY_SECONDS_MAX}")));
    }
    errors
}

fn address_errors(spec: &ServiceSpec) -> Vec<FieldError> {
    let own = spec.cluster_ip.as_deref().unwrap_or_default();
    let all = spec.cluster_ips.as_deref().unwrap_or_default();
    match all {
        [] => Vec::new(),
        [_] if own.is_empty() => {
            vec![FieldError::invalid("spec.clusterIPs", "must be empty when clusterIP is not set")]
        }
        [first] if first != own => vec![FieldError::invalid("spec.clusterIPs", "the first must be clusterIP")],
        [first] if first != HEADLESS && first.parse::<IpAddr>().is_err() => {
            vec![FieldError::invalid("spec.clusterIPs[0]", "must be None or an IP address")]
        }
        [_] => Vec::new(),
        _ => vec![FieldError::invalid("spec.clusterIPs", "services have one address, of IPv4")],
    }
}

/// Services have IPv4 addresses alone. What is headless and finds its pods by itself has none, and may say anything.
fn family_errors(spec: &ServiceSpec) -> Vec<FieldError> {
    let families = spec.ip_families.as_deref().unwrap_or_default();
    let free = spec.cluster_ip.as_deref() == Some(HEADLESS) && spec.selector.iter().flatten().next().is_none();
    let mut errors = Vec::new();
    for (index, family) in families.iter().enumerate() {
        let field = format!("spec.ipFamilies[{index}]");
        match family.as_str() {
            _ if families[..index].contains(family) => {
                errors.push(FieldError::duplicate(field, format!("{family:?} is there already")));
            }
            "IPv4" => {}
            "IPv6" if free => {}
            "IPv6" => errors.push(FieldError::invalid(field, "this cluster has no IPv6: use IPv4")),
            _ => errors.push(FieldError::not_supported(field, "must be IPv4 or IPv6")),
        }
    }
    match spec.ip_family_policy.as_deref() {
        None | Some("SingleStack" | "PreferDualStack") => {}
        Some("RequireDualStack") if free => {}
        Some("RequireDualStack") => {
            errors.push(FieldError::invalid("spec.ipFamilyPolicy", "this cluster is not dual-stack: use SingleStack"));
        }
        Some(_) => errors.push(FieldError::not_supported(
            "spec.ipFamilyPolicy",
            "must be SingleStack, PreferDualStack or RequireDualStack",
        )),
    }
    errors
}
