//! The commands a person types.
//!
//! ```text
//!  argv ─► args ─► verb ─► Request (data) ─┬─► --curl: printed
//!  flags, env, kubeconfig, own keys        └─► client ─► answer ─► table, JSON, YAML
//!         └─► connection ───────────────────────┘           └─► exit code
//! ```
//!
//! Invariants: what a command asks for is decided before anything is sent; a token is never read
//! from an argument; an error is one line what, with its field, and one line what to do; every exit
//! code is in [`exit::Exit`] and never changes.

pub mod args;
pub mod connection;
pub mod error;
pub mod exit;
pub mod request;

pub use args::{Cli, Verb};
pub use error::{Error, Result};
pub use exit::Exit;
