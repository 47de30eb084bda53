//! Lets a test look at a process that is about to become a container's.

use std::sync::OnceLock;

/// Called in each process that is about to enter a working directory, when its descriptors are those it will do so with.
static LOOK: OnceLock<fn()> = OnceLock::new();

/// Has `look` called in this process and those it starts.
pub(super) fn set(look: fn()) {
    LOOK.get_or_init(|| look);
}

/// The process' descriptors are settled: what a test wants to see is called.
pub(super) fn descriptors_are_settled() {
    if let Some(look) = LOOK.get() {
        look();
    }
}
