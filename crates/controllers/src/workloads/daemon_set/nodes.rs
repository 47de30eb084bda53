//! Which nodes run the pods of a daemon set.

use api::{
    kinds::{Node, Pod},
    names::taint,
};
use k8s_openapi::api::core::v1::{
    Affinity, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodSpec, Toleration,
};

use crate::workloads::{
    health,
    scheduler::{admits, readiness, untolerated},
};

/// The one field of a node that `matchFields` may name.
const NAME_FIELD: &str = "metadata.name";

/// Taints that do not keep the pods of daemon sets away, each with its effect.
const TOLERATED: [(&str, &str); 6] = [
    (taint::NOT_READY, "NoExecute"),
    (taint::UNREACHABLE, "NoExecute"),
    (taint::DISK_PRESSURE, "NoSchedule"),
    (taint::MEMORY_PRESSURE, "NoSchedule"),
    (taint::PID_PRESSURE, "NoSchedule"),
    (taint::UNSCHEDULABLE, "NoSchedule"),
];
/// Such a taint for pods in the network of the host.
const NO_NETWORK: (&str, &str) = (taint::NETWORK_UNAVAILABLE, "NoSchedule");

/// What a set wants of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// A pod should be there.
    Run,
    /// No pod should be started there; one that runs may stay.
    Keep,
    /// No pod should be there.
    Leave,
}

/// The spec of the set's pod on a node: bound there by affinity, and tolerating what the node may suffer from.
pub(super) fn spec_on(node: &str, template: &PodSpec) -> PodSpec {
    let mut spec = template.clone();
    let requirement =
        NodeSelectorRequirement { key: NAME_FIELD.into(), operator: "In".into(), values: Some(vec![node.to_owned()]) };
    let affinity = spec.affinity.get_or_insert_with(Affinity::default);
    let affinity = affinity.node_affinity.get_or_insert_with(NodeAffinity::default);
    let required = &mut affinity.required_during_scheduling_ignored_during_execution;
    let terms = &mut required.get_or_insert_with(NodeSelector::default).node_selector_terms;
    if terms.is_empty() {
        terms.push(NodeSelectorTerm::default());
    }
    for term in terms {
        term.match_fields = Some(vec![requirement.clone()]);
    }
    let no_network = (spec.host_network == Some(true)).then_some(NO_NETWORK);
    let tolerations = spec.tolerations.get_or_insert_default();
    for (key, effect) in TOLERATED.into_iter().chain(no_network) {
        let toleration = Toleration {
            key: Some(key.into()),
            operator: Some("Exists".into()),
            effect: Some(effect.into()),
            ..Toleration::default()
        };
        if !tolerations.contains(&toleration) {
            tolerations.push(toleration);
        }
    }
    spec
}

/// The node that a pod of a set is for, whether it is bound yet or not.
pub(super) fn target(pod: &Pod) -> Option<&str> {
    health::node(pod).or_else(|| {
        let affinity = pod.spec.as_ref()?.affinity.as_ref()?.node_affinity.as_ref()?;
        let required = affinity.required_during_scheduling_ignored_during_execution.as_ref()?;
        let fields = required.node_selector_terms.first()?.match_fields.as_ref()?;
        let name = fields.iter().find(|field| field.key == NAME_FIELD && field.operator == "In")?;
        name.values.as_ref()?.first().map(String::as_str)
    })
}

/// What a set whose pods have this spec wants of a node.
pub(super) fn fit(node: &Node, spec: &PodSpec) -> Fit {
    let name = node.metadata.name.as_deref().unwrap_or_default();
    let bound = spec.node_name.as_deref().filter(|bound| !bound.is_empty());
    let on_node = spec_on(name, spec);
    if bound.is_some_and(|bound| bound != name) || !admits(&on_node, node) {
        return Fit::Leave;
    }
    let effects: Vec<&str> = untolerated(&on_node, node).map(|taint| taint.effect.as_str()).collect();
    if effects.contains(&"NoExecute") {
        Fit::Leave
    } else if effects.is_empty() && readiness(node).is_none_or(|ready| ready) {
        Fit::Run
    } else {
        Fit::Keep
    }
}

#[cfg(test)]
mod tests {
    use api::{decode, encode};
    use serde_json::{Value, json};

    use super::*;

    fn node(taints: Value) -> Node {
        decode(json!({"metadata": {"name": "a", "labels": {"disk": "ssd"}}, "spec": {"taints": taints}})).unwrap()
    }

    fn spec(change: Value) -> PodSpec {
        let mut spec = json!({"containers": []});
        for (key, value) in change.as_object().unwrap() {
            spec[key] = value.clone();
        }
        serde_json::from_value(spec).unwrap()
    }

    #[test]
    fn labels_and_taints_choose_the_nodes() {
        let taint = |key: &str, effect: &str| json!([{"key": key, "effect": effect}]);
        let term = json!([{"matchExpressions": [{"key": "disk", "operator": "In", "values": ["hdd"]}]}]);
        let affinity =
            json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": term}}});
        for (taints, pod, wanted) in [
            (json!([]), json!({}), Fit::Run),
            (json!([]), json!({"nodeSelector": {"disk": "ssd"}}), Fit::Run),
            (json!([]), json!({"nodeSelector": {"disk": "hdd"}}), Fit::Leave),
            (json!([]), json!({"affinity": affinity}), Fit::Leave),
            (json!([]), json!({"nodeName": "b"}), Fit::Leave),
            (taint("own", "NoSchedule"), json!({}), Fit::Keep),
            (taint("own", "NoExecute"), json!({}), Fit::Leave),
            (taint("own", "PreferNoSchedule"), json!({}), Fit::Run),
            (taint("own", "NoExecute"), json!({"tolerations": [{"operator": "Exists"}]}), Fit::Run),
            (taint(taint::UNSCHEDULABLE, "NoSchedule"), json!({}), Fit::Run),
            (taint(taint::NETWORK_UNAVAILABLE, "NoSchedule"), json!({}), Fit::Keep),
            (taint(taint::NETWORK_UNAVAILABLE, "NoSchedule"), json!({"hostNetwork": true}), Fit::Run),
        ] {
            assert_eq!(fit(&node(taints.clone()), &spec(pod.clone())), wanted, "{taints} {pod}");
        }
    }

    #[test]
    fn a_pod_is_for_one_node_before_it_is_bound() {
        let pod = |spec: PodSpec| Pod { spec: Some(spec), ..Default::default() };
        let made = pod(spec_on("a", &spec(json!({}))));
        assert_eq!(target(&made), Some("a"), "{}", encode(&made));
        assert_eq!(target(&pod(spec(json!({"nodeName": "b"})))), Some("b"));
        assert_eq!(target(&pod(spec(json!({})))), None);
    }
}
