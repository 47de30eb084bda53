//! All pods of a node: one worker each, and what they have in common.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use api::{
    ObjectKey,
    kinds::{Binding, EndpointSlice, PersistentVolumeClaim, Pod, Service},
};
use client::{Api, Client, Controller, EventRecorder, ListParams, Observer, Store, reflect};
use images::ImageStore;
use net::Network;
use parking_lot::Mutex;
use runtime::container::{Runtime, State};
use storage::Volumes;
use tokio::{
    sync::{
        Notify, Semaphore, SetOnce,
        broadcast::{
            self,
            error::{RecvError, TryRecvError},
        },
        watch,
    },
    task::{Id, JoinSet},
};
use tokio_util::sync::CancellationToken;

use crate::{
    adapters::{ApiEvents, ClientPodApi, FileTail, HostNetwork, HostVolumes, NodeContainers, NodeImages},
    binding::{Bindings, target_of},
    claims::{Claims, claims_of, keys_of},
    config::Config,
    error::{Error, Result, chain},
    files::{Layout, PodUid},
    metrics::Metrics,
    node,
    pod::container::label,
    ports::Ports,
    probe, room,
    services::{Cidrs, Domains, Observed, host_ports, rules, zone},
    worker::{Desired, MAX_PULLS, Shared, Tokens, Worker},
};

/// Component name in events.
const COMPONENT: &str = "kubelet";
/// Changes within this time are loaded into the network together.
const RULES_PAUSE: Duration = Duration::from_millis(20);
/// Rules and names are computed at least this often.
const RULES_RESYNC: Duration = Duration::from_secs(60);
/// Pause before rules that could not be loaded are tried again.
const RULES_RETRY: Duration = Duration::from_secs(2);
/// Bindings that run at the same time.
const BINDING_WORKERS: usize = 4;

/// Runs the pods of one node.
pub struct Kubelet {
    client: Client,
    runtime: Arc<Runtime>,
    network: Arc<Network>,
    shared: Arc<Shared>,
    pods: Store<Pod>,
    metrics: Metrics,
    recorder: EventRecorder,
    events: Mutex<Option<client::EventWriter>>,
    /// The containers of an earlier server have been taken over.
    adopted: SetOnce<()>,
}

/// Where a worker learns what the API says, and the task it runs in.
struct Handle {
    desired: watch::Sender<Desired>,
    task: Id,
}

impl Kubelet {
    /// A kubelet over the mechanism crates; nothing runs yet.
    ///
    /// # Errors
    /// When its directories or its HTTP client cannot be made.
    pub fn new(
        config: Config,
        client: Client,
        runtime: Arc<Runtime>,
        images: Arc<ImageStore>,
        network: Arc<Network>,
        volumes: Arc<Volumes>,
    ) -> Result<Self> {
        let layout = Layout::new(&config);
        layout.prepare()?;
        let (recorder, writer) = EventRecorder::new(client.clone(), COMPONENT, config.node_name.clone());
        let ports = Ports {
            containers: Arc::new(NodeContainers(Arc::clone(&runtime))),
            images: Arc::new(NodeImages(images)),
            network: Arc::new(HostNetwork(Arc::clone(&network))),
            volumes: Arc::new(HostVolumes(volumes)),
            api: Arc::new(ClientPodApi::new(client.clone())),
            events: Arc::new(ApiEvents::new(recorder.clone())),
            logs: Arc::new(FileTail),
        };
        let allocatable = node::look(&config.state_root).allocatable();
        let shared = Arc::new(Shared {
            layout,
            ports,
            http: probe::client()?,
            host_ports: Mutex::default(),
            host_ports_changed: Notify::new(),
            pulls: Semaphore::new(MAX_PULLS),
            tokens: Tokens::default(),
            disk_full: Notify::new(),
            collection: tokio::sync::Mutex::default(),
            allocatable,
            config,
        });
        let (pods, metrics) = (Store::default(), Metrics::default());
        let (events, adopted) = (Mutex::new(Some(writer)), SetOnce::new());
        Ok(Self { client, runtime, network, shared, pods, metrics, recorder, events, adopted })
    }

    /// Waits until the pods of this node and the containers of an earlier server are known.
    pub async fn started(&self) {
        self.adopted.wait().await;
        self.pods.wait_until_ready().await;
    }

