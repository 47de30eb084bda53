//! One module for each family of verbs.

pub mod access;
pub mod apply;
mod apply_set;
pub mod cluster;
pub mod events;
pub mod exec;
pub mod get;
pub mod install;
pub mod keyspace;
pub mod lifecycle;
pub mod logs;
pub mod member;
pub mod status;
pub mod version;
