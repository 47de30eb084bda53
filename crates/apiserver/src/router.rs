//! The entry of all requests: trace, route, authenticate, authorise, serve, count, log.

use std::{fmt, panic::AssertUnwindSafe, sync::Arc, time::Instant};

use api::Reason;
use axum::{
    body::Body,
    extract::{Request, State},
    response::Response,
};
use bytes::Bytes;
use futures::FutureExt;
use http::{HeaderValue, Method, header};
use percent_encoding::percent_decode_str;
use tracing::Instrument;
use trust::Subject;

use crate::{
    api_error::{ApiError, Result},
    catalog::Served,
    endpoint::{Access, Load, Params},
    endpoints::{Handler, account_token, collection, object, pod_binding, pod_streams, scale, watch},
    listen::Activity,
    places::{Lane, Memory},
    protobuf,
    query::{
        negotiate::{self, Encoding},
        params::Query,
    },
    registry::Target,
    request::{auth, body, context::RequestContext, response},
    route::{Route, Subresource},
    state::ServerState,
};

/// Header with the id of the request in the server's log.
const TRACE_HEADER: &str = "x-trace-id";

/// What the router needs: the state of the server, and the handlers of its table of endpoints.
pub(crate) struct Service {
    pub(crate) state: Arc<ServerState>,
    pub(crate) handlers: Vec<Handler>,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("state", &self.state).finish_non_exhaustive()
    }
}

/// What a request is counted as.
#[derive(Clone, Copy, Debug)]
struct Label<'a> {
    verb: &'static str,
    group: &'a str,
    resource: &'a str,
}

/// Serves a request. Never fails: every failure is an answer.
pub(crate) async fn serve(State(service): State<Arc<Service>>, request: Request) -> Response {
    let began = Instant::now();
    let trace: Arc<str> = uuid::Uuid::new_v4().simple().to_string().into();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let span = tracing::info_span!("request", trace_id = %trace, %method, path, user = tracing::field::Empty);
    let is_own = request.extensions().get::<Subject>().is_some();
    let served = service.state.catalog.now();
    let route = Route::parse(&served.kinds, &service.state.endpoints, &method, &decoded(&path));
    let encoding = encoding(route.as_ref(), &request);
    let label = label(route.as_ref(), &method, request.uri().query());
    let handled = AssertUnwindSafe(handle(&service, served.clone(), route, request, trace.clone())).catch_unwind();
    let outcome = handled.instrument(span.clone()).await.unwrap_or_else(|_| {
        let message = "the server failed on this request";
        Err(ApiError::new(Reason::InternalError, message)
            .remedy("look for the trace id in the server's log and report it"))
    });
    let _entered = span.enter();
    let mut response = match outcome {
        Ok(response) => response,
        Err(failure) => {
            log(&failure, is_own);
            response::failure(&failure, &trace)
        }
    };
    response = response::written(response, encoding);
    if let Ok(value) = HeaderValue::from_str(&trace) {
        response.headers_mut().insert(TRACE_HEADER, value);
    }
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache, private"));
    service.state.metrics.answered(
        label.verb,
        label.group,
        label.resource,
        response.status().as_u16(),
        began.elapsed(),
    );
    tracing::debug!(status = response.status().as_u16(), "answered");
    response
}

/// In which form the answer is written: objects as their kind can be, and everything else as the client prefers.
fn encoding(route: Option<&Route<'_>>, request: &Request) -> Encoding {
    let accept = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match route {
        Some(Route::Collection { kind, .. } | Route::Object { kind, .. }) => {
            let found = negotiate::objects(accept, || protobuf::has(kind));
            found.map_or(Encoding::Json, |(_, encoding)| encoding)
        }
        _ => negotiate::document(accept),
    }
}

/// Logs a failure under the trace id of its response; the line carries method, path and user, too.
///
/// The message of a refusal may repeat what the request contained, so it is not logged. Refusals of requests from
/// inside the process are ordinary, such as conflicts.
fn log(failure: &ApiError, is_own: bool) {
    let (code, reason, message) = (failure.status.code, &failure.status.reason, &failure.status.message);
    if code < 500 {
        match is_own {
            true => tracing::debug!(code, %reason, "request refused"),
            false => tracing::info!(code, %reason, "request refused"),
        }
        return;
    }
    let mut chain = String::new();
    let mut source = failure.cause.as_ref().map(|cause| &**cause as &dyn std::error::Error);
    while let Some(error) = source {
        chain.push_str(&format!(": {error}"));
        source = error.source();
    }
    tracing::error!(code, %reason, message, cause = chain.trim_start_matches(": "), "request failed");
}

/// A path with its percent signs resolved, part by part: an encoded slash never makes a part.
fn decoded(path: &str) -> String {
    let parts = path.split('/').map(|part| match percent_decode_str(part).decode_utf8() {
        Ok(text) => text.replace('/', "%2F"),
        // What is no text stays visible as it was sent, and matches nothing.
        Err(_) => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("/")
}

fn label<'a>(route: Option<&Route<'a>>, method: &Method, query: Option<&str>) -> Label<'a> {
    let (group, resource) = match route {
        Some(Route::Collection { kind, .. } | Route::Object { kind, .. }) => (kind.group(), kind.plural()),
        Some(Route::Endpoint(found)) => match found.endpoint.access {
            Access::Resource { group, resource, .. } => (group, resource),
            Access::Path => ("", "-"),
        },
        None => ("", "unknown"),
    };
    let verb = auth::verb(route, method, &Query::parse(query));
    Label { verb, group, resource }
}

