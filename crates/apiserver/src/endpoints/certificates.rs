//! `POST /apis/nanocloud.io/v1/certificates`: a signing request becomes a certificate for a client; one with names of
//! hosts is for a service at these names, too.

use std::time::Duration;

use api::names::group::NANOCLOUD_V1;
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use trust::{
    CertificateSpec, Scope, SignedCertificate, SigningRequest, Subject, Usage,
    subject::{AUTHENTICATED, MASTERS},
};

use crate::{
    api_error::{ApiError, Result},
    limits,
    request::{body, context::RequestContext, response},
    state::ServerState,
};

/// What the endpoint takes. Only administrators may name another user or groups than their own, or further names.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Request {
    /// PKCS #10 in PEM.
    csr: String,
    user: Option<String>,
    groups: Option<Vec<String>>,
    /// DNS names and addresses that the certificate carries beside the user.
    #[serde(default)]
    names: Vec<String>,
    ttl_seconds: Option<u64>,
    #[serde(rename = "apiVersion")]
    _api_version: Option<String>,
    #[serde(rename = "kind")]
    _kind: Option<String>,
}

pub(super) async fn sign(mut context: RequestContext) -> Result<Response> {
    if context.write_options()?.dry_run {
        return Err(ApiError::bad_request("a certificate is signed at once; there is no dry run of it")
            .remedy("leave dryRun out of the query"));
    }
    let bytes = context.take_body();
    let document = body::document(&context.parts.headers, &bytes)?;
    let request: Request = serde_json::from_value(document)
        .map_err(|error| ApiError::bad_request(format!("the request cannot be read: {error}")))?;
    if !request.names.is_empty() && !is_administrator(&context.subject) {
        return Err(
            ApiError::forbidden("only administrators may have names put into a certificate").remedy("leave names out")
        );
    }
    let (user, groups) = identity(&context.subject, request.user, request.groups)?;
    let wanted = Wanted { user: user.clone(), groups, names: request.names, ttl_seconds: request.ttl_seconds };
    let issued = certify(&context.state, &request.csr, wanted)?;
    tracing::info!(user, by = %context.subject, not_after = %issued.not_after, "certificate issued");
    let mut answer = shown(&issued);
    answer["kind"] = "Certificate".into();
    answer["user"] = user.into();
    Ok(response::document(StatusCode::CREATED, answer))
}

/// Whether the subject may do everything; one with scopes got here only if they say so.
fn is_administrator(subject: &Subject) -> bool {
    subject.in_group(MASTERS) || subject.scopes.is_some()
}

/// The user and groups of the certificate: the caller's own, unless an administrator names others.
fn identity(subject: &Subject, user: Option<String>, groups: Option<Vec<String>>) -> Result<(String, Vec<String>)> {
    let limited = subject.scopes.as_ref().is_some_and(|scopes| !scopes.contains(Scope::ClusterAdmin));
    if limited {
        return Err(ApiError::forbidden("a token with scopes cannot become a certificate, which has none")
            .remedy("use a credential without scopes"));
    }
    let admin = is_administrator(subject);
    let own: Vec<String> = subject.groups.iter().filter(|group| *group != AUTHENTICATED).cloned().collect();
    let other = user.as_ref().is_some_and(|user| *user != subject.user)
        || groups.as_ref().is_some_and(|groups| groups.iter().any(|group| !own.contains(group)));
    if other && !admin {
        return Err(ApiError::forbidden("only administrators may have certificates made for others")
            .remedy("leave user and groups out to get a certificate of your own"));
    }
    // Naming another user must not hand the caller's own groups on.
    let groups = match (&user, groups) {
        (_, Some(groups)) => groups,
        (Some(user), None) if *user != subject.user => Vec::new(),
        _ => own,
    };
    Ok((user.unwrap_or_else(|| subject.user.clone()), groups))
}

/// What a certificate is to say.
pub(super) struct Wanted {
    pub(super) user: String,
    pub(super) groups: Vec<String>,
    pub(super) names: Vec<String>,
    pub(super) ttl_seconds: Option<u64>,
}

