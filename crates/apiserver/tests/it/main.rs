//! The whole router over the memory keyspace, and stock kubectl over TLS.

mod apply;
mod authorisation;
mod conformance;
mod forward;
mod keyspace;
mod kubectl;
mod members;
mod pages;
mod protection;
mod protocol;
mod sample;
mod server;
mod services;
mod tokens;
mod watches;
