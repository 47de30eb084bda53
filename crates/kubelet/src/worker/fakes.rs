//! A small world for worker tests: containers that run until the test ends them, an API in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
};

use api::kinds::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service};
use async_trait::async_trait;
use images::{Credentials, ImageSettings, Reference};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::PodStatus;
use parking_lot::Mutex;
use runtime::container::{
    ContainerError, ContainerInfo, ContainerSpec, ExecCapture, ExecExit, ExecSpec, Exit, ExitCause, State, UserIds,
};
use tokio::sync::{Notify, Semaphore};

use super::{shared::Shared, tokens::Tokens};
use crate::{
    claims::{held, volume_of},
    config::Config,
    config::ImageMarks,
    error::Result,
    files::Layout,
    pod::{
        lookup::{Allocatable, TokenWish},
        plan::Backoff,
    },
    ports::{
        AccountToken, BoxError, Containers, Events, ImageFacts, Images, LogTail, PodApi, PodNetwork, Ports, Pull, Room,
        Severity, VolumeDriver,
    },
};

/// SIGTERM.
const TERM: i32 = 15;

/// Everything in one place; each port locks it for a moment.
#[derive(Default)]
pub(super) struct World {
    state: Mutex<Things>,
    changed: Notify,
}

#[derive(Default)]
pub(super) struct Things {
    pub(super) containers: BTreeMap<String, ContainerInfo>,
    pub(super) specs: BTreeMap<String, ContainerSpec>,
    /// Everything that was done, in order.
    pub(super) log: Vec<String>,
    pub(super) attached: Vec<String>,
    pub(super) published: Vec<String>,
    pub(super) pod: Option<Pod>,
    pub(super) secrets: BTreeMap<String, Secret>,
    pub(super) claims: BTreeMap<String, PersistentVolumeClaim>,
    /// Volumes on the node's disk.
    pub(super) held: BTreeSet<String>,
    pub(super) events: Vec<(String, String)>,
    /// Programs ignore SIGTERM.
    pub(super) stubborn: bool,
    pub(super) images_broken: bool,
    pub(super) disk_full: bool,
    pub(super) used_percent: u8,
    /// How many layers were in use when images were collected.
    pub(super) collected: Vec<usize>,
    /// Logins that the last image was asked with.
    pub(super) logins: usize,
    pub(super) exec_code: i32,
}

impl World {
    pub(super) fn with<T>(&self, look: impl FnOnce(&mut Things) -> T) -> T {
        let result = look(&mut self.state.lock());
        self.changed.notify_waiters();
        result
    }

    /// Waits until something is so; fails the test after a while.
    pub(super) async fn until(&self, what: &str, is: impl Fn(&Things) -> bool) {
        let wait = async {
            loop {
                let changed = self.changed.notified();
                if is(&self.state.lock()) {
                    return;
                }
                // A change between look and wait is seen in the next round.
                tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep(std::time::Duration::from_millis(20)) => {}
                }
            }
        };
        if tokio::time::timeout(std::time::Duration::from_secs(20), wait).await.is_err() {
            let things = self.state.lock();
            panic!(
                "never: {what}\n{:#?}\n{:#?}\n{:#?}",
                things.log,
                things.events,
                things.pod.as_ref().map(|p| &p.status)
            );
        }
    }

    /// A container ends.
    pub(super) fn end(&self, id: &str, code: i32) {
        self.with(|things| {
            if let Some(info) = things.containers.get_mut(id) {
                let finished_at = Timestamp::now();
                info.state = State::Exited(Exit {
                    code,
                    signal: None,
                    oom_killed: false,
                    finished_at,
                    cause: ExitCause::Process,
                });
            }
        });
    }

    fn exit_of(&self, id: &str) -> Option<Exit> {
        match self.state.lock().containers.get(id).map(|info| info.state.clone()) {
            Some(State::Exited(exit)) => Some(exit),
            _ => None,
        }
    }

    /// What workers share, over this world.
    pub(super) fn shared(self: &Arc<Self>, dir: &Path) -> Arc<Shared> {
        let mut config = Config::new("n1", Ipv4Addr::new(192, 0, 2, 1), dir.join("run"), dir.join("state"));
        let millis = std::time::Duration::from_millis;
        config.backoff = Backoff { base: millis(30), cap: millis(120) };
        let layout = Layout::new(&config);
        layout.prepare().unwrap();
        let world = || Arc::clone(self);
        Arc::new(Shared {
            layout,
            ports: Ports {
                containers: world(),
                images: world(),
                network: world(),
                volumes: world(),
                api: world(),
                events: world(),
                logs: world(),
            },
            http: client(),
            host_ports: Mutex::default(),
            host_ports_changed: Notify::new(),
            pulls: Semaphore::new(1),
            tokens: Tokens::default(),
            disk_full: Notify::new(),
            collection: Default::default(),
            allocatable: Allocatable { cpu_millis: 2000, memory_bytes: 1 << 30, disk_bytes: 1 << 40 },
            config,
        })
    }
}

