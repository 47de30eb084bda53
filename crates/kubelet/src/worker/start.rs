//! Starting a run of a container.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use api::kinds::{Pod, pod::TERMINATION_MESSAGE_PATH};
use k8s_openapi::api::core::v1::Container;
use runtime::container::{ContainerSpec, LogTarget, MountSpec, Namespace, Namespaces, SeccompProfile, WritableLayer};
use tokio::{sync::Notify, task::JoinSet};

use super::{
    identity::identity,
    mount::{blocking, fetch, place, services},
    observe,
    parts::{Sandbox, WorkerCache},
    shared::Shared,
};
use crate::{
    config::LayerStore,
    error::{Error, Result, chain},
    files::{ContainerName, EtcFile, Missing, PodUid, expose, pin_namespaces, private_dir, write_text},
    pod::{
        container::{Parts, label, resources, run_id, spec},
        env::{Env, declared},
        etc,
        security::{Filter, confinement},
        service_env::variables,
        volumes::sub_path,
    },
    ports::{ImageFacts, Severity, exec_spec},
};

/// Longest time a postStart hook may take.
const POST_START_MAX: Duration = Duration::from_secs(120);
/// Bytes of a hook's output kept for the event.
const HOOK_OUTPUT_MAX: usize = 1024;
/// Largest seccomp profile read.
const PROFILE_MAX: u64 = 1 << 20;
/// Runs of a container whose logs are kept: the current one and the one before.
const LOGS_KEPT: u32 = 2;
/// Permission bits of the file for termination messages: the container's user writes it.
const TERMINATION_MESSAGE_MODE: u32 = 0o666;

/// Which run to start.
#[derive(Clone, Copy)]
pub(super) struct Run<'a> {
    pub(super) container: &'a ContainerName,
    pub(super) attempt: u32,
    pub(super) streak: u32,
}

/// Removes what is left of earlier runs of the container and starts this one.
pub(super) async fn start(
    cache: &mut WorkerCache,
    shared: &Arc<Shared>,
    wake: &Arc<Notify>,
    tasks: &mut JoinSet<()>,
    pod: &Arc<Pod>,
    uid: &PodUid,
    run: Run<'_>,
) -> Result<()> {
    let container = observe::container(pod, run.container.as_str());
    let container = container.ok_or_else(|| Error::Missing { kind: "container", name: run.container.to_string() })?;
    super::end::remove(shared, uid.as_str(), Some(run.container.as_str())).await?;
    cache.termination_messages.retain(|id, _| !id.starts_with(&format!("{uid}.{}.", run.container)));
    let wanted = describe(cache, shared, pod, uid, container, run).await?;
    let id = wanted.id.clone();
    let events = &shared.ports.events;
    events.pod(pod, Severity::Normal, "Created", format!("Created container {}", run.container));
    let fail = |source| Error::Container { container: run.container.to_string(), source };
    shared.ports.containers.start(wanted).await.map_err(fail)?;
    events.pod(pod, Severity::Normal, "Started", format!("Started container {}", run.container));
    if let Some(old) = run.attempt.checked_sub(LOGS_KEPT) {
        forget_log(&shared.layout.logs(pod)?.file(run.container, old));
    }
    if let Some(hook) = container.lifecycle.as_ref().and_then(|l| l.post_start.as_ref()).and_then(|h| h.exec.as_ref()) {
        let command = hook.command.clone().unwrap_or_default();
        tasks.spawn(post_start(Arc::clone(shared), Arc::clone(pod), id, run.container.to_string(), command));
    }
    wake.notify_one();
    Ok(())
}

