//! Where the state is: in the replica of this node, or in an existing etcd cluster; and the face of it for etcd's
//! clients.

use std::{path::Path, sync::Arc};

use anyhow::Context;
use etcd::{Access, Alone, Endpoints, External, Face};
use keyspace::{Cluster, Keyspace};
use prometheus_client::registry::Registry;
use replica::Replica;
use tokio::net::TcpListener;
use trust::{ClientAuth, Identity, SecretString, SecureAssets, tls::ServerCertificate};

use crate::{
    settings::{EtcdCluster, Settings},
    supervisor::Supervisor,
};

/// The keyspace of this node, opened.
pub enum Store {
    /// On this node's disk.
    Replica(Arc<Replica>),
    /// In an etcd cluster.
    External(Arc<External>),
}

impl Store {
    /// Opens the keyspace that the settings name.
    pub async fn open(settings: &Settings, replica: replica::Config, registry: &mut Registry) -> anyhow::Result<Self> {
        match &settings.etcd_cluster {
            None => Ok(Self::Replica(Replica::open(replica, registry).await?)),
            Some(cluster) => {
                let endpoints = endpoints(cluster)?;
                let external = External::connect(endpoints).await;
                Ok(Self::External(external.with_context(|| format!("the etcd cluster {}", cluster.endpoints))?))
            }
        }
    }

    /// As the rest of the node sees it.
    pub fn keyspace(&self) -> Arc<dyn Keyspace> {
        match self {
            Self::Replica(replica) => replica.clone(),
            Self::External(external) => external.clone(),
        }
    }

    /// Ends it: nothing is served any more.
    pub async fn shutdown(&self) -> anyhow::Result<()> {
        match self {
            Self::Replica(replica) => Ok(replica.shutdown().await?),
            Self::External(external) => {
                external.close();
                Ok(())
            }
        }
    }
}

/// How to reach a cluster, with the certificates it needs.
fn endpoints(cluster: &EtcdCluster) -> anyhow::Result<Endpoints> {
    let read = |path: &Path| std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
    let tls = match &cluster.tls {
        None => None,
        Some(tls) => {
            let key = SecretString::from(read(&tls.key)?);
            let identity = Identity::from_pem(&read(&tls.certificate)?, key)
                .with_context(|| format!("{} and {}", tls.certificate.display(), tls.key.display()))?;
            Some(Arc::new(trust::tls::client_config(&read(&tls.ca)?, Some(&identity))?))
        }
    };
    Ok(Endpoints::parse(&cluster.endpoints, tls)?)
}

/// Serves etcd's clients at `listener`, if there is one: those with an administrator's certificate.
pub async fn serve_etcd(
    listener: Option<TcpListener>,
    settings: &Settings,
    keyspace: Arc<dyn Keyspace>,
    assets: &SecureAssets,
    serving: &mut Supervisor,
) -> anyhow::Result<()> {
    let Some(listener) = listener else { return Ok(()) };
    let tls =
        trust::tls::server_config(assets.authority(), ServerCertificate::new(assets.server()), ClientAuth::Required)?;
    // All members of the cluster have certificates of one authority.
    let cluster_id = etcd::cluster_id(assets.authority().certificate_der());
    let cluster: Arc<dyn Cluster> = Arc::new(Alone::new(keyspace.clone(), cluster_id, &settings.node_name));
    let url = format!("https://{}", listener.local_addr()?);
    let face = Face::open(keyspace, cluster, &url, &settings.state_root).await?;
    let (access, stop) = (Access::Certificates(Arc::new(tls)), serving.token());
    serving.spawn("etcd face", async move { etcd::serve(face, listener, access, stop).await.map_err(Into::into) });
    Ok(())
}
