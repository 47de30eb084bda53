//! Volumes and small files of a pod.

use std::{
    collections::BTreeMap,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    sync::Arc,
};

use api::{
    kinds::{Pod, Service},
    meta::DEFAULT_NAMESPACE,
    names::api_service,
    quantity,
};
use jiff::Timestamp;
use storage::{Ownership, VolumeRequest};
use tokio::sync::Semaphore;

use super::{
    identity::identity,
    parts::{Mounted, MountedVolume, Sandbox, Worker, WorkerCache},
    shared::Shared,
};
use crate::{
    claims::{Holder, holder, obstacle, volume_of},
    error::{Error, Result},
    files::{
        EtcFile, Missing, Owner, PodUid, VolumeName, expose, give_pod_memory, mount_tmpfs, private_dir, write_payload,
        write_text,
    },
    pod::{
        etc,
        lookup::{Place, References, references, tokens},
        service_env::wants_links,
        volumes::{FilesPlan, VolumePlan, files, first_user, plan},
    },
};

/// Storage class of claims whose data are encrypted at rest.
const ENCRYPTED_CLASS: &str = "encrypted";
/// Permission bits of a fresh persistent volume.
const CLAIM_MODE: u32 = 0o750;
/// Permission bits of a fresh persistent volume with a group of its own.
const CLAIM_GROUP_MODE: u32 = 0o2770;
/// Permission bits of an emptyDir (Kubernetes).
const EMPTY_DIR_MODE: u32 = 0o777;
/// Permission bits of an emptyDir of a pod with `fsGroup`: new files belong to the group (Kubernetes).
const EMPTY_DIR_GROUP_MODE: u32 = 0o2777;

/// What only the node knows of a pod.
pub(super) fn place(shared: &Shared, sandbox: &Sandbox) -> Place {
    Place {
        allocatable: shared.allocatable,
        node_name: shared.config.node_name.clone(),
        host_ip: shared.config.host_ip,
        pod_ip: sandbox.address,
    }
}

/// Fetches the Secrets and ConfigMaps a pod refers to, and the tokens it asks for.
pub(super) async fn fetch(shared: &Shared, pod: &Pod) -> Result<References> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
    let (secrets, maps) = references(pod);
    let mut found = References::default();
    for name in secrets {
        let secret = shared.ports.api.secret(namespace, &name).await?;
        found.secrets.insert(name, secret.map(Arc::new));
    }
    for name in maps {
        let map = shared.ports.api.config_map(namespace, &name).await?;
        found.config_maps.insert(name, map.map(Arc::new));
    }
    for wish in tokens(pod) {
        let token = shared.tokens.of(&*shared.ports.api, pod, &wish, Timestamp::now()).await?;
        found.tokens.insert(wish, token);
    }
    Ok(found)
}

/// Fetches the services whose variables a pod gets.
pub(super) async fn services(shared: &Shared, pod: &Pod) -> Result<Vec<Service>> {
    let api = &shared.ports.api;
    let mut found: Vec<Service> = api.service(DEFAULT_NAMESPACE, api_service::NAME).await?.into_iter().collect();
    if wants_links(pod) {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
        found.extend(api.services(namespace).await?);
    }
    Ok(found)
}

/// Most pieces of file work of pods at the same time. The threads that may block are shared with the API, so that work
/// that hangs (a dead disk, a mount that does not answer) must not take them all.
const FILE_WORK_MAX: usize = 8;
static FILE_WORK: Semaphore = Semaphore::const_new(FILE_WORK_MAX);

/// Runs file work where it may block.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    // Held by the work itself: work that nobody waits for any more still has its thread.
    let permit = FILE_WORK.acquire().await.map_err(|e| Error::NotRunning(e.to_string()))?;
    let work = move || {
        let _permit = permit;
        work()
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::NotRunning(format!("file work was cut off: {error}"))),
    }
}

/// Makes and mounts everything; repeating it changes nothing.
pub(super) async fn mount(cache: &WorkerCache, shared: &Arc<Shared>, pod: &Arc<Pod>, uid: &PodUid) -> Result<Mounted> {
    let sandbox = cache.sandbox.as_ref().ok_or_else(|| Error::NotRunning("the pod has no network yet".into()))?;
    let own = shared.layout.run(uid);
    blocking(move || give_pod_memory(&own)).await?;
    write_etc(shared, pod, sandbox, uid)?;
    let plans = plan(pod, &shared.config.policy)?;
    let references = fetch(shared, pod).await?;
    let mut mounted = Mounted::default();
    for (name, plan) in plans {
        let owner = owner(cache, shared, pod, &name).await?;
        let (path, read_only) = match plan {
            VolumePlan::Claim { claim, read_only } => {
                (mount_claim(shared, pod, uid, (&name, &claim), owner, read_only).await?, read_only)
            }
            VolumePlan::EmptyDir { memory: limit } => (empty_dir(shared, uid, &name, limit, owner).await?, false),
            VolumePlan::Files(plan) => {
                write_files(shared, pod, uid, (&name, &plan), (sandbox, &references), owner).await?;
                // The kubelet goes on writing there, so nobody else may.
                (shared.layout.memory_volume(uid, &name), true)
            }
            VolumePlan::HostPath { allowed, below } => {
                // The open file is mounted, not its name: links below the allowed directory do not lead out of it.
                let place = shared.layout.memory_volume(uid, &name);
                let target = place.clone();
                blocking(move || expose(&allowed, &below, &target, Missing::Refused)).await?;
                (place, false)
            }
        };
        mounted.volumes.insert(name, MountedVolume { path, read_only });
    }
    Ok(mounted)
}

