//! Which pod goes to which node.

use std::collections::BTreeMap;

use api::{
    Time,
    kinds::{Node, Pod},
    quantity,
};
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{PodCondition, PodSpec, Taint, Toleration},
    apimachinery::pkg::api::resource::Quantity,
};

use crate::{health, step::Step};

/// Name of the scheduler that pods ask for by default.
const SCHEDULER: &str = "default-scheduler";
/// Condition of a pod about its placement.
const POD_SCHEDULED: &str = "PodScheduled";
/// Resource that every pod uses one of.
const PODS: &str = "pods";

/// The steps, and whether a pod found no place.
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    pub(crate) unplaced: bool,
}

/// Amounts by resource name, in thousandths.
type Amounts = BTreeMap<String, u64>;

struct Candidate<'a> {
    node: &'a Node,
    name: &'a str,
    free: Amounts,
    pods: usize,
}

/// Whether the pod waits for a node from this scheduler.
pub(crate) fn is_waiting(pod: &Pod) -> bool {
    let spec = pod.spec.as_ref();
    spec.and_then(|spec| spec.node_name.as_deref()).unwrap_or_default().is_empty()
        && spec.and_then(|spec| spec.scheduler_name.as_deref()).is_none_or(|name| name == SCHEDULER)
        && !health::is_terminating(pod)
        && !health::has_ended(pod)
}

/// Places waiting pods one after the other, oldest first, each on the fitting node with the fewest pods.
pub(crate) fn plan(pods: &[Pod], nodes: &[Node], now: Timestamp) -> Plan {
    let mut candidates: Vec<Candidate<'_>> = nodes.iter().filter_map(|node| candidate(node, pods)).collect();
    let mut waiting: Vec<&Pod> = pods.iter().filter(|pod| is_waiting(pod)).collect();
    waiting.sort_by_key(|pod| (created(pod), pod.metadata.namespace.clone(), pod.metadata.name.clone()));
    let mut plan = Plan { steps: Vec::new(), unplaced: false };
    for pod in waiting {
        let spec = pod.spec.clone().unwrap_or_default();
        let needs = requests(&spec);
        let (mut fitting, mut reasons) = (Vec::new(), BTreeMap::<String, usize>::new());
        for (index, candidate) in candidates.iter().enumerate() {
            match obstacle(candidate, &spec, &needs) {
                None => fitting.push(index),
                Some(reason) => *reasons.entry(reason).or_default() += 1,
            }
        }
        match fitting.into_iter().min_by_key(|index| (candidates[*index].pods, candidates[*index].name)) {
            Some(index) => {
                take(&mut candidates[index], &needs);
                plan.steps.extend(bind(pod, candidates[index].name));
            }
            None => {
                plan.unplaced = true;
                plan.steps.extend(refuse(pod, nodes.len(), &reasons, now));
            }
        }
    }
    plan
}

fn created(pod: &Pod) -> Option<Timestamp> {
    pod.metadata.creation_timestamp.as_ref().map(|time| time.0)
}

fn candidate<'a>(node: &'a Node, pods: &[Pod]) -> Option<Candidate<'a>> {
    let name = node.metadata.name.as_deref()?;
    let status = node.status.clone().unwrap_or_default();
    let free = amounts(status.allocatable.or(status.capacity).iter().flatten());
    let mut candidate = Candidate { node, name, free, pods: 0 };
    let here = |spec: &PodSpec| spec.node_name.as_deref() == Some(name);
    for pod in pods.iter().filter(|pod| !health::has_ended(pod)) {
        if let Some(spec) = pod.spec.as_ref().filter(|spec| here(spec)) {
            take(&mut candidate, &requests(spec));
        }
    }
    Some(candidate)
}

fn take(candidate: &mut Candidate<'_>, needs: &Amounts) {
    candidate.pods += 1;
    for (resource, amount) in needs {
        if let Some(free) = candidate.free.get_mut(resource) {
            *free = free.saturating_sub(*amount);
        }
    }
}

