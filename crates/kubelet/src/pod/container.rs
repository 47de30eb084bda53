//! From a container of a pod and its image to what the runtime runs.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
};

use api::{
    kinds::{
        Pod,
        pod::{ARGUMENT_BYTES_BESIDE, PROGRAM_BYTES_MAX},
    },
    names::annotation::PIDS_LIMIT,
    quantity,
};
use images::ImageSettings;
use k8s_openapi::api::core::v1::{Container, ResourceRequirements};
use runtime::container::{
    ContainerSpec, LogTarget, MountSpec, Namespace, Namespaces, Resources, SeccompProfile, UserIds, WritableLayer,
};

use super::env::{Env, expand, over_image, too_long};
use crate::error::{Error, Result};

/// Labels by which a container is known to belong to a pod.
pub mod label {
    /// UID of the pod.
    pub const POD_UID: &str = "io.nanocloud.pod.uid";
    /// Name of the pod.
    pub const POD_NAME: &str = "io.nanocloud.pod.name";
    /// Namespace of the pod.
    pub const POD_NAMESPACE: &str = "io.nanocloud.pod.namespace";
    /// Name of the container within the pod.
    pub const CONTAINER: &str = "io.nanocloud.container.name";
    /// Number of the run; the first is 0.
    pub const ATTEMPT: &str = "io.nanocloud.container.attempt";
    /// Ends in a row before this run.
    pub const STREAK: &str = "io.nanocloud.container.streak";
    /// Image as the pod names it.
    pub const IMAGE: &str = "io.nanocloud.image.name";
    /// Signal that asks the container to end.
    pub const STOP_SIGNAL: &str = "io.nanocloud.container.stop-signal";
    /// Digest of the image.
    pub const IMAGE_ID: &str = "io.nanocloud.image.id";
}

/// Prefix of container ids in statuses.
pub const ID_SCHEME: &str = "nanocloud://";
/// Smallest weight of a container without a CPU request (Kubernetes).
const MIN_SHARES: u64 = 2;
/// `oom_score_adj` of containers in Guaranteed pods (Kubernetes).
const OOM_GUARANTEED: i32 = -997;
/// `oom_score_adj` of containers in BestEffort pods (Kubernetes).
const OOM_BEST_EFFORT: i32 = 1000;

/// Quality of service, from requests and limits (Kubernetes).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qos {
    /// Every container limits CPU and memory, and requests as much.
    Guaranteed,
    /// Some container requests or limits something.
    Burstable,
    /// None does.
    BestEffort,
}

impl Qos {
    /// The name in a pod's status.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }

    /// Reads a pod's containers.
    #[must_use]
    pub fn of(pod: &Pod) -> Self {
        let spec = pod.spec.as_ref();
        let containers = || spec.iter().flat_map(|s| s.containers.iter().chain(s.init_containers.iter().flatten()));
        let amount = |c: &Container, limit: bool, name: &str| {
            let list = c.resources.as_ref().and_then(|r| if limit { r.limits.as_ref() } else { r.requests.as_ref() });
            let count = if name == "cpu" { quantity::milli } else { quantity::units };
            list.and_then(|l| l.get(name)).and_then(|q| count(&q.0).ok()).filter(|n| *n > 0)
        };
        let names = ["cpu", "memory"];
        let full = |c: &Container| {
            names.iter().all(|name| {
                let limit = amount(c, true, name);
                limit.is_some() && amount(c, false, name).is_none_or(|request| Some(request) == limit)
            })
        };
        let any = |c: &Container| {
            names.iter().any(|name| amount(c, true, name).is_some() || amount(c, false, name).is_some())
        };
        if !containers().any(any) {
            Self::BestEffort
        } else if containers().all(full) {
            Self::Guaranteed
        } else {
            Self::Burstable
        }
    }
}

