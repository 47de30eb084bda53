//! The API server: every kind over HTTP, from one generic registry.
//!
//! ```text
//!   TLS listener ─┐                     ┌─ registry ── Txn, Range, Watch ──► dyn Keyspace
//!   in-process ───┴─► router ─► request ┼─ openapi, metrics, trust
//!                       │       context └─ ports ── dyn PodStreams, Membership
//!                       └─► endpoints ── sessions (WebSocket, SPDY)
//! ```
//!
//! Arrows are imports, and no two files of the crate import each other: `router` names the `endpoints`, an endpoint
//! names its `request::context`, that names the `state`, the state names `registry`, `openapi` and the `ports`, and the
//! registry names the `strategies`.
//!
//! Objects are JSON in the keyspace under `/registry/<group>/<plural>/<namespace>/<name>`; their `resourceVersion` is
//! the keyspace revision of the last change. Kinds are [`api::Kind`]s: what is particular to
//! one is a fact of the kind or its strategy (`strategies/`), and all else is the same for every kind.
//!
//! Invariants:
//! - Every write is one transaction, conditional on the version it was decided on.
//! - A watch tells every change after its revision, in order and once, or ends with an error.
//! - All pages of a list show one revision.
//! - Confidential kinds reach the keyspace sealed, as a whole.
//! - Every route is authorised; what no rule allows is refused. A [`trust::Subject`] comes from a certificate, a
//!   signed token or from inside the process, never from a header.
//! - Every failure is an [`api::Status`] with a trace id, which is in the log and in `X-Trace-Id`.
//!
//! Limits: see [`limits`].

mod api_error;
mod authorizer;
mod catalog;
mod definitions;
mod document;
mod endpoint;
mod endpoints;
mod error;
pub mod limits;
mod listen;
mod managed;
mod metrics;
mod object;
mod openapi;
mod patch;
mod places;
mod ports;
mod protobuf;
mod query;
mod readiness;
mod registry;
mod request;
mod route;
mod router;
mod sample;
mod seal;
mod server;
mod sessions;
mod state;
mod strategies;

pub use error::Error;
pub use metrics::MetricsRegistry;
pub use ports::{
    Connection, ExecExit, ExecOptions, ExecSession, LogOptions, Membership, PodStreams, StreamError, TerminalSize,
};
pub use server::{ApiServer, Config, Security};
