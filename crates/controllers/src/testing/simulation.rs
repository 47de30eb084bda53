//! Random edits, faults and kills over the real API server; then quiet. The cluster must converge, and then be idle.

mod cron_job;
mod daemon_set;
mod workloads;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use api::{
    Kind, ObjectKey, decode,
    kinds::{
        Bundle, ControllerRevision, EndpointSlice, Endpoints, Node, PersistentVolumeClaim, Pod, Secret, Service,
        StatefulSet,
        bundle::{BundleReason, CONDITIONS},
    },
};
use serde_json::{Value, json};

use self::{
    cron_job::CRON_JOB,
    daemon_set::DAEMON_SET,
    workloads::{CONTROLLER, DEPLOYMENT, JOB, RELEASED},
};
use super::{
    Cluster, MARIADB, WORDPRESS,
    cluster::Recorded,
    context,
    kubelet::{Fault, Nodes},
};
use crate::{Controller, Next, World, WorldError, all, controller::Change};

/// Random rounds.
const ROUNDS: usize = 250;
/// Rounds without faults until everything must be quiet.
const SETTLE: usize = 400;
/// How many edits there are. Those from [`FIRST_OPTIONAL`] on are left out of every other run, each on its own: where
/// fewer things happen, each of them gets further (swarm testing).
const EDITS: usize = 18;
const FIRST_OPTIONAL: usize = 8;
/// Of so many keys that are due, one is reconciled in a round.
const DUE_SHARE: usize = 8;
/// The nodes of the cluster.
const NODES: [&str; 2] = ["one", "two"];

/// A small random generator (xorshift64*): the seed determines the whole run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).unwrap() % limit
    }
}

struct Simulation {
    world: Cluster,
    controllers: Vec<Arc<dyn Controller>>,
    /// Keys that are due, by controller.
    queue: Vec<(usize, ObjectKey)>,
    random: Random,
    /// The edits that this run does without.
    omitted: [bool; EDITS],
    seen: Vec<String>,
    secrets: BTreeSet<String>,
    nodes: Nodes,
}

