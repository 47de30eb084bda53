//! Pods that Kubernetes refuses, or that ask for what is not done: what is changed, and which field is refused why.

use serde_json::{Value, json};

use super::{changed, errors, pod, set};

mod containers;
mod node;
mod pods;

type Case = (Vec<(&'static str, Value)>, &'static str, &'static str);

fn one(pointer: &'static str, value: Value, field: &'static str, reason: &'static str) -> Case {
    (vec![(pointer, value)], field, reason)
}

/// Each case is refused in a pod and in the template of a set, at the same place and for the same reason.
fn refuses(cases: Vec<Case>) {
    for (changes, field, reason) in cases {
        let spec = changed(&changes);
        for (kind, object, prefix) in
            [("pods", pod(spec.clone()), "spec"), ("statefulsets", set(spec.clone()), "spec.template.spec")]
        {
            let field = if field.is_empty() { prefix.to_owned() } else { format!("{prefix}.{field}") };
            let found = errors(kind, object.clone(), None);
            assert!(
                found.contains(&(field.clone(), reason)),
                "{kind} {changes:?}: {field} {reason} is not in {found:?}"
            );
            // What is stored already stays changeable elsewhere.
            let mut labelled = object.clone();
            labelled["metadata"]["labels"] = json!({"a": "b"});
            assert_eq!(errors(kind, labelled, Some(&object)), [], "{kind} {changes:?}");
        }
    }
}
