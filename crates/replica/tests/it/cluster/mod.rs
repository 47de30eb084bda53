//! Several members.

mod harness;
mod membership;
mod refusals;
mod service;
