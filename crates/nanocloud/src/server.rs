//! `nanocloud server`: the whole node in one process.
//!
//! ```text
//!   host checks ─► port ─► keyspace ─► API ─► ready ─► network, images, runtime, volumes ─► kubelet
//!                                       └──► controllers
//! ```
//!
//! The order of stopping is the reverse. Containers are not stopped: the next start adopts them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use api::kinds::{ConfigMap, Token};
use apiserver::{ApiServer, Security};
use client::{Api, Client};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use trust::{AssetsConfig, ClientAuth, SecureAssets, Subject, tls::ServerCertificate};

use crate::{
    adapters::{catalog::Images, facts, issuer::Issuer, local, reconciles::Reconciles, streams::Streams},
    host,
    node::{self, Node},
    settings::Settings,
    setup::FirstStart,
    store::{self, Store},
    supervisor::Supervisor,
};

/// Namespace and name of the platform's own settings.
const PLATFORM_CONFIG: (&str, &str) = ("kube-system", "nanocloud.io");
/// Time between two looks for memory that can be given back; the heap is small, so a look costs little.
const TIDY_PERIOD: Duration = Duration::from_secs(4);

/// Runs the node until SIGTERM or SIGINT, or until one of its parts ends.
pub async fn run(settings: Settings, notify: Option<std::ffi::OsString>, started: Instant) -> anyhow::Result<()> {
    host::require_root("server")?;
    host::check_kernel()?;
    let assets = open_assets(&settings)?;
    host::check_writable(&settings.state_root)?;
    let listener = host::listen(settings.listen).await?;
    let etcd_listener = match settings.etcd_listen {
        Some(address) => Some(host::listen(address).await?),
        None => None,
    };
    host::prepare_run_root(&settings.run_root)?;

    let mut registry = Registry::default();
    let reconciles = Arc::new(Reconciles::new(&mut registry));
    let store = Store::open(&settings, keyspace_config(&settings), &mut registry).await?;
    let keyspace = store.keyspace();
    let metrics = Arc::new(Mutex::new(registry));
    let streams = Arc::new(Streams::default());
    let security = Security {
        authority: assets.authority().clone(),
        tokens: Arc::new(assets.tokens()?),
        envelope: Arc::new(assets.envelope()),
    };
    let config = apiserver::Config::new(settings.service_cidr);
    let api = ApiServer::new(config, keyspace.clone(), security, streams.clone(), metrics.clone());
    api.prepare().await?;

    let auth = if settings.require_client_certificate { ClientAuth::Required } else { ClientAuth::Optional };
    let tls = trust::tls::server_config(assets.authority(), ServerCertificate::new(assets.server()), auth)?;
    let mut serving = Supervisor::default();
    let stop = serving.token();
    let server = api.clone();
    serving.spawn("API server", async move { server.serve(listener, Arc::new(tls), stop).await.map_err(Into::into) });
    store::serve_etcd(etcd_listener, &settings, keyspace, &assets, &mut serving).await?;

    let router = api.router();
    take_first_start(&settings, &local::client(&router, Subject::admin("nanocloud:setup"))).await?;
    let mut actors = Supervisor::default();
    let result = async {
        let node = Node::open(&settings).await?;
        start_actors(&settings, &node, &router, &assets, reconciles, &streams, &metrics, &mut actors)?;
        actors.spawn("memory", tidy(actors.token()));
        tracing::info!(listen = %settings.listen, milliseconds = started.elapsed().as_millis(), "ready");
        if let Some(socket) = notify {
            crate::notify::notify(&socket, "READY=1").context("NOTIFY_SOCKET")?;
        }
        until_stopped(&mut serving, &mut actors).await
    }
    .await;
    actors.stop().await;
    api.stop_streams();
    serving.stop().await;
    store.shutdown().await?;
    result
}

fn keyspace_config(settings: &Settings) -> replica::Config {
    replica::Config {
        keep_revisions: settings.keyspace_keep_revisions,
        keep_age: settings.keyspace_keep_age.unwrap_or_default(),
        quota_bytes: settings.keyspace_quota,
        ..replica::Config::new(settings.keyspace())
    }
}