impl Simulation {
    async fn new(seed: u64) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let omitted = std::array::from_fn(|number| number >= FIRST_OPTIONAL && random.below(2) == 0);
        let mut simulation = Self {
            world: Cluster::start().await,
            controllers: all(&context()),
            queue: Vec::new(),
            random,
            omitted,
            seen: Vec::new(),
            secrets: BTreeSet::new(),
            nodes: Nodes::new(&NODES),
        };
        simulation.nodes.step(&simulation.world, || Fault::None).await;
        simulation.wake();
        simulation
    }

    async fn create<R: api::Resource>(&self, object: Value) {
        match self.world.admin().create(&Kind::of::<R>(), &object).await {
            // The random edit came to a name that is taken.
            Err(WorldError::Exists { .. }) => {}
            done => done.unwrap(),
        }
    }

    /// Replaces an object as it was just read.
    async fn replace<R: api::Resource>(&self, object: &Value) {
        self.world.admin().replace(&Kind::of::<R>(), object).await.unwrap();
    }

    async fn get<R: api::Resource>(&self, key: &ObjectKey) -> Option<Value> {
        self.world.admin().get(&Kind::of::<R>(), key).await.unwrap()
    }

    async fn install(&self, name: &str, service: &str) {
        let metadata = json!({"name": name, "namespace": "default"});
        self.create::<Bundle>(json!({"metadata": metadata, "spec": {"service": service}})).await;
    }

    /// Turns what changed into due keys, and checks every stored state of a bundle.
    fn wake(&mut self) {
        let changes = self.world.drain();
        self.check(&changes);
        if changes.iter().any(|change| change.kind.kind() == "Job") {
            self.check_cron_job();
        }
        self.enqueue(&changes);
    }

    fn enqueue(&mut self, changes: &[Recorded]) {
        for (index, controller) in self.controllers.iter().enumerate() {
            for watch in controller.watches() {
                for change in changes.iter().filter(|change| change.kind.resource() == watch.kind.resource()) {
                    let (gone, listed) = (change.gone, change.listed);
                    for key in (watch.keys)(Change { object: &change.object, gone, listed }) {
                        if !self.queue.contains(&(index, key.clone())) {
                            self.queue.push((index, key));
                        }
                    }
                }
            }
        }
    }

    fn check(&mut self, changes: &[Recorded]) {
        for change in changes.iter().filter(|change| change.kind.kind() == "Bundle") {
            let bundle: Bundle = decode(change.object.clone()).unwrap();
            let truths: Vec<_> = CONDITIONS.iter().map(|name| bundle.is(name)).collect();
            assert!(truths.windows(2).all(|pair| pair[0] || !pair[1]), "{truths:?}");
            for condition in bundle.status.iter().flat_map(|status| &status.conditions) {
                assert!(BundleReason::parse(&condition.reason).is_some(), "{}", condition.reason);
                self.seen.push(condition.reason.clone());
            }
        }
        for change in changes.iter().filter(|change| change.kind.kind() == "Secret") {
            let secret: Secret = decode(change.object.clone()).unwrap();
            let values = secret.data.into_iter().flatten().map(|(_, value)| String::from_utf8(value.0).unwrap());
            self.secrets.extend(values.filter(|value| value.len() >= 32));
        }
        for change in changes.iter().filter(|change| change.kind.kind() != "Secret") {
            let text = change.object.to_string();
            assert!(!self.secrets.iter().any(|secret| text.contains(secret)), "a secret outside Secrets: {text}");
        }
    }

    /// Reconciles one due key, chosen at random.
    async fn reconcile(&mut self) {
        if !self.queue.is_empty() {
            let (index, key) = self.queue.swap_remove(self.random.below(self.queue.len()));
            self.run(index, key).await;
        }
    }

    /// Reconciles every key that is due now, in random order.
    async fn reconcile_all(&mut self) {
        let mut due = std::mem::take(&mut self.queue);
        while !due.is_empty() {
            let (index, key) = due.swap_remove(self.random.below(due.len()));
            self.run(index, key).await;
        }
    }

    async fn run(&mut self, index: usize, key: ObjectKey) {
        let result = self.controllers[index].clone().reconcile(&self.world, &key).await;
        self.wake();
        // Retries and timers: the clock of the simulation is coarse, so both are due at once.
        let again = !matches!(result, Ok(Next::OnChange));
        if again && !self.queue.contains(&(index, key.clone())) {
            self.queue.push((index, key));
        }
    }

    /// The server is killed and starts again: nothing is remembered, everything is listed.
    fn restart(&mut self) {
        self.controllers = all(&context());
        self.queue.clear();
        self.wake();
        let listing = self.world.listing();
        self.enqueue(&listing);
    }

    async fn edit(&mut self) {
        let name = ["db", "blog", "blog2"][self.random.below(3)];
        let key = ObjectKey::namespaced("default", name);
        let number = self.random.below(EDITS);
        if self.omitted[number] {
            return;
        }
        match number {
            8 => self.trouble().await,
            9 | 10 => self.edit_set().await,
            11 => self.spoil_endpoints().await,
            12 => self.edit_addresses().await,
            13..=15 => self.edit_workload().await,
            16 => self.edit_daemon_set().await,
            17.. => self.edit_cron_job().await,
            0 => self.install("mariadb", MARIADB).await,
            1 | 2 => self.install(name, if name == "db" { MARIADB } else { WORDPRESS }).await,
            3 => self.world.delete::<Bundle>(&key).await,
            4 => self.world.delete::<Pod>(&ObjectKey::namespaced("default", format!("{name}-0"))).await,
            5 => {
                let start = json!(self.one_in(2));
                self.change(&key, "/spec/start", start).await;
            }
            6 => {
                let public = if self.one_in(2) { json!({}) } else { json!({"public": "no"}) };
                self.change(&key, "/spec/options", public).await;
            }
            _ => self.restart(),
        }
        self.wake();
    }

    /// The stateful set is made, changed or deleted, or one of its pods or claims is.
    async fn edit_set(&mut self) {
        let key = ObjectKey::namespaced("default", "web");
        let Some(mut set) = self.get::<StatefulSet>(&key).await else {
            let container = json!({"name": "c", "image": "web:0"});
            let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}});
            let claim = json!({"metadata": {"name": "data"},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
            let policy = if self.one_in(2) { "Parallel" } else { "OrderedReady" };
            let spec = json!({"replicas": 2, "serviceName": "web", "podManagementPolicy": policy, "revisionHistoryLimit": 1,
                "selector": {"matchLabels": {"app": "web"}}, "template": template, "volumeClaimTemplates": [claim]});
            return self
                .create::<StatefulSet>(json!({"metadata": {"name": "web", "namespace": "default"}, "spec": spec}))
                .await;
        };
        let number = self.random.below(4);
        match self.random.below(6) {
            0 => set["spec"]["replicas"] = json!(number),
            1 | 2 => set["spec"]["template"]["spec"]["containers"][0]["image"] = json!(format!("web:{number}")),
            3 => {
                set["spec"]["updateStrategy"] =
                    json!({"type": "RollingUpdate", "rollingUpdate": {"partition": number % 3}})
            }
            4 => {
                let claim = ObjectKey::namespaced("default", format!("data-web-{number}"));
                self.world.delete::<PersistentVolumeClaim>(&claim).await;
                self.world.delete::<Pod>(&ObjectKey::namespaced("default", format!("web-{number}"))).await;
            }
            _ => return self.world.delete::<StatefulSet>(&key).await,
        }
        self.replace::<StatefulSet>(&set).await;
    }

    /// What controllers wrote about the pods behind services is deleted, or changed.
    async fn spoil_endpoints(&mut self) {
        let delete = self.one_in(2);
        let mut slices = self.world.all::<EndpointSlice>();
        if !slices.is_empty() {
            let mut slice = slices.swap_remove(self.random.below(slices.len()));
            if delete {
                self.world.delete::<EndpointSlice>(&key_of(&slice)).await;
            } else {
                slice["endpoints"] = json!([{"addresses": ["192.0.2.9"]}]);
                self.replace::<EndpointSlice>(&slice).await;
            }
        }
        let key = ObjectKey::namespaced("default", ["db", "blog", "web", "kubernetes"][self.random.below(4)]);
        self.world.delete::<Endpoints>(&key).await;
        if key.name == "kubernetes" && delete {
            self.world.delete::<Service>(&key).await;
        }
    }

    /// A service without a selector, and the endpoints that its maker writes, are made, changed or deleted.
    async fn edit_addresses(&mut self) {
        let key = ObjectKey::namespaced("default", "outside");
        let metadata = json!({"name": "outside", "namespace": "default"});
        match self.random.below(4) {
            0 => self.world.delete::<Service>(&key).await,
            1 => self.world.delete::<Endpoints>(&key).await,
            _ => {
                self.create::<Service>(json!({"metadata": metadata, "spec": {"ports": [{"port": 80}]}})).await;
                let number = self.random.below(120);
                let addresses: Vec<_> = (0..=number).map(|last| json!({"ip": format!("192.0.2.{last}")})).collect();
                let subsets = json!([{"addresses": addresses, "ports": [{"port": 80}]}]);
                match self.get::<Endpoints>(&key).await {
                    Some(mut endpoints) => {
                        endpoints["subsets"] = subsets;
                        self.replace::<Endpoints>(&endpoints).await;
                    }
                    None => self.create::<Endpoints>(json!({"metadata": metadata, "subsets": subsets})).await,
                }
            }
        }
    }

    /// A node is lost, comes back, is drained, or is taken out of the cluster.
    async fn trouble(&mut self) {
        let name = NODES[self.random.below(NODES.len())];
        match self.random.below(5) {
            0 => self.nodes.turn(name, false),
            1 | 2 => {
                self.nodes.turn(name, true);
                self.cordon(name, false).await;
            }
            3 => {
                self.cordon(name, true).await;
                let pods = self.world.all::<Pod>();
                for pod in pods.iter().filter(|pod| pod["spec"]["nodeName"] == name) {
                    let pod: Pod = decode(pod.clone()).unwrap();
                    self.world.delete::<Pod>(&ObjectKey::of(&pod)).await;
                }
            }
            _ => {
                self.nodes.turn(name, false);
                self.world.delete::<Node>(&ObjectKey::cluster(name)).await;
            }
        }
    }

    async fn cordon(&self, name: &str, closed: bool) {
        if let Some(mut node) = self.get::<Node>(&ObjectKey::cluster(name)).await {
            node["spec"]["unschedulable"] = json!(closed);
            self.replace::<Node>(&node).await;
        }
    }

    fn one_in(&mut self, of: usize) -> bool {
        self.random.below(of) == 0
    }

    async fn change(&self, key: &ObjectKey, path: &str, value: Value) {
        if let Some(mut bundle) = self.get::<Bundle>(key).await
            && bundle["spec"]["service"] == WORDPRESS
        {
            let field = path.trim_start_matches("/spec/");
            bundle["spec"][field] = value;
            self.replace::<Bundle>(&bundle).await;
        }
    }

    async fn chaos(&mut self) {
        for _ in 0..ROUNDS {
            match self.random.below(10) {
                0 => self.edit().await,
                1 | 2 => {
                    let draws: Vec<_> = (0..64).map(|_| self.random.below(3) == 0).collect();
                    let mut draws = draws.into_iter();
                    let luck = || if draws.next() == Some(true) { Fault::Fails } else { Fault::None };
                    self.nodes.step(&self.world, luck).await;
                    self.wake();
                }
                3 => {
                    // Killed after a few writes, in the middle of whatever it does.
                    self.world.limit_writes(Some(u32::try_from(self.random.below(4)).unwrap()));
                    self.reconcile().await;
                    self.world.limit_writes(None);
                    self.restart();
                }
                4 => self.world.advance(7),
                // A share of what is due, so that one more controller does not slow down the others.
                _ => {
                    for _ in 0..self.queue.len().div_ceil(DUE_SHARE) {
                        self.reconcile().await;
                    }
                }
            }
        }
    }

    async fn settle(&mut self) {
        self.nodes.turn_all_on();
        for name in NODES {
            self.cordon(name, false).await;
        }
        self.suspend_cron_job().await;
        for _ in 0..SETTLE {
            let before = self.world.revision().await;
            self.reconcile_all().await;
            self.nodes.step(&self.world, || Fault::None).await;
            self.wake();
            // Longer than every back-off.
            self.world.advance(301);
            if self.world.revision().await == before && self.queue.iter().all(|(index, _)| self.is_timer(*index)) {
                return;
            }
        }
        panic!("still busy: {:?}", self.queue);
    }

    /// Controllers that ask to be called again for ever: certificates are renewed, leases end and servers come, some day.
    fn is_timer(&self, index: usize) -> bool {
        matches!(
            self.controllers[index].name(),
            "api-service-controller" | "bundle-controller" | "node-lifecycle-controller"
        )
    }

    fn bundles(&self) -> BTreeMap<String, Bundle> {
        let all = self.world.all::<Bundle>().into_iter().map(|bundle| decode::<Bundle>(bundle).unwrap());
        all.map(|bundle| (bundle.metadata.name.clone().unwrap(), bundle)).collect()
    }

    /// What must hold once everything is quiet.
    fn judge(&self, seed: u64) {
        let bundles = self.bundles();
        for (name, bundle) in &bundles {
            let works = bundle.spec.service == MARIADB || bundles.contains_key("mariadb");
            assert_eq!(bundle.is("Ready"), works, "seed {seed}: {name} {:#?}", bundle.status);
        }
        let listing = self.world.listing();
        let uids: Vec<_> = listing.iter().map(|found| found.object["metadata"]["uid"].clone()).collect();
        for found in listing {
            let owners = found.object["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
            assert!(owners.iter().all(|owner| uids.contains(&owner["uid"])), "seed {seed}: garbage {}", found.object);
        }
        self.judge_set(seed);
        self.judge_endpoints(seed);
        self.judge_workloads(seed);
        self.judge_daemon_set(seed);
        self.judge_cron_job(seed);
        let others = ["web", DAEMON_SET, CRON_JOB, DEPLOYMENT, CONTROLLER, RELEASED, JOB];
        let of_bundle = |pod: &&Value| !others.iter().any(|app| pod["metadata"]["labels"]["app"] == *app);
        for pod in self.world.all::<Pod>().iter().filter(of_bundle) {
            let set = pod["metadata"]["name"].as_str().unwrap().trim_end_matches("-0");
            assert!(bundles.get(set).is_some_and(|bundle| bundle.spec.start), "seed {seed}: a pod too many {set}");
        }
    }
}

