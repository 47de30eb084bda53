//! Random edits of a daemon set, and what must hold of its pods in the end.

use api::{
    ObjectKey, decode,
    kinds::{ControllerRevision, DaemonSet, Pod},
};
use serde_json::json;

use super::{
    NODES, Simulation,
    workloads::{named, template},
};

/// The daemon set; it is called what its pods are labelled with.
pub(super) const DAEMON_SET: &str = "each";

impl Simulation {
    /// The daemon set is made, changed or deleted, or one of its pods is.
    pub(super) async fn edit_daemon_set(&mut self) {
        let key = ObjectKey::namespaced("default", DAEMON_SET);
        let number = self.random.below(4);
        let Some(mut set) = self.get::<DaemonSet>(&key).await else {
            let rolling = if number == 0 {
                json!({"maxSurge": 1, "maxUnavailable": 0})
            } else {
                json!({"maxUnavailable": number})
            };
            let spec = json!({"selector": {"matchLabels": {"app": DAEMON_SET}}, "template": template(DAEMON_SET),
                "revisionHistoryLimit": 1, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": rolling}});
            return self.create::<DaemonSet>(named(DAEMON_SET, spec)).await;
        };
        match self.random.below(5) {
            0 | 1 => set["spec"]["template"]["spec"]["containers"][0]["image"] = json!(format!("api:{number}")),
            // A label that no node has, or none.
            2 => {
                let selector = if number == 0 { json!({"absent": ""}) } else { json!({}) };
                set["spec"]["template"]["spec"]["nodeSelector"] = selector;
            }
            3 => {
                let pods = self.pods_of(&[DAEMON_SET]);
                let Some(pod) = pods.get(number % 2) else { return };
                return self.world.delete::<Pod>(&ObjectKey::of(&decode::<Pod>(pod.clone()).unwrap())).await;
            }
            _ => return self.world.delete::<DaemonSet>(&key).await,
        }
        self.replace::<DaemonSet>(&set).await;
    }

    /// Each node that the set selects has one pod of the set's template, and its status says so.
    pub(super) fn judge_daemon_set(&self, seed: u64) {
        let pods = self.pods_of(&[DAEMON_SET]);
        let Some(set) = self.world.all::<DaemonSet>().pop() else {
            assert!(pods.is_empty(), "seed {seed}: pods without their daemon set");
            return;
        };
        let template = &set["spec"]["template"]["spec"];
        let selects = template["nodeSelector"].as_object().is_none_or(serde_json::Map::is_empty);
        let wanted = if selects { NODES.to_vec() } else { Vec::new() };
        let mut found: Vec<_> = pods.iter().map(|pod| pod["spec"]["nodeName"].as_str().unwrap()).collect();
        found.sort_unstable();
        assert_eq!(found, wanted, "seed {seed}: nodes with a pod of the daemon set");
        let image = &template["containers"][0]["image"];
        assert!(pods.iter().all(|pod| pod["spec"]["containers"][0]["image"] == *image), "seed {seed}: an old template");
        let status = &set["status"];
        for count in ["desiredNumberScheduled", "updatedNumberScheduled", "numberAvailable", "numberReady"] {
            assert_eq!(status[count].as_u64().unwrap_or(0), wanted.len() as u64, "seed {seed}: {count} {status}");
        }
        assert_eq!(status["observedGeneration"], set["metadata"]["generation"], "seed {seed}");
        let revisions = self.world.all::<ControllerRevision>();
        let own = revisions.iter().filter(|kept| kept["metadata"]["labels"]["app"] == DAEMON_SET).count();
        assert!((1..=2).contains(&own), "seed {seed}: {own} revisions");
    }
}
