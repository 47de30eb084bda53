//! Which pods go first when there are too many.

use std::{cmp::Reverse, collections::BTreeMap};

use api::{kinds::Pod, names::annotation::POD_DELETION_COST};

use crate::workloads::health;

/// Sorts pods so that those which are missed least come first: without a node, not yet running, not ready, of a low
/// deletion cost, with many of `related` on the same node, ready for a short time, often restarted, young.
pub(crate) fn by_loss<'a>(pods: impl IntoIterator<Item = &'a Pod>, related: &[&Pod]) -> Vec<&'a Pod> {
    let mut on_node = BTreeMap::<&str, usize>::new();
    for node in related.iter().filter_map(|pod| health::node(pod)) {
        *on_node.entry(node).or_default() += 1;
    }
    let loss = |pod: &&Pod| {
        let node = health::node(pod);
        let is_ready = health::is_ready(pod);
        let since = health::ready_since(pod).filter(|_| is_ready);
        let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (
            (node.is_some(), phase_rank(pod), is_ready, deletion_cost(pod)),
            Reverse(node.and_then(|node| on_node.get(node).copied())),
            (since.is_some(), Reverse(since)),
            Reverse(restarts(pod)),
            (created.is_some(), Reverse(created)),
            pod.metadata.name.clone(),
        )
    };
    let mut sorted: Vec<&Pod> = pods.into_iter().collect();
    sorted.sort_by_cached_key(loss);
    sorted
}

fn phase_rank(pod: &Pod) -> u8 {
    match health::phase(pod) {
        "Running" => 2,
        "Unknown" => 1,
        _ => 0,
    }
}

/// The cost of a pod's annotation; what is no number costs nothing.
fn deletion_cost(pod: &Pod) -> i32 {
    let text = pod.metadata.annotations.as_ref().and_then(|all| all.get(POD_DELETION_COST));
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    statuses.map(|status| status.restart_count).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use api::decode;
    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, node: Option<&str>, status: Value) -> Pod {
        let meta = json!({"name": name, "creationTimestamp": "2026-01-01T00:00:00Z"});
        decode(json!({"metadata": meta, "spec": {"nodeName": node, "containers": []}, "status": status})).unwrap()
    }

    fn ready(since: &str) -> Value {
        json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": since}]})
    }

    #[test]
    fn those_missed_least_go_first() {
        let (old, new) = ("2026-01-01T00:00:10Z", "2026-01-01T00:01:00Z");
        let mut cheap = pod("g-cheap", Some("a"), ready(old));
        cheap.metadata.annotations = Some([(POD_DELETION_COST.to_owned(), "-5".to_owned())].into());
        let mut restarted = ready(old);
        restarted["containerStatuses"] =
            json!([{"name": "c", "ready": true, "restartCount": 4, "image": "i", "imageID": "i"}]);
        let mut young = pod("c-young", Some("a"), ready(old));
        young.metadata.creation_timestamp = Some(api::Time("2026-01-02T00:00:00Z".parse().unwrap()));
        let pods = [
            pod("a-old", Some("a"), ready(old)),
            pod("b-crowded", Some("b"), ready(old)),
            young,
            pod("d-restarted", Some("a"), ready(old)).clone(),
            pod("e-new", Some("a"), ready(new)),
            pod("f-unready", Some("a"), json!({"phase": "Running"})),
            cheap,
            pod("h-pending", Some("a"), json!({"phase": "Pending"})),
            pod("i-unbound", None, json!({"phase": "Pending"})),
        ];
        let mut pods = pods.to_vec();
        pods[3].status = serde_json::from_value(restarted).unwrap();
        let many: Vec<_> = (0..9).map(|n| pod(&n.to_string(), Some("b"), ready(old))).collect();
        let related: Vec<_> = pods.iter().chain(&many).collect();
        let order: Vec<_> =
            by_loss(&pods, &related).into_iter().map(|pod| pod.metadata.name.clone().unwrap()).collect();
        let wanted =
            ["i-unbound", "h-pending", "f-unready", "g-cheap", "b-crowded", "e-new", "d-restarted", "c-young", "a-old"];
        assert_eq!(order, wanted);
    }
}