    /// What it counts.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.shared.layout
    }

    pub(crate) fn ports(&self) -> &Ports {
        &self.shared.ports
    }

    pub(crate) fn runtime(&self) -> &Arc<Runtime> {
        &self.runtime
    }

    pub(crate) fn pods(&self) -> &Store<Pod> {
        &self.pods
    }

    /// Runs until `stop`; reconciles are reported to `observer`. Containers run on afterwards.
    ///
    /// # Errors
    /// When the containers of an earlier server cannot be looked at.
    pub async fn run(self: Arc<Self>, observer: Option<Arc<dyn Observer>>, stop: CancellationToken) -> Result<()> {
        let fail = |source| Error::Container { container: "(all)".into(), source };
        self.shared.ports.containers.adopt().await.map_err(fail)?;
        let _ = self.adopted.set(());
        let (services, slices) = (Store::default(), Store::default());
        let (bindings, claims) = (Store::default(), Store::default());
        let mut tasks = JoinSet::new();
        let mine = ListParams::default().fields(format!("spec.nodeName={}", self.shared.config.node_name));
        tasks.spawn(reflect(Api::<Pod>::all(self.client.clone()), mine, self.pods.clone(), stop.clone()));
        tasks.spawn(self.reflect_all::<Service>(&services, &stop));
        tasks.spawn(self.reflect_all::<EndpointSlice>(&slices, &stop));
        tasks.spawn(self.reflect_all::<Binding>(&bindings, &stop));
        tasks.spawn(self.reflect_all::<PersistentVolumeClaim>(&claims, &stop));
        if let Some(writer) = self.events.lock().take() {
            tasks.spawn(writer.run(stop.clone()));
        }
        let (health, seen) = watch::channel(net::Health::Well);
        tasks.spawn(node::run(self.client.clone(), self.shared.config.clone(), seen, stop.clone()));
        let (network, ended) = (Arc::clone(&self.network), stop.clone());
        tasks.spawn(async move { network.keep(&health, ended).await });
        tasks.spawn(room::keep(Arc::clone(&self.shared), stop.clone()));
        tasks.spawn(Arc::clone(&self).keep_rules(services, slices, stop.clone()));
        tasks.spawn(self.binding_controller(bindings).observer(observer.clone()).run(stop.clone()));
        tasks.spawn(self.claim_controller(claims).observer(observer).run(stop.clone()));
        tasks.spawn(Arc::clone(&self).keep_workers(stop.clone()));
        while tasks.join_next().await.is_some() {}
        Ok(())
    }

    fn reflect_all<R: api::Resource>(
        &self,
        store: &Store<R>,
        stop: &CancellationToken,
    ) -> impl Future<Output = ()> + Send + use<R> {
        reflect(Api::<R>::all(self.client.clone()), ListParams::default(), store.clone(), stop.clone())
    }

    fn binding_controller(&self, bindings: Store<Binding>) -> Controller<Bindings> {
        let of_pod = bindings.clone();
        let reconciler = Bindings {
            client: self.client.clone(),
            bindings: bindings.clone(),
            pods: self.pods.clone(),
            containers: Arc::clone(&self.shared.ports.containers),
            recorder: self.recorder.clone(),
            metrics: self.metrics.clone(),
            config: self.shared.config.binding.clone(),
        };
        Controller::new(reconciler)
            .watches(&bindings, |change| vec![ObjectKey::of(change.object)])
            .watches(&self.pods, move |change| {
                let key = ObjectKey::of(change.object);
                let namespace = key.namespace.clone().unwrap_or_default();
                let all = of_pod.in_namespace(&namespace).into_iter();
                all.filter(|b| target_of(b) == key).map(|b| ObjectKey::of(b.as_ref())).collect()
            })
            .workers(BINDING_WORKERS)
    }

    fn claim_controller(&self, claims: Store<PersistentVolumeClaim>) -> Controller<Claims> {
        let reconciler = Claims {
            node: self.shared.config.node_name.clone(),
            api: Arc::clone(&self.shared.ports.api),
            claims: claims.clone(),
            pods: self.pods.clone(),
            volumes: Arc::clone(&self.shared.ports.volumes),
            events: Arc::clone(&self.shared.ports.events),
        };
        Controller::new(reconciler)
            .watches(&claims, |change| keys_of(change.object, change.gone))
            .watches(&self.pods, |change| claims_of(change.object))
    }

    /// Keeps a worker for every pod of this node, and for what unknown pods left.
    async fn keep_workers(self: Arc<Self>, stop: CancellationToken) {
        let mut changes = self.pods.subscribe();
        if stop.run_until_cancelled(self.pods.wait_until_ready()).await.is_none() {
            return;
        }
        let mut workers: HashMap<String, Handle> = HashMap::new();
        let mut tasks: JoinSet<()> = JoinSet::new();
        let orphans = tokio::time::sleep(self.shared.config.orphan_grace);
        tokio::pin!(orphans);
        let mut orphans_due = true;
        self.tell_all(&mut workers, &mut tasks, &stop);
        loop {
            self.metrics.pods.set(i64::try_from(workers.len()).unwrap_or(i64::MAX));
            tokio::select! {
                () = stop.cancelled() => break,
                change = changes.recv() => match change {
                    Ok(change) => {
                        let gone = change.old.filter(|old| change.new.as_ref().is_none_or(|new| new.metadata.uid != old.metadata.uid));
                        if let Some(old) = gone {
                            self.tell(&mut workers, &mut tasks, Desired { pod: old, gone: true }, &stop);
                        }
                        if let Some(new) = change.new {
                            self.tell(&mut workers, &mut tasks, Desired { pod: new, gone: false }, &stop);
                        }
                    }
                    Err(RecvError::Lagged(_)) => self.tell_all(&mut workers, &mut tasks, &stop),
                    Err(RecvError::Closed) => break,
                },
                () = &mut orphans, if orphans_due => {
                    orphans_due = false;
                    self.adopt_orphans(&mut workers, &mut tasks, &stop).await;
                }
                Some(ended) = tasks.join_next_with_id() => {
                    let id = match &ended {
                        Ok((id, ())) => *id,
                        Err(error) => error.id(),
                    };
                    let uid = workers.iter().find(|(_, handle)| handle.task == id).map(|(uid, _)| uid.clone());
                    if let Some(uid) = uid {
                        workers.remove(&uid);
                        // A worker that panicked, or a pod that came back: begin anew.
                        let again = self.pods.all().into_iter().find(|p| ended.is_err() && p.metadata.uid.as_deref() == Some(&uid));
                        if let Some(pod) = again {
                            self.tell(&mut workers, &mut tasks, Desired { pod, gone: false }, &stop);
                        }
                    }
                }
            }
        }
        while tasks.join_next().await.is_some() {}
    }

    /// Tells a pod's worker what the API says; makes the worker if there is none.
    fn tell(
        &self,
        workers: &mut HashMap<String, Handle>,
        tasks: &mut JoinSet<()>,
        desired: Desired,
        stop: &CancellationToken,
    ) {
        let Some(uid) = desired.pod.metadata.uid.clone() else { return };
        match workers.get(&uid) {
            Some(handle) => drop(handle.desired.send_replace(desired)),
            // Its worker has ended because nothing is left: there is nothing to do for a pod that is gone.
            None if desired.gone && !self.has_containers(&uid) => {}
            None => self.employ(workers, tasks, desired, stop),
        }
    }

    /// Makes the worker of a pod.
    fn employ(
        &self,
        workers: &mut HashMap<String, Handle>,
        tasks: &mut JoinSet<()>,
        desired: Desired,
        stop: &CancellationToken,
    ) {
        let uid = desired.pod.metadata.uid.clone().unwrap_or_default();
        let uid = match PodUid::new(uid, "metadata.uid") {
            Ok(uid) => uid,
            Err(error) => return tracing::error!(error = chain(&error), "a pod is left alone"),
        };
        let (sender, receiver) = watch::channel(desired);
        let worker = Worker::new(Arc::clone(&self.shared), uid.clone(), receiver);
        let task = tasks.spawn(worker.run(stop.clone())).id();
        workers.insert(uid.to_string(), Handle { desired: sender, task });
    }

    /// Tells every worker; those whose pod the API no longer has are told that.
    fn tell_all(&self, workers: &mut HashMap<String, Handle>, tasks: &mut JoinSet<()>, stop: &CancellationToken) {
        let mut pods = self.pods.all();
        // Those that run already claim their host ports first.
        let running = self.with_containers();
        pods.sort_by_key(|pod| !pod.metadata.uid.as_ref().is_some_and(|uid| running.contains(uid)));
        let known: HashSet<String> = pods.iter().filter_map(|pod| pod.metadata.uid.clone()).collect();
        for handle in workers.iter().filter(|(uid, _)| !known.contains(*uid)).map(|(_, handle)| handle) {
            handle.desired.send_modify(|desired| desired.gone = true);
        }
        for pod in pods {
            self.tell(workers, tasks, Desired { pod, gone: false }, stop);
        }
    }

    fn has_containers(&self, uid: &str) -> bool {
        self.with_containers().contains(uid)
    }

    /// UIDs of the pods of which something runs.
    fn with_containers(&self) -> HashSet<String> {
        let all = self.shared.ports.containers.list().into_iter();
        let running = all.filter(|info| info.state == State::Running);
        running.filter_map(|mut info| info.labels.remove(label::POD_UID)).collect()
    }

    /// Workers for containers, networks, mounts and directories of pods the API does not know: they end and clean up.
    async fn adopt_orphans(
        &self,
        workers: &mut HashMap<String, Handle>,
        tasks: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) {
        let mut ghosts: BTreeMap<String, Pod> = BTreeMap::new();
        for info in self.shared.ports.containers.list() {
            let label = |name: &str| info.labels.get(name).cloned();
            let Some(uid) = label(label::POD_UID) else { continue };
            let ghost = ghosts.entry(uid.clone()).or_insert_with(|| ghost(&uid));
            ghost.metadata.name = label(label::POD_NAME);
            ghost.metadata.namespace = label(label::POD_NAMESPACE);
        }
        let attached = self.shared.ports.network.inventory().await.unwrap_or_default();
        let mounted = self.shared.ports.volumes.pods().await.unwrap_or_default();
        let found = self.shared.layout.uids().into_iter().map(|uid| uid.to_string());
        for uid in attached.into_iter().chain(mounted).chain(found) {
            ghosts.entry(uid.clone()).or_insert_with(|| ghost(&uid));
        }
        ghosts.retain(|uid, _| !workers.contains_key(uid));
        for (uid, pod) in ghosts {
            tracing::info!(uid, name = pod.metadata.name, "cleaning up after a pod that the API does not know");
            self.employ(workers, tasks, Desired { pod: Arc::new(pod), gone: true }, stop);
        }
    }

    /// Host ports of pods that run already are theirs before their workers say so: the first rules after a restart
    /// must not take them away.
    fn reclaim_host_ports(&self) {
        let running = self.with_containers();
        for pod in self.pods.all() {
            let uid = pod.metadata.uid.clone().unwrap_or_default();
            if running.contains(&uid) {
                let claims = host_ports(&pod).unwrap_or_default().into_iter().map(|wanted| (wanted.port, uid.clone()));
                self.shared.host_ports.lock().extend(claims);
            }
        }
    }

    /// Keeps address translation and names as pods and services say.
    async fn keep_rules(
        self: Arc<Self>,
        services: Store<Service>,
        slices: Store<EndpointSlice>,
        stop: CancellationToken,
    ) {
        let mut changes = (self.pods.subscribe(), services.subscribe(), slices.subscribe());
        let ready = async {
            self.pods.wait_until_ready().await;
            services.wait_until_ready().await;
            slices.wait_until_ready().await;
        };
        if stop.run_until_cancelled(ready).await.is_none() {
            return;
        }
        self.reclaim_host_ports();
        let (pod_cidr, service_cidr) = self.shared.ports.network.cidrs();
        let cidrs = Cidrs { pods: pod_cidr, services: service_cidr };
        let config = &self.shared.config;
        let domains = Domains { cluster: &config.cluster_domain, short: &config.short_domain };
        loop {
            let (pods, services, slices) = (self.pods.all(), services.all(), slices.all());
            let claims = self.shared.host_ports.lock().clone();
            let names = zone(&pods, &services, domains, cidrs);
            let api_server = config.api_server;
            let observed = Observed { pods: &pods, services: &services, slices: &slices, claims: &claims, api_server };
            let rules = rules(observed, cidrs);
            let network = &self.shared.ports.network;
            let mut pause = RULES_RESYNC;
            for done in [network.publish_names(&names), network.reconcile_rules(&rules).await] {
                if let Err(error) = done {
                    tracing::error!(error = chain(&error), "names or rules of the network are not up to date");
                    pause = RULES_RETRY;
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                _ = changes.0.recv() => {}
                _ = changes.1.recv() => {}
                _ = changes.2.recv() => {}
                () = self.shared.host_ports_changed.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
            tokio::time::sleep(RULES_PAUSE).await;
            // What came meanwhile is in the stores already.
            drain(&mut changes.0);
            drain(&mut changes.1);
            drain(&mut changes.2);
        }
    }
}

/// Forgets changes that were reported but not received.
fn drain<T: Clone>(changes: &mut broadcast::Receiver<T>) {
    while !matches!(changes.try_recv(), Err(TryRecvError::Empty | TryRecvError::Closed)) {}
}

/// A pod of which only the UID is known.
fn ghost(uid: &str) -> Pod {
    let mut pod = Pod::default();
    pod.metadata.uid = Some(uid.to_owned());
    pod
}
