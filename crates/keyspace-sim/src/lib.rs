//! Checks of the keyspace: checkers of what its clients saw, a simulation, and faults on real processes.
//!
//! ```text
//!   clients ──► history: requests, answers, times           a watch of everything, or the log: truth
//!                  │                                                      │
//!                  ├──► checker::linearizability: an order of each key's values that explains the answers
//!                  ├──► checker::revisions: the keyspace's own order over all keys ◄──────┤
//!   watchers ──────┴──► checker::watch: event by event ◄──────────────────────────────────┘
//! ```
//!
//! The program `sim` runs real replicas on a simulated network, disk and clock (`src/sim`); `tests/it` has the faults
//! on real processes, which are the program `member` (`src/member`).
//!
//! Invariants:
//! - Checkers are pure and know nothing of how the keyspace works inside.
//! - A test shows that each checker finds what it is for: it is given wrong histories.
//!
//! Limits: values must be unique for each write. [`checker::linearizability`] looks at single keys;
//! [`checker::revisions`] looks at all of them together. Nothing but tests depends on this crate.

pub mod ask;
pub mod checker;
pub mod history;
pub mod wire;