impl Simulation {
    /// The stateful set has just the pods it wants, of the revisions it wants, and no more history than it keeps.
    fn judge_set(&self, seed: u64) {
        let pods: Vec<Pod> = self.world.all::<Pod>().into_iter().map(|pod| decode(pod).unwrap()).collect();
        let label = |pod: &Pod, name: &str| pod.metadata.labels.as_ref().and_then(|all| all.get(name).cloned());
        let pods: Vec<_> = pods.iter().filter(|pod| label(pod, "app").as_deref() == Some("web")).collect();
        let Some(set) = self.world.all::<StatefulSet>().into_iter().find(|set| set["metadata"]["name"] == "web") else {
            assert!(pods.is_empty(), "seed {seed}: pods without their set");
            return;
        };
        let set: StatefulSet = decode(set).unwrap();
        let (spec, status) = (set.spec.unwrap(), set.status.unwrap());
        assert_eq!(pods.len(), usize::try_from(spec.replicas.unwrap()).unwrap(), "seed {seed}");
        let partition = spec.update_strategy.and_then(|update| update.rolling_update?.partition).unwrap_or(0);
        for pod in pods {
            let ordinal: i32 = label(pod, "apps.kubernetes.io/pod-index").unwrap().parse().unwrap();
            if ordinal >= partition {
                assert_eq!(label(pod, "controller-revision-hash"), status.update_revision, "seed {seed}");
            }
        }
        let kept =
            self.world.all::<ControllerRevision>().into_iter().map(|kept| decode::<ControllerRevision>(kept).unwrap());
        let kept =
            kept.filter(|kept| kept.metadata.name.as_deref().is_some_and(|name| name.starts_with("web-"))).count();
        assert!(kept <= 6, "seed {seed}: {kept} revisions");
    }
}

