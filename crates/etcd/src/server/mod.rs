//! The server: every service of the protocol over a keyspace.

mod alone;
mod auth;
mod batching;
mod cluster;
mod election;
mod health;
mod kv;
mod lease;
mod lock;
mod maintenance;
mod routes;
mod session;
mod snapshot;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use keyspace::{Cluster, Keyspace, Revision, Status as Standing};
use tonic::Status;

pub use alone::{Alone, cluster_id};
pub(crate) use routes::Routes;

use crate::convert::signed;
use crate::wire::kv::ResponseHeader;
use crate::{limits, refuse};

/// What etcd's clients talk to.
pub struct EtcdServer {
    keyspace: Arc<dyn Keyspace>,
    cluster: Arc<dyn Cluster>,
    cluster_id: u64,
    member_id: u64,
    urls: ClientUrls,
    scratch: PathBuf,
    /// Raft term, as of the last look.
    term: AtomicU64,
}

impl std::fmt::Debug for EtcdServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EtcdServer")
            .field("cluster_id", &self.cluster_id)
            .field("member_id", &self.member_id)
            .finish_non_exhaustive()
    }
}

impl EtcdServer {
    /// A server of `keyspace`, whose members `cluster` knows. `url` (`https://HOST:PORT`) is where clients reach it.
    /// Snapshots for them are made in the folder `scratch`, in files without a name, as large as the keyspace.
    pub async fn open(
        keyspace: Arc<dyn Keyspace>,
        cluster: Arc<dyn Cluster>,
        url: &str,
        scratch: &Path,
    ) -> Result<Arc<Self>, crate::Error> {
        let (standing, state) = (keyspace.status().await?, cluster.members().await);
        let (cluster_id, member_id) = (state.cluster_id, standing.node_id);
        let (term, urls) = (AtomicU64::new(standing.term), ClientUrls { own: url.to_owned() });
        Ok(Arc::new(EtcdServer { keyspace, cluster, cluster_id, member_id, urls, scratch: scratch.to_owned(), term }))
    }

    /// Keeps the term up to date; runs until it is dropped.
    pub(crate) async fn follow(self: Arc<Self>) {
        loop {
            tokio::time::sleep(limits::STANDING_EVERY).await;
            if let Ok(standing) = self.keyspace.status().await {
                self.note(&standing);
            }
        }
    }

    fn note(&self, standing: &Standing) {
        self.term.store(standing.term, Ordering::Relaxed);
    }

    /// State of this member.
    async fn standing(&self) -> Result<Standing, Status> {
        let standing = self.keyspace.status().await.map_err(|error| refuse::status(&error))?;
        self.note(&standing);
        Ok(standing)
    }

    /// What begins an answer as of `revision`.
    fn header(&self, revision: Revision) -> ResponseHeader {
        ResponseHeader {
            cluster_id: self.cluster_id,
            member_id: self.member_id,
            revision: signed(revision),
            raft_term: self.term.load(Ordering::Relaxed),
        }
    }

    /// What begins an answer that has no revision of its own: the newest.
    async fn newest_header(&self) -> Result<ResponseHeader, Status> {
        let revision = self.standing().await?.revision;
        Ok(self.header(revision))
    }
}

/// An error of the keyspace as an answer.
fn failed(error: keyspace::Error) -> Status {
    refuse::status(&error)
}

/// Where clients reach the servers of the members. The others' are expected at the port this one has.
struct ClientUrls {
    own: String,
}

impl ClientUrls {
    fn of(&self, own: bool, api_url: &str) -> Vec<String> {
        if own {
            return vec![self.own.clone()];
        }
        let port = self.own.rsplit_once(':').map(|(_, port)| port);
        let host = api_url.parse::<http::Uri>().ok().and_then(|uri| uri.host().map(str::to_owned));
        host.zip(port).map(|(host, port)| format!("https://{host}:{port}")).into_iter().collect()
    }
}
