//! `v1 Node`.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{NodeSpec, NodeStatus, Taint};

pub use k8s_openapi::api::core::v1::Node;

use crate::{
    Column, FieldError,
    meta::{is_label_value, is_qualified_name},
    names::label::NODE_ROLE_PREFIX,
    quantity,
};

/// Most taints of one node.
const TAINTS_MAX: usize = 256;

/// Reason of a pod's `Ready` condition that is not its kubelet's word: the node does not answer.
pub const NODE_NOT_READY: &str = "NodeNotReady";

kubernetes_kind!(Node, plural: "nodes", singular: "node", scope: Cluster {
    const FIELDS: &'static crate::fields::Shape = &crate::fields::NODE;
    const SHORT_NAMES: &'static [&'static str] = &["no"];
    const HAS_STATUS: bool = true;

    fn validate(&self, old: Option<&Self>) -> Vec<FieldError> {
        let mut errors: Vec<_> = self.spec.iter().flat_map(spec_errors).collect();
        errors.extend(self.status.iter().flat_map(status_errors));
        let spec = self.spec.clone().unwrap_or_default();
        if let Some(before) = old.and_then(|old| old.spec.as_ref()) {
            let given = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
            if given(&before.pod_cidr) && before.pod_cidr != spec.pod_cidr {
                errors.push(FieldError::forbidden("spec.podCIDRs", "is set once"));
            }
            if given(&before.provider_id) && before.provider_id != spec.provider_id {
                errors.push(FieldError::forbidden("spec.providerID", "is set once"));
            }
        }
        errors
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::text("Status", "Whether the node takes and runs pods", |node: &Self, _| status(node).into()),
            Column::text("Roles", "What the node is for", |node: &Self, _| roles(node).into()),
            Column::text("Version", "Version of nanocloud on the node", |node: &Self, _| info(node, |i| &i.kubelet_version).into()),
            Column::text("Internal-IP", "Address inside the cluster", |node: &Self, _| address(node, "InternalIP").into()).wide(),
            Column::text("OS-Image", "Operating system", |node: &Self, _| info(node, |i| &i.os_image).into()).wide(),
            Column::text("Kernel-Version", "Kernel", |node: &Self, _| info(node, |i| &i.kernel_version).into()).wide(),
            Column::text("Container-Runtime", "Container runtime", |node: &Self, _| info(node, |i| &i.container_runtime_version).into()).wide(),
        ]
    }

    fn selectable_fields(&self) -> Vec<(&'static str, String)> {
        let unschedulable = self.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or_default();
        vec![("spec.unschedulable", unschedulable.to_string())]
    }
});

fn status(node: &Node) -> String {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.filter(|condition| condition.type_ == "Ready").any(|condition| condition.status == "True");
    let cordoned = node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or_default();
    format!("{}{}", if ready { "Ready" } else { "NotReady" }, if cordoned { ",SchedulingDisabled" } else { "" })
}

fn roles(node: &Node) -> String {
    let labels = node.metadata.labels.iter().flatten();
    let roles: Vec<_> = labels.filter_map(|(key, _)| key.strip_prefix(NODE_ROLE_PREFIX)).collect();
    if roles.is_empty() { "<none>".into() } else { roles.join(",") }
}

fn address(node: &Node, wanted: &str) -> String {
    let addresses = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
    addresses
        .filter(|address| address.type_ == wanted)
        .map(|address| address.address.clone())
        .next()
        .unwrap_or_else(|| "<none>".into())
}

fn info(node: &Node, field: fn(&k8s_openapi::api::core::v1::NodeSystemInfo) -> &String) -> String {
    node.status
        .as_ref()
        .and_then(|status| status.node_info.as_ref())
        .map(|info| field(info).clone())
        .unwrap_or_default()
}

fn spec_errors(spec: &NodeSpec) -> Vec<FieldError> {
    let taints = spec.taints.as_deref().unwrap_or_default();
    let mut errors = taint_errors(taints);
    let (first, all) = (spec.pod_cidr.as_deref().unwrap_or_default(), spec.pod_cidrs.as_deref().unwrap_or_default());
    if !first.is_empty() && all.first().is_some_and(|other| other != first) {
        errors.push(FieldError::invalid("spec.podCIDRs", "the first must be podCIDR"));
    }
    let ranges = if all.is_empty() { vec![first] } else { all.iter().map(String::as_str).collect() };
    let odd = ranges.into_iter().enumerate().filter(|(_, range)| !range.is_empty() && !is_cidr(range));
    errors.extend(odd.map(|(index, _)| {
        FieldError::invalid(format!("spec.podCIDRs[{index}]"), "must be a range of addresses such as 10.244.0.0/24")
    }));
    errors
}

fn is_cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    let Ok(address) = address.parse::<std::net::IpAddr>() else { return false };
    let plain = !bits.is_empty() && bits.len() <= 3 && bits.bytes().all(|b| b.is_ascii_digit());
    plain && bits.parse::<u8>().is_ok_and(|bits| bits <= if address.is_ipv4() { 32 } else { 128 })
}

fn taint_errors(taints: &[Taint]) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if taints.len() > TAINTS_MAX {
        errors.push(FieldError::too_many("spec.taints", taints.len(), TAINTS_MAX));
    }
    let mut seen = BTreeSet::new();
    for (index, taint) in taints.iter().enumerate() {
        let field = format!("spec.taints[{index}]");
        if !is_qualified_name(&taint.key) {
            let message = "must be [prefix/]name of letters, digits, '-', '_' or '.'";
            errors.push(FieldError::invalid(format!("{field}.key"), message));
        }
        if !is_label_value(taint.value.as_deref().unwrap_or_default()) {
            let message = "must be at most 63 letters, digits, '-', '_' or '.'";
            errors.push(FieldError::invalid(format!("{field}.value"), message));
        }
        match taint.effect.as_str() {
            "NoSchedule" | "PreferNoSchedule" | "NoExecute" => {}
            "" => errors.push(FieldError::required(format!("{field}.effect"), "say what the taint does")),
            _ => errors.push(FieldError::not_supported(
                format!("{field}.effect"),
                "must be NoSchedule, PreferNoSchedule or NoExecute",
            )),
        }
        if !seen.insert((taint.key.as_str(), taint.effect.as_str())) {
            errors.push(FieldError::duplicate(field, "taints are told apart by key and effect"));
        }
    }
    errors
}

fn status_errors(status: &NodeStatus) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut seen = BTreeSet::new();
    for (index, address) in status.addresses.iter().flatten().enumerate() {
        if !seen.insert((&address.type_, &address.address)) {
            errors.push(FieldError::duplicate(format!("status.addresses[{index}]"), "the address is there already"));
        }
    }
    for (list, amounts) in [("capacity", &status.capacity), ("allocatable", &status.allocatable)] {
        for (name, amount) in amounts.iter().flatten() {
            if let Err(error) = quantity::units(&amount.0) {
                errors.push(FieldError::invalid(format!("status.{list}[{name}]"), error.to_string()));
            }
        }
    }
    errors
}
