//! Where a pod may run: affinity, tolerations, spreading and gates.

use std::collections::BTreeSet;

use k8s_openapi::{
    api::core::v1::{
        NodeAffinity, NodeSelectorRequirement, NodeSelectorTerm, PodAffinityTerm, PodSpec, Toleration,
        WeightedPodAffinityTerm,
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};

use super::rules::{Errors, at_least, label, label_value, name, one_of, qualified, text, unless, within};
use crate::{FieldError, Path, selector};

/// Fields of affinity that must hold.
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
/// Fields of affinity that should hold.
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
/// Effects of taints.
const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
/// Priority classes that every cluster has, and their values.
pub(super) const PRIORITY_CLASSES: [(&str, i32); 2] =
    [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];

/// Checks what a pod says about its node.
pub(super) fn check(spec: &PodSpec, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    errors.extend(text(&spec.node_name).map(|node| name(node, path.field("nodeName"))).unwrap_or_default());
    for (key, value) in spec.node_selector.iter().flatten() {
        errors.extend(qualified(key, path.field("nodeSelector")));
        errors.extend(label_value(value, path.field("nodeSelector")));
    }
    let tolerations = path.field("tolerations");
    let all = spec.tolerations.iter().flatten().enumerate();
    errors.extend(all.flat_map(|(index, toleration)| self::toleration(toleration, &tolerations.index(index))));
    errors.extend(affinity(spec, &path.field("affinity")));
    errors.extend(spread(spec, &path.field("topologySpreadConstraints")));
    errors.extend(gates(spec, path));
    errors.extend(priority(spec, path));
    errors
}

fn toleration(toleration: &Toleration, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    let (key, value, operator) = (text(&toleration.key), text(&toleration.value), text(&toleration.operator));
    let field = path.field("operator");
    errors.extend(key.map(|key| qualified(key, path.field("key"))).unwrap_or_default());
    errors.extend(unless(key.is_some() || operator == Some("Exists"), || {
        FieldError::invalid(field, "must be Exists when there is no key")
    }));
    errors.extend(match operator {
        None | Some("Equal") => value.map(|value| label_value(value, field)).unwrap_or_default(),
        Some("Exists") => unless(value.is_none(), || FieldError::invalid(field, "Exists takes no value")),
        Some(_) => one_of(&toleration.operator, &["Equal", "Exists"], field),
    });
    errors.extend(unless(
        toleration.toleration_seconds.is_none() || toleration.effect.as_deref() == Some("NoExecute"),
        || FieldError::invalid(path.field("effect"), "must be NoExecute when tolerationSeconds is set"),
    ));
    errors.extend(one_of(&toleration.effect, &EFFECTS, path.field("effect")));
    errors
}

fn affinity(spec: &PodSpec, path: &Path<'_>) -> Errors {
    let Some(affinity) = &spec.affinity else { return Errors::new() };
    let mut errors = Errors::new();
    errors.extend(affinity.node_affinity.iter().flat_map(|nodes| node_affinity(nodes, &path.field("nodeAffinity"))));
    let pods = affinity.pod_affinity.as_ref();
    let apart = affinity.pod_anti_affinity.as_ref();
    for (field, required, preferred) in [
        (
            "podAffinity",
            pods.and_then(|p| p.required_during_scheduling_ignored_during_execution.as_deref()),
            pods.and_then(|p| p.preferred_during_scheduling_ignored_during_execution.as_deref()),
        ),
        (
            "podAntiAffinity",
            apart.and_then(|p| p.required_during_scheduling_ignored_during_execution.as_deref()),
            apart.and_then(|p| p.preferred_during_scheduling_ignored_during_execution.as_deref()),
        ),
    ] {
        errors.extend(pod_affinity(required, preferred, &path.field(field)));
    }
    errors
}

fn node_affinity(affinity: &NodeAffinity, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    if let Some(required) = &affinity.required_during_scheduling_ignored_during_execution {
        let path = path.field(REQUIRED);
        let list = path.field("nodeSelectorTerms");
        errors.extend(unless(!required.node_selector_terms.is_empty(), || {
            FieldError::required(list, "name at least one term; no node would do")
        }));
        let terms = required.node_selector_terms.iter().enumerate();
        errors.extend(terms.flat_map(|(index, term)| node_term(term, &list.index(index))));
    }
    let list = path.field(PREFERRED);
    for (index, term) in affinity.preferred_during_scheduling_ignored_during_execution.iter().flatten().enumerate() {
        let path = list.index(index);
        errors.extend(within(Some(term.weight), 1, 100, path.field("weight")));
        errors.extend(node_term(&term.preference, &path.field("preference")));
    }
    errors
}

fn node_term(term: &NodeSelectorTerm, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    let list = path.field("matchExpressions");
    for (index, expression) in term.match_expressions.iter().flatten().enumerate() {
        let path = list.index(index);
        errors.extend(qualified(&expression.key, path.field("key")));
        errors.extend(requirement(expression, &path));
    }
    let list = path.field("matchFields");
    for (index, field) in term.match_fields.iter().flatten().enumerate() {
        let path = list.index(index);
        errors.extend(unless(field.key == "metadata.name", || {
            FieldError::invalid(path.field("key"), "nodes are chosen by metadata.name or by labels")
        }));
        errors.extend(unless(matches!(field.operator.as_str(), "In" | "NotIn"), || {
            FieldError::invalid(path.field("operator"), "must be In or NotIn")
        }));
        errors.extend(unless(field.values.as_ref().is_some_and(|values| values.len() == 1), || {
            FieldError::required(path.field("values"), "name one node")
        }));
    }
    errors
}

fn requirement(expression: &NodeSelectorRequirement, path: &Path<'_>) -> Errors {
    let values = expression.values.as_deref().unwrap_or_default();
    let field = path.field("values");
    match expression.operator.as_str() {
        "In" | "NotIn" if values.is_empty() => vec![FieldError::required(field, "name the values")],
        "In" | "NotIn" => {
            values.iter().enumerate().flat_map(|(index, value)| label_value(value, field.index(index))).collect()
        }
        "Exists" | "DoesNotExist" => {
            unless(values.is_empty(), || FieldError::forbidden(field, "the operator takes no values"))
        }
        "Gt" | "Lt" => unless(values.len() == 1, || FieldError::required(field, "name the one number to compare with")),
        other => {
            let message = format!("{other:?} must be In, NotIn, Exists, DoesNotExist, Gt or Lt");
            vec![FieldError::invalid(path.field("operator"), message)]
        }
    }
}

fn pod_affinity(
    required: Option<&[PodAffinityTerm]>,
    preferred: Option<&[WeightedPodAffinityTerm]>,
    path: &Path<'_>,
) -> Errors {
    let mut errors = Errors::new();
    let list = path.field(REQUIRED);
    for (index, term) in required.into_iter().flatten().enumerate() {
        errors.extend(pod_term(term, &list.index(index)));
    }
    let list = path.field(PREFERRED);
    for (index, term) in preferred.into_iter().flatten().enumerate() {
        let path = list.index(index);
        errors.extend(within(Some(term.weight), 1, 100, path.field("weight")));
        errors.extend(pod_term(&term.pod_affinity_term, &path.field("podAffinityTerm")));
    }
    errors
}

fn pod_term(term: &PodAffinityTerm, path: &Path<'_>) -> Errors {
    let mut errors = match term.topology_key.as_str() {
        "" => vec![FieldError::required(path.field("topologyKey"), "name the label that nodes of one place share")],
        key => qualified(key, path.field("topologyKey")),
    };
    let namespaces = path.field("namespaces");
    let all = term.namespaces.iter().flatten().enumerate();
    errors.extend(all.flat_map(|(index, namespace)| label(namespace, namespaces.index(index))));
    errors.extend(selects(term.label_selector.as_ref(), path.field("labelSelector")));
    errors.extend(selects(term.namespace_selector.as_ref(), path.field("namespaceSelector")));
    errors
}

fn selects(labels: Option<&LabelSelector>, path: Path<'_>) -> Errors {
    let read = labels.map(selector::LabelSelector::of);
    read.and_then(Result::err).map(|error| FieldError::invalid(path, error.to_string())).into_iter().collect()
}

fn spread(spec: &PodSpec, path: &Path<'_>) -> Errors {
    let mut seen = BTreeSet::new();
    let mut errors = Errors::new();
    for (index, constraint) in spec.topology_spread_constraints.iter().flatten().enumerate() {
        let path = path.index(index);
        errors.extend(at_least(Some(constraint.max_skew), 1, path.field("maxSkew")));
        errors.extend(at_least(constraint.min_domains, 1, path.field("minDomains")));
        errors.extend(match constraint.topology_key.as_str() {
            "" => vec![FieldError::required(path.field("topologyKey"), "name the label that nodes of one place share")],
            key => qualified(key, path.field("topologyKey")),
        });
        let when = Some(constraint.when_unsatisfiable.clone());
        errors.extend(one_of(&when, &["DoNotSchedule", "ScheduleAnyway"], path.field("whenUnsatisfiable")));
        errors.extend(selects(constraint.label_selector.as_ref(), path.field("labelSelector")));
        errors.extend(unless(seen.insert((&constraint.topology_key, &constraint.when_unsatisfiable)), || {
            FieldError::duplicate(path.field("{topologyKey, whenUnsatisfiable}"), "another constraint has both")
        }));
    }
    errors
}

fn gates(spec: &PodSpec, path: &Path<'_>) -> Errors {
    let list = path.field("schedulingGates");
    let mut names = BTreeSet::new();
    let mut errors = Errors::new();
    for (index, gate) in spec.scheduling_gates.iter().flatten().enumerate() {
        errors.extend(qualified(&gate.name, list.index(index)));
        errors.extend(unless(names.insert(&gate.name), || {
            FieldError::duplicate(list.index(index), format!("{:?} is there twice", gate.name))
        }));
    }
    errors.extend(unless(names.is_empty() || text(&spec.node_name).is_none(), || {
        FieldError::forbidden(path.field("nodeName"), "cannot be set before all schedulingGates are gone")
    }));
    let list = path.field("readinessGates");
    let gates = spec.readiness_gates.iter().flatten().enumerate();
    errors.extend(
        gates.flat_map(|(index, gate)| qualified(&gate.condition_type, list.index(index).field("conditionType"))),
    );
    errors
}

/// Priorities come from classes, of which there are two.
fn priority(spec: &PodSpec, path: &Path<'_>) -> Errors {
    let class = text(&spec.priority_class_name);
    let known = class.map(|class| PRIORITY_CLASSES.iter().find(|(name, _)| *name == class));
    let value = match known {
        Some(None) => {
            let names = PRIORITY_CLASSES.map(|(name, _)| name).join(" and ");
            return vec![FieldError::forbidden(path.field("priorityClassName"), format!("there are only {names}"))];
        }
        Some(Some((_, value))) => *value,
        None => 0,
    };
    unless(spec.priority.is_none_or(|priority| priority == value), || {
        FieldError::forbidden(path.field("priority"), "it comes from priorityClassName; leave it out")
    })
}
