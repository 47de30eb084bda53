//! Scripted kubelets: pods come up, crash and end, volumes are made, bindings succeed, fail and time out.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use api::{
    Kind, ObjectKey, decode, encode,
    kinds::{
        Binding, Lease, Node, PersistentVolumeClaim, Pod, binding::BindingPhase, persistent_volume_claim::selected_node,
    },
    names::{finalizer::VOLUME_DATA, namespace::NODE_LEASES},
};
use serde_json::json;

use super::Cluster;
use crate::{
    api_world::ApiWorld,
    bundles::names,
    step::Deletion,
    workloads::{health, scheduler::volumes::claims_of},
    world::{World, contains},
};

/// What goes wrong with a pod or a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    Fails,
}

/// The nodes, with what is on their disks.
#[derive(Debug)]
pub(crate) struct Nodes {
    /// By name: whether it runs.
    up: BTreeMap<String, bool>,
    /// Volumes, by the uid of their claim, and where they are.
    volumes: BTreeMap<String, BTreeSet<String>>,
    /// Addresses that pods had, by their uid.
    addresses: BTreeMap<String, Ipv4Addr>,
}

impl Nodes {
    /// Running nodes that are not registered yet.
    pub(crate) fn new(names: &[&str]) -> Self {
        let up = names.iter().map(|name| ((*name).to_owned(), true)).collect();
        Self { up, volumes: BTreeMap::new(), addresses: BTreeMap::new() }
    }

    /// The node stops without notice, or comes back.
    pub(crate) fn turn(&mut self, name: &str, up: bool) {
        self.up.insert(name.to_owned(), up);
    }

    /// All nodes run.
    pub(crate) fn turn_all_on(&mut self) {
        self.up.values_mut().for_each(|up| *up = true);
    }

    /// Every node reports its state, and brings its pods, claims and bindings one step on.
    pub(crate) async fn step(&mut self, world: &Cluster, mut fault: impl FnMut() -> Fault) {
        for (name, up) in self.up.clone() {
            if up {
                register(world, &name).await;
            }
            beat(world, &name, up).await;
        }
        for pod in world.all::<Pod>() {
            self.pod(world, decode(pod).unwrap(), fault()).await;
        }
        for claim in world.all::<PersistentVolumeClaim>() {
            self.release(world, decode(claim).unwrap()).await;
        }
        for binding in world.all::<Binding>() {
            self.binding(world, decode(binding).unwrap(), fault()).await;
        }
    }

