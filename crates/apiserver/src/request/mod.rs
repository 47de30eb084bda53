//! A request on its way: its context, its caller, its body and its response.

pub(crate) mod account;
pub(crate) mod auth;
pub(crate) mod body;
pub(crate) mod context;
pub(crate) mod response;