async fn handle(
    service: &Service,
    served: Arc<Served>,
    route: Option<Route<'_>>,
    request: Request,
    trace: Arc<str>,
) -> Result<Response> {
    let (parts, body) = request.into_parts();
    let query = Query::parse(parts.uri.query());
    let mut context = RequestContext {
        state: service.state.clone(),
        served,
        parts,
        body: Bytes::new(),
        params: Params::default(),
        query,
        trace,
        subject: Subject::anonymous(),
        memory: Memory::default(),
    };
    let subject = auth::authenticate(&context, route.as_ref()).await?;
    tracing::Span::current().record("user", subject.user.as_str());
    // An impersonated request takes the places of its caller.
    let lane = service.state.places.of(&subject);
    context.subject = auth::impersonate(&context, subject).await?;
    if route.is_none() && !context.subject.is_anonymous() {
        let path = decoded(context.parts.uri.path());
        if let Some(served) = service.state.catch_up(&path).await? {
            context.served = served.clone();
            let route = Route::parse(&served.kinds, &service.state.endpoints, &context.parts.method, &path);
            return admitted(service, context, body, route, lane).await;
        }
    }
    admitted(service, context, body, route, lane).await
}

/// Serves a request of a subject that is known.
async fn admitted(
    service: &Service,
    mut context: RequestContext,
    body: Body,
    route: Option<Route<'_>>,
    lane: &Lane,
) -> Result<Response> {
    let Some(route) = route else {
        return Err(auth::unknown_route(&context));
    };
    auth::authorize(&context, &route).await?;
    let methods = route.methods(&service.state.endpoints);
    if !methods.contains(&context.parts.method) {
        return Err(ApiError::method_not_allowed(&context.parts.method, methods));
    }
    if reads_body(&route, &context.parts.method) {
        (context.body, context.memory) = body::read(body, lane).await?;
    }
    if is_read_at_leisure(&route)
        && let Some(activity) = context.parts.extensions.get::<Arc<Activity>>()
    {
        activity.unhurried();
    }
    let _place = takes_place(&route).then(|| lane.admit()).transpose()?;
    auth::confine_node(&context.state, &context.subject, &context.parts.method, &route).await?;
    tracing::debug!("authorised");
    let deprecation = route.kind().and_then(|kind| kind.facts().custom.as_ref()?.deprecation.clone());
    let response = dispatch(service, context, route).await?;
    Ok(response::warn(response, deprecation.as_slice()))
}

/// Whether the request's body is read before it is served. Sessions have none: what follows is their conversation.
fn reads_body(route: &Route<'_>, method: &Method) -> bool {
    let is_session = matches!(route, Route::Object { subresource: Some(part), .. } if part.is_session());
    !is_session && !matches!(*method, Method::GET | Method::HEAD)
}

/// Whether people read the answer as they like, such as a log in a pager.
fn is_read_at_leisure(route: &Route<'_>) -> bool {
    match route {
        Route::Object { subresource: Some(part), .. } => *part == Subresource::Log || part.is_session(),
        Route::Endpoint(found) => found.endpoint.load == Load::Download,
        _ => false,
    }
}

/// Whether the request takes a place of short ones. Probes answer when all are taken, and streams have their own.
fn takes_place(route: &Route<'_>) -> bool {
    match route {
        Route::Endpoint(found) => found.endpoint.load != Load::Probe,
        Route::Object { subresource: Some(Subresource::Log), .. } => false,
        Route::Object { subresource: Some(part), .. } => !part.is_session(),
        _ => true,
    }
}

async fn dispatch(service: &Service, mut context: RequestContext, route: Route<'_>) -> Result<Response> {
    match route {
        Route::Endpoint(found) => {
            context.params = found.params;
            match service.handlers.get(found.index) {
                Some(handler) => handler(context).await,
                None => Err(auth::unknown_route(&context)),
            }
        }
        Route::Collection { kind, namespace } => {
            let namespace = namespace.as_deref();
            match context.parts.method {
                Method::POST => collection::create(context, kind, namespace).await,
                Method::DELETE => collection::delete(context, kind, namespace).await,
                _ if context.query.flag("watch")? => watch::watch(context, kind, namespace).await,
                _ => collection::list(context, kind, namespace).await,
            }
        }
        Route::Object { kind, namespace, name, subresource } => {
            let namespace = namespace.as_deref();
            match (subresource, context.parts.method.clone()) {
                (None, Method::PUT | Method::PATCH) => {
                    object::update(context, kind, namespace, &name, Target::Object).await
                }
                (None, Method::DELETE) => object::delete(context, kind, namespace, &name).await,
                (None, _) | (Some(Subresource::Status), Method::GET) => {
                    object::get(context, kind, namespace, &name).await
                }
                (Some(Subresource::Status), _) => object::update(context, kind, namespace, &name, Target::Status).await,
                (Some(Subresource::Finalize), _) => {
                    object::update(context, kind, namespace, &name, Target::Finalize).await
                }
                (Some(Subresource::Binding), _) => pod_binding::create(context, kind, namespace, &name).await,
                (Some(Subresource::Token), _) => {
                    account_token::create(context, kind, namespace.unwrap_or_default(), &name).await
                }
                (Some(Subresource::Scale), _) => scale::serve(context, kind, namespace, &name).await,
                (Some(sub), _) => pod_streams::serve(context, kind, namespace.unwrap_or_default(), &name, sub).await,
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
