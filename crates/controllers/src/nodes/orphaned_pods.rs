//! Removes pods whose node is not in the cluster any more: nobody is there to end them.

use std::{collections::BTreeMap, time::Duration};

use api::{
    Kind, ObjectKey,
    kinds::{Node, Pod},
};
use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::Value;

use crate::{
    controller::{Change, Controller, Next, Watch, itself},
    error::Error,
    step::Step,
    workloads::health,
    world::{self, World},
};

/// How long a node must have been absent: a node that is deleted by mistake registers itself again.
pub const QUARANTINE: Duration = Duration::from_secs(40);

/// Reconciles nodes that pods name and that are not there. The key is the node's.
#[derive(Debug, Default)]
pub struct OrphanedPods {
    /// Since when a node was seen to be absent: only to wait; after a restart the wait begins anew.
    absent: Mutex<BTreeMap<String, Timestamp>>,
}

#[async_trait]
impl Controller for OrphanedPods {
    fn name(&self) -> &'static str {
        "pod-garbage-collector"
    }

    fn watches(&self) -> Vec<Watch> {
        vec![
            Watch::new(Kind::of::<Node>(), |change| if change.gone { itself(change) } else { Vec::new() }),
            Watch::new(Kind::of::<Pod>(), untouched),
        ]
    }

    async fn reconcile(&self, world: &dyn World, key: &ObjectKey) -> Result<Next, Error> {
        if world::get::<Node>(world, key).await?.is_some() {
            self.absent.lock().remove(&key.name);
            return Ok(Next::OnChange);
        }
        let pods = world::list::<Pod>(world, None).await?;
        let orphans: Vec<_> = pods.iter().filter(|pod| health::node(pod) == Some(&key.name)).collect();
        if orphans.is_empty() {
            self.absent.lock().remove(&key.name);
            return Ok(Next::OnChange);
        }
        let now = world.now();
        let since = *self.absent.lock().entry(key.name.clone()).or_insert(now);
        let waited = Duration::try_from(now.duration_since(since)).unwrap_or_default();
        if waited < QUARANTINE {
            return Ok(Next::After(QUARANTINE - waited));
        }
        world::apply(world, &orphans.into_iter().flat_map(|pod| remove(pod, &key.name)).collect::<Vec<_>>()).await?;
        Ok(Next::OnChange)
    }
}

/// The node of a pod that no kubelet has taken up yet, or that is listed.
fn untouched(change: Change<'_>) -> Vec<ObjectKey> {
    let node = change.object.pointer("/spec/nodeName").and_then(Value::as_str).filter(|name| !name.is_empty());
    let taken_up = change.object.pointer("/status/startTime").is_some();
    let wanted = !change.gone && (change.listed || !taken_up);
    node.filter(|_| wanted).map(ObjectKey::cluster).into_iter().collect()
}

fn remove(pod: &Pod, node: &str) -> [Step; 2] {
    let news = format!("node {node} is not in the cluster any more, so the pod is removed");
    [Step::warning(pod, "NodeLost", news), Step::delete_now(pod)]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::Cluster;

    #[tokio::test]
    async fn pods_outlive_their_node_by_the_quarantine_only() {
        let world = Cluster::start().await;
        let spec = |node: &str| json!({"nodeName": node, "containers": [{"name": "c", "image": "i"}]});
        for (name, node) in [("here", "a"), ("gone", "b"), ("waits", "")] {
            let metadata = json!({"name": name, "namespace": "default"});
            world.create::<Pod>(json!({"metadata": metadata, "spec": spec(node)})).await;
        }
        world.create::<Node>(json!({"metadata": {"name": "a"}})).await;
        let (controller, key) = (OrphanedPods::default(), ObjectKey::cluster("b"));
        assert_eq!(controller.reconcile(&world, &key).await.unwrap(), Next::After(QUARANTINE));
        world.advance(40);
        controller.reconcile(&world, &key).await.unwrap();
        controller.reconcile(&world, &ObjectKey::cluster("a")).await.unwrap();
        let left: Vec<_> = world.all::<Pod>().iter().map(|pod| pod["metadata"]["name"].clone()).collect();
        assert_eq!(left, ["here", "waits"]);
    }
}
