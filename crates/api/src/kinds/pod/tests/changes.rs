//! What may change while a pod exists.

use serde_json::{Value, json};

use super::{changed, errors, pod};
use crate::kinds;

fn stored(changes: &[(&str, Value)]) -> Value {
    kinds::find("pods").unwrap().admit(pod(changed(changes)), None).unwrap().object
}

#[test]
fn a_pod_follows_few_changes() {
    let gated = [("/schedulingGates", json!([{"name": "a"}, {"name": "b"}]))];
    let tolerant = [("/tolerations", json!([{"key": "k", "operator": "Exists"}]))];
    let bound = [("/nodeName", json!("n"))];
    let limited = [("/activeDeadlineSeconds", json!(50))];
    let none: [(&str, Value); 0] = [];
    for (before, after, wanted) in [
        (&none[..], vec![], &[][..]),
        (&none, vec![("/containers/0/image", json!("i:2"))], &[]),
        (&none, vec![("/initContainers/0/image", json!("i:2"))], &[]),
        (&none, vec![("/activeDeadlineSeconds", json!(5))], &[]),
        (&none, tolerant.to_vec(), &[]),
        (&none, vec![("/containers/0/name", json!("e"))], &[("spec.containers[0].name", "Forbidden")]),
        (&none, vec![("/containers/0/env/0/value", json!("2"))], &[("spec.containers[0].env[0].value", "Forbidden")]),
        (&none, vec![("/containers/2", json!({"name": "e", "image": "i"}))], &[("spec.containers", "Forbidden")]),
        (&none, vec![("/restartPolicy", json!("Never"))], &[("spec.restartPolicy", "Forbidden")]),
        (
            &none,
            vec![("/volumes/0", json!({"name": "data", "hostPath": {"path": "/"}}))],
            &[("spec.volumes[0].emptyDir", "Forbidden"), ("spec.volumes[0].hostPath", "Forbidden")],
        ),
        (&none, gated.to_vec(), &[("spec.schedulingGates[0]", "Forbidden"), ("spec.schedulingGates[1]", "Forbidden")]),
        (&gated, vec![("/schedulingGates", json!([{"name": "b"}]))], &[]),
        (&gated, vec![], &[]),
        (&tolerant, vec![], &[("spec.tolerations", "Forbidden")]),
        (
            &tolerant,
            vec![("/tolerations", json!([{"key": "l", "operator": "Exists"}, {"key": "k", "operator": "Exists"}]))],
            &[],
        ),
        (&none, bound.to_vec(), &[("spec.nodeName", "Forbidden")]),
        (&bound, vec![("/nodeName", json!("m"))], &[("spec.nodeName", "Forbidden")]),
        (&bound, vec![], &[("spec.nodeName", "Forbidden")]),
        (&limited, vec![("/activeDeadlineSeconds", json!(5))], &[]),
        (&limited, vec![("/activeDeadlineSeconds", json!(51))], &[("spec.activeDeadlineSeconds", "Invalid")]),
        (&limited, vec![], &[("spec.activeDeadlineSeconds", "Invalid")]),
    ] {
        let found = errors("pods", pod(changed(&after)), Some(&stored(before)));
        let wanted: Vec<_> = wanted.iter().map(|(field, reason)| ((*field).to_owned(), *reason)).collect();
        assert_eq!(found, wanted, "{before:?} to {after:?}");
    }
}

#[test]
fn what_an_older_version_stored_stays_changeable() {
    // As it was stored before defaults and rules were added.
    let old = pod(changed(&[
        ("/hostUsers", json!(false)),
        ("/containers/0/ports/0/hostIP", json!("localhost")),
        ("/containers/0/resources", json!({"limits": {"cpu": "1"}})),
        ("/volumes/0", json!({"name": "A/B"})),
    ]));
    let mut next = old.clone();
    next["spec"]["containers"][1]["image"] = "i:2".into();
    next["metadata"]["labels"] = json!({"a": "b"});
    next["status"] = json!({"phase": "Running"});
    assert_eq!(errors("pods", next.clone(), Some(&old)), []);
    next["spec"]["containers"][0]["ports"][0]["hostIP"] = "::1".into();
    let found = errors("pods", next, Some(&old));
    assert!(found.contains(&("spec.containers[0].ports[0].hostIP".into(), "Invalid")), "{found:?}");
}
