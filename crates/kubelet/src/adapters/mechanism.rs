//! Containers, images, networks and volumes through the mechanism crates.

use std::{
    collections::BTreeSet,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use futures::StreamExt as _;
use images::{CollectPolicy, Credentials, EnsureOptions, Image, ImageError, ImageStore, NoProgress, PullPolicy};
use net::Network;
use runtime::{
    container::{ContainerError, ContainerInfo, ContainerSpec, ExecCapture, ExecSpec, Exit, Runtime, UserIds},
    logs::{LogQuery, LogReader},
};
use storage::{Id, VolumeRequest, Volumes};
use tokio::sync::Semaphore;

use crate::{
    config::ImageMarks,
    error::chain,
    ports::{BoxError, Containers, ImageFacts, Images, LogTail, PodNetwork, Pull, Room, VolumeDriver},
};

/// SIGKILL.
const KILL: i32 = 9;

/// Containers of the runtime.
pub struct NodeContainers(pub Arc<Runtime>);

#[async_trait]
impl Containers for NodeContainers {
    async fn adopt(&self) -> Result<Vec<ContainerInfo>, ContainerError> {
        Ok(self.0.adopt().await?.containers)
    }

    fn list(&self) -> Vec<ContainerInfo> {
        self.0.list()
    }

    async fn start(&self, spec: ContainerSpec) -> Result<ContainerInfo, ContainerError> {
        self.0.start(spec).await
    }

    async fn wait(&self, id: &str) -> Result<Exit, ContainerError> {
        self.0.wait(id).await
    }

    fn signal(&self, id: &str, signal: i32) -> Result<(), ContainerError> {
        self.0.signal(id, signal)
    }

    async fn kill(&self, id: &str) -> Result<Exit, ContainerError> {
        self.0.stop(id, KILL, Duration::ZERO).await
    }

    async fn remove(&self, id: &str) -> Result<(), ContainerError> {
        self.0.remove(id).await
    }

    async fn exec(&self, id: &str, spec: ExecSpec, limit: usize) -> Result<ExecCapture, ContainerError> {
        self.0.exec(id, spec).await?.output(limit).await
    }
}

/// Images of the store.
pub struct NodeImages(pub Arc<ImageStore>);

#[async_trait]
impl Images for NodeImages {
    async fn present(&self, reference: &str) -> bool {
        matches!(self.0.get(reference), Ok(Some(_)))
    }

    async fn ensure(&self, reference: &str, pull: Pull, logins: &[Credentials]) -> Result<ImageFacts, BoxError> {
        let policy = match pull {
            Pull::Always => PullPolicy::Always,
            Pull::IfNotPresent => PullPolicy::IfNotPresent,
            Pull::Never => PullPolicy::Never,
        };
        let ensure = async |credentials: Option<Credentials>| {
            let options = EnsureOptions { policy, credentials, ..Default::default() };
            self.0.ensure_with(reference, options, Arc::new(NoProgress)).await
        };
        // The last one's answer counts: without any login there is one try all the same.
        let (last, others) = logins.split_last().unzip();
        let mut image = None;
        for login in others.into_iter().flatten() {
            match ensure(Some(login.clone())).await {
                Ok(found) => image = Some(found),
                Err(error @ ImageError::Registry { .. }) => {
                    tracing::debug!(%reference, error = chain(&error), "a login is not accepted, the next is tried");
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
            break;
        }
        let image = match image {
            Some(image) => image,
            None => ensure(last.cloned()).await?,
        };
        let resolved = image.clone();
        let user = tokio::task::spawn_blocking(move || resolved.user(None)).await??;
        let Image { digest, config, layers, .. } = image;
        Ok(ImageFacts { reference: reference.to_owned(), digest, layers, settings: config, user })
    }

    fn is_fuller_than(&self, percent: u8) -> Result<bool, BoxError> {
        Ok(self.0.is_fuller_than(percent)?)
    }

    async fn collect(&self, in_use: &BTreeSet<PathBuf>, marks: ImageMarks) -> Result<Room, BoxError> {
        let ImageMarks { high_percent, low_percent } = marks;
        let policy = CollectPolicy { high_percent, low_percent, ..CollectPolicy::default() };
        let done = self.0.collect(in_use, &policy).await?;
        Ok(Room { images: done.images, bytes: done.bytes, used_percent: done.used_percent })
    }

    async fn user(&self, image: &ImageFacts, uid: u32) -> Result<UserIds, BoxError> {
        let image = Image {
            reference: image.reference.clone(),
            digest: image.digest.clone(),
            config: image.settings.clone(),
            layers: image.layers.clone(),
        };
        Ok(tokio::task::spawn_blocking(move || image.user(Some(&uid.to_string()))).await??)
    }
}

/// Networks of the host.
pub struct HostNetwork(pub Arc<Network>);

#[async_trait]
impl PodNetwork for HostNetwork {
    async fn attach(&self, request: &net::AttachRequest) -> Result<net::Attachment, net::Error> {
        self.0.attach(request).await
    }

    async fn detach(&self, id: &str) -> Result<(), net::Error> {
        self.0.detach(id).await
    }

    async fn connect(&self, id: &str, port: u16) -> Result<tokio::net::TcpStream, net::Error> {
        self.0.connect(id, port).await
    }

    async fn inventory(&self) -> Result<Vec<String>, net::Error> {
        self.0.inventory().await
    }

    async fn reconcile_rules(&self, rules: &net::Rules) -> Result<bool, net::Error> {
        self.0.reconcile_rules(rules).await
    }

    fn publish_names(&self, names: &net::dns::Zone) -> Result<bool, net::Error> {
        self.0.publish_names(names)
    }

    async fn check_port(&self, port: net::HostPort) -> Result<(), net::Error> {
        let check = tokio::task::spawn_blocking(move || net::check_port(port)).await;
        check.unwrap_or_else(|error| Err(net::Error::PortProbe { port, source: std::io::Error::other(error) }))
    }

    fn gateway(&self) -> Ipv4Addr {
        self.0.config().gateway()
    }

    fn cidrs(&self) -> (ipnet::Ipv4Net, ipnet::Ipv4Net) {
        (self.0.config().pod_cidr, self.0.config().service_cidr)
    }
}

/// Most calls on volumes at the same time: one that hangs must not take all threads that may block.
const VOLUME_WORK_MAX: usize = 4;
static VOLUME_WORK: Semaphore = Semaphore::const_new(VOLUME_WORK_MAX);

/// Volumes of the host.
pub struct HostVolumes(pub Arc<Volumes>);

impl HostVolumes {
    /// Runs a call where it may block; calls on one root wait for each other there.
    async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Volumes) -> Result<T, storage::Error> + Send + 'static,
    ) -> Result<T, storage::Error> {
        let volumes = Arc::clone(&self.0);
        // It is never closed; without a permit the call would only lack its bound.
        let permit = VOLUME_WORK.acquire().await.ok();
        let call = move || {
            let _permit = permit;
            work(&volumes)
        };
        match tokio::task::spawn_blocking(call).await {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
}

#[async_trait]
impl VolumeDriver for HostVolumes {
    async fn create(&self, request: VolumeRequest) -> Result<(), storage::Error> {
        self.call(move |volumes| volumes.create(&request).map(drop)).await
    }

    async fn publish(&self, volume: &str, pod: &str, name: &str, read_only: bool) -> Result<PathBuf, storage::Error> {
        let (volume, pod, name) = (Id::new(volume)?, Id::new(pod)?, Id::new(name)?);
        self.call(move |volumes| volumes.publish(&volume, &pod, &name, read_only)).await
    }

    async fn unpublish_all(&self, pod: &str) -> Result<(), storage::Error> {
        let pod = Id::new(pod)?;
        self.call(move |volumes| volumes.unpublish_all(&pod)).await
    }

    async fn holds(&self, volume: &str) -> Result<bool, storage::Error> {
        let volume = Id::new(volume)?;
        self.call(move |volumes| volumes.holds(&volume)).await
    }

    async fn delete(&self, volume: &str) -> Result<(), storage::Error> {
        let volume = Id::new(volume)?;
        self.call(move |volumes| volumes.delete(&volume)).await
    }

    async fn pods(&self) -> Result<Vec<String>, storage::Error> {
        let all = self.call(Volumes::publications).await?;
        let mut pods: Vec<String> = all.into_iter().map(|p| p.pod.to_string()).collect();
        pods.dedup();
        Ok(pods)
    }
}

/// Log files on disk.
pub struct FileTail;

#[async_trait]
impl LogTail for FileTail {
    async fn tail(&self, path: &Path, lines: usize, bytes: usize) -> String {
        let query = LogQuery { tail: Some(lines as u64), ..LogQuery::default() };
        let mut chunks = LogReader::new(path).read(query);
        let mut text = Vec::new();
        while let Some(Ok(chunk)) = chunks.next().await {
            text.extend_from_slice(&chunk);
            // The end is wanted: what is before it may go.
            let surplus = text.len().saturating_sub(bytes);
            text.drain(..surplus);
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}
