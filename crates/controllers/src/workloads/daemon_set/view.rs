//! A daemon set held against its nodes.

use std::time::Duration;

use api::kinds::{DaemonSet, Pod};
use jiff::Timestamp;

use super::nodes::Fit;
use crate::workloads::history::Current;

/// A node and the set's pods that are for it, oldest first.
pub(super) struct Place<'a> {
    pub(super) node: &'a str,
    pub(super) fit: Fit,
    pub(super) pods: Vec<&'a Pod>,
}

/// A set held against its nodes.
pub(super) struct View<'a> {
    pub(super) set: &'a DaemonSet,
    pub(super) current: Current,
    pub(super) places: Vec<Place<'a>>,
    pub(super) min_ready: Duration,
    pub(super) now: Timestamp,
}
