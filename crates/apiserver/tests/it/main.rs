//! The whole router over the memory keyspace, and stock kubectl over TLS.

#![expect(clippy::disallowed_methods, reason = "tests start programs and tasks, and end them")]

mod accounts;
mod apply;
mod authorisation;
mod conformance;
mod custom_resources;
mod damaged;
mod forward;
mod grants;
mod guards;
mod keyspace;
mod kubectl;
mod limit_ranges;
mod load;
mod loaded_kind;
mod members;
mod metadata;
mod order;
mod pages;
mod protection;
mod protobuf;
mod protocol;
mod sample;
mod server;
mod services;
mod tokens;
mod watches;
