//! Kubelets that run nothing: pods come up, crash and end, volumes are made, bindings succeed, fail and time out.

use std::collections::{BTreeMap, BTreeSet};

use api::{
    Kind, ObjectKey, decode, encode,
    kinds::{
        Binding, Lease, Node, PersistentVolumeClaim, Pod, binding::BindingPhase, persistent_volume_claim::selected_node,
    },
    names::{finalizer::VOLUME_DATA, namespace::NODE_LEASES},
};
use serde_json::{Value, json};

use super::memory::Memory;
use crate::{
    workloads::{health, scheduler::volumes::claims_of},
    world::World,
};

/// What happens to what is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Luck {
    Good,
    Bad,
}

/// The nodes of the game, with what is on their disks.
#[derive(Debug)]
pub(crate) struct Nodes {
    /// By name: whether it runs.
    up: BTreeMap<String, bool>,
    /// Volumes, by the uid of their claim, and where they are.
    volumes: BTreeMap<String, BTreeSet<String>>,
}

impl Nodes {
    /// Running nodes that are not registered yet.
    pub(crate) fn new(names: &[&str]) -> Self {
        Self { up: names.iter().map(|name| ((*name).to_owned(), true)).collect(), volumes: BTreeMap::new() }
    }

    /// The node ends without a word, or comes back.
    pub(crate) fn turn(&mut self, name: &str, up: bool) {
        self.up.insert(name.to_owned(), up);
    }

    /// All nodes run.
    pub(crate) fn turn_all_on(&mut self) {
        self.up.values_mut().for_each(|up| *up = true);
    }

    /// Every node says how it is, and brings its pods, claims and bindings one step on.
    pub(crate) async fn step(&mut self, world: &Memory, mut luck: impl FnMut() -> Luck) {
        for (name, up) in self.up.clone() {
            if up {
                register(world, &name).await;
            }
            beat(world, &name, up).await;
        }
        for pod in world.all("pods") {
            self.pod(world, decode(pod).unwrap(), luck()).await;
        }
        for claim in world.all("persistentvolumeclaims") {
            self.release(world, decode(claim).unwrap()).await;
        }
        for binding in world.all("bindings") {
            one_binding(world, binding, luck()).await;
        }
    }

    async fn pod(&mut self, world: &Memory, pod: Pod, luck: Luck) {
        let (kind, key) = (Kind::of::<Pod>(), ObjectKey::of(&pod));
        let Some(node) = health::node(&pod).filter(|node| self.up.get(*node) == Some(&true)) else { return };
        if health::is_terminating(&pod) {
            return world.remove_now(&kind, &key);
        }
        let mut mounted = true;
        for claim in claims_of(&pod) {
            mounted &= self.mount(world, node, &claim).await;
        }
        let (ready, state) = match luck {
            Luck::Good if mounted => ("True", json!({"running": {}})),
            Luck::Good => ("False", json!({"waiting": {"reason": "ContainerCreating"}})),
            Luck::Bad => ("False", json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}})),
        };
        let mut pod = encode(&pod);
        let name = pod["spec"]["containers"][0]["name"].clone();
        let last = json!({"terminated": {"exitCode": 3, "message": "cannot open the data directory"}});
        pod["status"] = json!({"phase": "Running", "startTime": "1970-01-01T00:00:00Z",
            "conditions": [{"type": "Ready", "status": ready}],
            "containerStatuses": [{"name": name, "image": "i", "imageID": "i", "ready": ready == "True", "restartCount": 1,
                "state": state, "lastState": last}]});
        let _ = world.replace_status(&kind, &pod).await;
    }

    /// Makes the claim's volume on the node, as a pod there needs it. This is where data would be lost.
    async fn mount(&mut self, world: &Memory, node: &str, key: &ObjectKey) -> bool {
        let kind = Kind::of::<PersistentVolumeClaim>();
        let Ok(Some(claim)) = world.get(&kind, key).await else { return false };
        let mut claim: PersistentVolumeClaim = decode(claim).unwrap();
        if claim.metadata.deletion_timestamp.is_some() {
            return false;
        }
        assert_eq!(selected_node(&claim), Some(node), "a pod with claim {key} runs on another node than its volume");
        if VOLUME_DATA.add(&mut claim.metadata) && world.replace(&kind, &encode(&claim)).await.is_err() {
            return false;
        }
        let places = self.volumes.entry(claim.metadata.uid.clone().unwrap()).or_default();
        places.insert(node.to_owned());
        assert_eq!(places.len(), 1, "claim {key} has a second, empty volume: {places:?}");
        true
    }

    /// Deletes the volume of a claim that is being deleted, on the node that has it.
    async fn release(&mut self, world: &Memory, mut claim: PersistentVolumeClaim) {
        let key = ObjectKey::of(&claim);
        let here = selected_node(&claim).is_some_and(|node| self.up.get(node) == Some(&true));
        let pods = world.all("pods");
        let used = pods.into_iter().any(|pod| {
            let pod: Pod = decode(pod).unwrap();
            health::node(&pod).is_some() && claims_of(&pod).contains(&key)
        });
        if claim.metadata.deletion_timestamp.is_none() || !here || used {
            return;
        }
        self.volumes.remove(claim.metadata.uid.as_deref().unwrap());
        VOLUME_DATA.remove(&mut claim.metadata);
        let _ = world.replace(&Kind::of::<PersistentVolumeClaim>(), &encode(&claim)).await;
    }
}