/// Gives back what bursts of work left.
async fn tidy(stop: CancellationToken) -> anyhow::Result<()> {
    let mut ticks = tokio::time::interval(TIDY_PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        runtime::memory::give_back_unused();
    }
    Ok(())
}

fn open_assets(settings: &Settings) -> anyhow::Result<SecureAssets> {
    let dir = settings.secure_assets();
    let now = jiff::Timestamp::now();
    SecureAssets::open(&dir, now)?;
    // The server's certificate is renewed when it nears its end or the host got other names.
    let config = AssetsConfig { dir, server_names: settings.server_names(), data_exists: true };
    let (assets, changes) = SecureAssets::init(&config, now)?;
    changes.iter().for_each(|change| tracing::info!(%change, "secure assets"));
    Ok(assets)
}

/// Takes in what `setup` left.
async fn take_first_start(settings: &Settings, client: &Client) -> anyhow::Result<()> {
    let path = settings.first_start();
    let Ok(text) = std::fs::read_to_string(&path) else { return Ok(()) };
    let first: FirstStart = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    if let Some(token) = first.token {
        let grant: Token = api::decode(token)?;
        match Api::<Token>::all(client.clone()).create(&grant).await {
            Err(error) if !error.is_already_exists() => return Err(error).context("the first token"),
            _ => {}
        }
    }
    let (namespace, name) = PLATFORM_CONFIG;
    let mut config = ConfigMap::default();
    config.metadata.name = Some(name.into());
    config.metadata.namespace = Some(namespace.into());
    config.data = Some([("backup.retentionCount".to_owned(), first.retention.to_string())].into());
    match Api::namespaced(client.clone(), namespace).create(&config).await {
        Err(error) if !error.is_already_exists() => return Err(error).context("the platform's settings"),
        _ => {}
    }
    std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))
}

#[allow(clippy::too_many_arguments, reason = "the one place where every part meets")]
fn start_actors(
    settings: &Settings,
    node: &Node,
    router: &axum::Router,
    assets: &SecureAssets,
    reconciles: Arc<Reconciles>,
    streams: &Arc<Streams>,
    metrics: &apiserver::MetricsRegistry,
    actors: &mut Supervisor,
) -> anyhow::Result<()> {
    let context = controllers::Context {
        catalog: Arc::new(Images(node.images.clone())),
        host: Arc::new(facts::Host {
            dns: node.network.config().gateway(),
            bridge: settings.bridge.clone(),
            resolv_conf: node::RESOLV_CONF.into(),
        }),
        issuer: Arc::new(Issuer(assets.authority().clone())),
        random: Arc::new(controllers::KernelRandom),
        config: controllers::Config { registry: settings.registry.clone() },
    };
    let client = local::client(router, Subject::controllers());
    let (all, host, stop) = (controllers::all(&context), settings.node_name.clone(), actors.token());
    actors.spawn("controllers", async move {
        controllers::run(client, all, &host, Some(reconciles), stop).await;
        Ok(())
    });
    let client = local::client(router, Subject::node(&settings.node_name));
    let kubelet = node.kubelet(settings, client)?;
    kubelet.metrics().register(&mut metrics.lock());
    streams.connect(kubelet.clone());
    let (dns, stop) = (node.dns(), actors.token());
    actors.spawn("DNS", async move {
        dns.keep(stop).await;
        Ok(())
    });
    let stop = actors.token();
    actors.spawn("kubelet", async move { kubelet.run(stop).await.map_err(Into::into) });
    Ok(())
}

/// Waits for a signal, or for a part that ends although nobody asked it to.
async fn until_stopped(serving: &mut Supervisor, actors: &mut Supervisor) -> anyhow::Result<()> {
    let (mut term, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = term.recv() => tracing::info!("SIGTERM: stopping; containers keep running"),
        _ = interrupt.recv() => tracing::info!("SIGINT: stopping; containers keep running"),
        ended = serving.ended() => return ended,
        ended = actors.ended() => return ended,
    }
    Ok(())
}
