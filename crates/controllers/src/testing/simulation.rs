//! Random edits, faults and kills; then quiet. The cluster must converge, and then be idle.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use api::{
    Kind, ObjectKey, decode,
    kinds::{Bundle, Lease, Namespace, Node, Pod, Secret, bundle::CONDITIONS},
};
use serde_json::{Value, json};

use super::{
    MARIADB, WORDPRESS, context,
    kubelet::{self, Luck},
    memory::{Memory, Recorded},
};
use crate::{Controller, LEASE_NAMESPACE, Next, World, all, bundle::REASONS, controller::Change};

/// Rounds of chance, then rounds until everything must be quiet.
const ROUNDS: usize = 250;
const SETTLE: usize = 400;

/// A small generator of chance (xorshift64*), so that a seed tells the whole run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).unwrap() % limit
    }
}

struct Simulation {
    world: Memory,
    controllers: Vec<Arc<dyn Controller>>,
    /// Keys that are due, by controller.
    queue: Vec<(usize, ObjectKey)>,
    chance: Chance,
    seen: Vec<String>,
    secrets: BTreeSet<String>,
}

impl Simulation {
    async fn new(seed: u64) -> Self {
        let mut simulation = Self {
            world: Memory::default(),
            controllers: all(&context()),
            queue: Vec::new(),
            chance: Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
            seen: Vec::new(),
            secrets: BTreeSet::new(),
        };
        simulation.create::<Namespace>(json!({"metadata": {"name": "default"}})).await;
        let status = json!({"allocatable": {"cpu": "16", "memory": "64Gi", "pods": "20"}, "conditions": [{"type": "Ready", "status": "True"}]});
        simulation.create::<Node>(json!({"metadata": {"name": "one"}, "status": status})).await;
        // The clock of the game jumps: the node's lease outlasts it.
        let lease = json!({"leaseDurationSeconds": 100_000_000, "renewTime": "1970-01-01T00:00:00.000000Z"});
        let metadata = json!({"name": "one", "namespace": LEASE_NAMESPACE});
        simulation.create::<Lease>(json!({"metadata": metadata, "spec": lease})).await;
        simulation.wake();
        simulation
    }

    async fn create<R: api::Resource>(&self, object: Value) {
        // A name that is taken is part of the game.
        let _ = self.world.create(&Kind::of::<R>(), &object).await;
    }

    async fn install(&self, name: &str, service: &str) {
        let metadata = json!({"name": name, "namespace": "default"});
        self.create::<Bundle>(json!({"metadata": metadata, "spec": {"service": service}})).await;
    }

    /// Turns what changed into due keys, and checks every stored state of a bundle.
    fn wake(&mut self) {
        let changes = self.world.drain();
        self.check(&changes);
        self.enqueue(&changes);
    }

    fn enqueue(&mut self, changes: &[Recorded]) {
        for (index, controller) in self.controllers.iter().enumerate() {
            for watch in controller.watches() {
                for change in changes.iter().filter(|change| change.kind.resource() == watch.kind.resource()) {
                    for key in (watch.keys)(Change { object: &change.object, gone: change.gone }) {
                        if !self.queue.contains(&(index, key.clone())) {
                            self.queue.push((index, key));
                        }
                    }
                }
            }
        }
    }

    fn check(&mut self, changes: &[Recorded]) {
        for change in changes.iter().filter(|change| change.kind.kind == "Bundle") {
            let bundle: Bundle = decode(change.object.clone()).unwrap();
            let truths: Vec<_> = CONDITIONS.iter().map(|name| bundle.is(name)).collect();
            assert!(truths.windows(2).all(|pair| pair[0] || !pair[1]), "{truths:?}");
            for condition in bundle.status.iter().flat_map(|status| &status.conditions) {
                assert!(REASONS.contains(&condition.reason.as_str()), "{}", condition.reason);
                self.seen.push(condition.reason.clone());
            }
        }
        for change in changes.iter().filter(|change| change.kind.kind == "Secret") {
            let secret: Secret = decode(change.object.clone()).unwrap();
            let values = secret.data.into_iter().flatten().map(|(_, value)| String::from_utf8(value.0).unwrap());
            self.secrets.extend(values.filter(|value| value.len() >= 32));
        }
        for change in changes.iter().filter(|change| change.kind.kind != "Secret") {
            let text = change.object.to_string();
            assert!(!self.secrets.iter().any(|secret| text.contains(secret)), "a secret outside Secrets: {text}");
        }
    }

    /// Reconciles one due key, chosen by chance.
    async fn reconcile(&mut self) {
        if !self.queue.is_empty() {
            let (index, key) = self.queue.swap_remove(self.chance.below(self.queue.len()));
            self.run(index, key).await;
        }
    }

    /// Reconciles every key that is due now, in an order of chance.
    async fn reconcile_all(&mut self) {
        let mut due = std::mem::take(&mut self.queue);
        while !due.is_empty() {
            let (index, key) = due.swap_remove(self.chance.below(due.len()));
            self.run(index, key).await;
        }
    }