fn client() -> reqwest::Client {
    // Another test of this process may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

#[async_trait]
impl Containers for World {
    async fn adopt(&self) -> Result<Vec<ContainerInfo>, ContainerError> {
        Ok(self.list())
    }

    fn list(&self) -> Vec<ContainerInfo> {
        self.state.lock().containers.values().cloned().collect()
    }

    async fn start(&self, spec: ContainerSpec) -> Result<ContainerInfo, ContainerError> {
        let id = spec.id.clone();
        let info = ContainerInfo {
            id: id.clone(),
            labels: spec.labels.clone(),
            layers: spec.layers.clone(),
            pid: 1,
            shim_pid: 1,
            started_at: Timestamp::now(),
            state: State::Running,
        };
        self.with(|things| {
            let owner = |id: &str| id.rsplit_once('.').map(|(owner, _)| owner.to_owned());
            let twin = things.containers.values().find(|c| c.state == State::Running && owner(&c.id) == owner(&id));
            assert!(twin.is_none(), "{id} runs beside {twin:?}");
            if things.containers.contains_key(&id) {
                return Err(ContainerError::Exists { id });
            }
            things.log.push(format!("start {id}"));
            things.specs.insert(id.clone(), spec);
            things.containers.insert(id, info.clone());
            Ok(info)
        })
    }

    async fn wait(&self, id: &str) -> Result<Exit, ContainerError> {
        loop {
            let changed = self.changed.notified();
            if let Some(exit) = self.exit_of(id) {
                return Ok(exit);
            }
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(std::time::Duration::from_millis(20)) => {}
            }
        }
    }

    fn signal(&self, id: &str, signal: i32) -> Result<(), ContainerError> {
        let dies = self.with(|things| {
            things.log.push(format!("signal {signal} {id}"));
            signal == TERM && !things.stubborn
        });
        if dies {
            self.end(id, 0);
        }
        Ok(())
    }

    async fn kill(&self, id: &str) -> Result<Exit, ContainerError> {
        self.with(|things| things.log.push(format!("kill {id}")));
        self.end(id, 137);
        self.wait(id).await
    }

    async fn remove(&self, id: &str) -> Result<(), ContainerError> {
        self.with(|things| {
            if things.containers.get(id).is_some_and(|c| c.state == State::Running) {
                return Err(ContainerError::Running { id: id.to_owned() });
            }
            things.log.push(format!("remove {id}"));
            things.containers.remove(id);
            Ok(())
        })
    }

    async fn exec(&self, id: &str, spec: ExecSpec, _: usize) -> Result<ExecCapture, ContainerError> {
        let code = self.with(|things| {
            things.log.push(format!("exec {} {id}", spec.argv.join(" ")));
            things.exec_code
        });
        Ok(ExecCapture { exit: ExecExit { code, signal: None, timed_out: false }, stdout: vec![], stderr: vec![] })
    }
}

#[async_trait]
impl Images for World {
    async fn present(&self, _: &str) -> bool {
        !self.state.lock().disk_full
    }

    async fn ensure(&self, reference: &str, _: Pull, logins: &[Credentials]) -> Result<ImageFacts, BoxError> {
        self.with(|things| things.logins = logins.len());
        if self.state.lock().disk_full {
            return Err(Box::new(std::io::Error::from(std::io::ErrorKind::StorageFull)));
        }
        if self.state.lock().images_broken {
            return Err("no such image".into());
        }
        Reference::parse(reference, "registry.test")?;
        let settings = ImageSettings { entrypoint: vec!["/run".into()], ..Default::default() };
        let user = UserIds { uid: 1000, gid: 1000, groups: vec![] };
        Ok(ImageFacts { reference: reference.into(), digest: "sha256:0".into(), layers: vec![], settings, user })
    }

    fn is_fuller_than(&self, percent: u8) -> Result<bool, BoxError> {
        Ok(self.state.lock().used_percent > percent)
    }

    async fn collect(&self, in_use: &BTreeSet<PathBuf>, _: ImageMarks) -> Result<Room, BoxError> {
        self.with(|things| {
            things.collected.push(in_use.len());
            things.used_percent = things.used_percent.min(80);
            Ok(Room { images: 1, bytes: 1, used_percent: things.used_percent })
        })
    }

    async fn user(&self, _: &ImageFacts, uid: u32) -> Result<UserIds, BoxError> {
        Ok(UserIds { uid, gid: uid, groups: vec![] })
    }
}

#[async_trait]
impl PodNetwork for World {
    async fn attach(&self, request: &net::AttachRequest) -> Result<net::Attachment, net::Error> {
        self.with(|things| {
            things.log.push("attach".into());
            if !things.attached.contains(&request.id) {
                things.attached.push(request.id.clone());
            }
        });
        Ok(net::Attachment {
            netns: PathBuf::from("/run/netns/x"),
            address: Ipv4Addr::new(10, 88, 0, 2),
            gateway: Ipv4Addr::new(10, 88, 0, 1),
            mac: [0; 6],
            host_veth: "v".into(),
        })
    }

