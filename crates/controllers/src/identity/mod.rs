//! Grants of access, and whom to trust.

pub(crate) mod root_ca;
pub(crate) mod token;
