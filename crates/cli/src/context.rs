//! What every command needs: the client, the namespace and the flags.

use api::{Kinds, kinds::CustomResourceDefinition, meta::DEFAULT_NAMESPACE};
use client::{Api, Client, ListParams};
use serde_json::Value;

use crate::{
    args::{Global, Namespace},
    connection::{Sources, resolve},
    error::{Error, Result},
    outln,
    request::Request,
};

/// What every command needs.
pub struct Context<'a> {
    /// The server.
    pub client: Client,
    /// The environment.
    pub sources: &'a dyn Sources,
    /// Flags of every command.
    pub global: Global,
    namespace: Option<String>,
}

impl<'a> Context<'a> {
    /// Decides which server to use. Nothing is sent yet.
    pub fn open(global: &Global, sources: &'a dyn Sources) -> Result<Self> {
        let connection = resolve(global, sources)?;
        let client = client(global, connection.config)?;
        Ok(Self { client, sources, global: global.clone(), namespace: connection.namespace })
    }

    /// The namespace of a command: its flag, or that of the kubeconfig, or `default`.
    pub fn namespace(&self, flag: &Namespace) -> String {
        let named = flag.namespace.clone().or_else(|| self.namespace.clone());
        named.unwrap_or_else(|| DEFAULT_NAMESPACE.into())
    }

    /// Objects of a kind in the namespace of a command.
    pub fn api<R: api::Resource>(&self, flag: &Namespace) -> Api<R> {
        Api::namespaced(self.client.clone(), &self.namespace(flag))
    }

    /// Kinds that suffice for a command: the built-in ones, or those that the server defines, too. With `--curl`, and
    /// when the server does not say, there are the built-in ones alone.
    pub async fn kinds(&self, suffices: impl Fn(&Kinds) -> bool) -> Kinds {
        let builtin = Kinds::builtin();
        if suffices(&builtin) || self.global.curl {
            return builtin;
        }
        match Api::<CustomResourceDefinition>::all(self.client.clone()).list_all(&ListParams::default()).await {
            Ok(list) => builtin.with_definitions(&list.items),
            Err(_) => builtin,
        }
    }

    /// Sends a request.
    pub async fn send(&self, request: &Request) -> Result<Value> {
        Ok(self.client.json(request.http()?).await?)
    }
}

/// The client that commands use: see [`resolve`].
///
/// # Errors
/// What is wrong with the flags, the environment or the kubeconfig.
pub fn connect(global: &Global, sources: &dyn Sources) -> Result<Client> {
    client(global, resolve(global, sources)?.config)
}

/// A client of a server. With `--curl` it sends nothing, and each request fails with the command that would send it.
pub fn client(global: &Global, config: client::Config) -> Result<Client> {
    Ok(if global.curl { Client::rehearse(config) } else { Client::connect(config) }?)
}

/// The answer to a request. With `--curl` it prints the request instead and returns `None`, for commands that send
/// several; in all others the error ends the command and is printed there.
pub fn unless_rehearsed<T, E: Into<Error>>(sent: Result<T, E>) -> Result<Option<T>> {
    match sent.map_err(Into::into) {
        Err(Error::Request(client::Error::NotSent { command })) => outln!("{command}").map(|()| None),
        other => other.map(Some),
    }
}
