//! The one way in: trace, route, authenticate, authorise, serve, count, log.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Instant};

use axum::{
    extract::{Request, State},
    response::Response,
};
use bytes::Bytes;
use futures::FutureExt;
use http::{HeaderValue, Method, header, request::Parts};
use tracing::Instrument;
use trust::Subject;

use super::{
    actions, answer, auth, binding, body, collection, discovery, health, keyspace, object, review, scale, watch,
};
use crate::{
    app::App,
    failure::{Failure, Outcome},
    identity, limits,
    listen::Activity,
    openapi,
    options::{Query, WriteOptions},
    places::Memory,
    registry::Part,
    route::{KeyspacePart, Route, Subresource},
    streams,
};

/// Header with the id of the request in the server's log.
const TRACE_HEADER: &str = "x-trace-id";

/// A request on its way through the server.
pub(crate) struct Call {
    pub(crate) app: Arc<App>,
    pub(crate) parts: Parts,
    /// The body, once the request is authorised; empty when its method has none.
    pub(crate) body: Bytes,
    pub(crate) query: Query,
    pub(crate) trace: Arc<str>,
    /// Set once the request is authenticated.
    pub(crate) subject: Subject,
    /// What the body takes, until the request is served.
    _memory: Memory,
}

impl Call {
    /// The `Accept` header; several are one list.
    pub(crate) fn accept(&self) -> &str {
        self.parts.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// How a write is meant. Who does not name itself as manager is known by its program, or else by its user.
    pub(crate) fn write_options(&self) -> Outcome<WriteOptions> {
        let mut options = WriteOptions::parse(&self.query)?;
        options.by_node = self.subject.node_name().is_some();
        if options.manager.is_empty() {
            let agent = self.parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
            let program = agent.and_then(|agent| agent.split('/').next()).filter(|program| !program.is_empty());
            let name = program.unwrap_or(&self.subject.user);
            options.manager = name.chars().filter(char::is_ascii_graphic).take(limits::MAX_MANAGER_BYTES).collect();
        }
        Ok(options)
    }

    /// The body, once.
    pub(crate) fn take_body(&mut self) -> Bytes {
        std::mem::take(&mut self.body)
    }
}

/// What a request is counted as.
#[derive(Clone, Copy, Debug)]
struct Label {
    verb: &'static str,
    group: &'static str,
    resource: &'static str,
}

/// Serves a request. Never fails: every failure is an answer.
pub(crate) async fn serve(State(app): State<Arc<App>>, request: Request) -> Response {
    let began = Instant::now();
    let trace: Arc<str> = uuid::Uuid::new_v4().simple().to_string().into();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let span = tracing::info_span!("request", trace_id = %trace, %method, path, user = tracing::field::Empty);
    let is_own = request.extensions().get::<Subject>().is_some();
    let route = Route::parse(&method, &decoded(&path));
    let label = label(route.as_ref(), &method, request.uri().query());
    let handled = AssertUnwindSafe(handle(app.clone(), route, request, trace.clone())).catch_unwind();
    let outcome = handled.instrument(span.clone()).await.unwrap_or_else(|_| {
        let message = "the server failed on this request";
        Err(Failure::new(500, "InternalError", message)
            .remedy("look for the trace id in the server's log and report it"))
    });
    let _entered = span.enter();
    let mut response = match outcome {
        Ok(response) => response,
        Err(failure) => {
            log(&failure, is_own);
            answer::failure(&failure, &trace)
        }
    };
    if let Ok(value) = HeaderValue::from_str(&trace) {
        response.headers_mut().insert(TRACE_HEADER, value);
    }
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache, private"));
    app.metrics.answered(label.verb, label.group, label.resource, response.status().as_u16(), began.elapsed());
    tracing::debug!(status = response.status().as_u16(), "answered");
    response
}

/// Writes a failure down, under the trace id that its sender was told; the line carries method, path and user, too.
///
/// What a refusal says may repeat what the request contained, so it is not written down. Refusals of the process' own
/// parts are their everyday business.
fn log(failure: &Failure, is_own: bool) {
    let (code, reason, message) = (failure.status.code, &failure.status.reason, &failure.status.message);
    if code < 500 {
        match is_own {
            true => tracing::debug!(code, reason, "request refused"),
            false => tracing::info!(code, reason, "request refused"),
        }
        return;
    }
    let mut chain = String::new();
    let mut source = failure.cause.as_ref().map(|cause| &**cause as &dyn std::error::Error);
    while let Some(error) = source {
        chain.push_str(&format!(": {error}"));
        source = error.source();
    }
    tracing::error!(code, reason, message, cause = chain.trim_start_matches(": "), "request failed");
}

/// A path with its percent signs resolved, part by part: an encoded slash never makes a part.
fn decoded(path: &str) -> String {
    let parts = path.split('/').map(|part| {
        let mut out = Vec::with_capacity(part.len());
        let mut bytes = part.bytes();
        while let Some(byte) = bytes.next() {
            let rest = bytes.as_slice_hex();
            match (byte, rest) {
                (b'%', Some(value)) => {
                    out.push(value);
                    bytes.nth(1);
                }
                _ => out.push(byte),
            }
        }
        // What is no name stays visible as such, and matches nothing.
        String::from_utf8(out).map_or_else(|_| part.to_owned(), |text| text.replace('/', "%2F"))
    });
    parts.collect::<Vec<_>>().join("/")
}

/// The next two hexadecimal digits of an iterator over bytes.
trait Hex {
    fn as_slice_hex(&self) -> Option<u8>;
}

impl Hex for std::str::Bytes<'_> {
    fn as_slice_hex(&self) -> Option<u8> {
        let mut ahead = self.clone();
        let digits = [ahead.next()?, ahead.next()?];
        u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()
    }
}

