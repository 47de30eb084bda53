//! Where the API server is, and as whom to speak to it.

use std::time::Duration;

use rustls::ClientConfig;
use secrecy::SecretString;
use url::Url;

use crate::{Error, Result, chain};

/// How long a request that is no stream may take.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How long connecting may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// As whom to speak.
#[derive(Clone, Debug)]
pub enum Identity {
    /// As nobody: only health and version answer.
    Anonymous,
    /// With a client certificate.
    Certificate {
        /// Certificate chain, PEM.
        certificate: String,
        /// Private key, PEM.
        key: SecretString,
    },
    /// With a bearer token.
    Bearer(SecretString),
}

/// How to reach an API server.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address, such as `https://127.0.0.1:6443`.
    pub server: Url,
    /// Certificates that sign the server's, PEM.
    pub ca: String,
    /// As whom to speak.
    pub identity: Identity,
    /// How long a request that is no stream may take.
    pub timeout: Duration,
}

impl Config {
    /// A configuration with the usual timeout.
    pub fn new(server: Url, ca: impl Into<String>, identity: Identity) -> Self {
        Self { server, ca: ca.into(), identity, timeout: REQUEST_TIMEOUT }
    }

    /// TLS settings: only the configured authority is trusted, with the certificate if there is one.
    pub(crate) fn tls(&self, protocols: &[&[u8]]) -> Result<ClientConfig> {
        if self.server.scheme() != "https" {
            return Err(config("server", format!("{} is not https: the API is served over TLS only", self.server)));
        }
        let identity = match &self.identity {
            Identity::Certificate { certificate, key } => Some(
                trust::Identity::from_pem(certificate, key.clone())
                    .map_err(|error| config("client certificate", chain(&error)))?,
            ),
            Identity::Anonymous | Identity::Bearer(_) => None,
        };
        let mut tls = trust::tls::client_config(&self.ca, identity.as_ref())
            .map_err(|error| config("certificate authority", chain(&error)))?;
        tls.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(tls)
    }
}

fn config(field: &'static str, message: impl ToString) -> Error {
    Error::Config { field, message: message.to_string() }
}
