//! Credentials: reading those of a request, and handing out new ones.

mod certificates;
mod grants;
pub(crate) mod members;

use trust::{CertificateInfo, SingleUseToken, Subject, jwt::API_AUDIENCE};

pub(crate) use certificates::sign;
pub(crate) use grants::{exchange, issue};

use crate::{
    app::App,
    failure::{Failure, Outcome},
};

/// A bearer token, as far as it is understood without the keyspace.
#[derive(Debug)]
pub(crate) enum Bearer {
    /// A signed token that verified.
    Signed(Subject),
    /// Something of the form of a single-use token, by its public id. It is verified where it is used.
    SingleUse(String),
}

/// Whom a verified TLS certificate speaks for.
pub(crate) fn of_certificate(app: &App, der: &[u8]) -> Outcome<Subject> {
    let info = CertificateInfo::from_der(der).map_err(|error| Failure {
        cause: Some(Box::new(error)),
        ..Failure::unauthorized("the client certificate cannot be read")
    })?;
    // The handshake checked this once; a connection may outlive its certificate.
    let now = app.registry.now();
    if now < info.not_before || now > info.not_after {
        return Err(Failure::unauthorized("the client certificate is not valid at this time")
            .remedy("get a new certificate, and check the clocks of both machines"));
    }
    if info.common_name.is_empty() {
        return Err(Failure::unauthorized("the client certificate names no user (common name)"));
    }
    Ok(info.subject())
}

/// Whom a bearer token speaks for.
pub(crate) fn of_bearer(app: &App, token: &str) -> Outcome<Bearer> {
    if let Some(token) = SingleUseToken::parse(token) {
        return Ok(Bearer::SingleUse(token.id().to_owned()));
    }
    match app.tokens.verify(token, API_AUDIENCE, app.registry.now()) {
        Ok(verified) => Ok(Bearer::Signed(verified.subject)),
        Err(error) => Err(Failure::unauthorized(format!("the bearer token is refused: {error}"))
            .remedy("get a new token: nanocloud token")),
    }
}
