//! The commands a person types.
//!
//! ```text
//!  argv ─► args ─► verb ─► Request (data) ─┬─► --curl: printed
//!  flags, env, kubeconfig, own keys        └─► client ─► answer ─► table, JSON, YAML
//!         └─► connection ───────────────────────┘           └─► exit code
//! ```
//!
//! Invariants: what a command asks for is decided before anything is sent; a bearer token is
//! never an argument; an error is one line what, with its field, and one line what to do; every exit
//! code is in [`exit::Exit`] and never changes; nothing prints but through [`print`].

#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod args;
pub mod connection;
mod context;
pub mod error;
pub mod exit;
mod output;
pub mod print;
pub mod request;
mod run;
mod verbs;

pub use args::{Cli, Verb};
pub use context::connect;
pub use error::{Error, Result};
pub use exit::Exit;
pub use output::described;
pub use run::{check, conclude, run};
pub use verbs::keyspace::SNAPSHOT_PATH;
