//! Where the state is stored: in the replica of this node, or in an existing etcd cluster; and the API for etcd clients.

use std::{path::Path, sync::Arc};

use anyhow::Context;
use etcd::{Access, Alone, Candidacy, Endpoints, EtcdBackend, EtcdServer};
use futures::{FutureExt, StreamExt, future, future::BoxFuture, stream::BoxStream};
use keyspace::{Cluster, Keyspace};
use prometheus_client::registry::Registry;
use replica::{OwnRuntime, Replica, TlsTransport};
use tokio::net::TcpListener;
use trust::{ClientAuth, Identity, SecretString, SecureAssets, tls::ServerCertificate};

use crate::{
    cluster,
    settings::{EtcdTls, KeyspacePlace, Settings},
    supervisor::Supervisor,
};

/// The opened keyspace of this node.
pub enum Store {
    /// On this node's disk, with a thread of its own.
    Replica { replica: Arc<Replica>, _own: OwnRuntime },
    /// In an etcd cluster, where this node is a candidate for leadership.
    EtcdBackend { external: Arc<EtcdBackend>, candidacy: Candidacy },
}

impl Store {
    /// Opens the keyspace of the settings; a replica as the given member and with the given transport.
    pub async fn open(
        settings: &Settings,
        identity: cluster::Identity,
        transport: Option<&Arc<TlsTransport>>,
        registry: &mut Registry,
    ) -> anyhow::Result<Self> {
        match &settings.keyspace_place {
            KeyspacePlace::Local => {
                let config = cluster::replica_config(settings, identity);
                let own = OwnRuntime::start("keyspace", 1).context("no thread for the keyspace")?;
                let replica = own.host(Replica::open_with(config, cluster::port(transport), registry)).await?;
                Ok(Self::Replica { replica, _own: own })
            }
            KeyspacePlace::Etcd(urls) => {
                let external = EtcdBackend::connect(endpoints(urls, settings.etcd_tls())?).await;
                let external = external.with_context(|| format!("the etcd cluster {urls}"))?;
                let candidacy = Candidacy::begin(external.clone(), &settings.node_name);
                Ok(Self::EtcdBackend { external, candidacy })
            }
        }
    }

    /// The keyspace, without its implementation.
    pub fn keyspace(&self) -> Arc<dyn Keyspace> {
        match self {
            Self::Replica { replica, .. } => replica.clone(),
            Self::EtcdBackend { external, .. } => external.clone(),
        }
    }

    /// Whether this node is the leader, and changes of that: of the Raft group, or as elected through the etcd cluster.
    pub fn leads(&self) -> BoxStream<'static, bool> {
        match self {
            Self::Replica { replica, .. } => replica.leads().boxed(),
            Self::EtcdBackend { candidacy, .. } => candidacy.acts().boxed(),
        }
    }

    /// The members, for etcd clients.
    fn cluster(&self, settings: &Settings, assets: &SecureAssets) -> Arc<dyn Cluster> {
        match self {
            Self::Replica { replica, .. } => replica.cluster(),
            Self::EtcdBackend { external, .. } => {
                let cluster_id = etcd::cluster_id(assets.authority().certificate_der());
                Arc::new(Alone::new(external.clone(), cluster_id, &settings.node_name))
            }
        }
    }

    /// Completes, with the reason, if the keyspace has failed and must be reopened. An etcd cluster is waited for.
    pub fn failed(&self) -> BoxFuture<'static, anyhow::Error> {
        match self {
            Self::Replica { replica, .. } => replica.failed().map(anyhow::Error::from).boxed(),
            Self::EtcdBackend { .. } => future::pending().boxed(),
        }
    }

    /// Shuts the keyspace down.
    pub async fn shutdown(&self) -> anyhow::Result<()> {
        match self {
            Self::Replica { replica, .. } => Ok(replica.shutdown().await?),
            Self::EtcdBackend { external, candidacy } => {
                candidacy.end().await;
                external.close();
                Ok(())
            }
        }
    }
}

/// How to reach a cluster, with the certificates it needs.
fn endpoints(urls: &str, tls: Option<EtcdTls<'_>>) -> anyhow::Result<Endpoints> {
    let read = |path: &Path| std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
    let tls = match tls {
        None => None,
        Some(EtcdTls { ca, certificate, key }) => {
            let identity = Identity::from_pem(&read(certificate)?, SecretString::from(read(key)?))
                .with_context(|| format!("{} and {}", certificate.display(), key.display()))?;
            Some(Arc::new(trust::tls::client_config(&read(ca)?, Some(&identity))?))
        }
    };
    Ok(Endpoints::parse(urls, tls)?)
}

/// Serves etcd clients that have an administrator's certificate, if there is a listener for them.
pub async fn serve_etcd(
    listener: Option<TcpListener>,
    settings: &Settings,
    store: &Store,
    assets: &SecureAssets,
    serving: &mut Supervisor,
) -> anyhow::Result<()> {
    let Some(listener) = listener else { return Ok(()) };
    let tls =
        trust::tls::server_config(assets.authority(), ServerCertificate::new(assets.server()), ClientAuth::Required)?;
    let url = format!("https://{}", listener.local_addr()?);
    let server =
        EtcdServer::open(store.keyspace(), store.cluster(settings, assets), &url, &settings.state_root).await?;
    let (access, stop) = (Access::Certificates(Arc::new(tls)), serving.token());
    let own = OwnRuntime::start("etcd", etcd::workers()).context("no thread for etcd's clients")?;
    serving.spawn("etcd server", async move {
        own.host(etcd::serve(server, listener, access, stop)).await.map_err(Into::into)
    });
    Ok(())
}
