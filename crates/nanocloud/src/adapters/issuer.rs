//! Certificates of services, from a separate CA.
//!
//! The key of the CA is a Secret, so it is encrypted, shared by all members, and part of each snapshot of the keyspace.
//! It is not the CA of the API, so that a key in a container can be used neither as a server nor as a client of the API.

use std::time::Duration;

use api::{k8s_openapi::ByteString, kinds::Secret, names};
use client::{Api, Client};
use controllers::ports::{Certificate, CertificateError, CertificateIssuer, CertificateRequest};
use jiff::Timestamp;
use trust::{Authority, CertificateSpec, ExposeSecret, Identity, SecretString, Usage};

/// Namespace and name of the Secret with the authority's certificate and key.
pub const AUTHORITY: (&str, &str) = (names::namespace::SYSTEM, "nanocloud-workload-authority");
const AUTHORITY_NAME: &str = "nanocloud-workloads-ca";
/// Lifetime of a service's certificate; it is renewed well before it expires.
const LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

/// Why there is no authority for services.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The Secret can be neither read nor written.
    #[error("the authority of services cannot be read or stored")]
    Store(#[from] client::Error),
    /// The Secret holds something else.
    #[error("Secret {}/{} holds no authority: restore it from a backup, or delete it and all services get new certificates", AUTHORITY.0, AUTHORITY.1)]
    Broken(#[source] Option<trust::Error>),
    /// No key could be made.
    #[error("no authority for services can be made")]
    Generate(#[source] trust::Error),
}

/// Issues certificates with the CA of services. If the CA is broken, only this fails.
#[derive(Debug)]
pub struct Issuer(Option<Authority>);

impl Issuer {
    /// Reads the authority, or makes it when there is none yet.
    ///
    /// # Errors
    /// When the Secret cannot be read or stored at the moment.
    pub async fn open(client: &Client, now: Timestamp) -> Result<Self, AuthorityError> {
        let (namespace, name) = AUTHORITY;
        let secrets = Api::<Secret>::namespaced(client.clone(), namespace);
        let found = match secrets.get(name).await {
            Ok(found) => found,
            Err(error) if error.is_not_found() => {
                let (authority, key) = Authority::generate(AUTHORITY_NAME, now).map_err(AuthorityError::Generate)?;
                match secrets.create(&secret(&authority, &key)).await {
                    Ok(created) => created,
                    Err(error) if error.is_already_exists() => secrets.get(name).await?,
                    Err(error) => return Err(error.into()),
                }
            }
            Err(error) => return Err(error.into()),
        };
        let authority = read(&found).inspect_err(|error| tracing::error!(%error, "services get no certificates"));
        Ok(Self(authority.ok()))
    }
}

fn secret(authority: &Authority, key: &SecretString) -> Secret {
    let (namespace, name) = AUTHORITY;
    let mut secret = Secret { type_: Some(names::secret_type::TLS.into()), ..Secret::default() };
    secret.metadata.namespace = Some(namespace.into());
    secret.metadata.name = Some(name.into());
    let file = |text: &str| ByteString(text.as_bytes().to_vec());
    secret.data = Some(
        [(CERTIFICATE.to_owned(), file(authority.certificate_pem())), (KEY.to_owned(), file(key.expose_secret()))]
            .into(),
    );
    secret
}

fn read(secret: &Secret) -> Result<Authority, AuthorityError> {
    let text = |key: &str| {
        let bytes = secret.data.as_ref().and_then(|data| data.get(key));
        bytes.and_then(|bytes| String::from_utf8(bytes.0.clone()).ok()).ok_or(AuthorityError::Broken(None))
    };
    let key = SecretString::from(text(KEY)?);
    Authority::from_pem(&text(CERTIFICATE)?, &key).map_err(|error| AuthorityError::Broken(Some(error)))
}

impl CertificateIssuer for Issuer {
    fn authority(&self) -> Option<&str> {
        self.0.as_ref().map(Authority::certificate_pem)
    }

    fn issue(&self, request: &CertificateRequest) -> Result<Certificate, CertificateError> {
        let fail =
            |source: trust::Error| CertificateError { common_name: request.common_name.clone(), source: source.into() };
        let spec = CertificateSpec {
            usage: Usage::Service,
            common_name: request.common_name.clone(),
            organizations: Vec::new(),
            names: request.names.clone(),
            lifetime: LIFETIME,
        };
        let Some(authority) = &self.0 else {
            let (common_name, source) = (request.common_name.clone(), AuthorityError::Broken(None).into());
            return Err(CertificateError { common_name, source });
        };
        let issued = authority.issue(&spec, Timestamp::now()).map_err(fail)?;
        let identity = Identity::from_pem(&issued.certificate_pem, issued.key_pem.clone()).map_err(fail)?;
        Ok(Certificate {
            certificate: issued.certificate_pem,
            key: issued.key_pem,
            authority: issued.ca_pem,
            not_before: identity.info().not_before,
            not_after: issued.not_after,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authority_is_what_was_stored() {
        let (authority, key) = Authority::generate(AUTHORITY_NAME, Timestamp::now()).unwrap();
        let stored = secret(&authority, &key);
        assert_eq!(read(&stored).unwrap().certificate_pem(), authority.certificate_pem());
        let mut broken = stored.clone();
        broken.data.as_mut().unwrap().remove(KEY);
        assert!(matches!(read(&broken), Err(AuthorityError::Broken(None))));
        let (other, _) = Authority::generate(AUTHORITY_NAME, Timestamp::now()).unwrap();
        let mut mixed = stored;
        mixed.data.as_mut().unwrap().insert(CERTIFICATE.into(), ByteString(other.certificate_pem().into()));
        assert!(matches!(read(&mixed), Err(AuthorityError::Broken(Some(_)))));
    }
}
