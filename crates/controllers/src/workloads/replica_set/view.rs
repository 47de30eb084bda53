//! A set and the pods around it.

use api::kinds::Pod;
use jiff::Timestamp;

use crate::workloads::health;

/// A set and the pods of its namespace.
pub(super) struct Observed<S> {
    pub(super) set: S,
    pub(super) pods: Vec<Pod>,
    pub(super) now: Timestamp,
}

/// Whether a pod counts as one of the set's.
pub(super) fn is_active(pod: &Pod) -> bool {
    !health::has_ended(pod) && !health::is_terminating(pod)
}
