//! Tests of all controllers together: the API server in memory, scripted kubelets, and random faults.

mod cluster;
mod fixtures;
mod kubelet;
mod simulation;

pub(crate) use cluster::Cluster;
pub(crate) use fixtures::{MARIADB, WORDPRESS, context, info};
