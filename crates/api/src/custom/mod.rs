//! Kinds that CustomResourceDefinitions define.
//!
//! ```text
//!   definition ─► kinds: one for each served version ─► Kind { prune, default, validate, row, columns, schema }
//! ```
//!
//! A schema is structural: it says of each field what it is, so that unknown fields can be removed and defaults be
//! filled in. All versions of a definition show the same stored objects, and differ in their schemas alone.
//!
//! Limits: [`json_path`]'s and [`validate`]'s.

mod behaviour;
mod fill;
pub(crate) mod format;
pub(crate) mod json_path;
pub(crate) mod schema;
mod serve;
pub(crate) mod validate;

pub use schema::{List, Schema};
pub use serve::{by_priority, has_condition, kinds};

/// Condition of a definition: its objects are served.
pub const ESTABLISHED: &str = "Established";
/// Condition of a definition: no other kind of its group has one of its names.
pub const NAMES_ACCEPTED: &str = "NamesAccepted";
/// Condition of a definition: it is being deleted, and its objects go before it.
pub const TERMINATING: &str = "Terminating";

#[cfg(test)]
mod tests;
