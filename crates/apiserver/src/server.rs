//! The server: its parts, its router, its listener.

use std::sync::{Arc, OnceLock};

use api::{Kinds, kinds::grant::GROUP};
use axum::Router;
use ipnet::Ipv4Net;
use jiff::Timestamp;
use keyspace::Keyspace;
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;
use trust::{Authority, Envelope, Tokens};

use crate::{
    authorizer::Authorizer,
    catalog::Catalog,
    endpoints,
    error::Error,
    limits, listen,
    metrics::{Metrics, MetricsRegistry},
    places::Places,
    ports::{Membership, PodStreams},
    readiness::Readiness,
    registry::{self, Registry},
    router::{self, Service},
    seal::Seal,
    state::ServerState,
};

/// What the operator decides.
#[derive(Clone, Debug)]
pub struct Config {
    /// Addresses that services get.
    pub service_cidr: Ipv4Net,
    /// The clock; tests may have their own.
    pub now: fn() -> Timestamp,
    /// The kinds that are served.
    pub kinds: Kinds,
}

impl Config {
    /// A server on the system's clock, with the kinds that are built in.
    pub fn new(service_cidr: Ipv4Net) -> Self {
        Self { service_cidr, now: Timestamp::now, kinds: Kinds::builtin() }
    }
}

/// What the server uses of `trust`.
#[derive(Clone, Debug)]
pub struct Security {
    /// Signs client certificates.
    pub authority: Arc<Authority>,
    /// Issues and verifies bearer tokens.
    pub tokens: Arc<Tokens>,
    /// Seals confidential objects.
    pub envelope: Arc<Envelope>,
}

/// The API over a keyspace. Cloning is cheap; clones are the same server.
#[derive(Clone, Debug)]
pub struct ApiServer {
    service: Arc<Service>,
}

impl ApiServer {
    /// A server over a keyspace. Its metrics go into `metrics`, beside others' of the process.
    pub fn new(
        config: Config,
        keyspace: Arc<dyn Keyspace>,
        security: Security,
        streams: Arc<dyn PodStreams>,
        metrics: MetricsRegistry,
    ) -> Self {
        let metrics = Metrics::new(metrics);
        let (seal, unreadable) = (Seal::new(security.envelope), metrics.unreadable.clone());
        let kinds = config.kinds;
        let authorizer = Authorizer::new(keyspace.clone(), registry::group_prefix(GROUP));
        let registry = Registry::new(kinds.clone(), keyspace, seal, config.service_cidr, config.now, unreadable);
        let (endpoints, handlers) = endpoints::table();
        let state = ServerState {
            registry: Arc::new(registry),
            authorizer: Arc::new(authorizer),
            authority: security.authority,
            tokens: security.tokens,
            streams,
            membership: OnceLock::new(),
            metrics,
            catalog: Catalog::new(kinds),
            endpoints,
            stop: CancellationToken::new(),
            places: Places::default(),
            readiness: Readiness::default(),
            watches: Arc::new(Semaphore::new(limits::MAX_WATCHES)),
            sessions: Arc::new(Semaphore::new(limits::MAX_STREAMS)),
        };
        Self { service: Arc::new(Service { state: Arc::new(state), handlers }) }
    }

    /// Serves the members of the cluster from now on. Only the first call has an effect.
    pub fn serve_members(&self, membership: Membership) {
        // A second membership would be of another keyspace; the first one stays.
        let _ = self.service.state.membership.set(membership);
    }

    /// Makes the namespaces that always exist, and reads which kinds are defined. Call it once the keyspace answers; `/readyz` does it too.
    ///
    /// # Errors
    /// When the keyspace cannot be written.
    pub async fn prepare(&self) -> Result<(), Error> {
        let state = &self.service.state;
        let done = async {
            state.registry.ensure_namespaces().await?;
            state.load_definitions().await
        };
        done.await.map(drop).map_err(|failure| Error::Prepare { source: Box::new(failure) })
    }

    /// Follows the CustomResourceDefinitions until `stop`, so that the kinds they define are served as they change.
    pub async fn follow_definitions(&self, stop: CancellationToken) {
        self.service.state.follow_definitions(stop).await;
    }

    /// The whole API as a tower service.
    ///
    /// A request may carry a [`trust::Subject`] as an extension: then it is that subject's, without further proof.
    /// Only callers in the process can set one.
    pub fn router(&self) -> Router {
        Router::new().fallback(router::serve).with_state(self.service.clone())
    }

    /// Ends open watches and sessions; short requests are still served.
    pub fn stop_streams(&self) {
        self.service.state.stop.cancel();
    }

    /// Serves TLS connections until `stop`, then lets open requests end for a while.
    ///
    /// # Errors
    /// When the listener has no address any more.
    pub async fn serve(
        &self,
        listener: TcpListener,
        tls: Arc<rustls::ServerConfig>,
        stop: CancellationToken,
    ) -> Result<(), Error> {
        listen::serve(self.router(), listener, tls, stop, self.service.state.stop.clone()).await
    }
}
