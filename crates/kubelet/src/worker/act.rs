//! Preparations: network, images. And the table from actions to what executes them.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use api::{kinds::Pod, meta::DEFAULT_NAMESPACE};
use k8s_openapi::api::core::v1::Container;
use tokio::{sync::Notify, task::JoinSet};

use super::{
    parts::{Sandbox, Worker, WorkerCache},
    shared::Shared,
};
use crate::{
    error::{Error, Result},
    files::{ContainerName, PodUid},
    pod::{
        etc,
        lifecycle::{Action, State},
        pull_secrets::{self, Login},
        security::check_pod,
        volumes,
    },
    ports::{ImageFacts, Pull, Severity},
    probe::Probes,
    room::{self, is_full},
    services::host_ports,
};

impl Worker {
    pub(super) async fn execute(
        cache: &mut WorkerCache,
        shared: &Arc<Shared>,
        wake: &Arc<Notify>,
        tasks: &mut JoinSet<()>,
        state: State,
        pod: &Arc<Pod>,
        action: &Action,
    ) -> Result<()> {
        let uid = PodUid::new(pod.metadata.uid.clone().unwrap_or_default(), "metadata.uid")?;
        match action {
            Action::Attach => {
                cache.cleaned = false;
                cache.sandbox = Some(attach(shared, pod, uid.as_str()).await?);
            }
            Action::Pull => cache.images = Some(pull(shared, pod).await?),
            Action::Mount => {
                cache.cleaned = false;
                cache.mounted = Some(super::mount::mount(cache, shared, pod, &uid).await?);
            }
            Action::Start { container, attempt, streak } => {
                let container = ContainerName::new(container.as_str(), "spec.containers.name")?;
                let run = super::start::Run { container: &container, attempt: *attempt, streak: *streak };
                super::start::start(cache, shared, wake, tasks, pod, &uid, run).await?;
            }
            Action::Terminate { container, deadline } => {
                super::end::terminate(cache, shared, tasks, state, pod, uid.as_str(), (container, *deadline));
            }
            Action::Kill { container } => super::end::kill(shared, uid.as_str(), container).await?,
            Action::Remove => super::end::remove(shared, uid.as_str(), None).await?,
            Action::Clean => {
                super::end::clean(shared, pod, &uid, matches!(state, State::Stopping { .. })).await?;
                (cache.sandbox, cache.mounted, cache.cleaned) = (None, None, true);
            }
            Action::Release => {
                shared.ports.api.release(pod).await?;
                cache.released = true;
            }
            Action::Wake(_) => {}
        }
        Ok(())
    }
}

/// Refuses what cannot be run, claims the host ports, and attaches the network.
async fn attach(shared: &Arc<Shared>, pod: &Pod, uid: &str) -> Result<Sandbox> {
    let adopted = super::observe::runs_of(shared.ports.containers.list(), uid).next().is_some();
    if !adopted {
        check_pod(pod, &shared.config.policy)?;
        volumes::plan(pod, &shared.config.policy)?;
        etc::kernel_hostname(pod, &shared.config.cluster_domain)?;
        for container in containers(pod) {
            ContainerName::new(container.name.as_str(), "spec.containers.name")?;
            Probes::of(container)?;
        }
    }
    claim_host_ports(shared, pod, uid, adopted).await?;
    if pod.spec.as_ref().and_then(|s| s.host_network) == Some(true) {
        return Ok(Sandbox { address: shared.config.host_ip, gateway: shared.ports.network.gateway(), netns: None });
    }
    let request = net::AttachRequest { id: uid.to_owned(), hostname: etc::hostname(pod) };
    let attachment = shared.ports.network.attach(&request).await?;
    Ok(Sandbox { address: attachment.address, gateway: attachment.gateway, netns: Some(attachment.netns) })
}

/// Takes the host ports of a pod, all or none. A pod that ran already keeps what it has.
async fn claim_host_ports(shared: &Arc<Shared>, pod: &Pod, uid: &str, adopted: bool) -> Result<()> {
    let wanted = match host_ports(pod) {
        // It runs since a time when its ports were read otherwise: it goes on, and they are published no more.
        Err(error) if adopted => {
            shared.ports.events.pod(pod, Severity::Warning, "HostPortNotPublished", error.to_string());
            Vec::new()
        }
        wanted => wanted?,
    };
    let wanted: Vec<net::HostPort> = wanted.iter().map(|wanted| wanted.port).collect();
    let fresh = reserve(&mut shared.host_ports.lock(), &wanted, uid)?;
    if !adopted {
        // Nobody else can take them while the host is asked.
        for port in &fresh {
            if let Err(error) = shared.ports.network.check_port(*port).await {
                shared.host_ports.lock().retain(|port, _| !fresh.contains(port));
                return Err(error.into());
            }
        }
    }
    if !fresh.is_empty() {
        shared.host_ports_changed.notify_one();
    }
    Ok(())
}

