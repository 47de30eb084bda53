//! Checkers of histories: pure, and each shown by a test to find what it is there for.

pub mod linearizability;
pub mod revisions;
pub mod watch;
