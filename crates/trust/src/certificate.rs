//! What a certificate says: subject, names, lifetime.

use std::{collections::BTreeSet, net::IpAddr};

use jiff::{SignedDuration, Timestamp};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer};

use crate::{error::Error, subject::Subject};

/// The facts of an X.509 certificate that decisions are made on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateInfo {
    /// Common name of the subject.
    pub common_name: String,
    /// Organisations of the subject.
    pub organizations: Vec<String>,
    /// DNS names and IP addresses it is for, in their text form.
    pub names: BTreeSet<String>,
    /// First instant at which it is valid.
    pub not_before: Timestamp,
    /// Last instant at which it is valid.
    pub not_after: Timestamp,
    /// Whether it may sign other certificates.
    pub is_ca: bool,
    /// Whether a server may show it to its clients.
    pub for_servers: bool,
}

impl CertificateInfo {
    /// Reads the first certificate of a PEM text.
    pub fn from_pem(pem: &str) -> Result<Self, Error> {
        let der = CertificateDer::from_pem_slice(pem.as_bytes())
            .map_err(|error| Error::Pem { what: "certificate", reason: error.to_string() })?;
        Self::from_der(&der)
    }

    /// Reads a certificate in DER.
    pub fn from_der(der: &[u8]) -> Result<Self, Error> {
        let broken = |reason: String| Error::Pem { what: "certificate", reason };
        let (_, certificate) = X509Certificate::from_der(der).map_err(|error| broken(error.to_string()))?;
        let subject = certificate.subject();
        let text = |value: Result<&str, _>| value.ok().map(str::to_owned);
        Ok(Self {
            common_name: subject
                .iter_common_name()
                .next()
                .and_then(|name| text(name.as_str()))
                .ok_or_else(|| broken("the subject has no common name".into()))?,
            organizations: subject.iter_organization().filter_map(|name| text(name.as_str())).collect(),
            names: names(&certificate).map_err(broken)?,
            not_before: instant(certificate.validity().not_before.timestamp()).map_err(broken)?,
            not_after: instant(certificate.validity().not_after.timestamp()).map_err(broken)?,
            is_ca: certificate.is_ca(),
            for_servers: certificate.extended_key_usage().ok().flatten().is_some_and(|usage| usage.value.server_auth),
        })
    }

    /// The subject this certificate speaks for: common name is the user, organisations are groups.
    pub fn subject(&self) -> Subject {
        Subject::authenticated(self.common_name.clone(), self.organizations.iter().cloned())
    }

    /// Whether less than a third of the lifetime is left, or none has begun.
    pub fn needs_renewal(&self, now: Timestamp) -> bool {
        let lifetime = self.not_after.duration_since(self.not_before);
        let left = self.not_after.duration_since(now);
        now < self.not_before || left < lifetime.checked_div(3).unwrap_or(SignedDuration::ZERO)
    }
}

fn instant(seconds: i64) -> Result<Timestamp, String> {
    Timestamp::from_second(seconds).map_err(|_| "a date is out of range".to_owned())
}

fn names(certificate: &X509Certificate<'_>) -> Result<BTreeSet<String>, String> {
    let extension = certificate.subject_alternative_name().map_err(|error| error.to_string())?;
    let mut found = BTreeSet::new();
    for name in extension.iter().flat_map(|extension| &extension.value.general_names) {
        match name {
            GeneralName::DNSName(name) => {
                found.insert((*name).to_owned());
            }
            GeneralName::IPAddress(bytes) => {
                found.insert(address(bytes).ok_or("an IP address has neither 4 nor 16 bytes")?.to_string());
            }
            _ => {}
        }
    }
    Ok(found)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}