    async fn run(&mut self, index: usize, key: ObjectKey) {
        let result = self.controllers[index].clone().reconcile(&self.world, &key).await;
        self.wake();
        // Retries and timers: the clock of the game is coarse, so both are due at once.
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
        let name = ["db", "blog", "blog2"][self.chance.below(3)];
        let key = ObjectKey::namespaced("default", name);
        let bundles = Kind::of::<Bundle>();
        match self.chance.below(8) {
            0 => self.install("mariadb", MARIADB).await,
            1 | 2 => self.install(name, if name == "db" { MARIADB } else { WORDPRESS }).await,
            3 => self.world.delete_now(&bundles, &key),
            4 => self.world.delete_now(&Kind::of::<Pod>(), &ObjectKey::namespaced("default", format!("{name}-0"))),
            5 => {
                let start = json!(self.chance_of(2));
                self.change(&key, "/spec/start", start).await;
            }
            6 => {
                let public = if self.chance_of(2) { json!({}) } else { json!({"public": "no"}) };
                self.change(&key, "/spec/options", public).await;
            }
            _ => self.restart(),
        }
        self.wake();
    }

    fn chance_of(&mut self, of: usize) -> bool {
        self.chance.below(of) == 0
    }

    async fn change(&self, key: &ObjectKey, path: &str, value: Value) {
        let kind = Kind::of::<Bundle>();
        if let Ok(Some(mut bundle)) = self.world.get(&kind, key).await
            && bundle["spec"]["service"] == WORDPRESS
        {
            let field = path.trim_start_matches("/spec/");
            bundle["spec"][field] = value;
            let _ = self.world.replace(&kind, &bundle).await;
        }
    }

    async fn chaos(&mut self) {
        for _ in 0..ROUNDS {
            match self.chance.below(10) {
                0 => self.edit().await,
                1 | 2 => {
                    let draws: Vec<_> = (0..64).map(|_| self.chance.below(3) == 0).collect();
                    let mut draws = draws.into_iter();
                    kubelet::step(&self.world, || if draws.next() == Some(true) { Luck::Bad } else { Luck::Good })
                        .await;
                    self.wake();
                }
                3 => {
                    // Killed after a few writes, in the middle of whatever it does.
                    self.world.limit_writes(Some(u32::try_from(self.chance.below(4)).unwrap()));
                    self.reconcile().await;
                    self.world.limit_writes(None);
                    self.restart();
                }
                4 => self.world.advance(7),
                _ => self.reconcile().await,
            }
        }
    }

    async fn settle(&mut self) {
        for _ in 0..SETTLE {
            let before = self.world.revision();
            self.reconcile_all().await;
            kubelet::step(&self.world, || Luck::Good).await;
            self.wake();
            // Longer than every back-off.
            self.world.advance(301);
            if self.world.revision() == before && self.queue.iter().all(|(index, _)| self.is_timer(*index)) {
                return;
            }
        }
        panic!("still busy: {:?}", self.queue);
    }

    /// Controllers that ask to be called again for ever: certificates are renewed, and leases end, some day.
    fn is_timer(&self, index: usize) -> bool {
        matches!(self.controllers[index].name(), "bundle-controller" | "node-lifecycle-controller")
    }

    fn bundles(&self) -> BTreeMap<String, Bundle> {
        let all = self.world.all("bundles").into_iter().map(|bundle| decode::<Bundle>(bundle).unwrap());
        all.map(|bundle| (bundle.metadata.name.clone().unwrap(), bundle)).collect()
    }

    /// What must hold once everything is quiet.
    fn judge(&self, seed: u64) {
        let bundles = self.bundles();
        for (name, bundle) in &bundles {
            let works = bundle.spec.service == MARIADB || bundles.contains_key("mariadb");
            assert_eq!(bundle.is("Ready"), works, "seed {seed}: {name} {:#?}", bundle.status);
        }
        let uids: Vec<_> = self.world.listing().iter().map(|found| found.object["metadata"]["uid"].clone()).collect();
        for found in self.world.listing() {
            let owners = found.object["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
            assert!(owners.iter().all(|owner| uids.contains(&owner["uid"])), "seed {seed}: garbage {}", found.object);
        }
        for pod in self.world.all("pods") {
            let set = pod["metadata"]["name"].as_str().unwrap().trim_end_matches("-0");
            assert!(bundles.get(set).is_some_and(|bundle| bundle.spec.start), "seed {seed}: a pod too many {set}");
        }
    }
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
        let quiet = simulation.world.revision();
        simulation.restart();
        simulation.reconcile_all().await;
        assert_eq!(simulation.world.revision(), quiet, "seed {seed}: it is not idle");
        reasons.extend(simulation.seen);
    }
    // The chance is worth something: every way a bundle can be was there.
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
