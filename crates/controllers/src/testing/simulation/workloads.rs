//! Random edits of deployments, replication controllers and jobs, and what must hold of their pods in the end.

use api::{
    Kind, ObjectKey, decode,
    kinds::{Deployment, Job, Pod, ReplicaSet, ReplicationController, job},
    names::finalizer::JOB_TRACKING,
};
use serde_json::{Value, json};

use super::Simulation;
use crate::World;

/// The deployment, the replication controller and the job; they are called what their pods are labelled with.
pub(super) const DEPLOYMENT: &str = "api";
pub(super) const CONTROLLER: &str = "old";
pub(super) const JOB: &str = "once";
/// Label of pods that were taken away from them.
pub(super) const RELEASED: &str = "released";

impl Simulation {
    /// A workload is made, changed or deleted, or one of its pods or replica sets is.
    pub(super) async fn edit_workload(&mut self) {
        match self.random.below(9) {
            0..4 => self.edit_deployment().await,
            4 => self.edit_controller().await,
            5 => self.edit_pod().await,
            6 | 7 => self.edit_job().await,
            _ => {
                let sets = self.world.all::<ReplicaSet>();
                if !sets.is_empty() {
                    let set: ReplicaSet = decode(sets[self.random.below(sets.len())].clone()).unwrap();
                    self.world.delete::<ReplicaSet>(&ObjectKey::of(&set)).await;
                }
            }
        }
    }

    async fn edit_deployment(&mut self) {
        let key = ObjectKey::namespaced("default", DEPLOYMENT);
        let number = self.random.below(4);
        let Some(mut deployment) = self.get::<Deployment>(&key).await else {
            let strategy = match number {
                0 => json!({"type": "Recreate"}),
                _ => json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": number - 1, "maxUnavailable": 1}}),
            };
            let spec = json!({"replicas": 3, "strategy": strategy, "revisionHistoryLimit": 1,
                "selector": {"matchLabels": {"app": DEPLOYMENT}}, "template": template(DEPLOYMENT)});
            return self.create::<Deployment>(named(DEPLOYMENT, spec)).await;
        };
        match self.random.below(6) {
            0 => deployment["spec"]["replicas"] = json!(number),
            1 | 2 => deployment["spec"]["template"]["spec"]["containers"][0]["image"] = json!(format!("api:{number}")),
            3 => deployment["spec"]["paused"] = json!(number == 0),
            4 => deployment["metadata"]["annotations"] = json!({"note": number.to_string()}),
            _ => return self.world.delete::<Deployment>(&key).await,
        }
        self.replace::<Deployment>(&deployment).await;
    }

    async fn edit_controller(&mut self) {
        let key = ObjectKey::namespaced("default", CONTROLLER);
        let Some(mut controller) = self.get::<ReplicationController>(&key).await else {
            let spec = json!({"replicas": 1, "template": template(CONTROLLER)});
            return self.create::<ReplicationController>(named(CONTROLLER, spec)).await;
        };
        if self.one_in(4) {
            return self.world.delete::<ReplicationController>(&key).await;
        }
        controller["spec"]["replicas"] = json!(self.random.below(4));
        self.replace::<ReplicationController>(&controller).await;
    }

    async fn edit_job(&mut self) {
        let key = ObjectKey::namespaced("default", JOB);
        let number = self.random.below(4);
        let Some(mut job) = self.get::<Job>(&key).await else {
            let mode = if number < 2 { "Indexed" } else { "NonIndexed" };
            let mut spec = json!({"completions": 3, "parallelism": 2, "completionMode": mode, "backoffLimit": 5,
                "template": template(JOB)});
            if number == 0 {
                spec["backoffLimitPerIndex"] = json!(1);
            }
            spec["template"]["spec"]["restartPolicy"] = json!("Never");
            return self.create::<Job>(named(JOB, spec)).await;
        };
        match self.random.below(4) {
            0 => job["spec"]["suspend"] = json!(number == 0),
            1 => job["spec"]["parallelism"] = json!(number),
            2 => return self.world.delete::<Job>(&key).await,
            _ => {
                let pods = self.pods_of(&[JOB]);
                let Some(pod) = pods.get(number) else { return };
                return self.world.delete::<Pod>(&ObjectKey::of(&decode::<Pod>(pod.clone()).unwrap())).await;
            }
        }
        self.replace::<Job>(&job).await;
    }

