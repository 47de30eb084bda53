//! Generated secrets and certificates: what is missing, and the Secrets that hold them.

use std::{collections::BTreeMap, time::Duration};

use api::{
    ObjectMeta,
    kinds::{Bundle, Secret},
    names::{
        annotation::{CERTIFICATE_NAMES, NOT_AFTER, RENEW_AT},
        secret_type,
    },
};
use dockyard::{Resolution, SecretRecipe};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use secrecy::ExposeSecret;

use super::{
    names,
    random::{Random, RandomError, text},
};
use crate::{
    digest,
    ports::{Certificate, CertificateRequest},
    step::Step,
};

/// What must be made before the bundle can go on.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Make {
    /// Missing secrets by name.
    pub(crate) secrets: BTreeMap<String, SecretRecipe>,
    /// The certificate to issue.
    pub(crate) certificate: Option<CertificateRequest>,
}

/// Names of the secrets that exist.
pub(crate) fn existing(secret: Option<&Secret>) -> impl Iterator<Item = String> {
    secret.into_iter().flat_map(|secret| secret.data.iter().flatten()).map(|(name, _)| name.clone())
}

/// What is missing, and how long until the certificate must be renewed.
pub(crate) fn missing(
    bundle: &Bundle,
    resolution: &Resolution,
    tls: Option<&Secret>,
    authority: Option<&str>,
    now: Timestamp,
) -> (Option<Make>, Option<Duration>) {
    let secrets = resolution.secrets.iter().filter(|(_, plan)| !plan.exists);
    let mut make =
        Make { secrets: secrets.map(|(name, plan)| (name.clone(), plan.recipe.clone())).collect(), certificate: None };
    let mut renewal = None;
    if let Some(request) = certificate_request(bundle, resolution) {
        match tls.and_then(|secret| renewal_in(secret, &request, authority, now)) {
            Some(left) => renewal = Some(left),
            None => make.certificate = Some(request),
        }
    }
    (Some(make).filter(|make| *make != Make::default()), renewal)
}

fn certificate_request(bundle: &Bundle, resolution: &Resolution) -> Option<CertificateRequest> {
    let wanted = resolution.tls.as_ref()?;
    let mut names = wanted.san.clone();
    let local = format!("{}.{}", names::name(bundle), dockyard::names::LOCAL_DOMAIN);
    for name in [local, "localhost".to_owned(), "127.0.0.1".to_owned()] {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Some(CertificateRequest { common_name: wanted.common_name.clone(), names })
}

/// Time until the certificate must be renewed; `None` when it is due, for other names, or of another authority.
fn renewal_in(
    secret: &Secret,
    request: &CertificateRequest,
    authority: Option<&str>,
    now: Timestamp,
) -> Option<Duration> {
    let signed_by = secret.data.as_ref()?.get("ca.crt")?;
    if authority.is_some_and(|authority| signed_by.0 != authority.as_bytes()) {
        return None;
    }
    let annotations = secret.metadata.annotations.as_ref()?;
    let complete =
        ["tls.crt", "tls.key", "ca.crt"].iter().all(|key| secret.data.iter().any(|data| data.contains_key(*key)));
    let renew_at: Timestamp = annotations.get(RENEW_AT)?.parse().ok()?;
    let left = Duration::try_from(renew_at.duration_since(now)).ok().filter(|left| !left.is_zero())?;
    (complete && annotations.get(CERTIFICATE_NAMES) == Some(&fingerprint(request))).then_some(left)
}

fn fingerprint(request: &CertificateRequest) -> String {
    digest::hex_of(std::iter::once(&request.common_name).chain(&request.names).map(String::as_bytes))
}

/// Draws the missing secrets and puts them beside those that exist, which never change.
pub(crate) fn profile_step(
    bundle: &Bundle,
    found: Option<&Secret>,
    recipes: &BTreeMap<String, SecretRecipe>,
    random: &dyn Random,
) -> Result<Option<Step>, RandomError> {
    if recipes.is_empty() {
        return Ok(None);
    }
    let mut secret = found.cloned().unwrap_or_else(|| Secret {
        metadata: names::owned(bundle, names::profile_secret(names::name(bundle))),
        type_: Some(secret_type::OPAQUE.into()),
        ..Secret::default()
    });
    let data = secret.data.get_or_insert_default();
    for (name, recipe) in recipes {
        if !data.contains_key(name) {
            let SecretRecipe::Random { len, charset } = recipe;
            let value = text(random, *len, charset)?;
            data.insert(name.clone(), ByteString(value.expose_secret().as_bytes().to_vec()));
        }
    }
    Ok(Some(if found.is_some() { Step::replace(&secret) } else { Step::create(&secret) }))
}

/// The Secret with an issued certificate.
pub(crate) fn tls_step(
    bundle: &Bundle,
    found: Option<&Secret>,
    request: &CertificateRequest,
    issued: &Certificate,
) -> Step {
    let life = issued.not_before.duration_until(issued.not_after);
    let renew_at = issued.not_before.checked_add(life / 3 * 2).unwrap_or(issued.not_after);
    let annotations = BTreeMap::from([
        (NOT_AFTER.to_owned(), issued.not_after.to_string()),
        (RENEW_AT.to_owned(), renew_at.to_string()),
        (CERTIFICATE_NAMES.to_owned(), fingerprint(request)),
    ]);
    let file = |text: &str| ByteString(text.as_bytes().to_vec());
    let data = BTreeMap::from([
        ("tls.crt".to_owned(), file(&issued.certificate)),
        ("tls.key".to_owned(), file(issued.key.expose_secret())),
        ("ca.crt".to_owned(), file(&issued.authority)),
    ]);
    let metadata = match found {
        Some(found) => found.metadata.clone(),
        None => names::owned(bundle, names::tls_secret(names::name(bundle))),
    };
    let metadata = ObjectMeta { annotations: Some(annotations), ..metadata };
    let secret = Secret { metadata, data: Some(data), type_: Some(secret_type::TLS.into()), ..Secret::default() };
    if found.is_some() { Step::replace(&secret) } else { Step::create(&secret) }
}
