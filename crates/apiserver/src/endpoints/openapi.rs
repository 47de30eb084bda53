//! `/openapi/v2` and `/openapi/v3`.

use api::Reason;
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;

use crate::{
    api_error::{ApiError, Result, not_acceptable},
    openapi::OpenApi,
    query::negotiate::{self, OpenApiFormat},
    request::{context::RequestContext, response},
};

fn openapi(context: &RequestContext) -> &OpenApi {
    context.served.openapi(&context.state.endpoints)
}

fn serve(context: &RequestContext, body: &Bytes) -> Result<Response> {
    if !negotiate::json(context.accept()) {
        return Err(not_acceptable("application/json"));
    }
    Ok(response::typed(StatusCode::OK, "application/json", body.clone()))
}

/// `/openapi/v2`.
pub(super) async fn v2(context: RequestContext) -> Result<Response> {
    match negotiate::openapi(context.accept()) {
        Some(OpenApiFormat::Json) => {
            Ok(response::typed(StatusCode::OK, "application/json", openapi(&context).v2.clone()))
        }
        Some(OpenApiFormat::Protobuf) => {
            Ok(response::typed(StatusCode::OK, negotiate::OPENAPI_PROTOBUF, openapi(&context).v2_protobuf.clone()))
        }
        None => Err(not_acceptable("application/json")),
    }
}

/// `/openapi/v3`.
pub(super) async fn index(context: RequestContext) -> Result<Response> {
    serve(&context, &openapi(&context).index)
}

/// `/openapi/v3/{api/version, apis/group/version}`.
pub(super) async fn document(context: RequestContext) -> Result<Response> {
    match openapi(&context).document(context.params.get("group"), context.params.get("version")) {
        Some(body) => serve(&context, body),
        None => Err(ApiError::new(Reason::NotFound, "no such document")),
    }
}
