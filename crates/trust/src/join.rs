//! What a server needs to join a cluster, as one word: where it is, whom to trust there, and a single-use token.

use std::fmt;

use rustls_pki_types::{CertificateDer, pem::PemObject};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{encoding, error::Error, single_use::SingleUseToken};

/// What the word begins with: kind and version.
const PREFIX: &str = "ncj1.";
/// Longest word that is read.
const MAX_LEN: usize = 16 * 1024;

/// A word to join with. The authority's certificate itself is in it, so that the first connection is verified already.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
pub struct JoinToken {
    /// URLs of the API of members, any of which will do.
    pub servers: Vec<String>,
    /// The authority's certificate, DER in base64.
    ca: String,
    /// The single-use token.
    token: String,
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken").field("servers", &self.servers).finish_non_exhaustive()
    }
}

impl JoinToken {
    /// A word of these parts; `ca_pem` is the authority's certificate.
    ///
    /// # Errors
    /// When the certificate cannot be read.
    pub fn new(servers: Vec<String>, ca_pem: &str, token: &SecretString) -> Result<Self, Error> {
        let der = CertificateDer::from_pem_slice(ca_pem.as_bytes())
            .map_err(|error| Error::Pem { what: "CA certificate", reason: error.to_string() })?;
        Ok(Self { servers, ca: encoding::base64(&der), token: token.expose_secret().to_owned() })
    }

    /// The word, to be shown once.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn reveal(&self) -> Result<SecretString, Error> {
        let text = serde_json::to_vec(self).map_err(|source| Error::Claims { source })?;
        Ok(format!("{PREFIX}{}", encoding::base64url(&text)).into())
    }

    /// Reads a word.
    ///
    /// # Errors
    /// When it is none, without quoting it.
    pub fn parse(word: &str) -> Result<Self, Error> {
        let word = word.trim();
        let read = || -> Option<Self> {
            let bytes = encoding::from_base64url(word.strip_prefix(PREFIX).filter(|rest| rest.len() <= MAX_LEN)?)?;
            let token: Self = serde_json::from_slice(&bytes).ok()?;
            let complete = !token.servers.is_empty() && SingleUseToken::parse(&token.token).is_some();
            (complete && encoding::from_base64(&token.ca).is_some()).then_some(token)
        };
        read().ok_or(Error::JoinToken)
    }

    /// The authority's certificate, PEM.
    pub fn ca_pem(&self) -> String {
        let lines: Vec<&str> =
            self.ca.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap_or_default()).collect();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
    }

    /// The single-use token.
    pub fn token(&self) -> SecretString {
        self.token.clone().into()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{Authority, CertificateInfo, single_use};

    #[test]
    fn the_word_is_read_back_and_other_words_are_not() {
        let now = Timestamp::now();
        let (authority, _) = Authority::generate("test-ca", now).unwrap();
        let (secret, _) = SingleUseToken::mint(single_use::DEFAULT_TTL, now).unwrap();
        let token = JoinToken::new(vec!["https://a:1".into()], authority.certificate_pem(), &secret.reveal()).unwrap();
        let word = token.reveal().unwrap();
        let read = JoinToken::parse(&format!(" {}\n", word.expose_secret())).unwrap();
        assert_eq!(read.servers, ["https://a:1"]);
        assert_eq!(read.token().expose_secret(), secret.reveal().expose_secret());
        assert_eq!(CertificateInfo::from_pem(&read.ca_pem()).unwrap(), *authority.info());
        assert!(!format!("{token:?}").contains(secret.reveal().expose_secret()));
        let cut = &word.expose_secret()[..word.expose_secret().len() - 8];
        for bad in ["", "ncj1.", "ncj2.e30", "ncj1.e30", cut, secret.reveal().expose_secret()] {
            assert!(matches!(JoinToken::parse(bad), Err(Error::JoinToken)), "{bad}");
        }
    }
}