/// Refuses a signing request that asks for what its certificate would not say, so that its owner knows what the
/// certificate is for. What the request leaves open is fine.
fn check(request: &SigningRequest, wanted: &Wanted) -> Result<()> {
    let differs = |what: &str, asked: &str, given: &str| {
        Err(ApiError::bad_request(format!(
            "csr: it asks for {what} {asked:?}, and the certificate would say {given:?}"
        ))
        .remedy("make the signing request for what the certificate is to say, or leave its subject empty"))
    };
    if !request.common_name.is_empty() && request.common_name != wanted.user {
        return differs("common name", &request.common_name, &wanted.user);
    }
    let all = |list: &[String]| list.join(", ");
    if let Some(group) = request.organizations.iter().find(|group| !wanted.groups.contains(group)) {
        return differs("organization", group, &all(&wanted.groups));
    }
    if let Some(name) = request.names.iter().find(|name| !wanted.names.contains(name)) {
        return differs("alternative name", name, &all(&wanted.names));
    }
    Ok(())
}

/// Signs a request for a user.
pub(super) fn certify(state: &ServerState, csr: &str, wanted: Wanted) -> Result<SignedCertificate> {
    let refused = |error: trust::Error| ApiError {
        cause: None,
        ..ApiError::bad_request(format!("the certificate cannot be issued: {error}"))
            .remedy("send PEM of a PKCS #10 request signed by its own key, and a lifetime within bounds")
    };
    let request = SigningRequest::parse(csr).map_err(refused)?;
    check(&request, &wanted)?;
    let spec = CertificateSpec {
        usage: if wanted.names.is_empty() { Usage::Client } else { Usage::Service },
        common_name: wanted.user,
        organizations: wanted.groups,
        names: wanted.names,
        lifetime: Duration::from_secs(wanted.ttl_seconds.unwrap_or(limits::CERTIFICATE_SECONDS)),
    };
    state.authority.sign(&request, &spec, state.registry.now()).map_err(refused)
}

/// The public parts of a certificate that was issued.
pub(super) fn shown(issued: &SignedCertificate) -> Value {
    json!({
        "apiVersion": NANOCLOUD_V1,
        "certificate": issued.certificate_pem,
        "ca": issued.ca_pem,
        "expiresAt": issued.not_after.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use trust::Scopes;

    use super::*;

    #[test]
    fn a_request_for_somebody_else_is_refused() {
        let csr = |user: &str, names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            SigningRequest::parse(&trust::csr::generate(user, &names).unwrap().0).unwrap()
        };
        let wanted = |user: &str, names: &[&str]| Wanted {
            user: user.into(),
            groups: Vec::new(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            ttl_seconds: None,
        };
        for (request, wanted, accepted) in [
            (csr("bob", &[]), wanted("bob", &[]), true),
            (csr("", &[]), wanted("bob", &[]), true),
            (csr("bob", &[]), wanted("admin", &[]), false),
            (csr("bob", &["a.example"]), wanted("bob", &[]), false),
            (csr("bob", &["a.example", "10.0.0.1"]), wanted("bob", &["10.0.0.1", "a.example"]), true),
        ] {
            let outcome = check(&request, &wanted);
            assert_eq!(outcome.is_ok(), accepted, "{request:?}");
            assert!(outcome.err().is_none_or(|failure| failure.status.code == 400));
        }
    }

    #[test]
    fn people_get_their_own_certificate_and_administrators_any() {
        let alice = Subject::authenticated("alice", ["dev".to_owned()]);
        let own = identity(&alice, None, None).unwrap();
        assert_eq!(own, ("alice".to_owned(), vec!["dev".to_owned()]));
        assert!(identity(&alice, Some("bob".into()), None).is_err());
        assert!(identity(&alice, None, Some(vec!["system:masters".into()])).is_err());
        let admin = Subject::admin("root");
        assert_eq!(identity(&admin, Some("bob".into()), None).unwrap(), ("bob".to_owned(), vec![]));
        let mut scoped = Subject::admin("root");
        scoped.scopes = Some(Scopes::parse("pods.read").unwrap());
        assert!(identity(&scoped, None, None).is_err(), "a scope must not be shed");
    }
}
