//! Authentication and authorisation of requests.

use api::{Kind, Reason, Status};
use http::{HeaderName, HeaderValue, Method, header};
use trust::{
    Attributes, CertificateInfo, Decision, SingleUseToken, Subject, VerifiedToken, jwt::API_AUDIENCE,
    subject::SERVICE_ACCOUNT_PREFIX,
};

use super::{account, context::RequestContext};
use crate::{
    api_error::{ApiError, Result},
    endpoint::{self, Access, Found},
    query::params::Query,
    route::{Route, Subresource},
    state::ServerState,
    strategies::{self, NodeAccess},
};

/// Headers of impersonation.
const IMPERSONATE: &str = "impersonate-";
const IMPERSONATE_USER: &str = "impersonate-user";
const IMPERSONATE_GROUP: &str = "impersonate-group";

/// The certificate a TLS client proved to own, in DER. Set per connection by the listener only.
#[derive(Clone, Debug)]
pub(crate) struct PeerCertificate(pub(crate) std::sync::Arc<[u8]>);

/// The subject that makes the request.
///
/// In-process callers carry their [`Subject`] as a request extension, which no header can set. Others prove
/// themselves by a bearer token or a TLS certificate; a caller with neither is anonymous.
pub(crate) async fn authenticate(context: &RequestContext, route: Option<&Route<'_>>) -> Result<Subject> {
    if let Some(subject) = context.parts.extensions.get::<Subject>() {
        return Ok(subject.clone());
    }
    let Some(value) = context.parts.headers.get(header::AUTHORIZATION) else {
        return match context.parts.extensions.get::<PeerCertificate>() {
            Some(certificate) => of_certificate(&context.state, &certificate.0),
            None => Ok(Subject::anonymous()),
        };
    };
    let bearer = value.to_str().ok().and_then(|value| value.split_once(' '));
    let Some(token) = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim())
    else {
        return Err(ApiError::unauthorized("only the Bearer scheme of Authorization is understood")
            .remedy("send Authorization: Bearer <token>, or use a client certificate"));
    };
    match of_bearer(&context.state, token)? {
        Bearer::Signed(verified) => {
            if let Some(claim) = &verified.account {
                account::check(&*context.state.registry, claim).await?;
            }
            Ok(verified.subject)
        }
        Bearer::SingleUse(id) => match route {
            Some(Route::Endpoint(found)) if found.endpoint.takes_single_use_token => Ok(Subject::bootstrapper(&id)),
            _ => Err(ApiError::unauthorized("a single-use token is good for its exchange only")
                .remedy("exchange it first: POST /apis/nanocloud.io/v1/tokens/exchange")),
        },
    }
}

/// A bearer token, as far as it can be verified without the keyspace.
#[derive(Debug)]
pub(crate) enum Bearer {
    /// A signed token that verified; what it is bound to may be gone.
    Signed(Box<VerifiedToken>),
    /// A token in the form of single-use tokens, by its public id. It is verified where it is used.
    SingleUse(String),
}

/// The subject of a verified TLS certificate.
pub(crate) fn of_certificate(state: &ServerState, der: &[u8]) -> Result<Subject> {
    let info = CertificateInfo::from_der(der).map_err(|error| ApiError {
        cause: Some(Box::new(error)),
        ..ApiError::unauthorized("the client certificate cannot be read")
    })?;
    // The handshake checked this once; a connection may outlive its certificate.
    let now = state.registry.now();
    if now < info.not_before || now > info.not_after {
        return Err(ApiError::unauthorized("the client certificate is not valid at this time")
            .remedy("get a new certificate, and check the clocks of both machines"));
    }
    if info.common_name.is_empty() {
        return Err(ApiError::unauthorized("the client certificate names no user (common name)"));
    }
    Ok(info.subject())
}

/// The subject of a bearer token.
pub(crate) fn of_bearer(state: &ServerState, token: &str) -> Result<Bearer> {
    if let Some(token) = SingleUseToken::parse(token) {
        return Ok(Bearer::SingleUse(token.id().to_owned()));
    }
    match state.tokens.verify(token, API_AUDIENCE, state.registry.now()) {
        Ok(verified) => Ok(Bearer::Signed(Box::new(verified))),
        Err(error) => Err(ApiError::unauthorized(format!("the bearer token is refused: {error}"))
            .remedy("get a new token: nanocloud token")),
    }
}

