//! Bindings: commands that run once in another bundle's container.
//!
//! ```text
//!   Binding ─► decide (pure) ─► status Running ─► exec in the container ─► redact ─► status, events, metrics
//!                 ▲                                  fd 3: name=value lines
//!                 └── target pod Ready
//! ```
//!
//! A status `Running` that nobody works on is a run that a crash cut off: it is run again. Commands are idempotent by
//! contract.

mod confinement;
mod decide;
mod parameters;
mod redact;
mod runner;

pub use confinement::PROFILE;
pub use decide::{Decision, decide};
pub use parameters::encode;
pub use redact::Redactor;
pub(crate) use runner::{Bindings, target_of};
