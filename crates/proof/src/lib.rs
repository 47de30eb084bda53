//! Proofs about the keyspace: judges of what its clients saw, a simulation, and faults on real processes.
//!
//! ```text
//!   clients ──► history: requests, answers, times          a watch of everything, or the log: truth
//!                  │                                                     │
//!                  ├──► linear: any order of each key's values that explains the answers
//!                  ├──► order:  the keyspace's own order, its revisions, over all keys ◄──┤
//!   watchers ──────┴──► follow: event by event ◄─────────────────────────────────────────┘
//! ```
//!
//! The program `sim` runs real replicas on a simulated network, disk and clock (`src/sim`); `tests/it` has the faults
//! on real processes, which are the program `member` (`src/member`).
//!
//! Invariants:
//! - Judges are pure and know nothing of how the keyspace works inside.
//! - Each judge is shown to find what it is there for: tests give it wrong histories.
//!
//! Limits: values must be unique for each write. [`linear`] looks at keys one by one; [`order`] looks at all of them.
//! Nothing but tests depends on this crate.

pub mod ask;
pub mod follow;
pub mod history;
pub mod linear;
pub mod order;
pub mod wire;
