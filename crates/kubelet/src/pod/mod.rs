//! Everything about one pod that is decided without touching the host.

pub mod container;
pub mod env;
pub mod etc;
pub mod lifecycle;
pub mod lookup;
pub mod plan;
pub mod pull_secrets;
pub mod security;
pub mod service_env;
pub mod status;
pub mod volumes;
