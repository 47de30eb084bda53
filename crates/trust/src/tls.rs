//! TLS configurations and identities: rustls with the `ring` provider, TLS 1.2 and 1.3.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use secrecy::{ExposeSecret, SecretString};

use crate::{authority::Authority, certificate::CertificateInfo, error::Error, subject::Subject};

const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Whether clients must show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// A certificate is verified when shown; without one the request authenticates otherwise.
    Optional,
    /// A connection without a valid certificate is refused in the handshake.
    Required,
}

/// A certificate chain and its private key.
#[derive(Clone)]
pub struct Identity {
    certificate_pem: String,
    key_pem: SecretString,
    info: CertificateInfo,
    certified: Arc<CertifiedKey>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("info", &self.info).finish_non_exhaustive()
    }
}

impl Identity {
    /// Reads an identity from PEM; the key must belong to the first certificate.
    pub fn from_pem(certificate_pem: &str, key_pem: SecretString) -> Result<Self, Error> {
        let chain = certificates(certificate_pem, "certificate")?;
        let info = CertificateInfo::from_der(&chain[0])?;
        // The parser's message may quote its input, which is the key: it is not passed on.
        let unreadable = |reason: &str| Error::Pem { what: "private key", reason: reason.to_owned() };
        let key = PrivateKeyDer::from_pem_slice(key_pem.expose_secret().as_bytes())
            .map_err(|_| unreadable("it holds no private key"))?;
        let certified = CertifiedKey::from_der(chain, key, &provider())
            .map_err(|_| unreadable("it does not belong to the certificate"))?;
        Ok(Self { certificate_pem: certificate_pem.to_owned(), key_pem, info, certified: Arc::new(certified) })
    }

    /// The certificate chain, PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The private key, PKCS #8 PEM.
    pub fn key_pem(&self) -> &SecretString {
        &self.key_pem
    }

    /// What the certificate says.
    pub fn info(&self) -> &CertificateInfo {
        &self.info
    }

    /// The certificate, DER.
    pub fn certificate_der(&self) -> &CertificateDer<'static> {
        &self.certified.cert[0]
    }
}

/// The certificate a server shows; it can be replaced while the server runs.
#[derive(Debug)]
pub struct ServerCertificate(RwLock<Arc<CertifiedKey>>);

impl ServerCertificate {
    /// A server that shows this identity.
    pub fn new(identity: &Identity) -> Arc<Self> {
        Arc::new(Self(RwLock::new(identity.certified.clone())))
    }

    /// Connections from now on are shown this identity.
    pub fn replace(&self, identity: &Identity) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = identity.certified.clone();
    }

    /// The certificate that is shown now, DER.
    pub fn certificate_der(&self) -> CertificateDer<'static> {
        self.current().cert[0].clone()
    }

    fn current(&self) -> Arc<CertifiedKey> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ResolvesServerCert for ServerCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

/// The configuration of a server that trusts client certificates of this authority.
pub fn server_config(
    authority: &Authority,
    certificate: Arc<ServerCertificate>,
    client_auth: ClientAuth,
) -> Result<ServerConfig, Error> {
    let roots = Arc::new(roots(std::slice::from_ref(authority.certificate_der()), "server")?);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
    let verifier = match client_auth {
        ClientAuth::Optional => verifier.allow_unauthenticated(),
        ClientAuth::Required => verifier,
    };
    let verifier = verifier.build().map_err(|source| Error::ClientVerifier { source })?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|source| Error::Tls { role: "server", source })?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(certificate);
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Ok(config)
}

/// The configuration of a client that trusts servers of this authority (PEM, one or more
/// certificates) and shows `identity` when it has one.
pub fn client_config(ca_pem: &str, identity: Option<&Identity>) -> Result<ClientConfig, Error> {
    let broken = |source| Error::Tls { role: "client", source };
    let roots = roots(&certificates(ca_pem, "CA certificate")?, "client")?;
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(broken)?
        .with_root_certificates(roots);
    let mut config = match identity {
        None => config.with_no_client_auth(),
        Some(identity) => {
            let key = PrivateKeyDer::from_pem_slice(identity.key_pem.expose_secret().as_bytes())
                .map_err(|_| Error::Pem { what: "private key", reason: "it holds no private key".into() })?;
            config.with_client_auth_cert(identity.certified.cert.clone(), key).map_err(broken)?
        }
    };
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Ok(config)
}

/// The subject of a client's certificate chain, which the handshake has verified.
pub fn peer_subject(chain: &[CertificateDer<'_>]) -> Result<Subject, Error> {
    let first = chain.first().ok_or_else(|| Error::Pem { what: "certificate", reason: "the chain is empty".into() })?;
    CertificateInfo::from_der(first).map(|info| info.subject())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn certificates(pem: &str, what: &'static str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let broken = |reason: String| Error::Pem { what, reason };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| broken(error.to_string()))?;
    if chain.is_empty() { Err(broken("it holds no certificate".into())) } else { Ok(chain) }
}

fn roots(certificates: &[CertificateDer<'static>], role: &'static str) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate.clone()).map_err(|source| Error::Tls { role, source })?;
    }
    Ok(roots)
}

#[cfg(test)]
mod tests;
