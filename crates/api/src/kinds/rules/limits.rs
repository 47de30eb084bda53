//! LimitRange.

use super::*;

fn range() -> Sample {
    let limits = json!([{"type": "Container", "min": {"cpu": "100m"}, "max": {"cpu": "1"}}]);
    Sample::new("limitranges", json!({"metadata": {"name": "l", "namespace": "d"}, "spec": {"limits": limits}}))
}

fn limits(items: Value) -> Value {
    json!({"spec": {"limits": items}})
}

fn item(kind: &str, lists: Value) -> Value {
    let mut item = json!({"type": kind});
    merge(&mut item, &lists);
    limits(json!([item]))
}

#[test]
fn amounts_of_a_range_are_in_order() {
    let at = |field: &str| format!("spec.limits[0].{field}");
    let container = |lists: Value| item("Container", lists);
    for (patch, field, reason) in [
        (item("Bogus", json!({})), "type", INVALID),
        (item("a b", json!({})), "type", INVALID),
        (container(json!({"max": {"bogus": "1"}, "default": {}})), "", INVALID),
        (container(json!({"min": {"cpu": "-1"}})), "min[cpu]", INVALID),
        (item("Pod", json!({"min": {"cpu": "2"}, "max": {"cpu": "1"}})), "min[cpu]", INVALID),
        (item("Pod", json!({"default": {"cpu": "2"}})), "default", FORBIDDEN),
        (item("Pod", json!({"defaultRequest": {"cpu": "2"}})), "defaultRequest", FORBIDDEN),
        (item("Pod", json!({"maxLimitRequestRatio": {"cpu": "900m"}})), "maxLimitRequestRatio[cpu]", INVALID),
        (
            item("Pod", json!({"maxLimitRequestRatio": {"cpu": "3"}, "min": {"cpu": "1"}, "max": {"cpu": "2"}})),
            "maxLimitRequestRatio[cpu]",
            INVALID,
        ),
        (item("PersistentVolumeClaim", json!({})), "limits", REQUIRED),
        (container(json!({"default": {"cpu": "1"}, "defaultRequest": {"cpu": "2"}})), "defaultRequest[cpu]", INVALID),
        (
            container(json!({"min": {"cpu": "2"}, "default": {"cpu": "2"}, "defaultRequest": {"cpu": "1"}})),
            "defaultRequest[cpu]",
            INVALID,
        ),
        (
            container(json!({"max": {"cpu": "1"}, "default": {"cpu": "2"}, "defaultRequest": {"cpu": "1"}})),
            "default[cpu]",
            INVALID,
        ),
    ] {
        let shown = patch.to_string();
        let found = range().create(patch);
        match field {
            "" => assert!(!found.is_empty() && found.iter().all(|(_, found)| *found == reason), "{shown}: {found:?}"),
            field => assert!(found.contains(&(at(field), reason)), "{shown}: {found:?}"),
        }
    }
    let twice = limits(json!([{"type": "Pod"}, {"type": "Pod"}]));
    assert_eq!(range().create(twice), [("spec.limits[1].type".to_owned(), DUPLICATE)]);
    range().accepts([
        json!({"spec": null}),
        limits(json!([])),
        item("PersistentVolumeClaim", json!({"max": {"storage": "1Gi"}})),
        item("example.com/thing", json!({"max": {"example.com/dongle": "1"}})),
        item("Pod", json!({"maxLimitRequestRatio": {"cpu": "2"}, "min": {"cpu": "1"}, "max": {"cpu": "2"}})),
    ]);
}

#[test]
fn defaults_come_from_the_greatest_and_the_least() {
    let stored = |patch: Value| range().stored(patch)["spec"]["limits"][0].clone();
    let both = stored(json!({}));
    assert_eq!(both["default"], json!({"cpu": "1"}));
    assert_eq!(both["defaultRequest"], json!({"cpu": "1"}), "the default limit comes before the least");
    let least = stored(item("Container", json!({"min": {"memory": "1Mi"}})));
    assert_eq!((&least["default"], &least["defaultRequest"]), (&Value::Null, &json!({"memory": "1Mi"})));
    assert_eq!(stored(item("Pod", json!({"max": {"cpu": "1"}})))["default"], Value::Null);
}
