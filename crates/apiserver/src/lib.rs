//! The API server: every kind over HTTP, from one generic registry.
//!
//! ```text
//!   TLS listener ─┐                    ┌─ registry ── Txn, Range, Watch ──► dyn Keyspace
//!   in-process ───┴─► entry ─► auth ───┼─ discovery, OpenAPI, health, metrics
//!                     │        │       ├─ identity ── single-use tokens, certificates (trust)
//!                     route    trust   └─ streams ── logs, exec, attach, ports ──► dyn PodStreams
//! ```
//!
//! Objects are JSON in the keyspace under `/registry/<group>/<plural>/<namespace>/<name>`; their `resourceVersion` is
//! the keyspace revision of the last change. Kinds are [`api::Kind`]s: a new kind needs nothing here.
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

mod app;
mod document;
mod error;
mod failure;
mod http;
mod identity;
pub mod limits;
mod listen;
mod managed;
mod metrics;
mod negotiate;
mod object;
mod openapi;
mod options;
mod patch;
mod places;
mod protobuf;
mod readiness;
mod registry;
mod route;
mod sample;
mod seal;
mod server;
mod streams;

pub use error::Error;
pub use identity::members::Membership;
pub use metrics::MetricsRegistry;
pub use server::{ApiServer, Config, Security};
pub use streams::{Connection, ExecExit, ExecOptions, ExecSession, LogOptions, PodStreams, StreamError, TerminalSize};