/// Owner of what is made for a volume: the user of the first container that mounts it, and the pod's `fsGroup`.
async fn owner(cache: &WorkerCache, shared: &Arc<Shared>, pod: &Pod, volume: &VolumeName) -> Result<Owner> {
    let context = pod.spec.as_ref().and_then(|s| s.security_context.as_ref());
    let fs_group = context.and_then(|c| c.fs_group).and_then(|gid| u32::try_from(gid).ok());
    let container = first_user(pod, volume.as_str());
    let image = container.and_then(|c| cache.images.as_ref()?.get(&c.name));
    let user = match container.zip(image) {
        Some((container, image)) => identity(shared, pod, container, image).await?,
        None => runtime::container::UserIds::default(),
    };
    Ok(Owner { uid: user.uid, gid: fs_group.unwrap_or(user.gid), group_reads: fs_group.is_some() })
}

fn write_etc(shared: &Shared, pod: &Pod, sandbox: &Sandbox, uid: &PodUid) -> Result<()> {
    let config = &shared.config;
    let host = std::fs::read_to_string(&config.host_resolv_conf).unwrap_or_default();
    let dns = etc::Dns {
        server: sandbox.gateway,
        cluster_domain: &config.cluster_domain,
        short_domain: &config.short_domain,
        host: &host,
    };
    write_text(&shared.layout.etc(uid, EtcFile::Hosts), &etc::hosts(pod, sandbox.address, &config.cluster_domain))?;
    write_text(&shared.layout.etc(uid, EtcFile::ResolvConf), &etc::resolv_conf(pod, &dns))?;
    write_text(
        &shared.layout.etc(uid, EtcFile::Hostname),
        &format!("{}\n", etc::kernel_hostname(pod, &config.cluster_domain)?),
    )
}

async fn mount_claim(
    shared: &Shared,
    pod: &Pod,
    uid: &PodUid,
    (name, claim_name): (&VolumeName, &str),
    owner: Owner,
    read_only: bool,
) -> Result<PathBuf> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
    let refuse = |problem: &str| Error::Claim { name: claim_name.to_owned(), problem: problem.to_owned() };
    let claim = shared.ports.api.claim(namespace, claim_name).await?;
    let claim = claim.ok_or_else(|| Error::Missing { kind: "persistentvolumeclaim", name: claim_name.to_owned() })?;
    if claim.metadata.deletion_timestamp.is_some() {
        return Err(refuse("it is being deleted"));
    }
    let spec = claim.spec.as_ref();
    if spec.and_then(|s| s.volume_mode.as_deref()).is_some_and(|mode| mode != "Filesystem") {
        return Err(refuse("volumeMode must be Filesystem on this node"));
    }
    let size = spec.and_then(|s| s.resources.as_ref()?.requests.as_ref()?.get("storage")).map(|q| q.0.clone());
    let size = size.ok_or_else(|| refuse("it requests no storage"))?;
    let capacity_bytes = quantity::units(&size).map_err(|e| refuse(&e.to_string()))?;
    let volume = volume_of(&claim);
    let node = &shared.config.node_name;
    // Asked for claims of an earlier version only: the others know their node.
    let on_disk = holder(&claim, node) == Holder::Unknown && shared.ports.volumes.holds(&volume).await?;
    if let Some(problem) = obstacle(&claim, node, on_disk) {
        return Err(refuse(&problem));
    }
    let mode = if owner.group_reads { CLAIM_GROUP_MODE } else { CLAIM_MODE };
    let ownership = Ownership { uid: owner.uid, gid: owner.gid, mode };
    // The claim knows its node and is kept by its finalizer before there is data to lose.
    shared.ports.api.bind_claim(&claim, node, &size).await?;
    let encrypted = spec.and_then(|s| s.storage_class_name.as_deref()) == Some(ENCRYPTED_CLASS);
    let request = VolumeRequest { id: storage::Id::new(volume.as_str())?, capacity_bytes, ownership, encrypted };
    shared.ports.volumes.create(request).await.map_err(|error| match &error {
        storage::Error::Differs { field, found, wanted, .. } => refuse(&format!(
            "its volume was made with {field} {found}, and the claim now asks for {wanted}; a volume cannot be \
             changed: ask for {found} again, or make a new claim and copy the data"
        )),
        _ => error.into(),
    })?;
    Ok(shared.ports.volumes.publish(&volume, uid.as_str(), name.as_str(), read_only).await?)
}

