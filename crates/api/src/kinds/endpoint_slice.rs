//! `discovery.k8s.io/v1 EndpointSlice`: some of the addresses behind a service, with their ports.

use std::{collections::BTreeSet, net::IpAddr};

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointHints, EndpointPort};

pub use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::endpoints::{first_few, ip_errors, place_errors, port_name_error, port_number_error, protocol_errors};
use crate::{
    Column, FieldError,
    meta::{is_dns_subdomain, label_errors},
};

/// `addressType` of IPv4 addresses.
pub const IPV4: &str = "IPv4";
/// `addressType` of IPv6 addresses.
pub const IPV6: &str = "IPv6";
/// `addressType` of host names, which nothing in a cluster connects to.
const FQDN: &str = "FQDN";

/// Most endpoints of a slice.
const ENDPOINTS_MAX: usize = 1_000;
/// Most addresses of one endpoint.
const ADDRESSES_MAX: usize = 100;
/// Most ports of a slice.
const PORTS_MAX: usize = 20_000;
/// Most labels of where an endpoint is.
const TOPOLOGY_MAX: usize = 16;
/// Most zones or nodes in the hints of an endpoint.
const HINTS_MAX: usize = 8;

kubernetes_kind!(EndpointSlice, plural: "endpointslices", singular: "endpointslice", scope: Namespaced {
    const FIELDS: &'static crate::fields::Shape = &crate::fields::ENDPOINT_SLICE;

    fn apply_defaults(&mut self) {
        // A list that is left out is an empty one, as typed clients read it.
        self.endpoints.get_or_insert_default();
        for port in self.ports.iter_mut().flatten() {
            port.name.get_or_insert_default();
            port.protocol.get_or_insert_with(|| "TCP".into());
        }
    }

    fn validate(&self, old: Option<&Self>) -> Vec<FieldError> {
        let mut errors = Vec::new();
        match self.address_type.as_str() {
            "" => errors.push(FieldError::required("addressType", "must be IPv4, IPv6 or FQDN")),
            IPV4 | IPV6 | FQDN => {}
            _ => errors.push(FieldError::not_supported("addressType", "must be IPv4, IPv6 or FQDN")),
        }
        if old.is_some_and(|old| old.address_type != self.address_type) {
            errors.push(FieldError::invalid("addressType", "field is immutable"));
        }
        errors.extend(endpoint_list_errors(self.endpoints.as_deref().unwrap_or_default(), &self.address_type));
        errors.extend(port_list_errors(self.ports.as_deref().unwrap_or_default()));
        errors
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::text("AddressType", "Type of the addresses", |s: &Self, _| s.address_type.clone().into()),
            Column::text("Ports", "Ports of the endpoints", |s: &Self, _| {
                first_few(s.ports.iter().flatten().map(port_shown), UNSET).into()
            }),
            Column::text("Endpoints", "Addresses of the endpoints", |s: &Self, _| {
                first_few(s.endpoints.iter().flatten().flat_map(|endpoint| &endpoint.addresses), UNSET).into()
            }),
        ]
    }
});

/// What a cell shows for an empty list.
const UNSET: &str = "<unset>";

fn port_shown(port: &EndpointPort) -> String {
    port.port.map_or_else(|| "*".to_owned(), |number| number.to_string())
}

fn endpoint_list_errors(endpoints: &[Endpoint], address_type: &str) -> Vec<FieldError> {
    if endpoints.len() > ENDPOINTS_MAX {
        return vec![FieldError::too_many("endpoints", endpoints.len(), ENDPOINTS_MAX)];
    }
    let each = endpoints.iter().enumerate();
    each.flat_map(|(index, endpoint)| endpoint_errors(endpoint, address_type, &format!("endpoints[{index}]"))).collect()
}

fn endpoint_errors(endpoint: &Endpoint, address_type: &str, field: &str) -> Vec<FieldError> {
    let list = format!("{field}.addresses");
    let mut errors = match endpoint.addresses.len() {
        0 => vec![FieldError::required(&list, "must contain at least 1 address")],
        1..=ADDRESSES_MAX => Vec::new(),
        count => vec![FieldError::too_many(&list, count, ADDRESSES_MAX)],
    };
    for (index, address) in endpoint.addresses.iter().take(ADDRESSES_MAX).enumerate() {
        errors.extend(address_errors(address, address_type, &format!("{list}[{index}]")));
    }
    errors.extend(place_errors(endpoint.hostname.as_deref(), endpoint.node_name.as_deref(), field));
    if let Some(topology) = &endpoint.deprecated_topology {
        let field = format!("{field}.deprecatedTopology");
        errors.extend(label_errors(topology, &field));
        if topology.len() > TOPOLOGY_MAX {
            errors.push(FieldError::too_many(field, topology.len(), TOPOLOGY_MAX));
        }
    }
    errors.extend(endpoint.hints.iter().flat_map(|hints| hint_errors(hints, &format!("{field}.hints"))));
    errors
}

fn address_errors(address: &str, address_type: &str, field: &str) -> Vec<FieldError> {
    let refuse = |message: &str| vec![FieldError::invalid(field, message)];
    match (address_type, address.parse::<IpAddr>()) {
        (IPV4, Ok(IpAddr::V4(_))) | (IPV6, Ok(IpAddr::V6(_))) => ip_errors(address, field),
        (IPV4, _) => refuse("must be a valid IPv4 address, such as 10.9.8.7"),
        (IPV6, _) => refuse("must be a valid IPv6 address, such as 2001:db8::ffff"),
        (FQDN, _) if !address.contains('.') || !is_dns_subdomain(address.trim_end_matches('.')) => {
            refuse("must be a fully qualified domain name, such as db.example.com")
        }
        _ => Vec::new(),
    }
}

fn hint_errors(hints: &EndpointHints, field: &str) -> Vec<FieldError> {
    let zones = hints.for_zones.iter().flatten().map(|zone| zone.name.as_str()).collect::<Vec<_>>();
    let nodes = hints.for_nodes.iter().flatten().map(|node| node.name.as_str()).collect::<Vec<_>>();
    let mut errors = Vec::new();
    for (list, names) in [("forZones", zones), ("forNodes", nodes)] {
        let field = format!("{field}.{list}");
        if names.len() > HINTS_MAX {
            errors.push(FieldError::too_many(&field, names.len(), HINTS_MAX));
            continue;
        }
        for (index, name) in names.iter().enumerate() {
            let field = format!("{field}[{index}].name");
            if names[..index].contains(name) {
                errors.push(FieldError::duplicate(field, format!("{name:?} is there already")));
            } else if !is_dns_subdomain(name) {
                errors.push(FieldError::invalid(field, "must be lower-case letters, digits, '-' or '.'"));
            }
        }
    }
    errors
}

fn port_list_errors(ports: &[EndpointPort]) -> Vec<FieldError> {
    if ports.len() > PORTS_MAX {
        return vec![FieldError::too_many("ports", ports.len(), PORTS_MAX)];
    }
    let (mut errors, mut names) = (Vec::new(), BTreeSet::new());
    for (index, port) in ports.iter().enumerate() {
        let (field, name) = (format!("ports[{index}]"), port.name.as_deref().unwrap_or_default());
        if !names.insert(name) {
            errors.push(FieldError::duplicate(format!("{field}.name"), format!("{name:?} names another port already")));
        }
        errors.extend(port_name_error(name, &field));
        errors.extend(port.port.and_then(|number| port_number_error(number, &field)));
        errors.extend(protocol_errors(port.protocol.as_deref(), port.app_protocol.as_deref(), &field));
    }
    errors
}
