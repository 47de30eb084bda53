//! What must go: garbage, and the contents of namespaces.

pub mod garbage;
pub(crate) mod namespace;
