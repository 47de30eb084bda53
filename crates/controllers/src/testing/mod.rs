//! Tests of all controllers together: a world in memory, a kubelet that pretends, and chance.

mod fixtures;
mod kubelet;
mod memory;
mod simulation;

pub(crate) use fixtures::{MARIADB, WORDPRESS, context, info};
pub(crate) use memory::Memory;