/// The pod's own limit of processes, which can only be lower than the node's.
fn pids_limit(pod: &Pod, node: u64) -> Result<u64> {
    let Some(text) = pod.metadata.annotations.as_ref().and_then(|all| all.get(PIDS_LIMIT)) else { return Ok(node) };
    match text.parse::<u64>() {
        Ok(limit) if limit > 0 => Ok(limit.min(node)),
        _ => {
            Err(Error::refused(format!("metadata.annotations[{PIDS_LIMIT}]"), format!("{text:?} is no number above 0")))
        }
    }
}

/// Limits of a container; `pids` is the node's limit of processes.
///
/// # Errors
/// [`Error::Refused`] for a quantity that is none.
pub fn resources(pod: &Pod, container: &Container, pids: u64, node_memory: u64) -> Result<Resources> {
    let get = |wanted: Option<&ResourceRequirements>, limits: bool, name: &str| {
        let list = wanted.and_then(|r| if limits { r.limits.as_ref() } else { r.requests.as_ref() });
        list.and_then(|l| l.get(name)).map(|q| q.0.clone())
    };
    let bad =
        |e: quantity::QuantityError| Error::refused(format!("container {} resources", container.name), e.to_string());
    let own = container.resources.as_ref();
    let millis = |limits| get(own, limits, "cpu").map(|q| quantity::milli(&q)).transpose().map_err(bad);
    let bytes = |limits| get(own, limits, "memory").map(|q| quantity::units(&q)).transpose().map_err(bad);
    let (cpu_limit, memory_limit) = (millis(true)?, bytes(true)?);
    // A limit without a request is also the request (Kubernetes).
    let cpu_request = millis(false)?.or(cpu_limit);
    let memory_request = bytes(false)?.or(memory_limit);
    Ok(Resources {
        memory_bytes: memory_limit.filter(|n| *n > 0),
        cpu_shares: Some(cpu_request.map_or(MIN_SHARES, |milli| (milli.saturating_mul(1024) / 1000).max(MIN_SHARES))),
        cpu_millis: cpu_limit.filter(|n| *n > 0),
        pids: Some(pids_limit(pod, pids)?),
        oom_score_adj: Some(oom_score(Qos::of(pod), memory_request.unwrap_or(0), node_memory)),
        open_files: None,
    })
}

/// The more of the node's memory a Burstable container requests, the later it is killed (Kubernetes).
fn oom_score(qos: Qos, request: u64, node_memory: u64) -> i32 {
    match qos {
        Qos::Guaranteed => OOM_GUARANTEED,
        Qos::BestEffort => OOM_BEST_EFFORT,
        Qos::Burstable => {
            let share = u128::from(request) * 1000 / u128::from(node_memory.max(1));
            (1000 - i32::try_from(share.min(1000)).unwrap_or(1000)).clamp(3, 999)
        }
    }
}

/// Everything that is decided elsewhere about a container.
pub struct Parts {
    /// Unique id of the run.
    pub id: String,
    /// Labels beside those of the pod.
    pub labels: BTreeMap<String, String>,
    /// Layers of the image.
    pub layers: Vec<PathBuf>,
    /// Where changes go.
    pub writable: WritableLayer,
    /// What the pod declares of the environment.
    pub env: Env,
    /// User.
    pub user: UserIds,
    /// Mounts.
    pub mounts: Vec<MountSpec>,
    /// Namespaces shared with the pod.
    pub namespaces: Namespaces,
    /// Host name, if the UTS namespace is new.
    pub hostname: Option<String>,
    /// Limits.
    pub resources: Resources,
    /// Capabilities.
    pub capabilities: Vec<String>,
    /// System call filter.
    pub seccomp: SeccompProfile,
    /// Read-only root.
    pub read_only_rootfs: bool,
    /// Parent cgroup.
    pub cgroup_parent: String,
    /// Log file.
    pub log: LogTarget,
}