impl Simulation {
    /// Slices and endpoints have the ready pods of each service with a selector, and the addresses that are written
    /// for one without.
    fn judge_endpoints(&self, seed: u64) {
        let endpoints = self.world.all::<Endpoints>();
        let endpoints: BTreeMap<_, _> = endpoints.iter().map(|found| (key_of(found), listed(found))).collect();
        let mut slices: BTreeMap<_, Vec<String>> = BTreeMap::new();
        for slice in self.world.all::<EndpointSlice>() {
            let of = slice["metadata"]["labels"]["kubernetes.io/service-name"].as_str().unwrap();
            let service = ObjectKey::namespaced(slice["metadata"]["namespace"].as_str().unwrap(), of);
            slices.entry(service).or_default().extend(ready_of(&slice));
        }
        let services = self.world.all::<Service>();
        assert!(services.iter().any(|service| service["spec"]["clusterIP"] == "10.0.0.1"), "seed {seed}: no API");
        for service in services {
            let key = key_of(&service);
            let mut found = slices.remove(&key).unwrap_or_default();
            found.sort();
            let mut wanted = endpoints.get(&key).cloned().unwrap_or_default();
            wanted.sort();
            assert_eq!(found, wanted, "seed {seed}: slices of {key} and its endpoints");
            let Some(selector) = service["spec"]["selector"].as_object() else { continue };
            let mut pods = self.world.all::<Pod>();
            pods.retain(|pod| selector.iter().all(|(key, value)| pod["metadata"]["labels"].get(key) == Some(value)));
            let mut ready: Vec<_> =
                pods.iter().filter_map(|pod| Some(pod["status"]["podIP"].as_str()?.to_owned())).collect();
            ready.sort();
            assert_eq!(found, ready, "seed {seed}: the pods behind {key}");
        }
        assert_eq!(slices.into_values().flatten().next(), None, "seed {seed}: slices without a service");
    }
}

