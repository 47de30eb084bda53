//! Logs of containers, programs run inside them, and connections to pods, for the API server's streams.

use std::{fmt, sync::Arc};

use api::{ObjectKey, kinds::Pod};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Container;
use runtime::{
    container::{Attachment, ContainerInfo, ExecSession, ExecSpec, Runtime, State, StdinMode, TermSize},
    logs::{LogChunks, LogQuery, LogReader, StreamFilter},
};
use tokio::net::TcpStream;

use crate::{
    Kubelet,
    error::{Error, Result},
    files::ContainerName,
    pod::container::label,
};

/// Which lines of which log.
#[derive(Debug, Clone, Default)]
pub struct LogRequest {
    /// Container; may be left out if the pod has one.
    pub container: Option<String>,
    /// Wait for more until the container ends.
    pub follow: bool,
    /// The run before the current one.
    pub previous: bool,
    /// Only the last lines.
    pub tail: Option<u64>,
    /// Only lines from this time on.
    pub since: Option<Timestamp>,
    /// Every line begins with its time.
    pub timestamps: bool,
    /// Stop after so many bytes.
    pub limit_bytes: Option<u64>,
}

/// A program to run.
#[derive(Debug, Clone)]
pub struct ExecRequest {
    /// Container; may be left out if the pod has one.
    pub container: Option<String>,
    /// Program and arguments.
    pub command: Vec<String>,
    /// A terminal of this size.
    pub tty: Option<TermSize>,
    /// The program reads what the caller sends.
    pub stdin: bool,
}

/// A container that was joined: its output from now on, and its input.
#[derive(Debug)]
pub struct Joined {
    /// The streams; dropping them leaves the container as it is.
    pub attachment: Attachment,
    /// What else can be done.
    pub control: JoinControl,
}

/// Handle on a container that was joined.
#[derive(Clone)]
pub struct JoinControl {
    runtime: Arc<Runtime>,
    id: String,
    tty: bool,
    stdin_once: bool,
}

impl fmt::Debug for JoinControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinControl").field("id", &self.id).finish_non_exhaustive()
    }
}

impl JoinControl {
    /// Changes the size of the container's terminal; nothing without one.
    ///
    /// # Errors
    /// When the container has ended.
    pub async fn resize(&self, size: TermSize) -> Result<()> {
        if !self.tty {
            return Ok(());
        }
        let fail = |source| Error::Container { container: self.id.clone(), source };
        self.runtime.resize(&self.id, size).await.map_err(fail)
    }

    /// The one who joined sends nothing more: end of file, if the pod says that one input is all (`stdinOnce`).
    ///
    /// # Errors
    /// When the container has ended.
    pub async fn input_ended(&self) -> Result<()> {
        if !self.stdin_once {
            return Ok(());
        }
        let fail = |source| Error::Container { container: self.id.clone(), source };
        self.runtime.close_stdin(&self.id).await.map_err(fail)
    }
}

impl Kubelet {
    /// Reads the log of a container.
    ///
    /// # Errors
    /// [`Error::Missing`] for pod, container or log; [`Error::Refused`] if a container must be named.
    pub fn logs(&self, namespace: &str, pod: &str, request: &LogRequest) -> Result<LogChunks> {
        let found = self.find(namespace, pod)?;
        let container = choose(&found, request.container.as_deref())?;
        let run = self.latest_run(&found, &container);
        let attempt = run.as_ref().map_or_else(|| recorded_attempt(&found, &container), attempt_of);
        let attempt = match (request.previous, attempt) {
            (false, attempt) => attempt,
            (true, attempt) => attempt.and_then(|n| n.checked_sub(1)),
        };
        let what = if request.previous { "previous log of container" } else { "log of container" };
        let missing = || Error::Missing { kind: what, name: container.clone() };
        let name = ContainerName::new(container.as_str(), "container")?;
        let path = self.layout().logs(&found)?.file(&name, attempt.ok_or_else(missing)?);
        if !path.exists() {
            return Err(missing());
        }
        let query = LogQuery {
            tail: request.tail,
            since: request.since,
            timestamps: request.timestamps,
            streams: StreamFilter::Both,
            limit_bytes: request.limit_bytes,
        };
        let reader = LogReader::new(path);
        let running = run.filter(|run| run.state == State::Running && request.follow && !request.previous);
        let Some(run) = running else { return Ok(reader.read(query)) };
        let runtime = self.runtime().clone();
        Ok(reader.follow(query, async move {
            // Whatever the answer, there is nothing more to come.
            let _ = runtime.wait(&run.id).await;
        }))
    }

    /// Runs a program in a container.
    ///
    /// # Errors
    /// [`Error::NotRunning`], [`Error::Missing`], or what the runtime says.
    pub async fn exec(&self, namespace: &str, pod: &str, request: ExecRequest) -> Result<ExecSession> {
        let found = self.find(namespace, pod)?;
        let (container, run) = self.running(&found, request.container.as_deref())?;
        let mut spec = ExecSpec::new(request.command);
        spec.tty = request.tty;
        if request.tty.is_some() {
            spec.env.push(("TERM".into(), "xterm".into()));
        }
        spec.stdin = if request.stdin { StdinMode::Pipe } else { StdinMode::Null };
        let fail = |source| Error::Container { container, source };
        self.runtime().exec(&run.id, spec).await.map_err(fail)
    }

