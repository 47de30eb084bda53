//! No code: this crate's manifest names libraries with all features that any crate of the workspace, or a library of
//! theirs, asks for.
//!
//! Cargo unifies features over what it builds: without this, `cargo check -p api` would compile serde, tokio and
//! k8s-openapi with fewer features than `--workspace` does, into a second set of artefacts. Every crate but `xtask`
//! depends on this one, so each gets the same. `make features` compares, and says which line lacks what.