    /// A pod is deleted, or labelled so that it does not belong to its workload any more.
    async fn edit_pod(&mut self) {
        // They are nobody's any more, and would fill the nodes.
        for pod in self.pods_of(&[RELEASED]) {
            self.world.delete::<Pod>(&ObjectKey::of(&decode::<Pod>(pod).unwrap())).await;
        }
        let pods = self.pods_of(&[DEPLOYMENT, CONTROLLER]);
        if pods.is_empty() {
            return;
        }
        let pod = pods[self.random.below(pods.len())].clone();
        let key = ObjectKey::of(&decode::<Pod>(pod.clone()).unwrap());
        if self.one_in(2) {
            return self.world.delete::<Pod>(&key).await;
        }
        let mut freed = self.world.admin().get(&Kind::of::<Pod>(), &key).await.unwrap().unwrap();
        freed["metadata"]["labels"] = json!({"app": RELEASED});
        self.replace::<Pod>(&freed).await;
    }

    /// Pods with one of these labels.
    pub(super) fn pods_of(&self, names: &[&str]) -> Vec<Value> {
        let mut pods = self.world.all::<Pod>();
        pods.retain(|pod| names.iter().any(|name| pod["metadata"]["labels"]["app"] == *name));
        pods
    }

    /// The workloads have just the pods that they want, of the template that they want.
    pub(super) fn judge_workloads(&self, seed: u64) {
        let replicas =
            |objects: &[Value]| objects.iter().map(|found| found["spec"]["replicas"].as_u64().unwrap()).sum::<u64>();
        let controllers = self.world.all::<ReplicationController>();
        assert_eq!(
            self.pods_of(&[CONTROLLER]).len() as u64,
            replicas(&controllers),
            "seed {seed}: pods of the controller"
        );
        self.judge_job(seed);
        for pod in self.pods_of(&[RELEASED]) {
            let owners = pod["metadata"]["ownerReferences"].as_array().map_or(0, Vec::len);
            assert_eq!(owners, 0, "seed {seed}: a pod that was taken away has an owner");
        }
        let (sets, deployments) = (self.world.all::<ReplicaSet>(), self.world.all::<Deployment>());
        let pods = self.pods_of(&[DEPLOYMENT]);
        assert_eq!(pods.len() as u64, replicas(&sets), "seed {seed}: pods of replica sets");
        let Some(deployment) = deployments.first() else {
            assert!(sets.is_empty(), "seed {seed}: replica sets without their deployment");
            return;
        };
        let wanted = &deployment["status"];
        for count in ["readyReplicas", "availableReplicas", "replicas"] {
            let found = wanted[count].as_u64().unwrap_or(0);
            assert_eq!(found, pods.len() as u64, "seed {seed}: {count}");
        }
        assert_eq!(wanted["observedGeneration"], deployment["metadata"]["generation"], "seed {seed}");
        if deployment["spec"]["paused"] == true {
            return;
        }
        assert_eq!(pods.len() as u64, replicas(&deployments), "seed {seed}: pods of the deployment");
        let image = &deployment["spec"]["template"]["spec"]["containers"][0]["image"];
        assert!(pods.iter().all(|pod| pod["spec"]["containers"][0]["image"] == *image), "seed {seed}: an old template");
        assert!(sets.len() <= 2, "seed {seed}: {} replica sets", sets.len());
        let progress = wanted["conditions"].as_array().unwrap().iter().find(|found| found["type"] == "Progressing");
        assert_eq!(progress.unwrap()["reason"], "NewReplicaSetAvailable", "seed {seed}");
    }
}

impl Simulation {
    /// The job has come to its end, or waits for a person; and it has let all its pods go.
    fn judge_job(&self, seed: u64) {
        let pods: Vec<Pod> = self.pods_of(&[JOB]).into_iter().map(|pod| decode(pod).unwrap()).collect();
        assert!(!pods.iter().any(|pod| JOB_TRACKING.holds(&pod.metadata)), "seed {seed}: a pod is not counted");
        let Some(found) = self.world.all::<Job>().into_iter().find(|found| found["metadata"]["name"] == JOB) else {
            assert!(pods.is_empty(), "seed {seed}: pods without their job");
            return;
        };
        let found: Job = decode(found).unwrap();
        let (spec, status) = (found.spec.clone().unwrap(), found.status.clone().unwrap());
        let rests = spec.suspend == Some(true) || spec.parallelism == Some(0);
        assert!(job::is_finished(&found) || rests, "seed {seed}: {status:#?}");
        assert_eq!((status.active, status.terminating), (Some(0), Some(0)), "seed {seed}");
        if job::is(&found, "Complete") {
            assert_eq!(status.succeeded, Some(3), "seed {seed}: {status:#?}");
        }
    }
}

pub(super) fn template(app: &str) -> Value {
    json!({"metadata": {"labels": {"app": app}}, "spec": {"containers": [{"name": "c", "image": "api:0"}]}})
}

pub(super) fn named(name: &str, spec: Value) -> Value {
    json!({"metadata": {"name": name, "namespace": "default"}, "spec": spec})
}
