//! Who owns which field: server-side apply and the record of all other writes. Pure.
//!
//! ```text
//!   apply:   live + config ──► merge ──► what only this manager had and no longer wants is removed ──► admission ─┐
//!   others:  live + wish ────────────────────────────────────────────────────────────────────────────► admission ─┤
//!            managedFields of live ──► record: who changed what, conflicts ──► managedFields of the next version ◄┘
//! ```
//!
//! The rules are those of Kubernetes' structured merge diff (sigs.k8s.io/structured-merge-diff, v4) for one version of
//! a schema. An object is seen as a set of paths to leaves ([`leaves`]); what a list or map is, says [`shape`].
//!
//! Invariants: applying twice changes nothing the second time. A field goes only when its last owner lets go of it. A
//! field is never taken from another manager without `force`, unless both want the same value.
//!
//! Limits: at most [`MAX_UPDATERS`] managers that do not apply are told apart. Keys of list items do not change.

mod entry;
mod fields;
mod leaves;
mod merge;
mod record;
mod shape;

pub(crate) use entry::{Entries, Writer};
pub(crate) use fields::Fields;
pub(crate) use leaves::fields as fields_of;
pub(crate) use merge::{Merged, merge};
pub(crate) use record::{Change, Conflict, record};
pub(crate) use shape::Place;

#[cfg(test)]
mod tests;

/// Most managers with the operation `Update`; the oldest are counted together (as in Kubernetes).
const MAX_UPDATERS: usize = 10;
