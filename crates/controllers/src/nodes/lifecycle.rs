//! Says that a node is unknown when it stops renewing its lease, and that its pods are not ready then.

use std::time::Duration;

use api::{
    Kind, ObjectKey, Time,
    kinds::{Lease, Node, Pod, node::NODE_NOT_READY},
    names::namespace::NODE_LEASES,
};
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::NodeCondition;

use crate::{
    controller::{Change, Controller, Next, Watch, itself, name_of, namespace_of},
    error::Error,
    step::Step,
    workloads::health,
    world::{self, World},
};

/// Seconds a lease lasts when it does not say.
const LEASE_SECONDS: i32 = 40;

/// Reconciles the `Ready` condition of nodes whose kubelet is silent.
#[derive(Clone, Copy, Debug, Default)]
pub struct NodeLifecycle;

#[async_trait]
impl Controller for NodeLifecycle {
    fn name(&self) -> &'static str {
        "node-lifecycle-controller"
    }

    fn watches(&self) -> Vec<Watch> {
        vec![Watch::new(Kind::of::<Node>(), itself), Watch::new(Kind::of::<Lease>(), node_of_lease)]
    }

    async fn reconcile(&self, world: &dyn World, key: &ObjectKey) -> Result<Next, Error> {
        let Some(node) = world::get::<Node>(world, key).await? else {
            return Ok(Next::OnChange);
        };
        let lease = world::get::<Lease>(world, &ObjectKey::namespaced(NODE_LEASES, key.name.clone())).await?;
        let (steps, next) = plan(&node, lease.as_ref(), world.now());
        world::apply(world, &steps).await?;
        if is_unknown(&node) || !steps.is_empty() {
            let pods = world::list::<Pod>(world, None).await?;
            let here = pods.iter().filter(|pod| health::node(pod) == Some(&key.name));
            world::apply(world, &here.filter_map(|pod| not_ready(pod, world.now())).collect::<Vec<_>>()).await?;
        }
        Ok(next)
    }
}

fn node_of_lease(change: Change<'_>) -> Vec<ObjectKey> {
    let node = name_of(change.object).filter(|_| namespace_of(change.object).as_deref() == Some(NODE_LEASES));
    node.map(ObjectKey::cluster).into_iter().collect()
}

fn is_unknown(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "Unknown")
}

/// A pod of a silent node is not ready: services must not lead to it. Its kubelet says otherwise when it is back.
fn not_ready(pod: &Pod, now: Timestamp) -> Option<Step> {
    let mut told = pod.clone();
    let conditions = told.status.as_mut()?.conditions.as_mut()?;
    let ready = conditions.iter_mut().find(|condition| condition.type_ == "Ready" && condition.status == "True")?;
    ready.status = "False".into();
    ready.reason = Some(NODE_NOT_READY.into());
    ready.message = Some("the node does not answer, so nobody knows how the pod is".into());
    ready.last_transition_time = Some(Time(now));
    Some(Step::replace_status(&told))
}

fn plan(node: &Node, lease: Option<&Lease>, now: Timestamp) -> (Vec<Step>, Next) {
    let spec = lease.and_then(|lease| lease.spec.as_ref());
    let seconds = spec.and_then(|spec| spec.lease_duration_seconds).unwrap_or(LEASE_SECONDS);
    let renewed = spec.and_then(|spec| spec.renew_time.as_ref()).map(|time| time.0);
    // A node without a lease yet has as long as its first lease would last.
    let created = node.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let Some(since) = renewed.or(created) else { return (Vec::new(), Next::OnChange) };
    let end = since.checked_add(SignedDuration::from_secs(seconds.into())).unwrap_or(since);
    if let Ok(left) = Duration::try_from(end.duration_since(now))
        && !left.is_zero()
    {
        return (Vec::new(), Next::After(left));
    }
    let mut node = node.clone();
    let conditions = node.status.get_or_insert_default().conditions.get_or_insert_default();
    let ready = conditions.iter().position(|condition| condition.type_ == "Ready");
    if ready.is_some_and(|index| conditions[index].status == "Unknown") {
        return (Vec::new(), Next::OnChange);
    }
    let condition = NodeCondition {
        type_: "Ready".into(),
        status: "Unknown".into(),
        reason: Some("NodeStatusUnknown".into()),
        message: Some("the kubelet stopped renewing its lease; check that nanocloud runs on the node".into()),
        last_transition_time: Some(Time(now)),
        last_heartbeat_time: renewed.map(Time),
    };
    match ready {
        Some(index) => conditions[index] = condition,
        None => conditions.push(condition),
    }
    let news = Step::warning(&node, "NodeNotReady", "the kubelet stopped renewing its lease");
    (vec![Step::replace_status(&node), news], Next::OnChange)
}

#[cfg(test)]
mod tests {
    use api::decode;
    use serde_json::json;

    use super::*;

    #[test]
    fn silence_becomes_unknown_once() {
        let node: Node = decode(json!({"metadata": {"name": "n"},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]}}))
        .unwrap();
        let lease: Lease = decode(json!({"metadata": {"name": "n"},
            "spec": {"leaseDurationSeconds": 40, "renewTime": "2026-01-01T00:00:00.000000Z"}}))
        .unwrap();
        let at = |node: &Node, text: &str| plan(node, Some(&lease), text.parse().unwrap());
        assert!(matches!(&at(&node, "2026-01-01T00:00:30Z"), (steps, Next::After(left))
            if steps.is_empty() && *left == Duration::from_secs(10)));
        let (steps, _) = at(&node, "2026-01-01T00:00:40Z");
        let Step::ReplaceStatus { object, .. } = &steps[0] else { panic!() };
        assert_eq!(object["status"]["conditions"][0]["status"], "Unknown");
        let unknown: Node = decode(object.clone()).unwrap();
        assert!(at(&unknown, "2026-01-01T00:01:00Z").0.is_empty());
        assert!(!is_unknown(&node) && is_unknown(&unknown));
    }

    #[test]
    fn pods_of_a_silent_node_are_not_ready() {
        let pod: Pod = decode(json!({"metadata": {"name": "p", "namespace": "n"}, "spec": {"containers": []},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "True"}]}}))
        .unwrap();
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let Some(Step::ReplaceStatus { object, .. }) = not_ready(&pod, now) else { panic!() };
        let conditions = &object["status"]["conditions"];
        assert_eq!((&conditions[0]["status"], &conditions[0]["reason"]), (&json!("False"), &json!(NODE_NOT_READY)));
        assert_eq!(conditions[1]["status"], "True");
        assert!(not_ready(&decode(object).unwrap(), now).is_none(), "it is said once");
    }
}
