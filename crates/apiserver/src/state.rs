//! What every request shares.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use api::Reason;
use keyspace::AlarmKind;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use trust::{Authority, Tokens};

use crate::{
    api_error::{ApiError, Result},
    authorizer::Authorizer,
    catalog::Catalog,
    endpoint::Endpoints,
    limits,
    metrics::Metrics,
    places::Places,
    ports::{Membership, PodStreams},
    readiness::Readiness,
    registry::Registry,
};

/// The parts a request may need.
pub(crate) struct ServerState {
    pub(crate) registry: Arc<Registry>,
    pub(crate) authorizer: Arc<Authorizer>,
    pub(crate) authority: Arc<Authority>,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) streams: Arc<dyn PodStreams>,
    /// Set when the server's keyspace has members of its own.
    pub(crate) membership: OnceLock<Membership>,
    pub(crate) metrics: Metrics,
    /// What is served.
    pub(crate) catalog: Catalog,
    /// Every endpoint that belongs to no stored kind.
    pub(crate) endpoints: Endpoints,
    /// Ends watches and sessions at shutdown.
    pub(crate) stop: CancellationToken,
    pub(crate) places: Places,
    pub(crate) readiness: Readiness,
    pub(crate) watches: Arc<Semaphore>,
    pub(crate) sessions: Arc<Semaphore>,
}

impl fmt::Debug for ServerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerState").field("registry", &self.registry).finish_non_exhaustive()
    }
}

/// One of the watches or streams served at once; released when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    _permit: OwnedSemaphorePermit,
    gauge: Gauge,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

impl ServerState {
    /// A permit for a watch, or 429.
    pub(crate) fn admit_watch(&self) -> Result<Permit> {
        permit(&self.watches, &self.metrics.watches, limits::MAX_WATCHES, "watches")
    }

    /// A permit for an exec or log stream, or 429.
    pub(crate) fn admit_stream(&self) -> Result<Permit> {
        permit(&self.sessions, &self.metrics.streams, limits::MAX_STREAMS, "exec and log streams")
    }

    /// Whether requests can be served: the keyspace answers and the built-in namespaces exist.
    pub(crate) async fn check_ready(&self) -> Result<()> {
        let look = async {
            let status = self.registry.keyspace().status().await?;
            if status.leader.is_none() {
                return Err(ApiError::new(Reason::ServiceUnavailable, "the keyspace has no leader"));
            }
            self.registry.ensure_namespaces().await?;
            self.load_definitions().await.map(drop)
        };
        self.readiness.check(look).await
    }

    /// Fails when this member has an alarm because its copy of the keyspace is damaged.
    pub(crate) async fn check_sound(&self) -> Result<()> {
        let status = self.registry.keyspace().status().await?;
        let own = status.alarms.iter().filter(|alarm| alarm.member == status.node_id);
        let damage = own
            .map(|alarm| alarm.kind)
            .find(|kind| matches!(kind, AlarmKind::Corrupt | AlarmKind::Damaged | AlarmKind::Differs));
        match damage {
            None => Ok(()),
            Some(kind) => {
                let message = format!("the keyspace of this member has the alarm {kind}");
                Err(ApiError::new(Reason::ServiceUnavailable, message).remedy(
                    "replace this member, or stop it and run `nanocloud setup --repair`; then clear the alarm: `nanocloud keyspace alarms --clear`",
                ))
            }
        }
    }
}

fn permit(all: &Arc<Semaphore>, gauge: &Gauge, limit: usize, what: &str) -> Result<Permit> {
    let permit = all.clone().try_acquire_owned().map_err(|_| {
        ApiError::new(Reason::TooManyRequests, format!("{limit} {what} are being served already"))
            .retry_after(1)
            .remedy("try again in a second")
    })?;
    gauge.inc();
    Ok(Permit { _permit: permit, gauge: gauge.clone() })
}