/// The subject that the request is decided for: the caller, or the user named in Kubernetes' impersonation headers.
///
/// Impersonation needs the right to it for the user and for each group, and is refused as a whole when a header is not understood: otherwise the request
/// would be decided for another subject than its sender meant.
pub(crate) async fn impersonate(context: &RequestContext, subject: Subject) -> Result<Subject> {
    let headers = &context.parts.headers;
    let Some(name) = headers.keys().map(HeaderName::as_str).find(|name| name.starts_with(IMPERSONATE)) else {
        return Ok(subject);
    };
    let text = |value: &HeaderValue| value.to_str().map(str::to_owned);
    let unread = |_| ApiError::bad_request(format!("{name} is no text"));
    let user = headers.get(IMPERSONATE_USER).map(text).transpose().map_err(unread)?.unwrap_or_default();
    let groups: Vec<String> =
        headers.get_all(IMPERSONATE_GROUP).iter().map(text).collect::<Result<_, _>>().map_err(unread)?;
    let other = headers
        .keys()
        .map(HeaderName::as_str)
        .find(|name| name.starts_with(IMPERSONATE) && ![IMPERSONATE_USER, IMPERSONATE_GROUP].contains(name));
    if let Some(other) = other {
        return Err(ApiError::bad_request(format!("{other}: only users and groups can be impersonated")));
    }
    if user.is_empty() {
        return Err(ApiError::bad_request(format!("{name} needs {IMPERSONATE_USER} beside it")));
    }
    let other = impersonated(user, groups);
    let asked: Vec<String> = headers.get_all(IMPERSONATE_GROUP).iter().flat_map(text).collect();
    for wanted in trust::attributes::impersonation(&other.user, &asked) {
        allow(&context.state, &subject, &wanted).await?;
    }
    Ok(other)
}

/// The subject of a name and groups. One that is named without groups has those that it always has.
fn impersonated(user: String, groups: Vec<String>) -> Subject {
    let account = user.strip_prefix(SERVICE_ACCOUNT_PREFIX).and_then(|account| account.split_once(':'));
    match account {
        Some((namespace, name)) if groups.is_empty() => Subject::service_account(namespace, name),
        _ if user == Subject::anonymous().user => Subject::anonymous(),
        _ => Subject::authenticated(user, groups),
    }
}

