//! What a handler knows of its request.

use std::sync::Arc;

use bytes::Bytes;
use http::{header, request::Parts};
use trust::Subject;

use crate::{
    api_error::Result,
    authorizer::Author,
    catalog::Served,
    endpoint::Params,
    limits,
    places::Memory,
    query::{options::WriteOptions, params::Query},
    state::ServerState,
};

/// A request, with what authentication and routing found.
pub(crate) struct RequestContext {
    pub(crate) state: Arc<ServerState>,
    /// What was served when the request came.
    pub(crate) served: Arc<Served>,
    pub(crate) parts: Parts,
    /// The body, once the request is authorised; empty when its method has none.
    pub(crate) body: Bytes,
    /// Values of the parameters of the endpoint's path.
    pub(crate) params: Params,
    pub(crate) query: Query,
    pub(crate) trace: Arc<str>,
    /// Set once the request is authenticated.
    pub(crate) subject: Subject,
    /// The memory of the body, held until the request is served.
    pub(crate) memory: Memory,
}

impl RequestContext {
    /// The `Accept` header.
    pub(crate) fn accept(&self) -> &str {
        self.parts.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// How a write is meant. The field manager defaults to the User-Agent's product name, then to the user.
    pub(crate) fn write_options(&self) -> Result<WriteOptions> {
        let mut options = WriteOptions::parse(&self.query)?;
        options.by_node = self.subject.node_name().is_some();
        options.author = Some(self.author());
        if options.manager.is_empty() {
            let agent = self.parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
            let program = agent.and_then(|agent| agent.split('/').next()).filter(|program| !program.is_empty());
            let name = program.unwrap_or(&self.subject.user);
            options.manager = name.chars().filter(char::is_ascii_graphic).take(limits::MAX_MANAGER_BYTES).collect();
        }
        Ok(options)
    }

    /// The maker of what the request writes.
    pub(crate) fn author(&self) -> Author {
        Author { subject: self.subject.clone(), authorizer: self.state.authorizer.clone() }
    }

    /// The body, once.
    pub(crate) fn take_body(&mut self) -> Bytes {
        std::mem::take(&mut self.body)
    }
}