async fn empty_dir(
    shared: &Arc<Shared>,
    uid: &PodUid,
    name: &VolumeName,
    limit: Option<Option<u64>>,
    owner: Owner,
) -> Result<PathBuf> {
    let path = match limit {
        Some(_) => shared.layout.memory_volume(uid, name),
        None => shared.layout.disk_volume(uid, name),
    };
    let made = path.clone();
    blocking(move || {
        let fresh = !made.exists();
        match limit {
            Some(size) => mount_tmpfs(&made, size, EMPTY_DIR_MODE)?,
            None => private_dir(&made)?,
        }
        if fresh { give(&made, owner) } else { Ok(()) }
    })
    .await?;
    Ok(path)
}

fn give(path: &Path, owner: Owner) -> Result<()> {
    let mode = if owner.group_reads { EMPTY_DIR_GROUP_MODE } else { EMPTY_DIR_MODE };
    let give = || {
        chown(path, Some(owner.uid), Some(owner.gid))?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
    };
    give().map_err(Error::file("set owner of", path))
}

async fn write_files(
    shared: &Arc<Shared>,
    pod: &Pod,
    uid: &PodUid,
    (name, plan): (&VolumeName, &FilesPlan),
    (sandbox, references): (&Sandbox, &References),
    owner: Owner,
) -> Result<bool> {
    let files = files(plan, pod, &place(shared, sandbox), references)?;
    let root = shared.layout.memory_volume(uid, name);
    blocking(move || {
        let (Some(parent), Some(name)) = (root.parent(), root.file_name()) else { return Ok(false) };
        private_dir(parent)?;
        write_payload(parent, name, &files, owner)
    })
    .await
}

impl Worker {
    /// Brings mounted Secrets and ConfigMaps up to date. A failure is told and the old files stay.
    pub(super) async fn resync(&mut self, pod: &Arc<Pod>) {
        let running = self.cache.mounted.is_some() && !self.cache.watched.is_empty();
        let plans = match plan(pod, &self.shared.config.policy) {
            Ok(plans) if running => plans,
            _ => return,
        };
        let files: BTreeMap<VolumeName, FilesPlan> = plans
            .into_iter()
            .filter_map(|(name, plan)| match plan {
                VolumePlan::Files(files) => Some((name, files)),
                _ => None,
            })
            .collect();
        if files.is_empty() {
            return;
        }
        if let Err(error) = self.refresh(pod, files).await {
            tracing::warn!(uid = %self.uid, error = crate::error::chain(&error), "mounted files not refreshed");
        }
    }

    async fn refresh(&self, pod: &Arc<Pod>, plans: BTreeMap<VolumeName, FilesPlan>) -> Result<()> {
        let Some(sandbox) = &self.cache.sandbox else { return Ok(()) };
        let references = fetch(&self.shared, pod).await?;
        for (name, plan) in &plans {
            let owner = owner(&self.cache, &self.shared, pod, name).await?;
            write_files(&self.shared, pod, &self.uid, (name, plan), (sandbox, &references), owner).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use super::*;

    #[test]
    fn an_empty_dir_of_a_pod_with_a_group_hands_the_group_on() {
        use std::os::unix::fs::MetadataExt as _;
        let dir = tempfile::tempdir().unwrap();
        for (group_reads, wanted) in [(false, 0o777), (true, 0o2777)] {
            give(dir.path(), Owner { uid: 7, gid: 8, group_reads }).unwrap();
            let meta = std::fs::metadata(dir.path()).unwrap();
            assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (7, 8, wanted));
        }
    }

    #[test]
    fn file_work_that_hangs_leaves_threads_to_others() {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.max_blocking_threads(FILE_WORK_MAX + 1).enable_all().build().unwrap();
        let (release, hold) = mpsc::channel::<()>();
        let hold = Arc::new(parking_lot::Mutex::new(hold));
        runtime.block_on(async {
            let mut hung = tokio::task::JoinSet::new();
            for _ in 0..3 * FILE_WORK_MAX {
                let hold = Arc::clone(&hold);
                hung.spawn(blocking(move || {
                    let _ = hold.lock().recv();
                    Ok(())
                }));
            }
            tokio::task::yield_now().await;
            let other = tokio::task::spawn_blocking(|| 7);
            let answer = tokio::time::timeout(Duration::from_secs(30), other).await;
            assert_eq!(answer.expect("a thread is free").unwrap(), 7);
            drop(release);
            while let Some(done) = hung.join_next().await {
                done.unwrap().unwrap();
            }
        });
    }
}