    async fn pod(&mut self, world: &Cluster, pod: Pod, fault: Fault) {
        let kind = Kind::of::<Pod>();
        let Some(node) = health::node(&pod).filter(|node| self.is_up(node)).map(str::to_owned) else { return };
        let kubelet = world.node(&node);
        if health::is_terminating(&pod) {
            let uid = pod.metadata.uid.clone().unwrap_or_default();
            let ended = Deletion { uid, version: None, grace_seconds: Some(0) };
            return kubelet.delete(&kind, &ObjectKey::of(&pod), &ended).await.unwrap();
        }
        let mut mounted = true;
        for claim in claims_of(&pod) {
            mounted &= self.mount(&kubelet, &node, &claim).await;
        }
        let (ready, state) = match fault {
            Fault::None if mounted => ("True", json!({"running": {}})),
            Fault::None => ("False", json!({"waiting": {"reason": "ContainerCreating"}})),
            Fault::Fails => ("False", json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}})),
        };
        let next = Ipv4Addr::from(0x0a09_0000 + u32::try_from(self.addresses.len()).unwrap());
        let address = *self.addresses.entry(pod.metadata.uid.clone().unwrap()).or_insert(next);
        let ends = pod.spec.as_ref().is_some_and(|spec| spec.restart_policy.as_deref() == Some("Never"));
        let phase = match (ends, health::phase(&pod), fault) {
            (false, ..) => "Running",
            (true, "Succeeded" | "Failed", _) => return,
            // It runs for one step.
            (true, "Pending", _) => "Running",
            (true, _, Fault::None) => "Succeeded",
            (true, _, Fault::Fails) => "Failed",
        };
        let mut pod = encode(&pod);
        let name = pod["spec"]["containers"][0]["name"].clone();
        let last = json!({"terminated": {"exitCode": 3, "message": "cannot open the data directory"}});
        let status = json!({"phase": phase, "podIP": address, "startTime": "1970-01-01T00:00:00Z",
            "conditions": [{"type": "Ready", "status": ready}],
            "containerStatuses": [{"name": name, "image": "i", "imageID": "i", "ready": ready == "True", "restartCount": 1,
                "state": state, "lastState": last}]});
        if !contains(&pod["status"], &status) {
            pod["status"] = status;
            kubelet.replace_status(&kind, &pod).await.unwrap();
        }
    }

    /// Makes the claim's volume on the node, as a pod there needs it. This is where data would be lost.
    async fn mount(&mut self, kubelet: &ApiWorld, node: &str, key: &ObjectKey) -> bool {
        let kind = Kind::of::<PersistentVolumeClaim>();
        let Some(claim) = kubelet.get(&kind, key).await.unwrap() else { return false };
        let mut claim: PersistentVolumeClaim = decode(claim).unwrap();
        if claim.metadata.deletion_timestamp.is_some() {
            return false;
        }
        assert_eq!(selected_node(&claim), Some(node), "a pod with claim {key} runs on another node than its volume");
        if VOLUME_DATA.add(&mut claim.metadata) {
            kubelet.replace(&kind, &encode(&claim)).await.unwrap();
        }
        let places = self.volumes.entry(claim.metadata.uid.clone().unwrap()).or_default();
        places.insert(node.to_owned());
        assert_eq!(places.len(), 1, "claim {key} has a second, empty volume: {places:?}");
        true
    }

    /// Deletes the volume of a claim that is being deleted, on the node that has it.
    async fn release(&mut self, world: &Cluster, mut claim: PersistentVolumeClaim) {
        let key = ObjectKey::of(&claim);
        let Some(node) = selected_node(&claim).filter(|node| self.is_up(node)) else { return };
        let kubelet = world.node(node);
        if claim.metadata.deletion_timestamp.is_none() {
            return;
        }
        let pods = world.all::<Pod>();
        let used = pods.into_iter().any(|pod| {
            let pod: Pod = decode(pod).unwrap();
            health::node(&pod).is_some() && claims_of(&pod).contains(&key)
        });
        if used {
            return;
        }
        self.volumes.remove(claim.metadata.uid.as_deref().unwrap());
        VOLUME_DATA.remove(&mut claim.metadata);
        kubelet.replace(&Kind::of::<PersistentVolumeClaim>(), &encode(&claim)).await.unwrap();
    }

    /// Runs a binding's command in the pod of its target.
    async fn binding(&self, world: &Cluster, mut binding: Binding, fault: Fault) {
        let before = binding.status.clone().unwrap_or_default();
        if before.token == binding.spec.token {
            return;
        }
        let namespace = binding.metadata.namespace.clone().unwrap_or_default();
        let target = ObjectKey::namespaced(namespace, names::pod(&binding.spec.target.bundle));
        let pod = world.admin().get(&Kind::of::<Pod>(), &target).await.unwrap();
        let node = pod.as_ref().and_then(|pod| pod["spec"]["nodeName"].as_str()).filter(|node| self.is_up(node));
        let Some(node) = node else { return };
        let status = binding.status.get_or_insert_default();
        status.token = binding.spec.token.clone();
        status.attempts = before.attempts + 1;
        status.finished_at = Some(api::Time(world.now()));
        (status.phase, status.exit_code) = match fault {
            Fault::None => (BindingPhase::Completed, Some(0)),
            Fault::Fails if status.attempts.is_multiple_of(2) => (BindingPhase::TimedOut, None),
            Fault::Fails => (BindingPhase::Failed, Some(1)),
        };
        world.node(node).replace_status(&Kind::of::<Binding>(), &encode(&binding)).await.unwrap();
    }

    fn is_up(&self, node: &str) -> bool {
        self.up.get(node) == Some(&true)
    }
}

/// Creates the node's object, and reports that it is ready.
async fn register(world: &Cluster, name: &str) {
    let (kind, key, kubelet) = (Kind::of::<Node>(), ObjectKey::cluster(name), world.node(name));
    let amounts = json!({"cpu": "16", "memory": "64Gi", "pods": "20"});
    let status = json!({"allocatable": amounts, "conditions": [{"type": "Ready", "status": "True"}]});
    let mut found = kubelet.get(&kind, &key).await.unwrap();
    if found.is_none() {
        kubelet.create(&kind, &json!({"metadata": {"name": name}})).await.unwrap();
        found = kubelet.get(&kind, &key).await.unwrap();
    }
    let mut node = found.unwrap();
    if !contains(&node["status"], &status) {
        node["status"] = status;
        kubelet.replace_status(&kind, &node).await.unwrap();
    }
}

/// Renews the lease of a node. The clock jumps: the lease of a node that is up outlasts every jump.
async fn beat(world: &Cluster, name: &str, up: bool) {
    let (kind, kubelet) = (Kind::of::<Lease>(), world.node(name));
    let spec =
        json!({"leaseDurationSeconds": if up { 100_000_000 } else { 1 }, "renewTime": "1970-01-01T00:00:00.000000Z"});
    match kubelet.get(&kind, &ObjectKey::namespaced(NODE_LEASES, name)).await.unwrap() {
        Some(lease) if contains(&lease["spec"], &spec) => {}
        Some(mut lease) => {
            lease["spec"] = spec;
            kubelet.replace(&kind, &lease).await.unwrap();
        }
        None => {
            let metadata = json!({"name": name, "namespace": NODE_LEASES});
            kubelet.create(&kind, &json!({"metadata": metadata, "spec": spec})).await.unwrap();
        }
    }
}
