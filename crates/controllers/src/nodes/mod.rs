//! Nodes: whether they are alive, and the pods of those that have left the cluster.

pub(crate) mod lifecycle;
pub(crate) mod orphaned_pods;
