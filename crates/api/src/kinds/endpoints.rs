//! `v1 Endpoints`: the addresses behind a service, in the form that Kubernetes replaced by `EndpointSlice`.

use std::{fmt::Display, net::IpAddr};

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset};

pub use k8s_openapi::api::core::v1::Endpoints;

use crate::{
    Column, FieldError,
    meta::{is_dns_label, is_dns_subdomain, is_qualified_name},
};

/// Most addresses of one object, as Kubernetes' controller writes it.
pub const ADDRESSES_MAX: usize = 1_000;
/// Most items that a cell of a table names.
const SHOWN_MAX: usize = 3;

kubernetes_kind!(Endpoints, plural: "endpoints", singular: "endpoints", scope: Namespaced {
    const FIELDS: &'static crate::fields::Shape = &crate::fields::ENDPOINTS;
    const SHORT_NAMES: &'static [&'static str] = &["ep"];

    fn apply_defaults(&mut self) {
        let ports = self.subsets.iter_mut().flatten().flat_map(|subset| subset.ports.iter_mut().flatten());
        ports.for_each(|port| {
            port.protocol.get_or_insert_with(|| "TCP".into());
        });
    }

    fn validate(&self, _old: Option<&Self>) -> Vec<FieldError> {
        let subsets = self.subsets.iter().flatten().enumerate();
        subsets.flat_map(|(index, subset)| subset_errors(subset, &format!("subsets[{index}]"))).collect()
    }

    fn columns() -> Vec<Column<Self>> {
        vec![Column::text("Endpoints", "Addresses and ports that are ready", |e: &Self, _| shown(e).into())]
    }
});

fn subset_errors(subset: &EndpointSubset, field: &str) -> Vec<FieldError> {
    let (ready, other) = (subset.addresses.as_deref(), subset.not_ready_addresses.as_deref());
    let lists = [("addresses", ready.unwrap_or_default()), ("notReadyAddresses", other.unwrap_or_default())];
    let mut errors = Vec::new();
    if lists.iter().all(|(_, list)| list.is_empty()) {
        errors.push(FieldError::required(field, "must specify `addresses` or `notReadyAddresses`"));
    }
    for (name, list) in lists {
        let each = list.iter().enumerate();
        errors.extend(each.flat_map(|(index, address)| address_errors(address, &format!("{field}.{name}[{index}]"))));
    }
    let ports = subset.ports.as_deref().unwrap_or_default();
    for (index, port) in ports.iter().enumerate() {
        errors.extend(port_errors(port, ports.len() > 1, &format!("{field}.ports[{index}]")));
    }
    errors
}

fn address_errors(address: &EndpointAddress, field: &str) -> Vec<FieldError> {
    let mut errors = ip_errors(&address.ip, &format!("{field}.ip"));
    errors.extend(place_errors(address.hostname.as_deref(), address.node_name.as_deref(), field));
    errors
}

fn port_errors(port: &EndpointPort, needs_name: bool, field: &str) -> Vec<FieldError> {
    let name = port.name.as_deref().unwrap_or_default();
    let mut errors = Vec::new();
    if needs_name && name.is_empty() {
        errors.push(FieldError::required(format!("{field}.name"), "every port of several needs a name"));
    }
    errors.extend(port_name_error(name, field));
    errors.extend(port_number_error(port.port, field));
    errors.extend(protocol_errors(port.protocol.as_deref(), port.app_protocol.as_deref(), field));
    errors
}

/// What is wrong with the text of an address that connections are sent to.
pub(super) fn ip_errors(text: &str, field: &str) -> Vec<FieldError> {
    let refuse = |message: &str| vec![FieldError::invalid(field, message)];
    match text.parse::<IpAddr>() {
        Err(_) => refuse("must be a valid IP address, such as 10.9.8.7 or 2001:db8::ffff"),
        Ok(address) if address.is_unspecified() => refuse("may not be unspecified (0.0.0.0 or ::)"),
        Ok(address) if address.is_loopback() => refuse("may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        Ok(address) if is_link_local(address) => {
            refuse("may not be in a link-local range (169.254.0.0/16, fe80::/10, 224.0.0.0/24, ff02::/16)")
        }
        Ok(_) => Vec::new(),
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local() || matches!(address.octets(), [224, 0, 0, _]),
        IpAddr::V6(address) => address.is_unicast_link_local() || address.segments()[0] == 0xff02,
    }
}

/// What is wrong with the host name and the node of an address.
pub(super) fn place_errors(hostname: Option<&str>, node: Option<&str>, field: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if hostname.is_some_and(|name| !name.is_empty() && !is_dns_label(name)) {
        let message = "must be lower-case letters, digits or '-' (RFC 1123 label)";
        errors.push(FieldError::invalid(format!("{field}.hostname"), message));
    }
    if node.is_some_and(|name| !is_dns_subdomain(name)) {
        errors
            .push(FieldError::invalid(format!("{field}.nodeName"), "must be the name of a node (RFC 1123 subdomain)"));
    }
    errors
}

/// What is wrong with the name of a port.
pub(super) fn port_name_error(name: &str, field: &str) -> Option<FieldError> {
    let message = "must be lower-case letters, digits or '-' (RFC 1123 label)";
    (!name.is_empty() && !is_dns_label(name)).then(|| FieldError::invalid(format!("{field}.name"), message))
}

/// What is wrong with the number of a port.
pub(super) fn port_number_error(number: i32, field: &str) -> Option<FieldError> {
    let fits = (1..=65_535).contains(&number);
    (!fits).then(|| FieldError::invalid(format!("{field}.port"), "must be between 1 and 65535"))
}

/// What is wrong with the protocols of a port.
pub(super) fn protocol_errors(protocol: Option<&str>, application: Option<&str>, field: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    match protocol {
        Some("TCP" | "UDP" | "SCTP") => {}
        None | Some("") => errors.push(FieldError::required(format!("{field}.protocol"), "must be TCP, UDP or SCTP")),
        Some(_) => errors.push(FieldError::not_supported(format!("{field}.protocol"), "must be TCP, UDP or SCTP")),
    }
    if application.is_some_and(|name| !is_qualified_name(name)) {
        let message = "must be [prefix/]name of letters, digits, '-', '_' or '.'";
        errors.push(FieldError::invalid(format!("{field}.appProtocol"), message));
    }
    errors
}

/// The first items of a list for a cell, and how many more there are.
pub(super) fn first_few<T: Display>(items: impl IntoIterator<Item = T>, none: &str) -> String {
    let (mut list, mut count) = (Vec::new(), 0);
    for item in items {
        count += 1;
        if count <= SHOWN_MAX {
            list.push(item.to_string());
        }
    }
    match count {
        0 => none.to_owned(),
        count if count > SHOWN_MAX => format!("{} + {} more...", list.join(","), count - SHOWN_MAX),
        _ => list.join(","),
    }
}

fn shown(endpoints: &Endpoints) -> String {
    let none = if endpoints.subsets.iter().flatten().next().is_none() { "<none>" } else { "" };
    let of_subset = |subset: &EndpointSubset| -> Vec<String> {
        let ips = || subset.addresses.iter().flatten().map(|address| address.ip.as_str());
        let ports = subset.ports.as_deref().unwrap_or_default();
        let with_port = |port: i32| {
            move |ip: &str| if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
        };
        match ports {
            [] => ips().map(str::to_owned).collect(),
            ports => ports.iter().flat_map(|port| ips().map(with_port(port.port))).collect(),
        }
    };
    first_few(endpoints.subsets.iter().flatten().flat_map(of_subset), none)
}
