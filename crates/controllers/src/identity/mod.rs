//! Grants of access.

pub(crate) mod token;
