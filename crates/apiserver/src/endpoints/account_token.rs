//! `POST serviceaccounts/{name}/token`: a token of a service account, for an audience and a time, perhaps bound to a pod.

use std::time::Duration;

use api::{
    FieldError, Kind, ObjectMeta, Resource, Time,
    k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec, TokenRequestStatus},
    kinds::{Pod, Secret},
};
use axum::response::Response;
use http::StatusCode;
use jiff::SignedDuration;
use serde_json::Value;
use trust::{
    ExposeSecret,
    jwt::{API_AUDIENCE, AccountClaim, MAX_TTL, ObjectClaim},
};

use crate::{
    api_error::{ApiError, Result},
    object,
    registry::Registry,
    request::{body, context::RequestContext, response},
};

/// Lifetime of a token when nobody asks for another, as in Kubernetes.
const DEFAULT_SECONDS: i64 = 3_600;
/// Shortest lifetime, as in Kubernetes.
const SHORTEST_SECONDS: i64 = 600;
/// Longest lifetime that can be asked for, as in Kubernetes; what is given is never longer than [`MAX_TTL`].
const LONGEST_SECONDS: i64 = 1 << 32;
/// Most audiences of one token.
const AUDIENCES_MAX: usize = 16;

pub(crate) async fn create(mut context: RequestContext, kind: &Kind, namespace: &str, name: &str) -> Result<Response> {
    let bytes = context.take_body();
    let document = body::document(&context.parts.headers, &bytes)?;
    let mut asked: TokenRequest = serde_json::from_value(document)
        .map_err(|error| ApiError::bad_request(format!("the body is no TokenRequest: {error}")))?;
    let spec = asked.spec.get_or_insert_default();
    let seconds = *spec.expiration_seconds.get_or_insert(DEFAULT_SECONDS);
    let audiences = spec.audiences.get_or_insert_default();
    if audiences.is_empty() {
        audiences.push(API_AUDIENCE.to_owned());
    }
    let audiences = audiences.clone();
    let errors = errors(spec);
    if !errors.is_empty() {
        return Err(api::Status::invalid("TokenRequest", name, &errors).into());
    }
    let registry = &context.state.registry;
    let account = registry.get(kind, Some(namespace), name).await?;
    let bound = match &spec.bound_object_ref {
        Some(reference) => Some((reference.clone(), bound(registry, namespace, name, reference).await?)),
        None => None,
    };
    confine(&context, bound.as_ref().map(|(_, found)| found))?;
    let claim = |of: &str| {
        let (reference, found) = bound.as_ref()?;
        (reference.kind.as_deref() == Some(of)).then(|| claim(found))
    };
    let account = AccountClaim {
        namespace: namespace.to_owned(),
        serviceaccount: self::claim(&account.object),
        pod: claim(Pod::KIND),
        secret: claim(Secret::KIND),
    };
    let ttl = Duration::from_secs(seconds.unsigned_abs()).min(MAX_TTL);
    let now = registry.now();
    let token = context.state.tokens.issue_for_account(&account, audiences, ttl, now);
    let token = token.map_err(|error| ApiError::bad_request(format!("the token cannot be made: {error}")))?;
    let lifetime = SignedDuration::try_from(ttl).unwrap_or(SignedDuration::ZERO);
    spec.expiration_seconds = Some(lifetime.as_secs());
    asked.metadata = ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(namespace.to_owned()),
        creation_timestamp: Some(Time(now)),
        ..ObjectMeta::default()
    };
    asked.status = Some(TokenRequestStatus {
        expiration_timestamp: Some(Time(now.saturating_add(lifetime).unwrap_or(now))),
        token: Some(token.expose_secret().to_owned()),
    });
    tracing::debug!(namespace, account = name, by = %context.subject, "token of a service account issued");
    let answer = serde_json::to_value(&asked);
    let answer = answer.map_err(|error| ApiError::internal("the token request cannot be written", error))?;
    Ok(response::document(StatusCode::CREATED, answer))
}

fn errors(spec: &TokenRequestSpec) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let seconds = spec.expiration_seconds.unwrap_or(DEFAULT_SECONDS);
    if seconds < SHORTEST_SECONDS {
        errors.push(FieldError::invalid("spec.expirationSeconds", "may not specify a duration less than 10 minutes"));
    } else if seconds > LONGEST_SECONDS {
        errors
            .push(FieldError::invalid("spec.expirationSeconds", "may not specify a duration larger than 2^32 seconds"));
    }
    let audiences = spec.audiences.as_deref().unwrap_or_default();
    if audiences.len() > AUDIENCES_MAX {
        errors.push(FieldError::too_many("spec.audiences", audiences.len(), AUDIENCES_MAX));
    }
    errors
}

/// The object that a token is to be bound to.
async fn bound(registry: &Registry, namespace: &str, account: &str, reference: &BoundObjectReference) -> Result<Value> {
    let plural = match (reference.api_version.as_deref(), reference.kind.as_deref()) {
        (Some("v1"), Some(Pod::KIND)) => Pod::PLURAL,
        (Some("v1"), Some(Secret::KIND)) => Secret::PLURAL,
        (version, kind) => {
            let message = format!("cannot bind token to object of type {version:?} {kind:?}: name a v1 Pod or Secret");
            return Err(ApiError::bad_request(message));
        }
    };
    let name = reference.name.as_deref().unwrap_or_default();
    let found = registry.get(registry.kind(plural)?, Some(namespace), name).await?.object;
    let uid = reference.uid.as_deref().unwrap_or_default();
    if !uid.is_empty() && uid != object::uid(&found) {
        let message = format!("the UID in the bound object reference ({uid}) does not match the UID in record");
        return Err(ApiError::conflict(registry.kind(plural)?, name, &message));
    }
    if plural == Pod::PLURAL && object::text(&found, "/spec/serviceAccountName") != account {
        let message = format!("cannot bind token for serviceaccount {account:?} to pod running with another account");
        return Err(ApiError::bad_request(message));
    }
    Ok(found)
}

/// A node makes tokens for its own pods only.
fn confine(context: &RequestContext, bound: Option<&Value>) -> Result<()> {
    let Some(node) = context.subject.node_name() else { return Ok(()) };
    if bound.is_some_and(|pod| object::text(pod, "/spec/nodeName") == node) {
        return Ok(());
    }
    Err(ApiError::forbidden(format!("node {node:?} may make tokens for pods on itself only, and bound to them")))
}

fn claim(object: &Value) -> ObjectClaim {
    ObjectClaim { name: object::name(object).to_owned(), uid: object::uid(object).to_owned() }
}