/// What the pod asks for: the sum over its containers, at least the largest of its init containers.
fn requests(spec: &PodSpec) -> Amounts {
    let of = |container: &k8s_openapi::api::core::v1::Container| {
        amounts(container.resources.iter().flat_map(|resources| resources.requests.iter().flatten()))
    };
    let mut total = Amounts::new();
    for (resource, amount) in spec.containers.iter().flat_map(&of) {
        let sum = total.entry(resource).or_default();
        *sum = sum.saturating_add(amount);
    }
    for (resource, amount) in spec.init_containers.iter().flatten().flat_map(&of) {
        let sum = total.entry(resource).or_default();
        *sum = (*sum).max(amount);
    }
    total.insert(PODS.into(), 1_000);
    total
}

fn amounts<'a>(quantities: impl Iterator<Item = (&'a String, &'a Quantity)>) -> Amounts {
    quantities
        // Byte counts beyond the range of thousandths count as without limit.
        .map(|(name, value)| (name.clone(), quantity::milli(&value.0).unwrap_or(u64::MAX)))
        .collect()
}

/// Why the pod cannot go to the node, in the words of Kubernetes.
fn obstacle(candidate: &Candidate<'_>, spec: &PodSpec, needs: &Amounts) -> Option<String> {
    let node = candidate.node;
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    if !conditions.filter(|condition| condition.type_ == "Ready").any(|condition| condition.status == "True") {
        return Some("node(s) were not ready".into());
    }
    let node_spec = node.spec.clone().unwrap_or_default();
    if node_spec.unschedulable == Some(true) {
        return Some("node(s) were unschedulable".into());
    }
    let labels = node.metadata.labels.clone().unwrap_or_default();
    if !spec.node_selector.iter().flatten().all(|(key, value)| labels.get(key) == Some(value)) {
        return Some("node(s) didn't match Pod's node affinity/selector".into());
    }
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    for taint in node_spec.taints.iter().flatten().filter(|taint| taint.effect != "PreferNoSchedule") {
        if !tolerations.iter().any(|toleration| tolerates(toleration, taint)) {
            return Some(format!("node(s) had untolerated taint {{{}}}", taint.key));
        }
    }
    // A node that does not know a resource limits only what it must provide itself.
    needs.iter().find_map(|(resource, needed)| match candidate.free.get(resource) {
        Some(free) if needed <= free => None,
        Some(_) if resource == PODS => Some("Too many pods".into()),
        Some(_) => Some(format!("Insufficient {resource}")),
        None if resource == PODS || *needed == 0 => None,
        None => Some(format!("Insufficient {resource}")),
    })
}

/// Whether a toleration covers a taint (core/v1 Toleration).
fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let blank = |text: &Option<String>| text.as_deref().unwrap_or_default().is_empty();
    let exists = toleration.operator.as_deref() == Some("Exists");
    let key = if blank(&toleration.key) { exists } else { toleration.key.as_deref() == Some(taint.key.as_str()) };
    let effect = blank(&toleration.effect) || toleration.effect.as_deref() == Some(taint.effect.as_str());
    let value = exists || toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default();
    key && effect && value
}

fn bind(pod: &Pod, node: &str) -> Vec<Step> {
    let mut placed = pod.clone();
    placed.spec.get_or_insert_default().node_name = Some(node.to_owned());
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let news = format!("assigned {}/{name} to {node}", pod.metadata.namespace.as_deref().unwrap_or_default());
    vec![Step::replace(&placed), Step::normal(pod, "Scheduled", news)]
}

