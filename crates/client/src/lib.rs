//! Typed client of the API: requests, watches, caches, work queues, controllers, events, streams.
//!
//! ```text
//!   Api<R> ──► request (pure) ──► Client ──┬─► HTTPS (reqwest, rustls)
//!     │                                    └─► in process (tower::Service, with a Subject)
//!     └─► watcher ─► reflect ─► Store<R> ─┬─► reads without a request
//!                                         └─► Controller ─► Reconciler::reconcile(key)   (the only runtime)
//!   EventRecorder ─► v1 Event            exec, logs ─► WebSocket, lines
//! ```
//!
//! Invariants: an actor reaches the keyspace through this crate only; requests are built without
//! IO and sent elsewhere; one key is never reconciled twice at the same time; a watch hands every
//! change to the store, in order, or lists again; a panic of a reconciler is a failure of one key.
//!
//! Limits are the named constants of each module.

mod api;
mod body;
mod config;
mod controller;
pub mod curl;
mod dynamic;
mod error;
mod events;
mod exec;
mod isolation;
mod kubeconfig;
mod lines;
mod params;
mod queue;
mod reflector;
mod request;
mod transport;
mod watcher;

pub use api::{Api, List};
pub use body::{Body, BoxError, empty_body, full_body};
pub use config::{Config, Identity};
pub use controller::{Change, Controller, Next, Observer, Outcome, RESYNC, Reconciler, WORKERS, forward};
pub use dynamic::DynamicApi;
pub use error::{Error, Result, chain};
pub use events::{EventRecorder, EventWriter, Severity};
pub use exec::{ExecParams, ExecSession, Exit, TerminalSize};
pub use isolation::{QUARANTINE_FIRST, QUARANTINE_MAX, is_isolated};
pub use kubeconfig::{Kubeconfig, KubeconfigError};
pub use params::{DeleteParams, ListParams, LogParams, Propagation};
pub use queue::WorkQueue;
pub use reflector::{Store, StoreChange, reflect};
pub use request::Target;
pub use transport::Client;
pub use watcher::{Changes, Event, WatchEvent, Watchable, watcher};
