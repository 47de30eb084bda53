//! Required node affinity (core/v1 NodeSelector).

use std::collections::BTreeMap;

use api::kinds::Node;
use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm, PodSpec};

/// The one field of a node that `matchFields` may name.
const NAME_FIELD: &str = "metadata.name";

/// Whether the node has what `nodeSelector` and the required node affinity ask for.
pub(crate) fn matches(spec: &PodSpec, node: &Node) -> bool {
    let labels = node.metadata.labels.clone().unwrap_or_default();
    let selected = spec.node_selector.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required = affinity.and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    let name = node.metadata.name.as_deref().unwrap_or_default();
    selected
        && required.is_none_or(|required| required.node_selector_terms.iter().any(|term| fits(term, name, &labels)))
}

/// A term holds when all it says holds. One that says nothing selects nothing.
fn fits(term: &NodeSelectorTerm, name: &str, labels: &BTreeMap<String, String>) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    let label = |wanted: &NodeSelectorRequirement| holds(wanted, labels.get(&wanted.key).map(String::as_str));
    let field = |wanted: &NodeSelectorRequirement| wanted.key == NAME_FIELD && holds(wanted, Some(name));
    expressions.iter().all(label) && fields.iter().all(field)
}

fn holds(wanted: &NodeSelectorRequirement, found: Option<&str>) -> bool {
    let values = wanted.values.as_deref().unwrap_or_default();
    let listed = found.is_some_and(|found| values.iter().any(|value| value == found));
    let number = |text: &str| text.parse::<i64>().ok();
    let bound = values.first().and_then(|value| number(value));
    let compared = found.and_then(number).zip(bound);
    match wanted.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => found.is_some(),
        "DoesNotExist" => found.is_none(),
        "Gt" => compared.is_some_and(|(found, bound)| found > bound),
        "Lt" => compared.is_some_and(|(found, bound)| found < bound),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use api::decode;
    use serde_json::{Value, json};

    use super::*;

    fn admits(terms: Value) -> bool {
        let node: Node = decode(json!({"metadata": {"name": "a", "labels": {"disk": "ssd", "cores": "8"}}})).unwrap();
        let required = json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}});
        let spec = json!({"containers": [], "affinity": {"nodeAffinity": required}});
        matches(&serde_json::from_value(spec).unwrap(), &node)
    }

    #[test]
    fn terms_are_alternatives_of_what_holds_together() {
        let expression = |key: &str, operator: &str, values: Value| json!([{"matchExpressions": [{"key": key, "operator": operator, "values": values}]}]);
        let field =
            |value: &str| json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [value]}]}]);
        let cases = [
            (expression("disk", "In", json!(["hdd", "ssd"])), true),
            (expression("disk", "In", json!(["hdd"])), false),
            (expression("disk", "NotIn", json!(["hdd"])), true),
            (expression("zone", "NotIn", json!(["east"])), true),
            (expression("disk", "Exists", json!([])), true),
            (expression("zone", "Exists", json!([])), false),
            (expression("zone", "DoesNotExist", json!([])), true),
            (expression("disk", "DoesNotExist", json!([])), false),
            (expression("cores", "Gt", json!(["7"])), true),
            (expression("cores", "Gt", json!(["8"])), false),
            (expression("cores", "Lt", json!(["9"])), true),
            (expression("disk", "Lt", json!(["9"])), false),
            (expression("disk", "Odd", json!(["ssd"])), false),
            (field("a"), true),
            (field("b"), false),
            (json!([]), false),
            (json!([{}]), false),
            (json!([{}, {"matchExpressions": [{"key": "disk", "operator": "Exists"}]}]), true),
            (
                json!([{"matchExpressions": [{"key": "disk", "operator": "Exists"}, {"key": "zone", "operator": "Exists"}]}]),
                false,
            ),
        ];
        for (terms, wanted) in cases {
            assert_eq!(admits(terms.clone()), wanted, "{terms}");
        }
    }
}