/// Removes a log with its rotated parts.
fn forget_log(path: &std::path::Path) {
    let Some((dir, name)) = path.parent().zip(path.file_name()) else { return };
    let name = name.to_string_lossy().into_owned();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let found = entry.file_name().to_string_lossy().into_owned();
        if found == name || found.strip_prefix(&name).is_some_and(|rest| rest.starts_with('.')) {
            // A log that stays is removed with the pod.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Runs the hook; a container whose hook fails is killed (Kubernetes).
async fn post_start(shared: Arc<Shared>, pod: Arc<Pod>, id: String, container: String, command: Vec<String>) {
    let done = shared.ports.containers.exec(&id, exec_spec(command, POST_START_MAX), HOOK_OUTPUT_MAX).await;
    let problem = match done {
        Ok(done) if done.exit.code == 0 => return,
        Ok(done) => format!("exit code {}: {}", done.exit.code, String::from_utf8_lossy(&done.stderr).trim()),
        Err(error) => chain(&error),
    };
    let message = format!("PostStart hook of container {container} failed: {problem}");
    shared.ports.events.pod(&pod, Severity::Warning, "FailedPostStartHook", message);
    if let Err(error) = shared.ports.containers.kill(&id).await {
        tracing::warn!(%id, error = chain(&error), "container not killed after its hook failed");
    }
}

async fn describe(
    cache: &WorkerCache,
    shared: &Arc<Shared>,
    pod: &Arc<Pod>,
    uid: &PodUid,
    container: &Container,
    run: Run<'_>,
) -> Result<ContainerSpec> {
    let not_yet = |what: &str| Error::NotRunning(format!("the pod has no {what} yet"));
    let sandbox = cache.sandbox.as_ref().ok_or_else(|| not_yet("network"))?;
    let image =
        cache.images.as_ref().and_then(|all| all.get(run.container.as_str())).ok_or_else(|| not_yet("image"))?;
    let config = &shared.config;
    let references = fetch(shared, pod).await?;
    let linked = variables(pod, &services(shared, pod).await?);
    let env = declared(pod, container, &place(shared, sandbox), &references, linked)?;
    let hostname = etc::kernel_hostname(pod, &config.cluster_domain)?;
    let confined = confinement(pod, container, &config.policy)?;
    let user = identity(shared, pod, container, image).await?;
    let volumes = mounts(cache, shared, uid, container, (&env, (user.uid, user.gid)), run).await?;
    let layer = match config.layers {
        LayerStore::Disk => {
            let dir = shared.layout.layer(uid, run.container, run.attempt);
            if let Some(parent) = dir.parent() {
                private_dir(parent)?;
            }
            WritableLayer::Dir(dir)
        }
        LayerStore::Memory => WritableLayer::RunRoot,
    };
    let parts = Parts {
        id: run_id(uid.as_str(), run.container.as_str(), run.attempt),
        labels: labels(pod, uid.as_str(), container, image, run),
        layers: image.layers.clone(),
        writable: layer,
        env,
        user,
        mounts: volumes,
        namespaces: namespaces(shared, pod, uid, sandbox, &hostname).await?,
        hostname: Some(hostname),
        resources: resources(pod, container, config.pids_per_container, shared.allocatable.memory_bytes)?,
        capabilities: confined.capabilities,
        seccomp: filter(shared, &confined.filter)?,
        read_only_rootfs: confined.read_only_root,
        cgroup_parent: format!("pod{uid}"),
        log: LogTarget::new(shared.layout.logs(pod)?.file(run.container, run.attempt)),
    };
    spec(container, &image.settings, parts)
}

fn labels(pod: &Pod, uid: &str, container: &Container, image: &ImageFacts, run: Run<'_>) -> BTreeMap<String, String> {
    let own_signal = container.lifecycle.as_ref().and_then(|l| l.stop_signal.clone());
    let signal = own_signal.unwrap_or_else(|| image.settings.stop_signal.clone());
    let labels = [
        (label::POD_UID, uid.to_owned()),
        (label::POD_NAME, pod.metadata.name.clone().unwrap_or_default()),
        (label::POD_NAMESPACE, pod.metadata.namespace.clone().unwrap_or_default()),
        (label::CONTAINER, run.container.to_string()),
        (label::ATTEMPT, run.attempt.to_string()),
        (label::STREAK, run.streak.to_string()),
        (label::STOP_SIGNAL, signal),
        (label::IMAGE, image.reference.clone()),
        (label::IMAGE_ID, image.digest.clone()),
    ];
    labels.map(|(name, value)| (name.to_owned(), value)).into()
}

fn filter(shared: &Shared, filter: &Filter) -> Result<SeccompProfile> {
    let Filter::Localhost(name) = filter else { return Ok(SeccompProfile::Baseline) };
    read_profile(&shared.config.policy.seccomp_profiles, name).map(SeccompProfile::Localhost)
}

/// Reads the profile `<name>.json` of the directory that the node's owner keeps; its name was checked with the pod.
fn read_profile(directory: &Path, name: &str) -> Result<String> {
    use std::io::Read as _;
    let refuse = |problem: String| Error::denied("securityContext.seccompProfile.localhostProfile", problem);
    if !directory.is_absolute() {
        return Err(refuse("this node has no directory of seccomp profiles".into()));
    }
    let path = directory.join(format!("{name}.json"));
    let file = match std::fs::File::open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(refuse(format!(
                "this node has no profile {name:?}: its owner can put it at {}",
                path.display()
            )));
        }
        other => other.map_err(Error::file("read seccomp profile", &path))?,
    };
    let mut text = String::new();
    let read = file.take(PROFILE_MAX + 1).read_to_string(&mut text);
    read.map_err(Error::file("read seccomp profile", &path))?;
    if text.len() as u64 > PROFILE_MAX {
        return Err(refuse(format!("{} is larger than {PROFILE_MAX} bytes", path.display())));
    }
    Ok(text)
}