/// Makes the node's object, and says that it is ready.
async fn register(world: &Memory, name: &str) {
    let kind = Kind::of::<Node>();
    let amounts = json!({"cpu": "16", "memory": "64Gi", "pods": "20"});
    let status = json!({"allocatable": amounts, "conditions": [{"type": "Ready", "status": "True"}]});
    match world.get(&kind, &ObjectKey::cluster(name)).await {
        Ok(Some(mut node)) => {
            node["status"] = status;
            let _ = world.replace_status(&kind, &node).await;
        }
        _ => drop(world.create(&kind, &json!({"metadata": {"name": name}, "status": status})).await),
    }
}

/// Renews the lease of a node. The clock of the game jumps: a lease that is renewed outlasts it.
async fn beat(world: &Memory, name: &str, up: bool) {
    let kind = Kind::of::<Lease>();
    let spec =
        json!({"leaseDurationSeconds": if up { 100_000_000 } else { 1 }, "renewTime": "1970-01-01T00:00:00.000000Z"});
    let metadata = json!({"name": name, "namespace": NODE_LEASES});
    match world.get(&kind, &ObjectKey::namespaced(NODE_LEASES, name)).await {
        Ok(Some(mut lease)) => {
            lease["spec"] = spec;
            let _ = world.replace(&kind, &lease).await;
        }
        _ => drop(world.create(&kind, &json!({"metadata": metadata, "spec": spec})).await),
    }
}

async fn one_binding(world: &Memory, binding: Value, luck: Luck) {
    let Ok(mut binding) = api::decode::<Binding>(binding) else { panic!("a binding does not decode") };
    let before = binding.status.clone().unwrap_or_default();
    if before.token == binding.spec.token {
        return;
    }
    let status = binding.status.get_or_insert_default();
    status.token = binding.spec.token.clone();
    status.attempts = before.attempts + 1;
    status.finished_at = Some(api::Time(world.now()));
    (status.phase, status.exit_code) = match luck {
        Luck::Good => (BindingPhase::Completed, Some(0)),
        Luck::Bad if status.attempts % 2 == 0 => (BindingPhase::TimedOut, None),
        Luck::Bad => (BindingPhase::Failed, Some(1)),
    };
    let _ = world.replace_status(&Kind::of::<Binding>(), &encode(&binding)).await;
}
