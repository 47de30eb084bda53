//! Certificates of services, from the node's authority.

use std::{sync::Arc, time::Duration};

use controllers::ports::{Certificate, CertificateError, CertificateIssuer, CertificateRequest};
use jiff::Timestamp;
use trust::{Authority, CertificateSpec, Identity, Usage};

/// How long a service's certificate is valid; it is renewed well before.
const LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);

/// Issues with the node's authority.
#[derive(Debug)]
pub struct Issuer(pub Arc<Authority>);

impl CertificateIssuer for Issuer {
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
        let issued = self.0.issue(&spec, Timestamp::now()).map_err(fail)?;
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
