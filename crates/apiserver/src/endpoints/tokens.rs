//! Single-use tokens: `tokens/issue` makes one, `tokens/exchange` turns it into a credential, once.

use std::time::Duration;

use api::{Kind, Reason, Resource, cause, kinds::token::Token, names::group::NANOCLOUD_V1};
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use trust::{
    ExposeSecret, Scopes, SecretString, SignedCertificate, SingleUseToken, TokenGrant, TokenOutcome, TokenRecord,
    jwt::API_AUDIENCE, single_use, subject::JOINING,
};

use super::certificates;
use crate::{
    api_error::{ApiError, Result},
    limits, object,
    query::options::WriteOptions,
    registry::{Edit, Registry, Target},
    request::{body, context::RequestContext, response},
    state::ServerState,
};

/// What `tokens/issue` takes.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct IssueRequest {
    user: String,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    scopes: Vec<String>,
    ttl_seconds: Option<u64>,
}

/// What `tokens/exchange` takes.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct ExchangeRequest {
    /// PKCS #10 in PEM: the token becomes a certificate; without it a bearer token.
    csr: Option<String>,
    ttl_seconds: Option<u64>,
}

/// The credential a token became.
enum Credential {
    Certificate(SignedCertificate),
    Bearer(SecretString, Timestamp),
}

fn tokens(registry: &Registry) -> Result<&Kind> {
    registry.kind(Token::PLURAL)
}

pub(super) async fn issue(mut context: RequestContext) -> Result<Response> {
    let bytes = context.take_body();
    let document = body::document(&context.parts.headers, &bytes)?;
    let wanted: IssueRequest = serde_json::from_value(document)
        .map_err(|error| ApiError::bad_request(format!("the request cannot be read: {error}")))?;
    Scopes::parse(&wanted.scopes.join(" ")).map_err(|error| ApiError::bad_request(error.to_string()))?;
    let ttl = Duration::from_secs(wanted.ttl_seconds.unwrap_or(limits::DEFAULT_GRANT_SECONDS));
    let (registry, now) = (&context.state.registry, context.state.registry.now());
    let (token, record) = SingleUseToken::mint(ttl, now)
        .map_err(|error| ApiError::bad_request(format!("the token cannot be made: {error}")))?;
    let expires = record.expires.unwrap_or(now).to_string();
    let object = json!({
        "metadata": {"name": token.id()},
        "spec": {
            "user": wanted.user,
            "groups": wanted.groups,
            "scopes": wanted.scopes,
            "expiresAt": expires,
            "digest": record.digest,
        },
    });
    let options = WriteOptions { author: Some(context.author()), ..WriteOptions::default() };
    registry.create(tokens(registry)?, None, object, &options).await?;
    tracing::info!(id = token.id(), user = wanted.user, by = %context.subject, expires, "single-use token issued");
    let answer = json!({
        "apiVersion": NANOCLOUD_V1,
        "kind": "IssuedToken",
        "id": token.id(),
        "user": wanted.user,
        "expiresAt": expires,
        "token": token.reveal().expose_secret(),
    });
    Ok(confidential(response::document(StatusCode::CREATED, answer)))
}

pub(super) async fn exchange(mut context: RequestContext) -> Result<Response> {
    let token = presented(&context)?;
    let bytes = context.take_body();
    let wanted = if bytes.is_empty() {
        ExchangeRequest::default()
    } else {
        serde_json::from_value(body::document(&context.parts.headers, &bytes)?)
            .map_err(|error| ApiError::bad_request(format!("the request cannot be read: {error}")))?
    };
    let registry = &context.state.registry;
    let kind = tokens(registry)?;
    let stored = registry.find(kind, None, token.id()).await?;
    let grant: Option<Token> = stored.as_ref().and_then(|stored| api::decode(stored.object.clone()).ok());
    let now = registry.now();
    let verdict = single_use::verify(&token, grant.as_ref().map(record).as_ref(), single_use::MAX_TTL, now);
    let (TokenOutcome::Accepted, Some(stored), Some(grant)) = (verdict, stored, grant) else {
        return Err(refuse(&token, verdict));
    };
    if grant.spec.user == JOINING {
        return Err(
            ApiError::forbidden("a join token is good for joining only").remedy("nanocloud server --join TOKEN")
        );
    }
    // The credential is made first and handed out only if this call is the one that consumes the token, so that a
    // request that cannot be served does not burn it.
    let credential = credential(&context.state, &grant, &wanted, now)?;
    used_up(&context.state, &token, stored.published()).await?;
    tracing::info!(id = token.id(), user = grant.spec.user, "single-use token exchanged");
    Ok(confidential(response::document(StatusCode::CREATED, shown(&context.state, &grant, &credential))))
}

/// Uses up a single-use token for something else than an exchange: it must be good, and made for `user`. A caller that
/// used it up with that key before may do so again until it expires: the answer may have been lost.
pub(super) async fn consume(state: &ServerState, token: &SingleUseToken, user: &str, key: Option<&str>) -> Result<()> {
    let registry = &state.registry;
    let kind = tokens(registry)?;
    let stored = registry.find(kind, None, token.id()).await?;
    let grant: Option<Token> = stored.as_ref().and_then(|stored| api::decode(stored.object.clone()).ok());
    let known = grant.as_ref().map(|grant| if used_by(grant, key) { unused(record(grant)) } else { record(grant) });
    let verdict = single_use::verify(token, known.as_ref(), single_use::MAX_TTL, registry.now());
    let (TokenOutcome::Accepted, Some(stored), Some(grant)) = (verdict, stored, grant) else {
        return Err(refuse(token, verdict));
    };
    if grant.spec.user != user {
        return Err(ApiError::forbidden("this token is not for joining").remedy("ask for one: nanocloud member add"));
    }
    if used_by(&grant, key) {
        return Ok(());
    }
    mark_used(state, token, stored.published(), key).await
}

