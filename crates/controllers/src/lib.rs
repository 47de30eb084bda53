//! Reconcilers: bundles, stateful sets, scheduling, garbage collection.