fn key_of(object: &Value) -> ObjectKey {
    let text = |field: &str| object["metadata"][field].as_str().unwrap();
    ObjectKey::namespaced(text("namespace"), text("name"))
}

/// The ready addresses of endpoints.
fn listed(endpoints: &Value) -> Vec<String> {
    let subsets = endpoints["subsets"].as_array().into_iter().flatten();
    let addresses = subsets.flat_map(|subset| subset["addresses"].as_array().into_iter().flatten());
    addresses.map(|address| address["ip"].as_str().unwrap().to_owned()).collect()
}

/// The addresses of a slice that are ready.
fn ready_of(slice: &Value) -> Vec<String> {
    let endpoints = slice["endpoints"].as_array().into_iter().flatten();
    let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] == true);
    ready.map(|endpoint| endpoint["addresses"][0].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn chaos_ends_in_order_and_order_is_idle() {
    let mut reasons = BTreeSet::new();
    for seed in 1..=60 {
        let mut simulation = Simulation::new(seed).await;
        simulation.chaos().await;
        simulation.settle().await;
        simulation.judge(seed);
        // Everything looked at again after a restart: nothing is written.
        let quiet = simulation.world.revision().await;
        simulation.restart();
        simulation.reconcile_all().await;
        assert_eq!(simulation.world.revision().await, quiet, "seed {seed}: it is not idle");
        reasons.extend(simulation.seen);
    }
    // The random edits reach every state of a bundle.
    for reason in [
        "BindingsFailed",
        "BindingsPending",
        "ProfilePending",
        "SecretsPending",
        "StartCompleted",
        "StartFailed",
        "StartPending",
        "StartSkipped",
    ] {
        assert!(reasons.contains(reason), "{reason} never came up: {reasons:?}");
    }
}

#[tokio::test]
async fn a_seed_determines_the_whole_run() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let mut simulation = Simulation::new(7).await;
        simulation.chaos().await;
        runs.push((simulation.world.revision().await, simulation.seen));
    }
    assert_eq!(runs[0], runs[1]);
}
