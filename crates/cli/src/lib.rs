//! The command line.
//!
//! ```text
//!  argv ─► args ─► verb ─► Request (data) ─┬─► --curl: printed
//!  flags, env, kubeconfig, own keys        └─► client ─► answer ─► table, JSON, YAML
//!         └─► connection ───────────────────────┘           └─► exit code
//! ```
//!
//! Invariants: a bearer token is never an argument; an error is a line that names the field and the problem, and a line
//! with the remedy; every exit code is in [`exit::Exit`] and never changes; all output goes through [`print`].

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
