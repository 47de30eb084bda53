//! A node of its own: private network and mount namespaces, own directories and cgroups, an API in memory.

use std::{
    fs,
    net::Ipv4Addr,
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use api::{Resource, k8s_openapi::jiff::Timestamp};
use apiserver::{ApiServer, PodStreams, Security};
use async_trait::async_trait;
use axum::http;
use client::{Api, Client, InProcess};
use futures::{FutureExt as _, stream::BoxStream};
use keyspace::MemoryKeyspace;
use kubelet::{Config, Kubelet};
use net::{Network, NetworkConfig};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};
use runtime::{
    container::{ExecSpec, Runtime, RuntimeConfig},
    image::{ImageConfig, ImageStore, RegistryConfig},
};
use storage::Volumes;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use trust::{Authority, Envelope, MasterKeys, Subject, TokenKeys, Tokens};

use crate::image;

/// Longest wait for anything that should happen.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(30);
/// Name of the node.
pub const NODE: &str = "n1";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// The API server's own streams are tested elsewhere.
struct NoStreams;

#[async_trait]
impl PodStreams for NoStreams {
    async fn logs(
        &self,
        _: &str,
        _: &str,
        _: apiserver::LogOptions,
    ) -> Result<BoxStream<'static, std::io::Result<bytes::Bytes>>, apiserver::StreamError> {
        Err(Box::new(api::Status::failure(400, "BadRequest", "no streams here")))
    }

    async fn exec(
        &self,
        _: &str,
        _: &str,
        _: apiserver::ExecOptions,
    ) -> Result<apiserver::ExecSession, apiserver::StreamError> {
        Err(Box::new(api::Status::failure(400, "BadRequest", "no streams here")))
    }
}

/// A started kubelet and what it runs on.
type Booted = (Arc<Kubelet>, Arc<Runtime>, Arc<Network>);

/// The node under test.
pub struct World {
    run: PathBuf,
    state: PathBuf,
    cgroup: String,
    router: axum::Router,
    pub admin: Client,
    booted: Option<Booted>,
    task: Option<JoinHandle<kubelet::Result<()>>>,
}

fn shim_exe() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    // <target>/release/deps/it-<hash>
    let shim = test.ancestors().nth(2).unwrap().join("examples/pod_shim");
    assert!(shim.exists(), "{} is missing: cargo builds it with the tests of this crate", shim.display());
    shim
}

/// Runs a test on a node of its own; whatever happens, nothing stays on the host.
pub fn on_a_node(test: impl AsyncFnOnce(&mut World) + Send + 'static) {
    let thread = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap();
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
        assert!(std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::start().await;
            let outcome = AssertUnwindSafe(test(&mut world)).catch_unwind().await;
            world.remove().await;
            if let Err(panic) = outcome {
                std::panic::resume_unwind(panic);
            }
        });
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

async fn api_server() -> axum::Router {
    let now = Timestamp::now();
    let (authority, _) = Authority::generate("test authority", now).unwrap();
    let security = Security {
        authority: Arc::new(authority),
        tokens: Arc::new(Tokens::new("test", &TokenKeys::generate(now).unwrap()).unwrap()),
        envelope: Arc::new(Envelope::new(&MasterKeys::generate(now).unwrap())),
    };
    let config = apiserver::Config::new("10.196.0.0/24".parse().unwrap());
    let api = ApiServer::new(config, Arc::new(MemoryKeyspace::new()), security, Arc::new(NoStreams), Arc::default());
    api.prepare().await.unwrap();
    api.router()
}

fn connect(router: &axum::Router, subject: Subject) -> Client {
    use http_body_util::BodyExt as _;
    let service = router
        .clone()
        .map_request(|request: http::Request<client::Body>| request.map(axum::body::Body::new))
        .map_response(|response: axum::response::Response| {
            response.map(|body| body.map_err(Into::into).boxed_unsync())
        });
    Client::in_process(InProcess::new(service), subject)
}

impl World {
    async fn start() -> Self {
        // Another test of this process may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let name = format!("nkt{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let (run, state) = (Path::new("/run").join(&name), Path::new("/var/tmp").join(&name));
        fs::create_dir(&run).unwrap();
        fs::create_dir(&state).unwrap();
        mount(Some("tmpfs"), &run, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
        image::publish(&state.join("catalog"));
        fs::write(run.join("resolv.conf"), "").unwrap();
        let router = api_server().await;
        let admin = connect(&router, Subject::admin("tester"));
        let mut world = Self { run, state, cgroup: name, router, admin, booted: None, task: None };
        world.boot().await;
        world
    }

    async fn boot(&mut self) {
        let booted = boot(&self.run, &self.state, &self.cgroup, &self.router).await;
        self.task = Some(tokio::spawn(Arc::clone(&booted.0).run(CancellationToken::new())));
        self.booted = Some(booted);
    }

    fn booted(&self) -> &Booted {
        self.booted.as_ref().expect("the server is down")
    }

    pub fn kubelet(&self) -> &Kubelet {
        &self.booted().0
    }

    pub fn runtime(&self) -> &Runtime {
        &self.booted().1
    }

    pub fn network(&self) -> &Network {
        &self.booted().2
    }

    /// The server is killed: everything in its memory is lost, containers are not asked.
    pub async fn kill(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            let _ = task.await;
        }
        self.booted = None;
    }

    /// The server is killed and starts again.
    pub async fn kill_and_restart(&mut self) {
        self.kill().await;
        self.boot().await;
    }