/// The verb of a request, in the words of authorisation.
pub(crate) fn verb(route: Option<&Route<'_>>, method: &Method, query: &Query) -> &'static str {
    let get = endpoint::verb(method);
    match route {
        Some(Route::Collection { .. }) => match get {
            // What cannot be read as a flag is judged as the stronger verb and refused later.
            "get" if query.flag("watch").unwrap_or(true) => "watch",
            "get" => "list",
            "delete" => "deletecollection",
            other => other,
        },
        // A session runs something: it is a creation, whatever method opens it.
        Some(Route::Object { subresource: Some(sub), .. }) if sub.is_session() => "create",
        _ => get,
    }
}

/// What a request wants.
pub(crate) fn attributes<'a>(route: &'a Route<'_>, verb: &'static str, path: &'a str) -> Attributes<'a> {
    match route {
        Route::Collection { kind, namespace } => Attributes {
            verb,
            group: kind.group(),
            resource: kind.plural(),
            namespace: namespace.as_deref().unwrap_or_default(),
            ..Attributes::default()
        },
        Route::Object { kind, namespace, name, subresource } => Attributes {
            verb,
            group: kind.group(),
            resource: kind.plural(),
            subresource: subresource.map_or("", Subresource::name),
            namespace: strategies::of(kind).place(namespace.as_deref().unwrap_or_default(), name),
            name,
            non_resource_path: None,
        },
        Route::Endpoint(Found { endpoint, params, .. }) => match endpoint.access {
            Access::Path => Attributes { verb, non_resource_path: Some(path), ..Attributes::default() },
            Access::Resource { group, resource, subresource } => {
                let (namespace, name) = (params.get("namespace"), params.get("name"));
                Attributes { verb, group, resource, subresource, namespace, name, non_resource_path: None }
            }
        },
    }
}

/// Refuses what the subject may not do: 401 without credentials, 403 with them.
pub(crate) async fn authorize(context: &RequestContext, route: &Route<'_>) -> Result<()> {
    let verb = verb(Some(route), &context.parts.method, &context.query);
    let path = match context.parts.uri.path().trim_end_matches('/') {
        "" => "/",
        path => path,
    };
    allow(&context.state, &context.subject, &attributes(route, verb, path)).await
}

async fn allow(state: &ServerState, subject: &Subject, request: &Attributes<'_>) -> Result<()> {
    match state.authorizer.decide(subject, request).await? {
        Decision::Allow { .. } => Ok(()),
        Decision::Deny { reason } if subject.is_anonymous() => {
            Err(ApiError::unauthorized(reason).remedy("use a client certificate or Authorization: Bearer <token>"))
        }
        Decision::Deny { reason } => Err(refused(subject, request, &reason)),
    }
}

/// 403 in the words of Kubernetes.
fn refused(subject: &Subject, request: &Attributes<'_>, reason: &str) -> ApiError {
    let Attributes { verb, group, resource, subresource, namespace, name, .. } = request;
    let plural = if group.is_empty() { (*resource).to_owned() } else { format!("{resource}.{group}") };
    let (about, what) = match request.non_resource_path {
        Some(path) => ("forbidden: ".to_owned(), format!("path {path:?}")),
        None => {
            let part = if subresource.is_empty() { "" } else { "/" };
            let place = match *namespace {
                "" => "at the cluster scope".to_owned(),
                namespace => format!("in the namespace {namespace:?}"),
            };
            let named = if name.is_empty() { String::new() } else { format!(" {name:?}") };
            let what = format!("resource \"{resource}{part}{subresource}\" in API group {group:?} {place}");
            (format!("{plural}{named} is forbidden: "), what)
        }
    };
    let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    let message = format!("{about}User {:?} cannot {verb} {what}{reason}", subject.user);
    ApiError::from(Status::failure(Reason::Forbidden, message).about(&plural, name))
        .remedy("ask an administrator for a role or a token that covers it")
}

/// Whether the caller may create an object: applying to what is not there creates it.
pub(crate) async fn may_create(
    context: &RequestContext,
    kind: &Kind,
    namespace: Option<&str>,
    name: &str,
) -> Result<bool> {
    let wanted = Attributes {
        verb: "create",
        group: kind.group(),
        resource: kind.plural(),
        namespace: namespace.unwrap_or_default(),
        name,
        ..Attributes::default()
    };
    Ok(context.state.authorizer.decide(&context.subject, &wanted).await?.is_allowed())
}

/// 404 for authenticated callers; anonymous ones get 401 and cannot probe for endpoints.
pub(crate) fn unknown_route(context: &RequestContext) -> ApiError {
    if context.subject.is_anonymous() {
        return ApiError::unauthorized("authentication is needed")
            .remedy("use a client certificate or Authorization: Bearer <token>");
    }
    let mut failure =
        ApiError::new(Reason::NotFound, format!("the server has no endpoint {}", context.parts.uri.path()))
            .remedy("see `kubectl api-resources` for what is served");
    // kubectl reads the details of every 404 to tell a missing object from a missing endpoint.
    failure.status.details.get_or_insert_default();
    failure
}

/// Keeps a node to what is its own, as the kind's strategy says.
pub(crate) async fn confine_node(
    state: &ServerState,
    subject: &Subject,
    method: &Method,
    route: &Route<'_>,
) -> Result<()> {
    let Some(node) = subject.node_name() else { return Ok(()) };
    let Route::Object { kind, namespace: Some(namespace), name, subresource } = route else { return Ok(()) };
    let changes = !matches!(*method, Method::GET | Method::HEAD);
    let is_session = subresource.is_some_and(Subresource::is_session);
    let access = NodeAccess { node, namespace, name, changes, is_session };
    strategies::of(kind).confine(&*state.registry, access).await
}
