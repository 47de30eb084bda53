//! Making signing requests (PKCS #10, RFC 2986), the client's half of [`crate::SigningRequest`].

use rcgen::{CertificateParams, DnType, KeyPair};
use secrecy::SecretString;

use crate::error::Error;

/// A signing request (PEM) for a user and further names, with a fresh P-256 key (PKCS #8 PEM).
///
/// # Errors
/// When a name cannot be one of a certificate.
pub fn generate(user: &str, names: &[String]) -> Result<(String, SecretString), Error> {
    let refuse = |error: rcgen::Error| Error::Pem { what: "signing request", reason: error.to_string() };
    let key = KeyPair::generate().map_err(refuse)?;
    let mut params = CertificateParams::new(names.to_vec()).map_err(refuse)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, user);
    let request = params.serialize_request(&key).and_then(|request| request.pem()).map_err(refuse)?;
    Ok((request, key.serialize_pem().into()))
}

#[cfg(test)]
mod tests {
    use crate::SigningRequest;

    #[test]
    fn what_is_made_here_is_accepted_there() {
        let (request, key) = super::generate("alice", &["alice.example.org".to_owned()]).unwrap();
        let parsed = SigningRequest::parse(&request).unwrap();
        assert_eq!(parsed.common_name, "alice");
        assert!(parsed.names.contains("alice.example.org"));
        assert!(secrecy::ExposeSecret::expose_secret(&key).starts_with("-----BEGIN PRIVATE KEY-----"));
    }
}
