//! Health, version and metrics.

use axum::response::Response;
use http::StatusCode;
use serde_json::json;

use crate::{
    api_error::{Result, not_acceptable},
    metrics,
    query::negotiate,
    request::{context::RequestContext, response},
};

/// Kubernetes' version whose API we follow, for clients that look at it.
const KUBERNETES: (&str, &str, &str) = ("1", "36", "v1.36.0+nanocloud-");

/// Which health endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probe {
    Health,
    Live,
    Ready,
}

/// `/version`.
pub(super) async fn version(_context: RequestContext) -> Result<Response> {
    let (major, minor, prefix) = KUBERNETES;
    let body = json!({
        "major": major,
        "minor": minor,
        "gitVersion": format!("{prefix}{}", env!("CARGO_PKG_VERSION")),
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    });
    Ok(response::document(StatusCode::OK, body))
}

/// `/healthz`, `/livez` and `/readyz`: `ok`, or 503 when the keyspace cannot be read; `/readyz` also when it has damage.
pub(super) async fn probe(context: RequestContext, probe: Probe) -> Result<Response> {
    let verbose = context.query.flag("verbose")?;
    let keyspace = match probe {
        // That this is answered is all there is to know.
        Probe::Live => Ok(()),
        Probe::Health => context.state.check_ready().await,
        Probe::Ready => match context.state.check_ready().await {
            Ok(()) => context.state.check_sound().await,
            failed => failed,
        },
    };
    let mut text = String::from("[+]ping ok\n");
    match (&keyspace, probe) {
        (_, Probe::Live) => {}
        (Ok(()), _) => text.push_str("[+]keyspace ok\n"),
        (Err(_), _) => text.push_str("[-]keyspace failed\n"),
    }
    let (code, word) = match (&keyspace, probe) {
        (Ok(()), _) => (StatusCode::OK, "ok"),
        (Err(_), _) => (StatusCode::SERVICE_UNAVAILABLE, "failed"),
    };
    if let Err(failure) = keyspace
        && !verbose
    {
        return Err(failure);
    }
    let name = match probe {
        Probe::Health => "healthz",
        Probe::Live => "livez",
        Probe::Ready => "readyz",
    };
    let body = if verbose { format!("{text}{name} check {word}\n") } else { "ok".to_owned() };
    Ok(response::typed(code, "text/plain; charset=utf-8", body))
}

/// `/metrics`: every metric of the process.
pub(super) async fn metrics(context: RequestContext) -> Result<Response> {
    let status = context.state.registry.keyspace().status().await?;
    context.state.metrics.keyspace(&status);
    let text = context.state.metrics.encode()?;
    if context.accept().contains("application/openmetrics-text") {
        let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        return Ok(response::typed(StatusCode::OK, media_type, text));
    }
    if !negotiate::text(context.accept()) {
        return Err(not_acceptable("text/plain, application/openmetrics-text"));
    }
    let media_type = "text/plain; version=0.0.4; charset=utf-8";
    Ok(response::typed(StatusCode::OK, media_type, metrics::prometheus_text(&text)))
}