fn label(route: Option<&Route>, method: &Method, query: Option<&str>) -> Label {
    let (group, resource) = match route {
        Some(Route::Collection { kind, .. } | Route::Object { kind, .. } | Route::BundleAction { kind, .. }) => {
            (kind.group, kind.plural)
        }
        Some(Route::Review(review)) => (review.group, review.plural),
        Some(_) => ("", "-"),
        None => ("", "unknown"),
    };
    let verb = auth::verb(route, method, &Query::parse(query));
    Label { verb, group, resource }
}

async fn handle(app: Arc<App>, route: Option<Route>, request: Request, trace: Arc<str>) -> Outcome<Response> {
    let (parts, body) = request.into_parts();
    let query = Query::parse(parts.uri.query());
    let mut call = Call {
        app,
        parts,
        body: Bytes::new(),
        query,
        trace,
        subject: Subject::anonymous(),
        _memory: Memory::default(),
    };
    let subject = auth::authenticate(&call, route.as_ref())?;
    tracing::Span::current().record("user", subject.user.as_str());
    // Whoever is spoken for, the places are the caller's own.
    let app = call.app.clone();
    let lane = app.places.of(&subject);
    call.subject = auth::impersonate(&call, subject)?;
    let Some(route) = route else {
        return Err(auth::unknown_route(&call));
    };
    auth::authorize(&call, &route)?;
    let methods = route.methods();
    if !methods.contains(&call.parts.method) {
        return Err(wrong_method(&call.parts.method, methods));
    }
    if reads_body(&route, &call.parts.method) {
        (call.body, call._memory) = body::read(body, lane).await?;
    }
    if is_read_at_leisure(&route)
        && let Some(activity) = call.parts.extensions.get::<Arc<Activity>>()
    {
        activity.unhurried();
    }
    let _place = takes_place(&route).then(|| lane.admit()).transpose()?;
    auth::confine_node(&call.app, &call.subject, &call.parts.method, &route).await?;
    tracing::debug!("authorised");
    dispatch(call, route).await
}

/// Whether the request's body is read before it is served. Sessions have none: what follows is their conversation.
fn reads_body(route: &Route, method: &Method) -> bool {
    let is_session = matches!(route, Route::Object { subresource: Some(part), .. } if part.is_session());
    !is_session && !matches!(*method, Method::GET | Method::HEAD)
}

