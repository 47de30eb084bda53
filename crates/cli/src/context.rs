//! What every verb works with: the connection, the namespace, and how requests are sent or printed.

use api::meta::DEFAULT_NAMESPACE;
use client::{Api, Client, Identity};
use serde_json::Value;

use crate::{
    args::{Global, Namespace},
    connection::{Sources, resolve},
    error::Result,
    request::Request,
};

/// What every verb works with.
pub struct Context<'a> {
    /// The server.
    pub client: Client,
    /// What the world outside says.
    pub sources: &'a dyn Sources,
    /// Flags of every command.
    pub global: Global,
    namespace: Option<String>,
}

impl<'a> Context<'a> {
    /// Decides which server to talk to. Nothing is sent yet.
    pub fn open(global: &Global, sources: &'a dyn Sources) -> Result<Self> {
        let connection = resolve(global, sources)?;
        let client = Client::connect(connection.config)?;
        Ok(Self { client, sources, global: global.clone(), namespace: connection.namespace })
    }

    /// The namespace a verb works in: its flag, else the kubeconfig's, else `default`.
    pub fn namespace(&self, flag: &Namespace) -> String {
        let named = flag.namespace.clone().or_else(|| self.namespace.clone());
        named.unwrap_or_else(|| DEFAULT_NAMESPACE.into())
    }

    /// Objects of a kind in the namespace a verb works in.
    pub fn api<R: api::Resource>(&self, flag: &Namespace) -> Api<R> {
        Api::namespaced(self.client.clone(), &self.namespace(flag))
    }

    /// Sends a request, or prints it with `--curl` and returns `None`.
    pub async fn send(&self, request: &Request) -> Result<Option<Value>> {
        self.send_http(request.http()?).await
    }

    /// Sends a request that is already built, or prints it with `--curl` and returns `None`.
    pub async fn send_http(&self, request: http::Request<bytes::Bytes>) -> Result<Option<Value>> {
        if self.print_curl(&request) {
            return Ok(None);
        }
        Ok(Some(self.client.json(request).await?))
    }

    /// Prints a request when that is all that is wanted.
    pub fn print_curl(&self, request: &http::Request<bytes::Bytes>) -> bool {
        if self.global.curl {
            let bearer = self.client.config().is_some_and(|config| matches!(config.identity, Identity::Bearer(_)));
            println!("{}", client::curl::command(&self.client.server(), request, bearer));
        }
        self.global.curl
    }
}
