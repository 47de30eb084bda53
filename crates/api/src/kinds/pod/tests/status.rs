//! What may be reported of a pod.

use serde_json::{Value, json};

use super::{errors, pod, spec};

fn with(status: Value) -> Value {
    let mut pod = pod(spec());
    pod["status"] = status;
    pod
}

#[test]
fn a_status_that_says_nothing_is_refused() {
    for (status, field, reason) in [
        (json!({"phase": "Bogus"}), "status.phase", "NotSupported"),
        (json!({"qosClass": "Foo"}), "status.qosClass", "NotSupported"),
        (json!({"podIP": "x"}), "status.podIP", "Invalid"),
        (json!({"hostIP": "1.2.3.4 ; flush"}), "status.hostIP", "Invalid"),
        (json!({"podIPs": [{"ip": "192.0.2.1"}, {"ip": "999.1.1.1"}]}), "status.podIPs[1].ip", "Invalid"),
        (json!({"hostIPs": [{"ip": "a"}]}), "status.hostIPs[0].ip", "Invalid"),
        (json!({"nominatedNodeName": "a b"}), "status.nominatedNodeName", "Invalid"),
        (json!({"conditions": [{"type": "a b", "status": "True"}]}), "status.conditions[0].type", "Invalid"),
        (json!({"conditions": [{"type": "Ready", "status": "Maybe"}]}), "status.conditions[0].status", "NotSupported"),
        (
            json!({"containerStatuses": [{"name": "c", "image": "i", "imageID": "", "ready": true, "restartCount": -1}]}),
            "status.containerStatuses[0].restartCount",
            "Invalid",
        ),
    ] {
        let found = errors("pods", with(status.clone()), None);
        assert!(found.contains(&(field.to_owned(), reason)), "{status}: {found:?}");
        let mut labelled = with(status.clone());
        labelled["metadata"]["labels"] = json!({"a": "b"});
        assert_eq!(
            errors("pods", labelled, Some(&with(status))),
            [],
            "what is stored already stays changeable elsewhere"
        );
    }
    let fine = json!({"phase": "Running", "podIP": "fd00::1", "podIPs": [{"ip": "fd00::1"}], "hostIP": "", "qosClass": "Burstable",
        "conditions": [{"type": "example.com/gate", "status": "Unknown"}]});
    assert_eq!(errors("pods", with(fine), None), []);
}
