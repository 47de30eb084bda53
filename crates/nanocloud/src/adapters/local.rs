//! The API server as a service of this process: same admission and authorisation, no socket.

use axum::Router;
use client::{Body, Client, InProcess};
use http_body_util::BodyExt;
use tower::ServiceExt;
use trust::Subject;

/// A client of `router` as `subject`.
pub fn client(router: &Router, subject: Subject) -> Client {
    let service = router
        .clone()
        .map_request(|request: axum::http::Request<Body>| request.map(axum::body::Body::new))
        .map_response(|response: axum::response::Response| {
            response.map(|body| body.map_err(Into::into).boxed_unsync())
        });
    Client::in_process(InProcess::new(service), subject)
}
