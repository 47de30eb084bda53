//! Ports of containers, and what the containers of a pod share of the host's.

use std::{collections::BTreeSet, net::Ipv4Addr};

use k8s_openapi::api::core::v1::{Container, ContainerPort, PodSpec};

use super::rules::{Errors, one_of, port_name, port_number, text, unless};
use crate::{FieldError, Path};

/// Protocols of ports.
pub(super) const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];

/// Checks the ports of one container.
pub(super) fn check(container: &Container, path: &Path<'_>) -> Errors {
    let list = path.field("ports");
    let mut names = BTreeSet::new();
    let mut errors = Errors::new();
    for (index, port) in container.ports.iter().flatten().enumerate() {
        let path = list.index(index);
        if let Some(name) = text(&port.name) {
            errors.extend(port_name(name, path.field("name")));
            errors.extend(unless(names.insert(name), || {
                FieldError::duplicate(path.field("name"), format!("{name:?} is the name of another port"))
            }));
        }
        errors.extend(one(port, &path));
    }
    errors
}

fn one(port: &ContainerPort, path: &Path<'_>) -> Errors {
    let mut errors = match port.container_port {
        0 => vec![FieldError::required(path.field("containerPort"), "say which port, from 1 to 65535")],
        number => port_number(number, path.field("containerPort")),
    };
    if let Some(number) = port.host_port.filter(|number| *number != 0) {
        errors.extend(port_number(number, path.field("hostPort")));
    }
    errors.extend(one_of(&port.protocol, &PROTOCOLS, path.field("protocol")));
    if let Some(address) = text(&port.host_ip) {
        errors.extend(unless(address.parse::<Ipv4Addr>().is_ok(), || {
            let message = format!("{address:?} must be an IPv4 address of the host, such as 127.0.0.1");
            FieldError::invalid(path.field("hostIP"), message)
        }));
    }
    errors
}

/// Checks what the containers take of the host: a port once, and under its own number in the host's network.
pub(super) fn check_host(spec: &PodSpec, path: &Path<'_>) -> Errors {
    let containers = path.field("containers");
    let mut taken = BTreeSet::new();
    let mut errors = Errors::new();
    for (index, container) in spec.containers.iter().enumerate() {
        let path = containers.index(index);
        let list = path.field("ports");
        for (index, port) in container.ports.iter().flatten().enumerate() {
            let path = list.index(index);
            let number = port.host_port.unwrap_or(0);
            if spec.host_network == Some(true) && number != port.container_port {
                let message = "must be the same as hostPort, as the pod is in the host's network";
                errors.push(FieldError::invalid(path.field("containerPort"), message));
            }
            let address = text(&port.host_ip).filter(|address| *address != "0.0.0.0");
            let claim = (port.protocol.as_deref().unwrap_or("TCP"), address, number);
            if number != 0 && !taken.insert(claim) {
                errors
                    .push(FieldError::duplicate(path.field("hostPort"), format!("{number} is taken by another port")));
            }
        }
    }
    errors
}
