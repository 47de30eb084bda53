//! HTTP: from a request to a route, a subject, a handler and an answer.

mod actions;
pub(crate) mod answer;
pub(crate) mod auth;
mod binding;
pub(crate) mod body;
pub(crate) mod collection;
mod discovery;
pub(crate) mod entry;
mod health;
mod keyspace;
mod object;
mod review;
mod scale;
mod watch;