/// Puts a container together.
///
/// # Errors
/// [`Error::Refused`] when there is nothing to run.
pub fn spec(container: &Container, image: &ImageSettings, parts: Parts) -> Result<ContainerSpec> {
    let argv = image.argv(
        &expanded(container, "command", &container.command, &parts.env)?,
        &expanded(container, "args", &container.args, &parts.env)?,
    );
    if argv.is_empty() {
        let problem = "neither the pod nor the image names a program";
        return Err(Error::refused(format!("container {} command", container.name), problem));
    }
    let cwd = container.working_dir.clone().filter(|d| !d.is_empty()).unwrap_or_else(|| image.working_dir.clone());
    let mut spec = ContainerSpec::new(parts.id, parts.layers, argv);
    spec.labels = parts.labels;
    spec.writable = parts.writable;
    spec.env = over_image(&image.env, parts.env)?;
    if let Some(hostname) = parts.hostname.as_ref().filter(|_| !spec.env.iter().any(|(name, _)| name == "HOSTNAME")) {
        spec.env.push(("HOSTNAME".into(), hostname.clone()));
    }
    spec.cwd = if cwd.is_empty() { PathBuf::from("/") } else { PathBuf::from(cwd) };
    spec.user = parts.user;
    spec.mounts = parts.mounts;
    // A new UTS namespace gets its name; a shared one has it already.
    spec.hostname = parts.hostname.filter(|_| parts.namespaces.uts == Namespace::New);
    spec.namespaces = parts.namespaces;
    spec.resources = parts.resources;
    spec.privileged = !parts.capabilities.is_empty();
    spec.capabilities = parts.capabilities;
    spec.seccomp = parts.seccomp;
    spec.read_only_rootfs = parts.read_only_rootfs;
    spec.tty = container.tty.unwrap_or(false);
    spec.stdin = container.stdin.unwrap_or(false);
    spec.cgroup_parent = Some(parts.cgroup_parent);
    spec.log = Some(parts.log);
    Ok(spec)
}

/// Words with `$(NAME)` expanded by what the pod declares.
fn expanded(container: &Container, field: &str, words: &Option<Vec<String>>, env: &Env) -> Result<Vec<String>> {
    let known: HashMap<&str, &str> = env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let field = || format!("container {} {field}", container.name);
    let mut bytes = 0;
    let each = words.iter().flatten().map(|word| {
        let text = expand(word, |name| known.get(name).copied()).ok_or_else(|| too_long(&field()))?;
        bytes += text.len() + ARGUMENT_BYTES_BESIDE;
        if bytes > PROGRAM_BYTES_MAX {
            return Err(Error::refused(field(), format!("more than {PROGRAM_BYTES_MAX} bytes in all")));
        }
        Ok(text)
    });
    each.collect()
}

