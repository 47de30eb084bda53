//! The words of the API: kinds, the [`Resource`] trait, selectors, quantities, schemas.
//!
//! ```text
//!   kinds::Bundle ─┐ impl Resource      ┌─ Kind { admit, row, columns, schema }   (type-erased)
//!   k8s::core::Pod ┘ ───────────────────┴─► apiserver, cli, conformance suite
//! ```
//!
//! Kubernetes' own kinds are `k8s-openapi`'s types; ours live in [`kinds`]. A kind costs one file
//! with its `impl Resource` and one line in `kinds/mod.rs`.
//!
//! Invariants: no IO and no clock in this crate; defaults and validation are pure; defaults are
//! idempotent. Limits: the named constants in [`meta`].

mod codec;
pub mod custom;
mod field_error;
pub mod fields;
mod finalizer;
mod kind;
pub mod kinds;
pub mod meta;
pub mod names;
mod path;
pub mod quantity;
mod reason;
mod resource;
pub mod review;
pub mod schedule;
pub mod selector;
mod status;
mod table;
pub mod yaml;

pub use codec::{DecodeError, decode, decode_from, encode, unknown_fields};
pub use field_error::FieldError;
pub use finalizer::Finalizer;
pub use k8s_openapi;
pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, OwnerReference, Time};
pub use kind::{Admitted, Behaviour, Custom, Facts, Kind, Names, ScalePaths};
pub use kinds::Kinds;
pub use meta::ObjectKey;
pub use path::Path;
pub use reason::{Reason, cause};
pub use resource::{KindVisitor, Resource, Scope, Subresource};
pub use selector::{FieldSelector, LabelSelector};
pub use status::{Status, StatusCause, StatusDetails};
pub use table::{Column, ColumnDefinition, human_age};