    async fn detach(&self, id: &str) -> Result<(), net::Error> {
        self.with(|things| {
            things.log.push("detach".into());
            things.attached.retain(|known| known != id);
        });
        Ok(())
    }

    async fn connect(&self, id: &str, port: u16) -> Result<tokio::net::TcpStream, net::Error> {
        let source = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        Err(net::Error::Connect { id: id.into(), port, source })
    }

    async fn inventory(&self) -> Result<Vec<String>, net::Error> {
        Ok(self.state.lock().attached.clone())
    }

    async fn reconcile_rules(&self, _: &net::Rules) -> Result<bool, net::Error> {
        Ok(false)
    }

    fn publish_names(&self, _: &net::dns::Zone) -> Result<bool, net::Error> {
        Ok(false)
    }

    async fn check_port(&self, _: net::HostPort) -> Result<(), net::Error> {
        Ok(())
    }

    fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 88, 0, 1)
    }

    fn cidrs(&self) -> (ipnet::Ipv4Net, ipnet::Ipv4Net) {
        ("10.88.0.0/16".parse().unwrap(), "10.96.0.0/16".parse().unwrap())
    }
}

#[async_trait]
impl VolumeDriver for World {
    async fn create(&self, request: storage::VolumeRequest) -> Result<(), storage::Error> {
        let storage::Ownership { uid, gid, .. } = request.ownership;
        self.with(|things| things.log.push(format!("create volume {} for {uid}:{gid}", request.id)));
        Ok(())
    }

    async fn publish(&self, volume: &str, _: &str, name: &str, _: bool) -> Result<PathBuf, storage::Error> {
        self.with(|things| things.published.push(volume.to_owned()));
        Ok(PathBuf::from("/published").join(name))
    }

    async fn unpublish_all(&self, _: &str) -> Result<(), storage::Error> {
        self.with(|things| {
            things.log.push("unpublish".into());
            things.published.clear();
        });
        Ok(())
    }

    async fn holds(&self, volume: &str) -> Result<bool, storage::Error> {
        Ok(self.state.lock().held.contains(volume))
    }

    async fn delete(&self, _: &str) -> Result<(), storage::Error> {
        Ok(())
    }

    async fn pods(&self) -> Result<Vec<String>, storage::Error> {
        Ok(vec![])
    }
}

#[async_trait]
impl PodApi for World {
    async fn write_status(&self, _: &Pod, status: PodStatus) -> Result<Option<Pod>> {
        Ok(self.with(|things| {
            let pod = things.pod.as_mut()?;
            pod.status = Some(status);
            Some(pod.clone())
        }))
    }

    async fn release(&self, _: &Pod) -> Result<()> {
        self.with(|things| {
            things.log.push("release".into());
            things.pod = None;
        });
        Ok(())
    }

    async fn secret(&self, _: &str, name: &str) -> Result<Option<Secret>> {
        Ok(self.state.lock().secrets.get(name).cloned())
    }

    async fn config_map(&self, _: &str, _: &str) -> Result<Option<ConfigMap>> {
        Ok(None)
    }

    async fn service(&self, _: &str, _: &str) -> Result<Option<Service>> {
        Ok(None)
    }

    async fn services(&self, _: &str) -> Result<Vec<Service>> {
        Ok(Vec::new())
    }

    async fn token(&self, _: &Pod, _: &TokenWish) -> Result<AccountToken> {
        Ok(AccountToken { value: "token".into(), expires: Timestamp::MAX })
    }

    async fn claim(&self, _: &str, name: &str) -> Result<Option<PersistentVolumeClaim>> {
        Ok(self.state.lock().claims.get(name).cloned())
    }

    async fn replace_claim(&self, claim: &PersistentVolumeClaim) -> Result<()> {
        let name = claim.metadata.name.clone().unwrap_or_default();
        self.with(|things| things.claims.insert(name, claim.clone()));
        Ok(())
    }

    async fn bind_claim(&self, claim: &PersistentVolumeClaim, node: &str, _: &str) -> Result<()> {
        self.with(|things| things.log.push(format!("bind {} to {node}", volume_of(claim))));
        match held(claim, node) {
            Some(held) => self.replace_claim(&held).await,
            None => Ok(()),
        }
    }
}

impl Events for World {
    fn pod(&self, _: &Pod, _: Severity, reason: &str, message: String) {
        self.with(|things| things.events.push((reason.to_owned(), message)));
    }

    fn claim(&self, _: &PersistentVolumeClaim, _: Severity, reason: &str, message: String) {
        self.with(|things| things.events.push((reason.to_owned(), message)));
    }
}

#[async_trait]
impl LogTail for World {
    async fn tail(&self, _: &Path, _: usize, _: usize) -> String {
        "first\nlast line of the log\n".into()
    }
}
