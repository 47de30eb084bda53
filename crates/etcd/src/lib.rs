//! etcd's v3 protocol, both ways: a gRPC server of the keyspace for etcd's clients, and a keyspace that lives in an
//! existing etcd cluster.
//!
//! ```text
//!   etcdctl, client libraries                         nanocloud
//!        │ gRPC, TLS, client certificate                  │ dyn Keyspace
//!        ▼                                                ▼
//!     serve ──► routes ──► EtcdServer (kv, watch, lease, …)   EtcdBackend ──► etcd cluster
//!                             │ convert (pure)            ▲   │ convert (pure)
//!                             ▼                           │   ▼
//!                        dyn Keyspace, dyn Cluster       Hub ◄─ one watch of everything
//!
//!   wire: messages and methods of the protocol, the same for both
//!   bolt: snapshots as etcd's own tools read them
//! ```
//!
//! Invariants:
//! - Answers, codes and messages of errors are those of etcd 3.4, so that its clients react as usual.
//! - Who may not administer the cluster may not use the raw keyspace: it is below every role and every sealed value.
//! - Keys that begin with a zero byte are the keyspace's own: the server neither shows nor changes them.
//! - Of several servers on one etcd cluster at most one acts for all of them.
//! - The server keeps nothing: what it answers comes from the keyspace. A watch that its client does not read is held
//!   up by its own queue and nobody else's.
//!
//! Limits: see [`limits`]. Users, roles and passwords of etcd are not kept; clients prove who they are by certificate.

mod backend;
mod bolt;
mod candidacy;
mod convert;
mod error;
pub mod limits;
mod refuse;
mod serve;
mod server;
mod streams;
pub mod wire;

pub use backend::{Endpoints, EndpointsError, EtcdBackend};
pub use candidacy::Candidacy;
pub use error::Error;
pub use serve::{Access, serve, workers};
pub use server::{Alone, EtcdServer, cluster_id};