/// Enters all wanted ports for a pod, or none if another pod has one of them; returns those it did not have before.
fn reserve(
    claims: &mut BTreeMap<net::HostPort, String>,
    wanted: &[net::HostPort],
    uid: &str,
) -> Result<Vec<net::HostPort>> {
    for port in wanted {
        let clash = claims.iter().find(|(other, owner)| {
            owner.as_str() != uid
                && other.port == port.port
                && other.protocol == port.protocol
                && port.overlaps(other.address)
        });
        if let Some((_, owner)) = clash {
            let problem = format!("host port {port} is taken by pod {owner} of this node; choose another hostPort");
            return Err(Error::refused("spec.containers.ports.hostPort", problem));
        }
    }
    let fresh: Vec<_> = wanted.iter().copied().filter(|port| !claims.contains_key(port)).collect();
    claims.extend(fresh.iter().map(|port| (*port, uid.to_owned())));
    Ok(fresh)
}

/// Init containers, then containers.
pub(super) fn containers(pod: &Pod) -> impl Iterator<Item = &Container> {
    pod.spec.iter().flat_map(|s| s.init_containers.iter().flatten().chain(&s.containers))
}

/// Resolves every image of a pod, each reference once.
async fn pull(shared: &Arc<Shared>, pod: &Pod) -> Result<BTreeMap<String, ImageFacts>> {
    let logins = logins(shared, pod).await?;
    let mut known: BTreeMap<(String, &'static str), ImageFacts> = BTreeMap::new();
    let mut images = BTreeMap::new();
    for container in containers(pod) {
        let reference = container.image.clone().unwrap_or_default();
        let (pull, name) = match container.image_pull_policy.as_deref() {
            Some("Always") => (Pull::Always, "Always"),
            Some("Never") => (Pull::Never, "Never"),
            _ => (Pull::IfNotPresent, "IfNotPresent"),
        };
        let key = (reference.clone(), name);
        if !known.contains_key(&key) {
            known.insert(key.clone(), pull_one(shared, pod, &reference, (pull, &logins)).await?);
        }
        if let Some(facts) = known.get(&key) {
            images.insert(container.name.clone(), facts.clone());
        }
    }
    Ok(images)
}

/// Fetches the logins a pod names. What is wrong with one is told; the image may be had without it.
async fn logins(shared: &Arc<Shared>, pod: &Pod) -> Result<Vec<Login>> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
    let mut secrets = Vec::new();
    for name in pull_secrets::names(pod) {
        let secret = shared.ports.api.secret(namespace, &name).await?;
        secrets.push((name, secret));
    }
    let found = pull_secrets::logins(secrets.iter().map(|(name, secret)| (name.as_str(), secret.as_ref())));
    for problem in found.problems {
        let message = format!("imagePullSecrets: {problem}");
        shared.ports.events.pod(pod, Severity::Warning, "FailedToRetrieveImagePullSecret", message);
    }
    Ok(found.all)
}

async fn pull_one(
    shared: &Arc<Shared>,
    pod: &Pod,
    reference: &str,
    (pull, logins): (Pull, &[Login]),
) -> Result<ImageFacts> {
    let logins = pull_secrets::for_image(logins, reference);
    let images = &shared.ports.images;
    let present = images.present(reference).await;
    let fail = |source| Error::Image { image: reference.to_owned(), source };
    let event = |reason: &str, message: String| shared.ports.events.pod(pod, Severity::Normal, reason, message);
    if present && pull != Pull::Always {
        let facts = images.ensure(reference, pull, &logins).await.map_err(fail)?;
        event("Pulled", format!("Container image {reference:?} already present on machine"));
        return Ok(facts);
    }
    event("Pulling", format!("Pulling image {reference:?}"));
    let _permit = shared.pulls.acquire().await;
    room::before_pull(shared).await;
    let begun = Instant::now();
    let facts = images.ensure(reference, pull, &logins).await.inspect_err(|error| {
        if is_full(error.as_ref()) {
            shared.disk_full.notify_one();
        }
    });
    let facts = facts.map_err(fail)?;
    let took = begun.elapsed().as_secs_f64();
    event("Pulled", format!("Successfully pulled image {reference:?} in {took:.3}s, digest {}", facts.digest));
    Ok(facts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_ports_are_reserved_all_or_none_and_once() {
        let port = |number| net::HostPort { address: None, port: number, protocol: net::Protocol::Tcp };
        let mut claims = BTreeMap::new();
        assert_eq!(reserve(&mut claims, &[port(80), port(81)], "a").unwrap(), [port(80), port(81)]);
        assert_eq!(reserve(&mut claims, &[port(80), port(82)], "a").unwrap(), [port(82)], "its own stay its own");
        let refused = reserve(&mut claims, &[port(83), port(81)], "b").unwrap_err().to_string();
        assert!(refused.contains("81/tcp is taken by pod a"), "{refused}");
        assert!(!claims.contains_key(&port(83)), "none of a pod that is refused");
    }
}
