//! Reconcilers: bundles, workloads, claims, scheduling, endpoints of services, garbage collection, namespaces, nodes,
//! tokens.
//!
//! ```text
//!                 watches                     plan (pure)               apply
//!   World ──► Change ──► keys ──► reconcile: read ──► Vec<Step> ──► World (at the version that was read)
//!     ▲                                                                │
//!     └──────────── client, hence apiserver: admission, authorisation ─┘
//!   ports: Catalog  HostFacts  ApiServers  CertificateIssuer  Random
//! ```
//!
//! [`all`] is the one list of controllers, those of `workloads` included; a controller is one module and one line.
//!
//! Invariants:
//! * Controllers are level-triggered and remember nothing: after a crash at any step the objects
//!   alone lead on.
//! * Deciding is pure; time, randomness and the host come in as arguments.
//! * Every write carries the version it was decided on; a conflict means reading and planning again.
//! * Of a bundle's conditions each one is True only when all before it are, in every stored status.
//! * A pod with a claim is bound to the node where the claim's volume is, and to no other.
//! * A secret's value is in Secret objects only: never in a status, event, log or error.
//!
//! Limits: [`bundles::BINDING_BACKOFF_MAX`], [`bundles::MESSAGE_MAX`], [`workloads::scheduler::RETRY`],
//! [`QUARANTINE`] of nodes; those of the runtime are in `client`.

mod api_world;
pub mod bundles;
pub mod cleanup;
mod context;
mod controller;
mod custom_watches;
mod definitions;
mod digest;
mod error;
mod identity;
mod nodes;
pub mod ports;
mod run;
mod services;
mod step;
mod storage;
#[cfg(test)]
mod testing;
pub mod workloads;
pub mod world;

use std::sync::Arc;

pub use bundles::{
    Bundles,
    random::{KernelRandom, Random, RandomError},
};
pub use cleanup::{garbage::GarbageCollector, namespace::Namespaces};
pub use context::{Config, Context};
pub use controller::{Change, Controller, Next, Watch};
pub use definitions::Definitions;
pub use error::{Error, WorldError};
pub use identity::{root_ca::RootCertificates, token::ExpiredTokens};
pub use nodes::{
    lifecycle::NodeLifecycle,
    orphaned_pods::{OrphanedPods, QUARANTINE},
};
pub use run::run;
pub use services::{api_service::ApiService, mirror::EndpointsMirror, publish::ServiceEndpoints};
pub use step::{Deletion, Notice, Step};
pub use storage::persistent_volume_claim::PersistentVolumeClaims;
pub use world::World;

/// Every controller, ready to be run by a supervisor.
#[must_use]
pub fn all(context: &Context) -> Vec<Arc<dyn Controller>> {
    let mut all: Vec<Arc<dyn Controller>> = vec![
        Arc::new(Bundles::new(context.clone())),
        Arc::new(PersistentVolumeClaims),
        Arc::new(ApiService::new(context.servers.clone())),
        Arc::new(ServiceEndpoints),
        Arc::new(EndpointsMirror),
        Arc::new(GarbageCollector::default()),
        Arc::new(Namespaces),
        Arc::new(Definitions),
        Arc::new(NodeLifecycle),
        Arc::new(OrphanedPods::default()),
        Arc::new(ExpiredTokens),
        Arc::new(RootCertificates::new(context.config.authority.clone())),
    ];
    all.extend(workloads::all());
    all
}