/// Id of a run: unique on the node, and the same if the start is repeated.
#[must_use]
pub fn run_id(pod_uid: &str, container: &str, attempt: u32) -> String {
    /// Bytes of the container's name in the id: the whole must fit the runtime's 128.
    const NAME_MAX: usize = 63;
    let name: String = container.chars().take(NAME_MAX).collect();
    format!("{pod_uid}.{name}.{attempt}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(resources: serde_json::Value) -> Pod {
        serde_json::from_value(
            json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "resources": resources}]}}),
        )
        .unwrap()
    }

    #[test]
    fn quality_of_service_follows_kubernetes() {
        for (resources, qos) in [
            (json!({}), Qos::BestEffort),
            (json!({"limits": {"cpu": "1", "memory": "1Gi"}}), Qos::Guaranteed),
            (
                json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1Gi"}}),
                Qos::Guaranteed,
            ),
            (json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1"}}), Qos::Guaranteed),
            (json!({"limits": {"memory": "1Gi"}}), Qos::Burstable),
            (json!({"requests": {"cpu": "1m"}}), Qos::Burstable),
            (json!({"limits": {"cpu": "1", "memory": "8Ei"}}), Qos::Guaranteed),
        ] {
            assert_eq!(Qos::of(&pod(resources.clone())), qos, "{resources}");
        }
    }

    #[test]
    fn limits_and_requests_become_kernel_numbers() {
        let pod = pod(json!({"limits": {"cpu": "1500m", "memory": "64Mi"}, "requests": {"cpu": "250m"}}));
        let container = &pod.spec.as_ref().unwrap().containers[0];
        let found = resources(&pod, container, 100, 1 << 30).unwrap();
        assert_eq!(found.memory_bytes, Some(64 << 20));
        assert_eq!((found.cpu_millis, found.cpu_shares, found.pids), (Some(1500), Some(256), Some(100)));
        assert_eq!(found.oom_score_adj, Some(1000 - 62));
    }

    #[test]
    fn arguments_grow_to_what_a_program_can_be_given() {
        let env = vec![("A".to_owned(), "x".repeat(1000))];
        let args = |word: &str, count: usize| {
            let container: Container = serde_json::from_value(json!({"name": "c", "args": vec![word; count]})).unwrap();
            expanded(&container, "args", &container.args, &env)
        };
        assert_eq!(args("$(A)$(A)", 1).unwrap()[0].len(), 2000);
        let long = args(&"$(A)".repeat(132), 1).unwrap_err().to_string();
        assert!(long.starts_with("container c args: it grows beyond 131071 bytes"), "{long}");
        let many = args("$(A)", 2000).unwrap_err().to_string();
        assert_eq!(many, "container c args: more than 1048576 bytes in all");
    }

    #[test]
    fn a_pod_may_lower_the_limit_of_processes_and_not_raise_it() {
        let limit = |text: &str| {
            let mut pod = pod(json!({}));
            pod.metadata.annotations = Some([(PIDS_LIMIT.to_owned(), text.to_owned())].into());
            let container = &pod.spec.as_ref().unwrap().containers[0];
            resources(&pod, container, 100, 1 << 30).map(|found| found.pids)
        };
        assert_eq!(limit("64").unwrap(), Some(64));
        assert_eq!(limit("101").unwrap(), Some(100));
        for bad in ["0", "-1", "many", ""] {
            assert!(limit(bad).unwrap_err().to_string().contains("pids-limit"), "{bad}");
        }
    }

    #[test]
    fn words_are_expanded_and_the_image_fills_the_rest() {
        let image = ImageSettings {
            entrypoint: vec!["/run".into()],
            cmd: vec!["x".into()],
            working_dir: "/srv".into(),
            env: vec![("PATH".into(), "/image".into()), ("PORT".into(), "1".into())],
            ..Default::default()
        };
        let args = json!({"name": "c", "args": ["--port=$(PORT)", "$(NONE)", "$(PATH)", "$(HOSTNAME)"]});
        let container: Container = serde_json::from_value(args).unwrap();
        let parts = Parts {
            id: run_id("u", "c", 3),
            labels: BTreeMap::new(),
            layers: vec![],
            writable: WritableLayer::RunRoot,
            env: vec![("PORT".into(), "80".into())],
            user: UserIds::default(),
            mounts: vec![],
            namespaces: Namespaces { uts: Namespace::Path("/x".into()), ..Default::default() },
            hostname: Some("h".into()),
            resources: Resources::default(),
            capabilities: vec![],
            seccomp: SeccompProfile::Baseline,
            read_only_rootfs: false,
            cgroup_parent: "p".into(),
            log: LogTarget::new("/l"),
        };
        let spec = spec(&container, &image, parts).unwrap();
        assert_eq!(spec.argv, ["/run", "--port=80", "$(NONE)", "$(PATH)", "$(HOSTNAME)"], "only what the pod declares");
        let env: Vec<_> = spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(env, ["PATH=/image", "PORT=80", "HOSTNAME=h"]);
        assert_eq!((spec.id.as_str(), spec.cwd.to_str()), ("u.c.3", Some("/srv")));
        assert!(spec.hostname.is_none() && !spec.privileged);
    }
}
