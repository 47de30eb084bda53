//! What runs: stateful sets and the scheduler.

pub(crate) mod health;
pub mod scheduler;
pub(crate) mod stateful_set;
