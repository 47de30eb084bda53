//! `v1 Node`.

pub use k8s_openapi::api::core::v1::Node;

use crate::Column;

kubernetes_kind!(Node, plural: "nodes", singular: "node", scope: Cluster {
    const FIELDS: &'static crate::fields::Shape = &crate::fields::NODE;
    const SHORT_NAMES: &'static [&'static str] = &["no"];
    const HAS_STATUS: bool = true;

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
    let roles: Vec<_> = labels.filter_map(|(key, _)| key.strip_prefix("node-role.kubernetes.io/")).collect();
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
