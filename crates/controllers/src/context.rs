//! What controllers are given when they are made.

use std::sync::Arc;

use crate::{bundles::random::Random, ports};

/// What controllers need beside the API.
#[derive(Clone)]
pub struct Context {
    /// The images that can be installed.
    pub catalog: Arc<dyn ports::Catalog>,
    /// Facts of the host.
    pub host: Arc<dyn ports::HostFacts>,
    /// The servers of the API.
    pub servers: Arc<dyn ports::ApiServers>,
    /// The certificate authority.
    pub issuer: Arc<dyn ports::CertificateIssuer>,
    /// Where secrets are drawn from.
    pub random: Arc<dyn Random>,
    /// Settings.
    pub config: Config,
}

/// Settings of controllers.
#[derive(Clone, Debug)]
pub struct Config {
    /// Registry of services that name no image, such as `registry.nanocloud.io`.
    pub registry: String,
    /// Certificate of the authority that signs the API's, PEM.
    pub authority: String,
}

impl Default for Config {
    fn default() -> Self {
        Self { registry: "registry.nanocloud.io".into(), authority: String::new() }
    }
}
