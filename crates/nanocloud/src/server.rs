//! `nanocloud server`: the whole node in one process.
//!
//! ```text
//!   host checks ─► join ─► port ─► keyspace ─► API ─► ready ─► network, images, runtime, volumes ─► kubelet
//!                                      ║         └──► controllers, while this member leads
//!                                 other members
//! ```
//!
//! They stop in reverse order. Containers keep running, and the next start adopts them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use api::{
    kinds::{ConfigMap, Token},
    names,
};
use apiserver::{ApiServer, Security};
use client::{Api, Client};
use images::ImageStore;
use jiff::Timestamp;
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use trust::{AssetsConfig, ClientAuth, JoinToken, SecureAssets, Subject, tls::ServerCertificate};

use crate::{
    adapters::{
        api_servers::Servers, catalog::Images, facts, issuer::Issuer, reconciles::Reconciles, streams::Streams,
    },
    certificates, cluster, host,
    node::{self, Node},
    settings::Settings,
    setup::FirstStart,
    store::{self, Store},
    supervisor::Supervisor,
};

/// Namespace and name of the platform's own settings.
const PLATFORM_CONFIG: (&str, &str) = (names::namespace::SYSTEM, names::group::NANOCLOUD);
/// How often unused memory is returned to the kernel; the heap is small, so this is cheap.
const TIDY_PERIOD: Duration = Duration::from_secs(4);