/// Says why there is no place, unless it is said already.
fn refuse(pod: &Pod, nodes: usize, reasons: &BTreeMap<String, usize>, now: Timestamp) -> Vec<Step> {
    let listed: Vec<_> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    let message = if nodes == 0 {
        "no nodes available to schedule pods: start one with `nanocloud server`".to_owned()
    } else {
        format!("0/{nodes} nodes are available: {}", listed.join(", "))
    };
    let mut refused = pod.clone();
    let conditions = refused.status.get_or_insert_default().conditions.get_or_insert_default();
    let before = conditions.iter().position(|condition| condition.type_ == POD_SCHEDULED);
    let same = before.map(|index| &conditions[index]).filter(|condition| condition.status == "False");
    if same.is_some_and(|condition| condition.message.as_deref() == Some(&message)) {
        return Vec::new();
    }
    let since = same.and_then(|condition| condition.last_transition_time.clone()).unwrap_or(Time(now));
    let condition = PodCondition {
        type_: POD_SCHEDULED.into(),
        status: "False".into(),
        reason: Some("Unschedulable".into()),
        message: Some(message.clone()),
        last_transition_time: Some(since),
        ..PodCondition::default()
    };
    match before {
        Some(index) => conditions[index] = condition,
        None => conditions.push(condition),
    }
    vec![Step::replace_status(&refused), Step::warning(pod, "FailedScheduling", message)]
}

#[cfg(test)]
mod tests {
    use api::decode;
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
        let mut pod = json!({"metadata": {"name": name, "namespace": "n"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
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

    fn outcome(pods: &[Pod], nodes: &[Node]) -> String {
        let plan = plan(pods, nodes, NOW.parse().unwrap());
        let Some(first) = plan.steps.first() else { return String::new() };
        match first {
            Step::Replace { object, .. } => object["spec"]["nodeName"].as_str().unwrap().to_owned(),
            Step::ReplaceStatus { object, .. } => {
                object["status"]["conditions"][0]["message"].as_str().unwrap().to_owned()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn obstacles_are_named() {
        let taint = |effect: &str| json!({"spec": {"taints": [{"key": "gpu", "value": "yes", "effect": effect}]}});
        let tolerate = json!({"spec": {"tolerations": [{"key": "gpu", "operator": "Equal", "value": "yes", "effect": "NoSchedule"}]}});
        let cases = [
            (json!({}), json!({}), "a"),
            (
                json!({}),
                json!({"spec": {"unschedulable": true}}),
                "0/1 nodes are available: 1 node(s) were unschedulable",
            ),
            (json!({}), json!({"status": {"conditions": []}}), "0/1 nodes are available: 1 node(s) were not ready"),
            (json!({}), taint("NoSchedule"), "0/1 nodes are available: 1 node(s) had untolerated taint {gpu}"),
            (tolerate, taint("NoSchedule"), "a"),
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
        let placed =
            pod("other", json!({"spec": {"nodeName": "a", "containers": wants("1500m")["spec"]["containers"]}}));
        let nodes = [node("a", json!({})), node("b", json!({}))];
        assert_eq!(outcome(&[placed.clone(), pod("p", json!({}))], &nodes), "b");
        assert_eq!(
            outcome(&[placed, pod("p", wants("1"))], &nodes[..1]),
            "0/1 nodes are available: 1 Insufficient cpu"
        );
        let ended = pod(
            "other",
            json!({"spec": {"nodeName": "a", "containers": wants("1500m")["spec"]["containers"]}, "status": {"phase": "Failed"}}),
        );
        assert_eq!(outcome(&[ended, pod("p", wants("1"))], &nodes[..1]), "a");
    }

    #[test]
    fn one_pass_never_fills_a_node_twice() {
        let pods: Vec<_> = ["p", "q", "r"].iter().map(|name| pod(name, wants("1"))).collect();
        let plan = plan(&pods, &[node("a", json!({}))], NOW.parse().unwrap());
        let placed = plan.steps.iter().filter(|step| matches!(step, Step::Replace { .. })).count();
        assert_eq!((placed, plan.unplaced), (2, true));
    }

    #[test]
    fn a_refusal_is_said_once() {
        let waiting = pod("p", wants("9"));
        let nodes = [node("a", json!({}))];
        let steps = plan(&[waiting], &nodes, NOW.parse().unwrap()).steps;
        let Step::ReplaceStatus { object, .. } = &steps[0] else { panic!() };
        let told: Pod = decode(object.clone()).unwrap();
        let again = plan(&[told], &nodes, NOW.parse().unwrap());
        assert!(again.steps.is_empty() && again.unplaced);
    }
}