/// Containers of one pod share network, IPC and host name; one alone has its own IPC and UTS namespaces.
async fn namespaces(
    shared: &Arc<Shared>,
    pod: &Pod,
    uid: &PodUid,
    sandbox: &Sandbox,
    hostname: &str,
) -> Result<Namespaces> {
    let network = match &sandbox.netns {
        Some(path) => Namespace::Path(path.clone()),
        None => Namespace::Host,
    };
    let mut namespaces = Namespaces { network, ..Namespaces::default() };
    if pod.spec.as_ref().is_some_and(|s| s.containers.len() > 1) {
        let (dir, hostname) = (shared.layout.namespaces(uid), hostname.to_owned());
        let pinned = blocking(move || pin_namespaces(&dir, &hostname)).await?;
        namespaces.ipc = Namespace::Path(pinned.ipc);
        namespaces.uts = Namespace::Path(pinned.uts);
    }
    Ok(namespaces)
}

async fn mounts(
    cache: &WorkerCache,
    shared: &Arc<Shared>,
    uid: &PodUid,
    container: &Container,
    (env, owner): (&Env, (u32, u32)),
    run: Run<'_>,
) -> Result<Vec<MountSpec>> {
    let mut mounts = vec![termination_log(shared, uid, container, run)?];
    let known = cache.mounted.as_ref();
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let volume = known.and_then(|m| m.volumes.get(mount.name.as_str()));
        let volume = volume.ok_or_else(|| Error::Missing { kind: "volume", name: mount.name.clone() })?;
        let source = match sub_path(mount, env)? {
            None => volume.path.clone(),
            Some(path) => {
                let target = shared.layout.sub_path(uid, run.container, index);
                let missing = if volume.read_only { Missing::Refused } else { Missing::Made(owner.0, owner.1) };
                let (volume, exposed): (PathBuf, PathBuf) = (volume.path.clone(), target.clone());
                blocking(move || expose(&volume, &path, &exposed, missing)).await?;
                target
            }
        };
        let read_only = volume.read_only || mount.read_only.unwrap_or(false);
        mounts.push(MountSpec::bind(source, &mount.mount_path, read_only));
    }
    for file in EtcFile::ALL {
        let target = PathBuf::from(format!("/etc/{}", file.name()));
        // What the pod mounts there is what it wants (Kubernetes).
        if !mounts.iter().any(|mount| *mount.target() == target) {
            mounts.push(MountSpec::bind(shared.layout.etc(uid, file), target, true));
        }
    }
    // A mount below another one comes after it.
    mounts.sort_by_key(|mount| mount.target().components().count());
    Ok(mounts)
}

/// The file to which a container may write its termination message.
fn termination_log(shared: &Shared, uid: &PodUid, container: &Container, run: Run<'_>) -> Result<MountSpec> {
    use std::os::unix::fs::PermissionsExt as _;
    let path = shared.layout.termination_message(uid, run.container, run.attempt);
    write_text(&path, "")?;
    let mode = std::fs::Permissions::from_mode(TERMINATION_MESSAGE_MODE);
    std::fs::set_permissions(&path, mode).map_err(Error::file("set mode of", &path))?;
    let target = container.termination_message_path.as_deref().unwrap_or(TERMINATION_MESSAGE_PATH);
    Ok(MountSpec::bind(path, target, false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_come_from_the_nodes_directory_and_never_from_where_the_server_was_started() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("strict.json"), "{}").unwrap();
        assert_eq!(read_profile(dir.path(), "strict").unwrap(), "{}");
        let missing = read_profile(dir.path(), "other").unwrap_err().to_string();
        assert!(missing.contains("no profile \"other\"") && missing.contains("other.json"), "{missing}");
        for relative in ["", ".", "policies"] {
            let refused = read_profile(Path::new(relative), "strict").unwrap_err().to_string();
            assert!(refused.contains("no directory"), "{refused}");
        }
        let config = crate::config::Config::new("n", std::net::Ipv4Addr::LOCALHOST, "/run/x", "/var/x");
        assert_eq!(config.policy.seccomp_profiles, Path::new("/var/x/policies/seccomp"));
        std::fs::write(dir.path().join("huge.json"), vec![b' '; PROFILE_MAX as usize + 1]).unwrap();
        assert!(read_profile(dir.path(), "huge").unwrap_err().to_string().contains("larger than"));
    }
}
