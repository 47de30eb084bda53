//! The certificate authority: it signs what its caller decided, and nothing of a request but its key.

use std::{collections::BTreeSet, fmt, net::IpAddr, time::Duration};

use hkdf::Hkdf;
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ED25519,
    PublicKeyData, SanType, SerialNumber,
};
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer, PrivatePkcs8KeyDer, pem::PemObject};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use x509_parser::{certificate::X509Certificate, certification_request::X509CertificationRequest, prelude::FromDer};
use zeroize::Zeroizing;

use crate::{certificate::CertificateInfo, error::Error, random};

/// Lifetime of the authority's own certificate.
pub const AUTHORITY_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Longest lifetime of any certificate it issues.
pub const MAX_LIFETIME: Duration = Duration::from_secs(398 * 24 * 3600);
/// Most names one certificate carries.
pub const MAX_NAMES: usize = 64;
/// How far before `now` certificates begin, so that a peer whose clock is a little behind accepts them.
pub const BACKDATE: Duration = Duration::from_secs(300);
/// Most organisations one certificate carries: as many as the certificate generator can write.
pub const MAX_ORGANIZATIONS: usize = 2;
/// Longest common name or organisation (RFC 5280 appendix A: `ub-common-name`).
const MAX_SUBJECT_LEN: usize = 64;
/// Longest DNS name (RFC 1035 section 3.1), without the root's dot.
const MAX_DNS_LEN: usize = 253;

const ED25519_SEED_LEN: usize = 32;
/// What precedes the seed of an Ed25519 key in PKCS #8 version 1 (RFC 8410 section 7).
const ED25519_PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// What a certificate may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// Serve TLS.
    Server,
    /// Authenticate as a TLS client.
    Client,
    /// Both: what a service needs that also talks to its peers.
    Service,
}

/// What a certificate shall say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateSpec {
    /// What it may be used for.
    pub usage: Usage,
    /// Common name: the user for client certificates.
    pub common_name: String,
    /// Organisations: the groups for client certificates.
    pub organizations: Vec<String>,
    /// DNS names (a leading `*.` is allowed) and IP addresses.
    pub names: Vec<String>,
    /// Lifetime from now, at most [`MAX_LIFETIME`]; it ends no later than the authority's.
    pub lifetime: Duration,
}

/// A certificate this authority signed for somebody else's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCertificate {
    /// The certificate, PEM.
    pub certificate_pem: String,
    /// The authority's certificate, PEM.
    pub ca_pem: String,
    /// Last instant at which it is valid.
    pub not_after: Timestamp,
}

/// A certificate with a key of its own.
#[derive(Clone)]
pub struct IssuedCertificate {
    /// The certificate, PEM.
    pub certificate_pem: String,
    /// Its private key, PKCS #8 PEM.
    pub key_pem: SecretString,
    /// The authority's certificate, PEM.
    pub ca_pem: String,
    /// Last instant at which it is valid.
    pub not_after: Timestamp,
}

impl fmt::Debug for IssuedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedCertificate").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

/// A PKCS #10 request whose signature proved that its maker holds the key.
#[derive(Debug)]
pub struct SigningRequest {
    params: CertificateSigningRequestParams,
    /// Common name it asks for; empty when it names none.
    pub common_name: String,
    /// Organisations it asks for.
    pub organizations: Vec<String>,
    /// DNS names and IP addresses it asks for.
    pub names: BTreeSet<String>,
}

impl SigningRequest {
    /// Reads and verifies a request in PEM.
    pub fn parse(pem: &str) -> Result<Self, Error> {
        let broken = || Error::SigningRequest { source: rcgen::Error::CouldNotParseCertificationRequest };
        let der = CertificateSigningRequestDer::from_pem_slice(pem.as_bytes()).map_err(|_| broken())?;
        let (_, parsed) = X509CertificationRequest::from_der(&der).map_err(|_| broken())?;
        let subject = &parsed.certification_request_info.subject;
        if subject.iter().any(|part| part.iter().next().is_none()) {
            return Err(broken());
        }
        let common_name = subject.iter_common_name().next().and_then(|name| name.as_str().ok()).unwrap_or_default();
        let organizations = subject.iter_organization().filter_map(|name| name.as_str().ok());
        let params =
            CertificateSigningRequestParams::from_der(&der).map_err(|source| Error::SigningRequest { source })?;
        let names = params.params.subject_alt_names.iter().filter_map(|name| match name {
            SanType::DnsName(name) => Some(name.to_string()),
            SanType::IpAddress(address) => Some(address.to_string()),
            _ => None,
        });
        Ok(Self {
            common_name: common_name.to_owned(),
            organizations: organizations.map(str::to_owned).collect(),
            names: names.collect(),
            params,
        })
    }
}