    /// Joins what a container was started with.
    ///
    /// # Errors
    /// [`Error::NotRunning`], [`Error::Missing`], or what the runtime says.
    pub async fn attach(&self, namespace: &str, pod: &str, container: Option<&str>, stdin: bool) -> Result<Joined> {
        let found = self.find(namespace, pod)?;
        let (container, run) = self.running(&found, container)?;
        let spec =
            found.spec.iter().flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
        let spec = spec.into_iter().find(|spec| spec.name == container);
        let says = |field: fn(&Container) -> Option<bool>| spec.and_then(field).unwrap_or_default();
        let (tty, takes) = (says(|spec| spec.tty), says(|spec| spec.stdin));
        let fail = |source| Error::Container { container, source };
        let attachment = self.runtime().attach(&run.id, stdin && (takes || tty)).await.map_err(fail)?;
        let control =
            JoinControl { runtime: self.runtime().clone(), id: run.id, tty, stdin_once: says(|spec| spec.stdin_once) };
        Ok(Joined { attachment, control })
    }

    /// Connects to a TCP port of a pod's own loopback.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Refused`] for a pod without a network of its own, or [`Error::Network`].
    pub async fn connect(&self, namespace: &str, pod: &str, port: u16) -> Result<TcpStream> {
        let found = self.find(namespace, pod)?;
        if found.spec.as_ref().and_then(|spec| spec.host_network) == Some(true) {
            return Err(Error::refused("spec.hostNetwork", "the pod has no loopback of its own; connect to the node"));
        }
        let id = found.metadata.uid.as_deref().unwrap_or_default();
        Ok(self.ports().network.connect(id, port).await?)
    }

    /// The container that is meant, and its run.
    fn running(&self, pod: &Pod, container: Option<&str>) -> Result<(String, ContainerInfo)> {
        let container = choose(pod, container)?;
        let run = self.latest_run(pod, &container).filter(|run| run.state == State::Running);
        let run = run.ok_or_else(|| {
            let (namespace, name) = (&pod.metadata.namespace, &pod.metadata.name);
            let place = [namespace, name].map(|part| part.as_deref().unwrap_or_default()).join("/");
            Error::NotRunning(format!("container {container} of pod {place} is not running"))
        })?;
        Ok((container, run))
    }

    fn find(&self, namespace: &str, pod: &str) -> Result<std::sync::Arc<Pod>> {
        let found = self.pods().get(&ObjectKey::namespaced(namespace, pod));
        found.ok_or_else(|| Error::Missing { kind: "pod", name: format!("{namespace}/{pod}") })
    }

    fn latest_run(&self, pod: &Pod, container: &str) -> Option<ContainerInfo> {
        let uid = pod.metadata.uid.as_deref()?;
        let is =
            |info: &ContainerInfo, name: &str, value: &str| info.labels.get(name).is_some_and(|known| known == value);
        let all = self.runtime().list().into_iter();
        all.filter(|info| is(info, label::POD_UID, uid) && is(info, label::CONTAINER, container)).max_by_key(attempt_of)
    }
}

fn attempt_of(info: &ContainerInfo) -> Option<u32> {
    info.labels.get(label::ATTEMPT)?.parse().ok()
}

/// Number of the last run by the status, for containers that left only their log.
fn recorded_attempt(pod: &Pod, container: &str) -> Option<u32> {
    let status = pod.status.as_ref()?;
    let mut all = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    let known = all.find(|s| s.name == container && s.container_id.is_some())?;
    u32::try_from(known.restart_count).ok()
}

/// The container that is meant.
fn choose(pod: &Pod, wanted: Option<&str>) -> Result<String> {
    let spec = pod.spec.as_ref();
    let main: Vec<&str> = spec.iter().flat_map(|s| &s.containers).map(|c| c.name.as_str()).collect();
    let init = spec.iter().flat_map(|s| s.init_containers.iter().flatten()).map(|c| c.name.as_str());
    match wanted.filter(|name| !name.is_empty()) {
        Some(name) if main.contains(&name) || init.into_iter().any(|known| known == name) => Ok(name.to_owned()),
        Some(name) => Err(Error::Missing { kind: "container", name: name.to_owned() }),
        None => match main.as_slice() {
            [only] => Ok((*only).to_owned()),
            many => Err(Error::refused("container", format!("name one of {}", many.join(", ")))),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_container_need_not_be_named_and_several_must() {
        let pod = |names: &[&str]| -> Pod {
            let list: Vec<_> = names.iter().map(|n| json!({"name": n})).collect();
            serde_json::from_value(
                json!({"metadata": {"name": "p"}, "spec": {"containers": list, "initContainers": [{"name": "i"}]}}),
            )
            .unwrap()
        };
        assert_eq!(choose(&pod(&["a"]), None).unwrap(), "a");
        assert_eq!(choose(&pod(&["a"]), Some("i")).unwrap(), "i");
        assert!(matches!(choose(&pod(&["a"]), Some("x")), Err(Error::Missing { .. })));
        let error = choose(&pod(&["a", "b"]), None).unwrap_err();
        assert_eq!(error.to_string(), "container: name one of a, b");
    }
}