/// Whether people read the answer as they like, such as a log in a pager.
fn is_read_at_leisure(route: &Route) -> bool {
    match route {
        Route::Object { subresource: Some(part), .. } => *part == Subresource::Log || part.is_session(),
        Route::Keyspace(part) => *part == KeyspacePart::Snapshot,
        _ => false,
    }
}

/// Whether the request takes a place of short ones. Probes answer when all are taken, and streams have their own.
fn takes_place(route: &Route) -> bool {
    match route {
        Route::Probe(_) | Route::Object { subresource: Some(Subresource::Log), .. } => false,
        Route::Object { subresource: Some(part), .. } => !part.is_session(),
        _ => true,
    }
}

fn wrong_method(method: &Method, methods: &[Method]) -> Failure {
    let served = methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
    Failure::new(405, "MethodNotAllowed", format!("{method} is not allowed here"))
        .remedy(format!("this endpoint takes {served}"))
}

async fn dispatch(call: Call, route: Route) -> Outcome<Response> {
    match route {
        Route::Probe(probe) => health::probe(call, probe).await,
        Route::ServerVersion => Ok(health::version()),
        Route::Metrics => health::metrics(call).await,
        Route::Paths => Ok(discovery::paths()),
        Route::CoreVersions => discovery::core_versions(&call),
        Route::Groups => discovery::groups(&call),
        Route::Group(group) => discovery::group(&call, group),
        Route::Resources { group, version } => discovery::resources(&call, group, version),
        Route::OpenApiV2 => openapi::v2(&call),
        Route::OpenApiIndex => openapi::index(&call),
        Route::OpenApi { group, version } => openapi::document(&call, group, version),
        Route::Review(asked) => review::answer(call, asked).await,
        Route::Keyspace(part) => keyspace::serve(call, part).await,
        Route::IssueToken => identity::issue(call).await,
        Route::ExchangeToken => identity::exchange(call).await,
        Route::SignCertificate => identity::sign(call).await,
        Route::Members { status } => identity::members::list(call, status).await,
        Route::JoinMember => identity::members::join(call).await,
        Route::ChangeMember { name, action } => identity::members::change(call, &name, action).await,
        Route::BundleAction { kind, namespace, name, action } => {
            actions::run(call, kind, &namespace, &name, action).await
        }
        Route::Collection { kind, namespace } => {
            let namespace = namespace.as_deref();
            match call.parts.method {
                Method::POST => collection::create(call, kind, namespace).await,
                Method::DELETE => collection::delete(call, kind, namespace).await,
                _ if call.query.flag("watch")? => watch::watch(call, kind, namespace).await,
                _ => collection::list(call, kind, namespace).await,
            }
        }
        Route::Object { kind, namespace, name, subresource } => {
            let namespace = namespace.as_deref();
            match (subresource, call.parts.method.clone()) {
                (None, Method::PUT | Method::PATCH) => object::update(call, kind, namespace, &name, Part::Main).await,
                (None, Method::DELETE) => object::delete(call, kind, namespace, &name).await,
                (None, _) | (Some(Subresource::Status), Method::GET) => object::get(call, kind, namespace, &name).await,
                (Some(Subresource::Status), _) => object::update(call, kind, namespace, &name, Part::Status).await,
                (Some(Subresource::Finalize), _) => object::update(call, kind, namespace, &name, Part::Finalize).await,
                (Some(Subresource::Binding), _) => binding::create(call, kind, namespace, &name).await,
                (Some(Subresource::Scale), _) => scale::serve(call, kind, namespace, &name).await,
                (Some(sub), _) => streams::serve(call, kind, namespace.unwrap_or_default(), &name, sub).await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoded_slash_makes_no_part() {
        assert_eq!(decoded("/api/v1/pods"), "/api/v1/pods");
        assert_eq!(decoded("/a%2Db/%41"), "/a-b/A");
        assert_eq!(decoded("/a%2Fb"), "/a%2Fb");
        assert_eq!(decoded("/%zz/%f"), "/%zz/%f");
    }
}