/// A certificate authority with its key: ECDSA P-256, or Ed25519 for a [derived](Authority::derive) one.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
    certificate: CertificateDer<'static>,
    info: CertificateInfo,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("info", &self.info).finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes an authority with a new key. Returns the key as PKCS #8 PEM beside it.
    pub fn generate(common_name: &str, now: Timestamp) -> Result<(Self, SecretString), Error> {
        let key = new_key()?;
        let key_pem = SecretString::from(key.serialize_pem());
        Ok((Self::certify_itself(common_name, key, now)?, key_pem))
    }

    /// Makes a new self-signed certificate for an existing key. What the key signed before stays
    /// valid, when the common name is the same.
    pub fn recertify(common_name: &str, key_pem: &SecretString, now: Timestamp) -> Result<Self, Error> {
        Self::certify_itself(common_name, read_key(key_pem)?, now)
    }

    /// An authority of its own whose key follows from this one's key and `purpose` (HKDF-SHA-256, Ed25519).
    ///
    /// Everybody who holds this authority's key derives the same one, so it needs no file and no agreement; neither key
    /// can be computed from the derived one, and neither authority accepts what the other signed. Its certificate is
    /// made anew at each call: peers compare name and key.
    ///
    /// # Errors
    /// When the certificate cannot be made.
    pub fn derive(&self, purpose: &'static str, now: Timestamp) -> Result<Self, Error> {
        let mut pkcs8 = Zeroizing::new([0_u8; ED25519_PKCS8_PREFIX.len() + ED25519_SEED_LEN]);
        pkcs8[..ED25519_PKCS8_PREFIX.len()].copy_from_slice(&ED25519_PKCS8_PREFIX);
        let own_key = Zeroizing::new(self.issuer.key().serialize_der());
        Hkdf::<Sha256>::new(Some(b"nanocloud.io/authority/v1"), &own_key)
            .expand(purpose.as_bytes(), &mut pkcs8[ED25519_PKCS8_PREFIX.len()..])
            .expect("32 bytes are within HKDF-SHA-256's 8160");
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(&pkcs8[..]), &PKCS_ED25519)
            .map_err(|source| Error::Certificate { action: "derive a key", source })?;
        Self::certify_itself(purpose, key, now)
    }

    fn certify_itself(common_name: &str, key: KeyPair, now: Timestamp) -> Result<Self, Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = distinguished_name(common_name, &[])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.serial_number = Some(serial()?);
        set_validity(&mut params, before(now), after(now, AUTHORITY_LIFETIME));
        let certificate = params
            .self_signed(&key)
            .map_err(|source| Error::Certificate { action: "sign the authority's certificate", source })?;
        Self::assemble(certificate.pem(), certificate.into(), key)
    }

    /// Reads an authority from PEM. The key must belong to the certificate.
    pub fn from_pem(certificate_pem: &str, key_pem: &SecretString) -> Result<Self, Error> {
        let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes())
            .map_err(|error| Error::Pem { what: "CA certificate", reason: error.to_string() })?;
        Self::assemble(certificate_pem.to_owned(), certificate, read_key(key_pem)?)
    }

    fn assemble(certificate_pem: String, certificate: CertificateDer<'static>, key: KeyPair) -> Result<Self, Error> {
        let info = CertificateInfo::from_der(&certificate)?;
        let broken = |reason: &str| Error::Pem { what: "CA certificate", reason: reason.to_owned() };
        if !info.is_ca {
            return Err(broken("it may not sign other certificates"));
        }
        if public_key(&certificate).as_deref() != Some(key.der_bytes()) {
            return Err(broken("its key is another than the private key beside it"));
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key)
            .map_err(|source| Error::Certificate { action: "read the authority's certificate", source })?;
        Ok(Self { issuer, certificate_pem, certificate, info })
    }

    /// Refuses to work when the clock is before or after the authority's lifetime.
    pub fn check_clock(&self, now: Timestamp) -> Result<(), Error> {
        if now < self.info.not_before {
            return Err(Error::ClockBehind { now, not_before: self.info.not_before });
        }
        if now > self.info.not_after {
            return Err(Error::AuthorityExpired { now, not_after: self.info.not_after });
        }
        Ok(())
    }

    /// Makes a key and a certificate for it.
    pub fn issue(&self, spec: &CertificateSpec, now: Timestamp) -> Result<IssuedCertificate, Error> {
        let key = new_key()?;
        let SignedCertificate { certificate_pem, ca_pem, not_after } = self.certify(&key, spec, now)?;
        Ok(IssuedCertificate { certificate_pem, key_pem: key.serialize_pem().into(), ca_pem, not_after })
    }

    /// Signs the key of a request. The certificate says what `spec` says; the caller decides by the
    /// public fields of the request whether that is what was asked for.
    pub fn sign(
        &self,
        request: &SigningRequest,
        spec: &CertificateSpec,
        now: Timestamp,
    ) -> Result<SignedCertificate, Error> {
        self.certify(&request.params.public_key, spec, now)
    }

    fn certify(
        &self,
        key: &impl PublicKeyData,
        spec: &CertificateSpec,
        now: Timestamp,
    ) -> Result<SignedCertificate, Error> {
        self.check_clock(now)?;
        check_lifetime(spec.lifetime, MAX_LIFETIME)?;
        let not_after = after(now, spec.lifetime).min(self.info.not_after);
        let mut params = CertificateParams::default();
        params.distinguished_name = distinguished_name(&spec.common_name, &spec.organizations)?;
        params.subject_alt_names = alternative_names(&spec.names)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match spec.usage {
            Usage::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
            Usage::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
            Usage::Service => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        };
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(serial()?);
        set_validity(&mut params, before(now).max(self.info.not_before), not_after);
        let certificate = params
            .signed_by(key, &self.issuer)
            .map_err(|source| Error::Certificate { action: "sign a certificate", source })?;
        Ok(SignedCertificate {
            certificate_pem: certificate.pem(),
            ca_pem: self.certificate_pem.clone(),
            not_after: Timestamp::from_second(not_after.as_second()).unwrap_or(not_after),
        })
    }

    /// Whether this authority's key signed the certificate.
    pub fn signed(&self, certificate: &[u8]) -> bool {
        let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return false };
        let Ok((_, own)) = X509Certificate::from_der(&self.certificate) else { return false };
        let key = ring::signature::UnparsedPublicKey::new(
            &ring::signature::ECDSA_P256_SHA256_ASN1,
            &own.public_key().subject_public_key.data,
        );
        parsed.issuer() == own.subject()
            && key.verify(parsed.tbs_certificate.as_ref(), &parsed.signature_value.data).is_ok()
    }

    /// The authority's certificate, PEM: what clients trust.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The authority's certificate, DER.
    pub fn certificate_der(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// What the authority's certificate says.
    pub fn info(&self) -> &CertificateInfo {
        &self.info
    }
}

