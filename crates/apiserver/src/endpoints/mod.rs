//! The handlers, one file for each family of endpoints.

pub(crate) mod bundle_actions;
pub(crate) mod certificates;
pub(crate) mod collection;
pub(crate) mod discovery;
mod exec;
mod exec_spdy;
pub(crate) mod health;
pub(crate) mod keyspace;
mod logs;
pub(crate) mod members;
pub(crate) mod object;
pub(crate) mod openapi;
pub(crate) mod pod_binding;
pub(crate) mod pod_streams;
mod portforward;
mod relay;
pub(crate) mod review;
pub(crate) mod scale;
pub(crate) mod tokens;
pub(crate) mod watch;