/// Whether the token was used up with that key.
fn used_by(grant: &Token, key: Option<&str>) -> bool {
    let by = grant.status.as_ref().and_then(|status| status.consumed_by.as_deref());
    by.zip(key).is_some_and(|(by, key)| by == digest(key))
}

/// The record as it was before the use.
fn unused(record: TokenRecord) -> TokenRecord {
    TokenRecord { consumed: None, ..record }
}

/// What is kept of a key.
fn digest(key: &str) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(key.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Marks the token as used; only one call succeeds.
async fn used_up(state: &ServerState, token: &SingleUseToken, object: serde_json::Value) -> Result<()> {
    mark_used(state, token, object, None).await
}

async fn mark_used(
    state: &ServerState,
    token: &SingleUseToken,
    mut object: serde_json::Value,
    key: Option<&str>,
) -> Result<()> {
    let registry = &state.registry;
    let mut status = json!({"consumedAt": registry.now().to_string()});
    if let Some(key) = key {
        status["consumedBy"] = digest(key).into();
    }
    object::set(&mut object, "status", Some(status));
    let edit = Edit::Replace(object);
    match registry.update(tokens(registry)?, None, token.id(), &edit, Target::Status, &WriteOptions::default()).await {
        Ok(_) => Ok(()),
        Err(failure) if matches!(failure.status.reason, Reason::NotFound | Reason::Conflict) => {
            Err(refuse(token, TokenOutcome::Replayed))
        }
        Err(failure) => Err(failure),
    }
}

fn shown(state: &ServerState, grant: &Token, credential: &Credential) -> serde_json::Value {
    let mut answer = match credential {
        Credential::Certificate(issued) => certificates::shown(issued),
        Credential::Bearer(token, expires) => json!({
            "apiVersion": NANOCLOUD_V1,
            "token": token.expose_secret(),
            "ca": state.authority.certificate_pem(),
            "expiresAt": expires.to_string(),
        }),
    };
    answer["kind"] = "Credential".into();
    answer["user"] = grant.spec.user.clone().into();
    answer
}

/// The single-use token of the request's `Authorization`.
pub(super) fn presented(context: &RequestContext) -> Result<SingleUseToken> {
    let value = context.parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token =
        value.and_then(|value| value.split_once(' ')).and_then(|(_, token)| SingleUseToken::parse(token.trim()));
    token.ok_or_else(|| {
        ApiError::unauthorized("an exchange needs a single-use token")
            .remedy("send it as Authorization: Bearer <id>.<secret>; get one with `nanocloud token`")
    })
}

fn record(token: &Token) -> TokenRecord {
    TokenRecord {
        digest: token.spec.digest.clone(),
        minted: token.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
        expires: Some(token.spec.expires_at.0),
        consumed: token.status.as_ref().and_then(|status| status.consumed_at.as_ref()).map(|time| time.0),
    }
}

fn refuse(token: &SingleUseToken, outcome: TokenOutcome) -> ApiError {
    tracing::warn!(id = token.id(), reason = outcome.reason(), "single-use token refused");
    ApiError::unauthorized(outcome.message())
        .with_cause(outcome.reason(), outcome.message())
        .remedy("ask for a new token: nanocloud token")
}

fn credential(state: &ServerState, grant: &Token, wanted: &ExchangeRequest, now: Timestamp) -> Result<Credential> {
    let spec = &grant.spec;
    let scopes = match spec.scopes.is_empty() {
        true => None,
        false => Some(Scopes::parse(&spec.scopes.join(" ")).map_err(|error| ApiError::bad_request(error.to_string()))?),
    };
    if let Some(csr) = &wanted.csr {
        if scopes.is_some() {
            return Err(ApiError::bad_request(
                "a token with scopes becomes a bearer token: certificates carry no scopes",
            )
            .with_cause(cause::SCOPED_TOKEN, "certificates carry no scopes")
            .remedy("exchange it without csr"));
        }
        let wanted = certificates::Wanted {
            user: spec.user.clone(),
            groups: spec.groups.clone(),
            names: Vec::new(),
            ttl_seconds: wanted.ttl_seconds,
        };
        let issued = certificates::certify(state, csr, wanted)?;
        return Ok(Credential::Certificate(issued));
    }
    let ttl = Duration::from_secs(wanted.ttl_seconds.unwrap_or(limits::BEARER_SECONDS));
    let grant = TokenGrant {
        user: spec.user.clone(),
        groups: spec.groups.clone(),
        scopes,
        audience: API_AUDIENCE.to_owned(),
        ttl,
    };
    let token = state
        .tokens
        .issue(&grant, now)
        .map_err(|error| ApiError::bad_request(format!("the bearer token cannot be made: {error}")))?;
    Ok(Credential::Bearer(token, now.checked_add(ttl).unwrap_or(now)))
}

/// Keeps caches from storing the answer.
pub(super) fn confidential(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
