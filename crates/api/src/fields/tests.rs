use std::collections::BTreeSet;

use schemars::SchemaGenerator;
use serde_json::{Map, Value, json};

use super::*;
use crate::{kinds, resource::KindVisitor, resource::Resource};

/// Compares the table of a kind with its schema.
struct Comparison<'a> {
    definitions: &'a Map<String, Value>,
    problems: BTreeSet<String>,
}

impl Comparison<'_> {
    /// The properties of a schema, whatever it refers to or is a list or a map of.
    fn properties(&self, schema: &Value, out: &mut BTreeSet<String>) -> Vec<(String, Value)> {
        let mut found = Vec::new();
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            let name = reference.rsplit('/').next().unwrap_or_default();
            // Times, quantities and the like have definitions, and no properties.
            if out.insert(name.to_owned()) {
                found.extend(self.definitions.get(name).map(|of| self.properties(of, out)).unwrap_or_default());
            }
        }
        for list in ["allOf", "anyOf", "oneOf"] {
            for part in schema.get(list).and_then(Value::as_array).into_iter().flatten() {
                found.extend(self.properties(part, out));
            }
        }
        for inner in ["items", "additionalProperties"] {
            found.extend(schema.get(inner).map(|part| self.properties(part, out)).unwrap_or_default());
        }
        let own = schema.get("properties").and_then(Value::as_object);
        found.extend(own.into_iter().flatten().map(|(name, schema)| (name.clone(), schema.clone())));
        found
    }

    fn compare(&mut self, shape: &Shape, schema: &Value, path: &str) {
        let mut properties = self.properties(schema, &mut BTreeSet::new());
        // Whole objects say what they are, wherever they are.
        let is_object = shape.0.iter().any(|row| matches!(row.treatment, Treatment::Shared));
        properties.retain(|(name, _)| !is_object || (name != "apiVersion" && name != "kind"));
        for row in shape.0 {
            if !properties.iter().any(|(name, _)| name == row.field) {
                self.problems.insert(format!("{path}.{}: a row without a field", row.field));
            }
        }
        for (name, schema) in &properties {
            let path = format!("{path}.{name}");
            let inner = self.properties(schema, &mut BTreeSet::new());
            match shape.row(name).map(|row| &row.treatment) {
                None => drop(self.problems.insert(format!("{path}: a field without a row"))),
                Some(Treatment::Of(shape) | Treatment::Each(shape)) if !inner.is_empty() => {
                    self.compare(shape, schema, &path)
                }
                Some(Treatment::Of(_) | Treatment::Each(_)) => {
                    self.problems.insert(format!("{path}: a table for a field without fields"));
                }
                Some(Treatment::Done) if !inner.is_empty() => {
                    self.problems.insert(format!("{path}: has fields of its own, which need rows"));
                }
                Some(_) => {}
            }
        }
    }
}

struct Each(Vec<String>);

impl KindVisitor for Each {
    fn visit<R: Resource>(&mut self) {
        let mut generator = SchemaGenerator::default();
        let schema = json!(generator.subschema_for::<R>());
        let mut comparison = Comparison { definitions: generator.definitions(), problems: BTreeSet::new() };
        comparison.compare(R::FIELDS, &schema, R::KIND);
        self.0.extend(comparison.problems);
    }
}

#[test]
fn every_field_of_every_kind_has_a_row_and_every_row_a_field() {
    let mut each = Each(Vec::new());
    kinds::for_each_kind(&mut each);
    assert!(each.0.is_empty(), "{:#?}", each.0);
}

#[test]
fn a_field_without_a_row_is_found() {
    static SHORT: Shape = Shape(&[shared("metadata"), reported("status"), done("gone")]);
    let mut generator = SchemaGenerator::default();
    let schema = json!(generator.subschema_for::<kinds::Pod>());
    let mut comparison = Comparison { definitions: generator.definitions(), problems: BTreeSet::new() };
    comparison.compare(&SHORT, &schema, "Pod");
    let wanted = ["Pod.gone: a row without a field", "Pod.spec: a field without a row"];
    assert_eq!(comparison.problems.into_iter().collect::<Vec<_>>(), wanted);
}

#[test]
fn rows_are_sorted_into_what_is_refused_and_what_is_warned_of() {
    let pod = |spec: Value| json!({"spec": spec});
    let found = |spec: Value, before: Option<Value>| {
        let findings = POD.examine(&pod(spec), before.map(pod).as_ref());
        let refused = findings.refused.into_iter().map(|error| format!("{} {}", error.reason, error.field));
        refused
            .chain(findings.warnings.into_iter().map(|text| text.split(": ").next().unwrap().to_owned()))
            .collect::<Vec<_>>()
    };
    for (spec, wanted) in [
        (json!({}), &[][..]),
        (
            json!({"hostPID": false, "hostUsers": true, "containers": [{"volumeMounts": [{"mountPropagation": "None"}]}]}),
            &[],
        ),
        (
            json!({"hostPID": true, "hostUsers": false}),
            &["FieldValueForbidden spec.hostPID", "FieldValueForbidden spec.hostUsers"],
        ),
        (
            json!({"containers": [{}, {"volumeMounts": [{"mountPropagation": "HostToContainer"}]}]}),
            &["FieldValueNotSupported spec.containers[1].volumeMounts[0].mountPropagation"],
        ),
        (json!({"volumes": [{"flocker": {}}]}), &["FieldValueForbidden spec.volumes[0].flocker"]),
        (json!({"securityContext": {"seLinuxOptions": {}}, "resources": {}}), &[]),
        (json!({"priority": 0}), &[]),
        (
            json!({"priority": 7, "priorityClassName": "x"}),
            &["FieldValueNotSupported spec.priority", "spec.priorityClassName"],
        ),
    ] {
        assert_eq!(found(spec.clone(), None), wanted, "{spec}");
        assert!(found(spec.clone(), Some(spec.clone())).is_empty(), "what is there already is let pass: {spec}");
    }
    let (before, after) = (json!({"hostPID": true}), json!({"hostPID": true, "hostIPC": true}));
    assert_eq!(found(after, Some(before)), ["FieldValueForbidden spec.hostIPC"]);
}
