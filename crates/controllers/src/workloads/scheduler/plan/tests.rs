use api::{
    decode,
    names::{annotation::SELECTED_NODE, finalizer::VOLUME_DATA},
};
use serde_json::{Value, json};

use super::*;

const NOW: &str = "2026-01-01T00:00:00Z";

fn node(name: &str, change: Value) -> Node {
    let mut node = json!({"metadata": {"name": name, "labels": {"disk": "ssd"}},
        "status": {"allocatable": {"cpu": "2", "memory": "1Gi", "pods": "3"}, "conditions": [{"type": "Ready", "status": "True"}]}});
    merge(&mut node, change);
    decode(node).unwrap()
}

fn pod(name: &str, change: Value) -> Pod {
    let mut pod =
        json!({"metadata": {"name": name, "namespace": "n"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    merge(&mut pod, change);
    decode(pod).unwrap()
}

fn merge(into: &mut Value, change: Value) {
    match (into, change) {
        (Value::Object(into), Value::Object(change)) => {
            for (key, value) in change {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, change) => *into = change,
    }
}

fn wants(cpu: &str) -> Value {
    json!({"spec": {"containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}]}})
}

fn observed(pods: &[Pod], nodes: &[Node], claims: &[PersistentVolumeClaim]) -> Observed {
    Observed { pods: pods.to_vec(), nodes: nodes.to_vec(), claims: claims.to_vec(), now: NOW.parse().unwrap() }
}

/// What becomes of each waiting pod: its node, or why it has none.
fn outcomes(pods: &[Pod], nodes: &[Node], claims: &[PersistentVolumeClaim]) -> Vec<String> {
    let plan = plan(&observed(pods, nodes, claims));
    let outcome = |decision: &Decision| {
        let told = decision.steps.iter().find_map(|step| match step {
            Step::Bind { node, .. } => Some(node.clone()),
            Step::ReplaceStatus { object, .. } => {
                Some(object["status"]["conditions"][0]["message"].as_str().unwrap().to_owned())
            }
            _ => None,
        });
        told.unwrap()
    };
    plan.decisions.iter().map(outcome).collect()
}

fn outcome(pods: &[Pod], nodes: &[Node]) -> String {
    outcomes(pods, nodes, &[]).first().cloned().unwrap_or_default()
}

/// A claim; `node` is where it says it lies, `data` whether a node has made its volume.
fn claim(name: &str, node: &str, data: bool) -> PersistentVolumeClaim {
    let annotations = if node.is_empty() { json!({}) } else { json!({SELECTED_NODE: node}) };
    let finalizers = if data { json!([VOLUME_DATA.name()]) } else { json!([]) };
    decode(json!({"metadata": {"name": name, "namespace": "n", "annotations": annotations, "finalizers": finalizers}}))
        .unwrap()
}

fn with_claims(name: &str, node: &str, claims: &[&str]) -> Pod {
    let volumes: Vec<_> =
        claims.iter().map(|claim| json!({"name": claim, "persistentVolumeClaim": {"claimName": claim}})).collect();
    pod(name, json!({"spec": {"nodeName": node, "volumes": volumes}}))
}

#[test]
fn obstacles_are_named() {
    let taint = |effect: &str| json!({"spec": {"taints": [{"key": "gpu", "value": "yes", "effect": effect}]}});
    let tolerate =
        json!({"spec": {"tolerations": [{"key": "gpu", "operator": "Equal", "value": "yes", "effect": "NoSchedule"}]}});
    let cases = [
        (json!({}), json!({}), "a"),
        (json!({}), json!({"spec": {"unschedulable": true}}), "0/1 nodes are available: 1 node(s) were unschedulable"),
        (json!({}), json!({"status": {"conditions": []}}), "0/1 nodes are available: 1 node(s) were not ready"),
        (json!({}), taint("NoSchedule"), "0/1 nodes are available: 1 node(s) had untolerated taint {gpu}"),
        (tolerate, taint("NoSchedule"), "a"),
        (json!({"spec": {"tolerations": [{"operator": "Exists"}]}}), taint("NoExecute"), "a"),
        (json!({"spec": {"tolerations": [{"key": "gpu", "operator": "Exists"}]}}), taint("NoExecute"), "a"),
        (
            json!({"spec": {"tolerations": [{"key": "gpu", "operator": "Odd", "value": "yes"}]}}),
            taint("NoSchedule"),
            "0/1 nodes are available: 1 node(s) had untolerated taint {gpu}",
        ),
        (
            json!({"spec": {"tolerations": [{"key": "gpu", "value": "no"}]}}),
            taint("NoSchedule"),
            "0/1 nodes are available: 1 node(s) had untolerated taint {gpu}",
        ),
        (json!({}), taint("PreferNoSchedule"), "a"),
        (json!({"spec": {"nodeSelector": {"disk": "ssd"}}}), json!({}), "a"),
        (
            json!({"spec": {"nodeSelector": {"disk": "hdd"}}}),
            json!({}),
            "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector",
        ),
        (wants("2"), json!({}), "a"),
        (wants("2100m"), json!({}), "0/1 nodes are available: 1 Insufficient cpu"),
        (json!({}), json!({"status": {"allocatable": {"pods": "0"}}}), "0/1 nodes are available: 1 Too many pods"),
    ];
    for (change, node_change, wanted) in cases {
        assert_eq!(outcome(&[pod("p", change.clone())], &[node("a", node_change)]), wanted, "{change}");
    }
    assert!(outcome(&[pod("p", json!({}))], &[]).contains("nanocloud server"));
}

#[test]
fn the_emptier_node_wins_and_what_is_used_counts() {
    let placed = pod("other", json!({"spec": {"nodeName": "a", "containers": wants("1500m")["spec"]["containers"]}}));
    let nodes = [node("a", json!({})), node("b", json!({}))];
    assert_eq!(outcome(&[placed.clone(), pod("p", json!({}))], &nodes), "b");
    assert_eq!(outcome(&[placed, pod("p", wants("1"))], &nodes[..1]), "0/1 nodes are available: 1 Insufficient cpu");
    let ended = pod(
        "other",
        json!({"spec": {"nodeName": "a", "containers": wants("1500m")["spec"]["containers"]}, "status": {"phase": "Failed"}}),
    );
    assert_eq!(outcome(&[ended, pod("p", wants("1"))], &nodes[..1]), "a");
}

#[test]
fn one_pass_never_fills_a_node_twice() {
    let pods: Vec<_> = ["p", "q", "r"].iter().map(|name| pod(name, wants("1"))).collect();
    let plan = plan(&observed(&pods, &[node("a", json!({}))], &[]));
    let steps = plan.decisions.iter().flat_map(|decision| &decision.steps);
    let placed = steps.filter(|step| matches!(step, Step::Bind { .. })).count();
    assert_eq!((placed, plan.unplaced), (2, true));
}

#[test]
fn a_refusal_is_said_once() {
    let waiting = pod("p", wants("9"));
    let nodes = [node("a", json!({}))];
    let first = plan(&observed(&[waiting], &nodes, &[]));
    let [Step::ReplaceStatus { object, .. }, Step::Notify(_)] = &first.decisions[0].steps[..] else { panic!() };
    let told: Pod = decode(object.clone()).unwrap();
    let again = plan(&observed(&[told], &nodes, &[]));
    assert!(again.decisions.is_empty() && again.unplaced);
}

#[test]
fn a_pod_goes_where_its_claims_lie_or_waits() {
    let nodes = [node("a", json!({})), node("b", json!({}))];
    let busy = with_claims("busy", "b", &[]);
    let lost = node("b", json!({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}));
    type Case<'a> = (&'a [Pod], &'a [Node], &'a [PersistentVolumeClaim], &'a str);
    let cases: &[Case] = &[
        // The emptier node would be `a`.
        (&[busy.clone(), with_claims("p", "", &["x"])], &nodes, &[claim("x", "b", true)], "b"),
        (&[busy.clone(), with_claims("p", "", &["x"])], &nodes, &[claim("x", "", false)], "a"),
        // Where another pod uses the claim, it lies.
        (&[with_claims("q", "b", &["x"]), with_claims("p", "", &["x"])], &nodes, &[claim("x", "", true)], "b"),
        (
            &[with_claims("p", "", &["x"])],
            &[nodes[0].clone(), lost],
            &[claim("x", "b", true)],
            "0/2 nodes are available: 1 node(s) had volume node affinity conflict, 1 node(s) were not ready (volumes: x on node b)",
        ),
        // The node is gone for good: the data are not there to be had.
        (
            &[with_claims("p", "", &["x"])],
            &nodes[..1],
            &[claim("x", "b", true)],
            "0/1 nodes are available: 1 node(s) had volume node affinity conflict (volumes: x on node b)",
        ),
        (
            &[with_claims("p", "", &["x", "y"])],
            &nodes,
            &[claim("x", "a", true), claim("y", "b", true)],
            "0/2 nodes are available: 2 node(s) had volume node affinity conflict (volumes: x on node a, y on node b)",
        ),
        (
            &[with_claims("p", "", &["x"])],
            &nodes,
            &[],
            "0/2 nodes are available: persistentvolumeclaim \"x\" not found",
        ),
        // A volume made before nodes were written down: only a cluster of one knows where it is.
        (&[with_claims("p", "", &["x"])], &nodes[..1], &[claim("x", "", true)], "a"),
        (
            &[with_claims("p", "", &["x"])],
            &nodes,
            &[claim("x", "", true)],
            "0/2 nodes are available: persistentvolumeclaim \"x\" has a volume on a node that has not told so yet: start that node",
        ),
    ];
    for (pods, nodes, claims, wanted) in cases {
        assert_eq!(outcomes(pods, nodes, claims), [*wanted]);
    }
}

#[test]
fn claims_learn_their_node_before_the_pod_is_bound() {
    let nodes = [node("a", json!({})), node("b", json!({}))];
    let pods = [with_claims("p", "", &["x", "y", "x"])];
    let plan = plan(&observed(&pods, &nodes, &[claim("x", "", false), claim("y", "a", true)]));
    let [Step::Replace { key, object, .. }, Step::Bind { node, .. }, Step::Notify(_)] = &plan.decisions[0].steps[..]
    else {
        panic!("{plan:?}")
    };
    assert_eq!((key.name.as_str(), node.as_str()), ("x", "a"));
    assert_eq!(object["metadata"]["annotations"][SELECTED_NODE], "a");
}

#[test]
fn pods_of_one_pass_that_share_a_claim_share_its_node() {
    let nodes = [node("a", json!({})), node("b", json!({}))];
    let pods = [with_claims("p", "", &["x"]), with_claims("q", "", &["x"])];
    assert_eq!(outcomes(&pods, &nodes, &[claim("x", "", false)]), ["a", "a"]);
}

#[test]
fn a_claim_for_one_pod_is_not_given_to_two() {
    let mut one: PersistentVolumeClaim = claim("x", "a", true);
    one.spec.get_or_insert_default().access_modes = Some(vec!["ReadWriteOncePod".into()]);
    let pods = [with_claims("p", "a", &["x"]), with_claims("q", "", &["x"])];
    let told = &outcomes(&pods, &[node("a", json!({}))], &[one])[0];
    assert!(told.contains("ReadWriteOncePod"), "{told}");
}

#[test]
fn a_port_of_the_node_is_given_once() {
    let takes = |name: &str, node: &str| {
        let ports = json!([{"containerPort": 80, "hostPort": 80}]);
        pod(name, json!({"spec": {"nodeName": node, "containers": [{"name": "c", "image": "i", "ports": ports}]}}))
    };
    let nodes = [node("a", json!({})), node("b", json!({}))];
    assert_eq!(outcomes(&[takes("p", "a"), takes("q", "")], &nodes, &[]), ["b"]);
    assert_eq!(
        outcomes(&[takes("p", ""), takes("q", "")], &nodes[..1], &[]),
        ["a", "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports"]
    );
}

#[test]
fn gates_keep_a_pod_from_being_placed() {
    let gated = pod("p", json!({"spec": {"schedulingGates": [{"name": "example.org/quota"}]}}));
    let nodes = [node("a", json!({}))];
    let first = plan(&observed(&[gated], &nodes, &[]));
    let [Step::ReplaceStatus { object, .. }] = &first.decisions[0].steps[..] else { panic!("{first:?}") };
    assert_eq!(object["status"]["conditions"][0]["reason"], "SchedulingGated");
    let told: Pod = decode(object.clone()).unwrap();
    let again = plan(&observed(std::slice::from_ref(&told), &nodes, &[]));
    assert!(again.decisions.is_empty() && !again.unplaced);
    let mut open = told;
    open.spec.as_mut().unwrap().scheduling_gates = None;
    assert_eq!(outcome(&[open], &nodes), "a");
}