    /// Waits until nothing of any pod is left on the node.
    pub async fn until_clean(&self) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !(self.runtime().list().is_empty() && self.leftovers().is_empty()) {
            assert!(tokio::time::Instant::now() < deadline, "{:?} {:?}", self.runtime().list(), self.leftovers());
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Ends and removes everything, also what a failed test left half-done.
    async fn remove(mut self) {
        self.kill().await;
        let runtime = open_runtime(&self.run, &self.cgroup);
        runtime.adopt().await.unwrap();
        for container in runtime.list() {
            let _ = runtime.stop(&container.id, 9, Duration::ZERO).await;
            let _ = runtime.remove(&container.id).await;
        }
        // A container may have ended between the two: what is left of its cgroups goes now.
        let _ = runtime.adopt().await;
        let torn_down = open_network(&self.run).await.teardown().await;
        Volumes::open(self.state.join("csi")).unwrap().teardown().unwrap();
        let _ = nix::mount::umount2(&self.run, nix::mount::MntFlags::MNT_DETACH);
        let removed = [fs::remove_dir_all(&self.run), fs::remove_dir_all(&self.state)];
        torn_down.unwrap();
        removed.into_iter().for_each(|result| result.unwrap());
    }

    pub fn api<R: Resource>(&self) -> Api<R> {
        Api::namespaced(self.admin.clone(), "default")
    }

    pub async fn create<R: Resource>(&self, object: serde_json::Value) -> R {
        self.api().create(&api::decode::<R>(object).unwrap()).await.unwrap()
    }

    /// Waits until an object is so, and returns it.
    pub async fn until<R: Resource>(&self, name: &str, what: &str, is: impl Fn(&R) -> bool) -> R {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let found = self.api::<R>().get_opt(name).await.unwrap();
            if let Some(object) = found.as_ref().filter(|object| is(object)) {
                return object.clone();
            }
            if tokio::time::Instant::now() > deadline {
                let events = self.api::<api::kinds::Event>().list_all(&Default::default()).await.unwrap();
                let events: Vec<_> = events.items.iter().map(|e| (&e.reason, &e.message)).collect();
                panic!("{name} is never {what}: {found:#?}\n{events:#?}");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until an object is gone.
    pub async fn until_gone<R: Resource>(&self, name: &str) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while let Some(object) = self.api::<R>().get_opt(name).await.unwrap() {
            assert!(tokio::time::Instant::now() < deadline, "{name} never goes: {object:#?}");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Runs a shell command in the first running container of a pod; exit code and output.
    pub async fn shell(&self, pod: &str, script: &str) -> (i32, String) {
        let is = |info: &runtime::container::ContainerInfo| {
            info.labels.get("io.nanocloud.pod.name").is_some_and(|name| name == pod)
                && info.state == runtime::container::State::Running
        };
        let found = self.runtime().list().into_iter().find(is).unwrap_or_else(|| panic!("{pod} does not run"));
        let argv = ["/bin/sh", "-c", script].map(str::to_owned).into();
        let mut spec = ExecSpec::new(argv);
        spec.timeout = Some(PATIENCE);
        let done = self.runtime().exec(&found.id, spec).await.unwrap().output(1 << 16).await.unwrap();
        (done.exit.code, String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned())
    }

    /// Everything below the run and state roots that belongs to pods.
    pub fn leftovers(&self) -> Vec<PathBuf> {
        let dirs = [
            self.run.join("pods"),
            self.run.join("netns"),
            self.state.join("pods"),
            self.state.join("logs/pods"),
            self.state.join("csi/publish"),
        ];
        let entries = dirs.iter().flat_map(|dir| fs::read_dir(dir).into_iter().flatten().flatten());
        entries.map(|entry| entry.path()).collect()
    }

    pub fn volumes(&self) -> usize {
        fs::read_dir(self.state.join("csi/volumes")).unwrap().count()
    }

    pub fn state_root(&self) -> &Path {
        &self.state
    }
}

fn open_runtime(run: &Path, cgroup: &str) -> Runtime {
    let config = RuntimeConfig {
        run_root: run.to_owned(),
        cgroup_root: cgroup.to_owned(),
        shim_exe: shim_exe(),
        shim_args: vec!["shim".into()],
    };
    Runtime::open(config).unwrap()
}

async fn open_network(run: &Path) -> Network {
    let config = NetworkConfig {
        bridge: "nkt0".into(),
        pod_cidr: "10.188.0.0/24".parse().unwrap(),
        service_cidr: "10.196.0.0/24".parse().unwrap(),
        run_dir: run.to_owned(),
        state_dir: run.join("net"),
        table: "nkt0".into(),
    };
    Network::open(config).await.unwrap()
}

/// The lock of an earlier server's store is freed with its last task.
async fn open_images(state: &Path) -> ImageStore {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let config = ImageConfig {
            root: state.join("images"),
            catalog: Some(state.join("catalog")),
            catalog_registries: vec![image::REGISTRY.to_owned()],
            registries: RegistryConfig::default(),
            parallel_unpacks: 0,
        };
        match ImageStore::open(config) {
            Ok(store) => return store,
            Err(error) => assert!(tokio::time::Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn boot(run: &Path, state: &Path, name: &str, router: &axum::Router) -> Booted {
    let runtime = Arc::new(open_runtime(run, name));
    let network = Arc::new(open_network(run).await);
    let images = Arc::new(open_images(state).await);
    let volumes = Arc::new(Volumes::open(state.join("csi")).unwrap());
    let mut config = Config::new(NODE, Ipv4Addr::LOCALHOST, run, state);
    config.host_resolv_conf = run.join("resolv.conf");
    config.orphan_grace = Duration::from_millis(200);
    let client = connect(router, Subject::node(NODE));
    let kubelet = Kubelet::new(config, client, Arc::clone(&runtime), images, Arc::clone(&network), volumes).unwrap();
    (Arc::new(kubelet), runtime, network)
}