/// Runs the node until SIGTERM or SIGINT, or until one of its parts ends.
pub async fn run(
    settings: Settings,
    join: Option<JoinToken>,
    notify: Option<std::ffi::OsString>,
    started: Instant,
) -> anyhow::Result<()> {
    if settings.agent {
        host::require_root("server")?;
        host::check_kernel()?;
    }
    if let Some(token) = join {
        cluster::join(&settings, &token).await?;
    }
    let assets = open_assets(&settings)?;
    host::check_writable(&settings.state_root)?;
    let listener = host::listen(settings.listen).await?;
    let etcd_listener = match settings.etcd_listen {
        Some(address) => Some(host::listen(address).await?),
        None => None,
    };
    if settings.agent {
        host::prepare_run_root(&settings.run_root)?;
    }

    let mut registry = Registry::default();
    let reconciles = Arc::new(Reconciles::new(&mut registry));
    let identity = cluster::Identity::load(&settings)?;
    let transport = cluster::transport(&settings, &assets, identity).await?;
    let store = Store::open(&settings, identity, transport.as_ref(), &mut registry).await?;
    let metrics = Arc::new(Mutex::new(registry));
    let streams = Arc::new(Streams::default());
    let api = api_server(&settings, &assets, &store, &streams, &metrics)?;
    if transport.is_none() {
        api.prepare().await?;
    }

    let auth = if settings.require_client_certificate { ClientAuth::Required } else { ClientAuth::Optional };
    let shown = ServerCertificate::new(assets.server());
    let tls = trust::tls::server_config(assets.authority(), shown.clone(), auth)?;
    let mut serving = Supervisor::default();
    let stop = serving.token();
    let server = api.clone();
    serving.spawn("API server", async move { server.serve(listener, Arc::new(tls), stop).await.map_err(Into::into) });
    serving.spawn("definitions of kinds", follow_definitions(api.clone(), serving.token()));
    let renewal = certificates::renew(assets_config(&settings), shown, Timestamp::now, serving.token());
    serving.spawn("server certificate", renewal);
    let (failed, stop) = (store.failed(), serving.token());
    serving.spawn("keyspace", async move { stop.run_until_cancelled(failed).await.map_or(Ok(()), Err) });
    store::serve_etcd(etcd_listener, &settings, &store, &assets, &mut serving).await?;
    if let (Some(transport), Store::Replica { replica, .. }) = (transport, &store) {
        serving.spawn("peer certificate", cluster::renew(transport, assets.clone(), identity, serving.token()));
        serving.spawn("membership", cluster::refusals(replica.rejection(), serving.token()));
    }

    let mut actors = Supervisor::default();
    let result = async {
        let parts =
            Parts { settings: &settings, store: &store, api: &api, authority: assets.authority().certificate_pem() };
        let mut none = Supervisor::default();
        tokio::select! {
            started = start(&parts, reconciles, &streams, &metrics, &mut actors) => started?,
            stopped = until_stopped(&mut serving, &mut none) => return stopped,
        }
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

/// What the other parts need to start.
struct Parts<'s> {
    settings: &'s Settings,
    store: &'s Store,
    api: &'s ApiServer,
    /// Certificate of the authority that signs the API's, PEM.
    authority: &'s str,
}

fn api_server(
    settings: &Settings,
    assets: &SecureAssets,
    store: &Store,
    streams: &Arc<Streams>,
    metrics: &apiserver::MetricsRegistry,
) -> anyhow::Result<ApiServer> {
    let security = Security {
        authority: assets.authority().clone(),
        tokens: Arc::new(assets.tokens()?),
        envelope: Arc::new(assets.envelope()),
    };
    let config = apiserver::Config::new(settings.network.service_cidr);
    let api = ApiServer::new(config, store.keyspace(), security, streams.clone(), metrics.clone());
    if let Store::Replica { replica, .. } = store {
        let folder = settings.secure_assets();
        let shared = move || trust::SharedAssets::read(&folder);
        api.serve_members(apiserver::Membership { cluster: replica.cluster(), assets: Arc::new(shared) });
    }
    Ok(api)
}

/// Serves the kinds that CustomResourceDefinitions define, as they change.
async fn follow_definitions(api: ApiServer, stop: CancellationToken) -> anyhow::Result<()> {
    api.follow_definitions(stop).await;
    Ok(())
}

/// Starts everything but the API, once the keyspace answers.
async fn start(
    parts: &Parts<'_>,
    reconciles: Arc<Reconciles>,
    streams: &Arc<Streams>,
    metrics: &apiserver::MetricsRegistry,
    actors: &mut Supervisor,
) -> anyhow::Result<()> {
    let settings = parts.settings;
    cluster::retry_until_ok("answer", || parts.api.prepare()).await;
    let router = parts.api.router();
    take_first_start(settings, &Client::in_process(router.clone(), Subject::admin("nanocloud:setup"))).await?;
    let images = node::images(settings).await?;
    start_controllers(parts, &images, &router, reconciles.clone(), actors);
    if settings.agent {
        let node = Node::open(settings, images).await?;
        let client = Client::in_process(router.clone(), Subject::node(&settings.node_name));
        let kubelet = node.kubelet(settings, client)?;
        kubelet.metrics().register(&mut metrics.lock());
        streams.serve(kubelet.clone());
        let (dns, stop) = (node.dns(), actors.token());
        actors.spawn("DNS", async move {
            dns.keep(stop).await;
            Ok(())
        });
        let stop = actors.token();
        actors.spawn("kubelet", async move { kubelet.run(Some(reconciles), stop).await.map_err(Into::into) });
    }
    actors.spawn("memory", tidy(actors.token()));
    Ok(())
}

/// Returns memory that is no longer used.
async fn tidy(stop: CancellationToken) -> anyhow::Result<()> {
    let mut ticks = tokio::time::interval(TIDY_PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        runtime::memory::give_back_unused();
    }
    Ok(())
}

fn open_assets(settings: &Settings) -> anyhow::Result<SecureAssets> {
    let now = Timestamp::now();
    SecureAssets::open(&settings.secure_assets(), now)?;
    // Renews the server's certificate if it is about to expire or the names of the host have changed.
    let (assets, changes) = SecureAssets::init(&assets_config(settings), now)?;
    changes.iter().for_each(|change| tracing::info!(%change, "secure assets"));
    Ok(assets)
}

fn assets_config(settings: &Settings) -> AssetsConfig {
    AssetsConfig { dir: settings.secure_assets(), server_names: settings.server_names(), data_exists: true }
}

/// Creates the objects that `setup` prepared.
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

/// Runs the controllers while this member is the leader.
fn start_controllers(
    parts: &Parts<'_>,
    images: &Arc<ImageStore>,
    router: &axum::Router,
    reconciles: Arc<Reconciles>,
    actors: &mut Supervisor,
) {
    let settings = parts.settings;
    let catalog = Arc::new(Images(images.clone()));
    let facts = Arc::new(facts::Host {
        dns: settings.network_config().gateway(),
        bridge: settings.network.bridge.clone(),
        resolv_conf: node::RESOLV_CONF.into(),
    });
    let cluster = match parts.store {
        Store::Replica { replica, .. } => Some(replica.cluster()),
        Store::EtcdBackend { .. } => None,
    };
    let servers = Arc::new(Servers { listen: settings.listen, bridge: settings.network.bridge.clone(), cluster });
    let config = controllers::Config { registry: settings.registry.clone(), authority: parts.authority.to_owned() };
    let client = Client::in_process(router.clone(), Subject::controllers());
    let (host, leads, stop) = (settings.node_name.clone(), parts.store.leads(), actors.token());
    actors.spawn("controllers", async move {
        cluster::while_leading(leads, stop, |stop| {
            let (client, catalog, facts, config) = (client.clone(), catalog.clone(), facts.clone(), config.clone());
            let (host, reconciles, servers) = (host.clone(), reconciles.clone(), servers.clone());
            async move {
                let opening = cluster::retry_until_ok("open the authority of services", || {
                    Issuer::open(&client, Timestamp::now())
                });
                let Some(issuer) = stop.run_until_cancelled(opening).await else { return };
                let random = Arc::new(controllers::KernelRandom);
                let context =
                    controllers::Context { catalog, host: facts, servers, issuer: Arc::new(issuer), random, config };
                controllers::run(client.clone(), controllers::all(&context), &host, Some(reconciles), stop).await;
            }
        })
        .await;
        Ok(())
    });
}

/// Waits for a signal, or for a part that ends unexpectedly.
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
