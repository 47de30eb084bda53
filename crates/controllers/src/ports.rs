//! What controllers need beside the API; implemented where the binary is wired.

use std::net::SocketAddr;

use async_trait::async_trait;
use dockyard::Facts;
use jiff::Timestamp;
use secrecy::SecretString;

/// What is known of an image without running it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageInfo {
    /// Manifest digest, `sha256:<hex>`.
    pub digest: String,
    /// Text of the label [`dockyard::LABEL`]; `None` for images of elsewhere.
    pub label: Option<String>,
    /// `User` of the image configuration; empty for root.
    pub user: String,
    /// Exposed ports: number and `tcp` or `udp`.
    pub ports: Vec<(u16, String)>,
    /// Absolute paths of declared volumes.
    pub volumes: Vec<String>,
}

/// Why an image cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// No catalog or registry has it.
    #[error("there is no image {reference}; build it, check its name, or set spec.image")]
    NotFound {
        /// The reference.
        reference: String,
    },
    /// The reference or the image is broken; trying again does not help.
    #[error("image {reference} cannot be used")]
    Broken {
        /// The reference.
        reference: String,
        /// What is wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The registry did not answer; it is tried again.
    #[error("image {reference} cannot be fetched at the moment; it is tried again")]
    Unavailable {
        /// The reference.
        reference: String,
        /// What happened.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The images that can be installed.
#[async_trait]
pub trait Catalog: Send + Sync + 'static {
    /// Looks at an image. With `update` the registry is asked even when the image is cached;
    /// without it a cached image is answered from the cache.
    async fn inspect(&self, reference: &str, update: bool) -> Result<ImageInfo, CatalogError>;
}

/// Facts of the host for the macros `!dns` and `!local_ip`.
pub trait HostFacts: Send + Sync + 'static {
    /// The facts as they are now.
    fn facts(&self) -> Facts;
}

/// The servers of the API.
#[async_trait]
pub trait ApiServers: Send + Sync + 'static {
    /// Where other machines reach them: no loopback addresses, each once.
    async fn addresses(&self) -> Vec<SocketAddr>;
}

/// A certificate to issue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRequest {
    /// Subject common name.
    pub common_name: String,
    /// Subject alternative names: DNS names and IP addresses.
    pub names: Vec<String>,
}

/// An issued certificate with its key.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// Chain, leaf first, PEM.
    pub certificate: String,
    /// Private key, PEM (PKCS #8).
    pub key: SecretString,
    /// Certificate of the authority, PEM.
    pub authority: String,
    /// First instant of validity.
    pub not_before: Timestamp,
    /// Last instant of validity.
    pub not_after: Timestamp,
}

/// Why no certificate was issued.
#[derive(Debug, thiserror::Error)]
#[error("the certificate authority refused {common_name}")]
pub struct CertificateError {
    /// For whom it was asked.
    pub common_name: String,
    /// The authority's answer.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// The authority that signs the certificates of services.
pub trait CertificateIssuer: Send + Sync + 'static {
    /// The authority's certificate, PEM: a service's certificate of another authority is issued anew. `None` when the
    /// authority cannot be used; then services keep what they have.
    fn authority(&self) -> Option<&str>;

    /// Issues a server certificate with a fresh key.
    fn issue(&self, request: &CertificateRequest) -> Result<Certificate, CertificateError>;
}
