use serde_json::{Value, json};

use super::*;
use crate::decode;

fn range(items: Value) -> LimitRange {
    decode(json!({"spec": {"limits": items}})).unwrap()
}

fn pod(containers: Value, inits: Value) -> Pod {
    decode(json!({"spec": {"containers": containers, "initContainers": inits}})).unwrap()
}

fn container(name: &str, requests: Value, limits: Value) -> Value {
    json!({"name": name, "resources": {"requests": requests, "limits": limits}})
}

#[test]
fn containers_that_say_nothing_get_defaults() {
    let range = range(json!([
        {"type": "Pod", "default": {"cpu": "9"}},
        {"type": "Container", "default": {"cpu": "500m", "memory": "1Gi"}, "defaultRequest": {"cpu": "100m"}},
    ]));
    let mut filled = pod(
        json!([{"name": "a"}, container("b", json!({"cpu": "1"}), json!({"memory": "2Gi"}))]),
        json!([{"name": "i"}]),
    );
    assert!(fill_containers(&mut filled, &range));
    let seen = serde_json::to_value(&filled).unwrap();
    let resources = |list: &str, index: usize| seen["spec"][list][index]["resources"].clone();
    let all = json!({"limits": {"cpu": "500m", "memory": "1Gi"}, "requests": {"cpu": "100m"}});
    assert_eq!((resources("containers", 0), resources("initContainers", 0)), (all.clone(), all));
    let own = json!({"limits": {"cpu": "500m", "memory": "2Gi"}, "requests": {"cpu": "1"}});
    assert_eq!(resources("containers", 1), own);
    assert_eq!(
        seen["metadata"]["annotations"][LIMIT_RANGER],
        "LimitRanger plugin set: cpu request for container a; cpu, memory limit for container a; cpu limit for \
         container b; cpu request for init container i; cpu, memory limit for init container i"
    );
    assert!(!fill_containers(&mut filled, &range), "what has all gets nothing");
}

#[test]
fn each_container_is_within_the_range() {
    let limits = |lists: Value| {
        let mut item = json!({"type": "Container"});
        item.as_object_mut().unwrap().extend(lists.as_object().unwrap().clone());
        range(json!([item]))
    };
    let (min, max) = (json!({"min": {"cpu": "100m"}}), json!({"max": {"memory": "1Gi"}}));
    let ratio = json!({"maxLimitRequestRatio": {"cpu": "2"}});
    for (lists, requests, asked, fault) in [
        (&min, json!({}), json!({}), Some("minimum cpu usage per Container is 100m.  No request is specified")),
        (&min, json!({"cpu": "50m"}), json!({}), Some("minimum cpu usage per Container is 100m, but request is 50m")),
        (
            &min,
            json!({"cpu": "100m"}),
            json!({"cpu": "0.05"}),
            Some("minimum cpu usage per Container is 100m, but limit is 50m"),
        ),
        (&min, json!({"cpu": "0.1"}), json!({}), None),
        (&max, json!({}), json!({}), Some("maximum memory usage per Container is 1Gi.  No limit is specified")),
        (
            &max,
            json!({}),
            json!({"memory": "1536Mi"}),
            Some("maximum memory usage per Container is 1Gi, but limit is 1536Mi"),
        ),
        (
            &max,
            json!({"memory": "2Gi"}),
            json!({"memory": "1Gi"}),
            Some("maximum memory usage per Container is 1Gi, but request is 2Gi"),
        ),
        (&max, json!({}), json!({"memory": "1024Mi"}), None),
        (
            &ratio,
            json!({"cpu": "0"}),
            json!({"cpu": "1"}),
            Some("cpu max limit to request ratio per Container is 2, but no request is specified or request is 0"),
        ),
        (
            &ratio,
            json!({"cpu": "1"}),
            json!({}),
            Some("cpu max limit to request ratio per Container is 2, but no limit is specified or limit is 0"),
        ),
        (
            &ratio,
            json!({"cpu": "400m"}),
            json!({"cpu": "1"}),
            Some("cpu max limit to request ratio per Container is 2, but provided ratio is 2.500000"),
        ),
        (&ratio, json!({"cpu": "500m"}), json!({"cpu": "1"}), None),
    ] {
        let one = pod(json!([container("c", requests, asked)]), json!([]));
        assert_eq!(pod_faults(&one, &limits(lists.clone())), Vec::from_iter(fault));
    }
    let init = pod(json!([container("c", json!({"cpu": "1"}), json!({}))]), json!([{"name": "i"}]));
    assert_eq!(pod_faults(&init, &limits(min)).len(), 1, "init containers count, too");
}

#[test]
fn containers_of_a_pod_count_together_and_init_containers_one_by_one() {
    let asks = |amount: &str| container("c", json!({"memory": amount}), json!({"memory": amount}));
    let limits = range(json!([{"type": "Pod", "max": {"memory": "1Gi"}}]));
    let faults = |containers: Value, inits: Value| pod_faults(&pod(containers, inits), &limits);
    assert_eq!(faults(json!([asks("512Mi"), asks("512Mi")]), json!([asks("1Gi"), asks("1Gi")])), [""; 0]);
    let text = "maximum memory usage per Pod is 1Gi, but limit is 1536Mi";
    assert_eq!(faults(json!([asks("1Gi"), asks("512Mi")]), json!([])), [text]);
    assert_eq!(faults(json!([asks("1Mi")]), json!([asks("1536Mi")])), [text]);
}

#[test]
fn claims_are_within_the_range() {
    let limits =
        range(json!([{"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "2Gi"}}]));
    let faults = |amount: &str| {
        let claim = json!({"spec": {"resources": {"requests": {"storage": amount}}}});
        claim_faults(&decode(claim).unwrap(), &limits)
    };
    assert_eq!(faults("1Gi"), [""; 0]);
    assert_eq!(faults("512Mi"), ["minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 512Mi"]);
    assert_eq!(faults("3Gi"), ["maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi"]);
}