fn new_key() -> Result<KeyPair, Error> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|source| Error::Certificate { action: "make a key", source })
}

fn read_key(pem: &SecretString) -> Result<KeyPair, Error> {
    // The parser's message may quote its input, which is the key: it is not passed on.
    KeyPair::from_pkcs8_pem_and_sign_algo(pem.expose_secret(), &PKCS_ECDSA_P256_SHA256)
        .map_err(|_| Error::Pem { what: "private key", reason: "it is no ECDSA P-256 key in PKCS #8".into() })
}

fn public_key(certificate: &[u8]) -> Option<Vec<u8>> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(parsed.public_key().subject_public_key.data.to_vec())
}

/// A positive random serial number of 16 bytes (RFC 5280 section 4.1.2.2).
fn serial() -> Result<SerialNumber, Error> {
    let mut bytes = random::bytes::<16>()?;
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

/// Sets first and last instant of validity; the generator's date type has no public name.
fn set_validity(params: &mut CertificateParams, not_before: Timestamp, not_after: Timestamp) {
    let since_epoch = |at: Timestamp| Duration::from_secs(u64::try_from(at.as_second()).unwrap_or(0));
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since_epoch(not_before);
    params.not_after = epoch + since_epoch(not_after);
}

pub(crate) fn check_lifetime(asked: Duration, max: Duration) -> Result<(), Error> {
    if asked < Duration::from_secs(1) || asked > max {
        return Err(Error::Lifetime { asked_seconds: asked.as_secs(), max_seconds: max.as_secs() });
    }
    Ok(())
}

fn before(now: Timestamp) -> Timestamp {
    now.checked_sub(BACKDATE).unwrap_or(now)
}

fn after(now: Timestamp, lifetime: Duration) -> Timestamp {
    now.checked_add(lifetime).unwrap_or(Timestamp::MAX)
}

fn distinguished_name(common_name: &str, organizations: &[String]) -> Result<DistinguishedName, Error> {
    /// The attribute `organizationName` (RFC 5280 appendix A.1) by number: the generator keeps one
    /// value per attribute type, and this spelling is a second type to it.
    const ORGANIZATION_NAME: [u64; 4] = [2, 5, 4, 10];
    if organizations.len() > MAX_ORGANIZATIONS {
        let reason = "a certificate carries at most two groups; use a bearer token for more";
        return Err(Error::InvalidSubject { subject: organizations.join(","), reason });
    }
    let types = [DnType::OrganizationName, DnType::CustomDnType(ORGANIZATION_NAME.to_vec())];
    let mut name = DistinguishedName::new();
    for (kind, organization) in types.into_iter().zip(organizations) {
        check_subject(organization)?;
        name.push(kind, organization.as_str());
    }
    check_subject(common_name)?;
    name.push(DnType::CommonName, common_name);
    Ok(name)
}

fn check_subject(subject: &str) -> Result<(), Error> {
    let reason = if subject.is_empty() {
        "it is empty"
    } else if subject.chars().count() > MAX_SUBJECT_LEN {
        "it is longer than 64 characters"
    } else if subject.chars().any(char::is_control) {
        "it has control characters"
    } else {
        return Ok(());
    };
    Err(Error::InvalidSubject { subject: subject.to_owned(), reason })
}

fn alternative_names(names: &[String]) -> Result<Vec<SanType>, Error> {
    if names.len() > MAX_NAMES {
        return Err(Error::TooManyNames { count: names.len(), max: MAX_NAMES });
    }
    let unique: BTreeSet<&String> = names.iter().collect();
    unique.into_iter().map(|name| alternative_name(name)).collect()
}

fn alternative_name(name: &str) -> Result<SanType, Error> {
    let invalid = || Error::InvalidName { name: name.to_owned() };
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let labels = name.strip_prefix("*.").unwrap_or(name);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() > MAX_DNS_LEN || !labels.split('.').all(is_label) {
        return Err(invalid());
    }
    name.to_owned().try_into().map(SanType::DnsName).map_err(|_| invalid())
}

/// Whether the text may be a name in a certificate: a DNS name or an IP address.
pub fn check_name(name: &str) -> Result<(), Error> {
    alternative_name(name).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn authority() -> Authority {
        Authority::generate("test-ca", at(0)).unwrap().0
    }

    fn spec() -> CertificateSpec {
        CertificateSpec {
            usage: Usage::Service,
            common_name: "web".into(),
            organizations: vec!["one".into(), "two".into()],
            names: vec!["web.default.svc".into(), "*.web.local".into(), "10.0.0.1".into(), "::1".into()],
            lifetime: Duration::from_secs(3600),
        }
    }

    fn request(common_name: &str, organization: &str) -> (String, KeyPair) {
        let key = new_key().unwrap();
        let mut params = CertificateParams::new(vec!["asked.example".to_owned()]).unwrap();
        params.distinguished_name = distinguished_name(common_name, &[organization.to_owned()]).unwrap();
        (params.serialize_request(&key).unwrap().pem().unwrap(), key)
    }

    #[test]
    fn a_certificate_says_what_was_specified() {
        let authority = authority();
        let issued = authority.issue(&spec(), at(0)).unwrap();
        let info = CertificateInfo::from_pem(&issued.certificate_pem).unwrap();
        assert_eq!(
            (info.common_name.as_str(), info.organizations.as_slice()),
            ("web", &["one".into(), "two".into()][..])
        );
        assert_eq!(info.names, spec().names.into_iter().collect());
        assert_eq!((info.not_before, info.not_after), (at(-300), at(3600)));
        assert_eq!(issued.not_after, info.not_after);
        assert!(!info.is_ca && authority.info().is_ca);
        assert!(crate::Identity::from_pem(&issued.certificate_pem, issued.key_pem).is_ok());
    }

    #[test]
    fn only_its_own_signatures_are_recognised() {
        let (one, two) = (authority(), authority());
        let der = |authority: &Authority| {
            let issued = authority.issue(&spec(), at(0)).unwrap();
            CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes()).unwrap()
        };
        assert!(one.signed(&der(&one)));
        assert!(!one.signed(&der(&two)), "same name, another key");
        assert!(!one.signed(b"nonsense"));
    }

    #[test]
    fn a_request_gives_its_key_and_nothing_else() {
        let authority = authority();
        let (pem, key) = request("jo", "system:masters");
        let request = SigningRequest::parse(&pem).unwrap();
        assert_eq!(
            (request.common_name.as_str(), request.organizations.as_slice()),
            ("jo", &["system:masters".into()][..])
        );
        assert!(request.names.contains("asked.example"));
        let granted = CertificateSpec { usage: Usage::Client, organizations: vec![], names: vec![], ..spec() };
        let signed = authority.sign(&request, &granted, at(0)).unwrap();
        let info = CertificateInfo::from_pem(&signed.certificate_pem).unwrap();
        assert_eq!((info.common_name.as_str(), info.organizations.len(), info.names.len()), ("web", 0, 0));
        assert!(crate::Identity::from_pem(&signed.certificate_pem, key.serialize_pem().into()).is_ok());
    }

    #[test]
    fn a_request_that_does_not_prove_its_key_is_refused() {
        let (pem, _) = request("jo", "ops");
        let der = CertificateSigningRequestDer::from_pem_slice(pem.as_bytes()).unwrap();
        let mut forged = der.to_vec();
        let last = forged.len() - 1;
        forged[last] ^= 1;
        let body = crate::encoding::base64(&forged);
        let pem = format!("-----BEGIN CERTIFICATE REQUEST-----\n{body}\n-----END CERTIFICATE REQUEST-----\n");
        assert!(matches!(SigningRequest::parse(&pem), Err(Error::SigningRequest { .. })));
        assert!(matches!(SigningRequest::parse("nonsense"), Err(Error::SigningRequest { .. })));
    }

    #[test]
    fn names_and_subjects_that_cannot_stand_in_a_certificate_are_refused() {
        for bad in ["", "a b", "-a", "a..b", "a.*", "*.", "é.example", "http://a", &"a".repeat(64), &"a.".repeat(130)]
        {
            assert!(matches!(check_name(bad), Err(Error::InvalidName { .. })), "{bad}");
        }
        let authority = authority();
        for bad in ["", "a\nb", &"a".repeat(65)] {
            let spec = CertificateSpec { common_name: bad.into(), ..spec() };
            assert!(matches!(authority.issue(&spec, at(0)), Err(Error::InvalidSubject { .. })), "{bad}");
        }
        let organizations = vec!["a".into(), "b".into(), "c".into()];
        assert!(authority.issue(&CertificateSpec { organizations, ..spec() }, at(0)).is_err());
        let names = (0..=MAX_NAMES).map(|index| format!("n{index}")).collect();
        assert!(matches!(
            authority.issue(&CertificateSpec { names, ..spec() }, at(0)),
            Err(Error::TooManyNames { .. })
        ));
    }

    #[test]
    fn a_certificate_ends_no_later_than_its_authority() {
        let authority = authority();
        let end = authority.info().not_after;
        let late = end.checked_sub(Duration::from_secs(60)).unwrap();
        assert_eq!(authority.issue(&spec(), late).unwrap().not_after, end);
        let after_end = end.checked_add(Duration::from_secs(1)).unwrap();
        assert!(matches!(authority.issue(&spec(), after_end), Err(Error::AuthorityExpired { .. })));
        assert!(matches!(authority.issue(&spec(), at(-301)), Err(Error::ClockBehind { .. })));
        let spec = CertificateSpec { lifetime: MAX_LIFETIME + Duration::from_secs(1), ..spec() };
        assert!(matches!(authority.issue(&spec, at(0)), Err(Error::Lifetime { .. })));
    }

    #[test]
    fn the_key_must_belong_to_the_certificate() {
        let (one, _) = Authority::generate("test-ca", at(0)).unwrap();
        let (_, other_key) = Authority::generate("test-ca", at(0)).unwrap();
        assert!(Authority::from_pem(one.certificate_pem(), &other_key).is_err());
    }
}
