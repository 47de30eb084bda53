//! The verbs on objects of one kind.

use std::marker::PhantomData;

use api::{ObjectKey, Resource, decode, encode};
use bytes::Bytes;
use futures::{FutureExt, Stream, StreamExt, future::BoxFuture};
use http::Method;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    Client, DeleteParams, Error, ListParams, LogParams, Result, WatchEvent, exec,
    lines::lines,
    request::{Target, json, patch, plain},
    watcher::{Changes, Watchable, decode_event},
};

/// Objects in one page of [`Api::list_all`].
pub const PAGE: u32 = 500;

/// The objects of kind `R`, in one namespace or in all.
#[derive(Debug)]
pub struct Api<R> {
    client: Client,
    target: Target,
    namespace: Option<String>,
    kind: PhantomData<fn() -> R>,
}

impl<R> Clone for Api<R> {
    fn clone(&self) -> Self {
        let (client, target, namespace) = (self.client.clone(), self.target.clone(), self.namespace.clone());
        Self { client, target, namespace, kind: PhantomData }
    }
}

/// Objects as of one revision.
#[derive(Clone, Debug)]
pub struct List<R> {
    /// The objects.
    pub items: Vec<R>,
    /// Revision of the answer: a watch continues from here.
    pub resource_version: String,
    /// Where the next page begins, if there is one.
    pub continue_token: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct RawList {
    #[serde(default)]
    pub(crate) metadata: RawListMeta,
    #[serde(default)]
    pub(crate) items: Vec<Value>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct RawListMeta {
    pub(crate) resource_version: String,
    pub(crate) r#continue: String,
}

impl<R: Resource> Api<R> {
    /// The objects of a namespace.
    pub fn namespaced(client: Client, namespace: &str) -> Self {
        let target = Target::of::<R>(Some(namespace));
        Self { client, target, namespace: Some(namespace.to_owned()), kind: PhantomData }
    }

    /// All objects: of every namespace, or cluster-wide.
    pub fn all(client: Client) -> Self {
        Self { client, target: Target::of::<R>(None), namespace: None, kind: PhantomData }
    }

    /// The objects beside `key`: of its namespace, or cluster-wide.
    pub fn of(client: Client, key: &ObjectKey) -> Self {
        match &key.namespace {
            Some(namespace) => Self::namespaced(client, namespace),
            None => Self::all(client),
        }
    }

    /// The client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The namespace, if it is limited to one.
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// One object.
    pub async fn get(&self, name: &str) -> Result<R> {
        self.send(plain(Method::GET, &self.target.object(name), &[])?).await
    }

    /// One object, or `None` if it does not exist.
    pub async fn get_opt(&self, name: &str) -> Result<Option<R>> {
        match self.get(name).await {
            Err(error) if error.is_not_found() => Ok(None),
            other => other.map(Some),
        }
    }

    /// One page of objects.
    pub async fn list(&self, params: &ListParams) -> Result<List<R>> {
        let request = plain(Method::GET, self.target.collection(), &params.query())?;
        let raw: RawList = self.client.json(request).await?;
        let items = raw.items.into_iter().map(|item| self.decode(item)).collect::<Result<_>>()?;
        let continue_token = Some(raw.metadata.r#continue).filter(|token| !token.is_empty());
        Ok(List { items, resource_version: raw.metadata.resource_version, continue_token })
    }

    /// Every object, page by page, all as of the same revision.
    pub async fn list_all(&self, params: &ListParams) -> Result<List<R>> {
        let mut params = ListParams { limit: Some(PAGE), ..params.clone() };
        let mut all = self.list(&params).await?;
        while let Some(token) = all.continue_token.take() {
            params.continue_token = Some(token);
            let page = self.list(&params).await?;
            all.items.extend(page.items);
            all.continue_token = page.continue_token;
        }
        Ok(all)
    }

    /// Creates an object.
    pub async fn create(&self, object: &R) -> Result<R> {
        self.send(json(Method::POST, self.target.collection(), &[], &encode(object))?).await
    }

    /// Checks whether an object could be created, without creating it.
    pub async fn create_dry_run(&self, object: &R) -> Result<R> {
        self.send(json(Method::POST, self.target.collection(), &[("dryRun", "All".into())], &encode(object))?).await
    }

    /// Replaces an object. With `metadata.resourceVersion` it is a compare-and-swap.
    pub async fn replace(&self, object: &R) -> Result<R> {
        let path = self.target.object(object.meta().name.as_deref().unwrap_or_default());
        self.send(json(Method::PUT, &path, &[], &encode(object))?).await
    }

    /// Replaces an object's status.
    pub async fn replace_status(&self, object: &R) -> Result<R> {
        let path = self.target.subresource(object.meta().name.as_deref().unwrap_or_default(), "status");
        self.send(json(Method::PUT, &path, &[], &encode(object))?).await
    }

    /// Changes fields of an object by a JSON merge patch (RFC 7386).
    pub async fn patch_merge(&self, name: &str, changes: &Value) -> Result<R> {
        self.send(patch(&self.target.object(name), &[], changes)?).await
    }

    /// Changes fields of an object's status by a JSON merge patch.
    pub async fn patch_status(&self, name: &str, changes: &Value) -> Result<R> {
        self.send(patch(&self.target.subresource(name, "status"), &[], changes)?).await
    }

    /// Deletes an object, or begins to when it has a grace period or finalizers.
    pub async fn delete(&self, name: &str, params: &DeleteParams) -> Result<()> {
        let request = json(Method::DELETE, &self.target.object(name), &[], params)?;
        self.client.bytes(request).await.map(drop)
    }

    /// Deletes an object; one that does not exist is fine.
    pub async fn delete_opt(&self, name: &str, params: &DeleteParams) -> Result<()> {
        match self.delete(name, params).await {
            Err(error) if error.is_not_found() => Ok(()),
            other => other,
        }
    }

    /// Changes after a revision, until the server ends the stream.
    pub async fn watch(
        &self,
        params: &ListParams,
        from: &str,
    ) -> Result<impl Stream<Item = Result<WatchEvent<R>>> + Send + Unpin + use<R>> {
        let mut query = params.query();
        query.push(("watch", "true".into()));
        query.push(("allowWatchBookmarks", "true".into()));
        query.push(("resourceVersion", from.to_owned()));
        let request = plain(Method::GET, self.target.collection(), &query)?;
        let response = self.client.stream(request).await?;
        let events = lines(response.into_body(), self.client.server());
        Ok(events.map(|line| line.and_then(|line| decode_event(&line))))
    }

    /// Calls a subresource such as `actions/restart`.
    pub async fn call(&self, method: Method, name: &str, subresource: &str, body: &Value) -> Result<Value> {
        self.client.json(json(method, &self.target.subresource(name, subresource), &[], body)?).await
    }

    async fn send(&self, request: http::Request<Bytes>) -> Result<R> {
        self.decode(self.client.json(request).await?)
    }

    fn decode(&self, value: Value) -> Result<R> {
        decode(value)
            .map_err(|error| Error::Decode { request: self.target.collection().to_owned(), source: error.into() })
    }
}

impl<R: Resource> Watchable for Api<R> {
    type Object = R;

    fn list_objects<'a>(&'a self, params: &'a ListParams) -> BoxFuture<'a, Result<(Vec<R>, String)>> {
        async { self.list_all(params).await.map(|list| (list.items, list.resource_version)) }.boxed()
    }

    fn watch_objects<'a>(&'a self, params: &'a ListParams, from: &'a str) -> BoxFuture<'a, Result<Changes<R>>> {
        async { self.watch(params, from).await.map(StreamExt::boxed) }.boxed()
    }

    fn kind_name(&self) -> &str {
        R::KIND
    }

    fn revision(object: &R) -> Option<String> {
        object.meta().resource_version.clone()
    }
}

impl Api<api::kinds::ServiceAccount> {
    /// Asks for a token of an account; the answer's status has it.
    pub async fn token(&self, name: &str, asked: &Value) -> Result<Value> {
        self.call(Method::POST, name, "token", asked).await
    }
}

impl Api<api::kinds::Pod> {
    /// Binds a pod to a node, if it is the one with this uid (the subresource `binding`).
    pub async fn bind(&self, name: &str, uid: &str, node: &str) -> Result<()> {
        let metadata = serde_json::json!({"name": name, "namespace": self.namespace, "uid": uid});
        let target = serde_json::json!({"apiVersion": "v1", "kind": "Node", "name": node});
        let binding =
            serde_json::json!({"apiVersion": "v1", "kind": "Binding", "metadata": metadata, "target": target});
        self.call(Method::POST, name, "binding", &binding).await.map(drop)
    }

    /// The lines of a container's log.
    pub async fn logs(
        &self,
        name: &str,
        params: &LogParams,
    ) -> Result<impl Stream<Item = Result<Bytes>> + Send + Unpin + use<>> {
        let response =
            self.client.stream(plain(Method::GET, &self.target.subresource(name, "log"), &params.query())?).await?;
        Ok(lines(response.into_body(), self.client.server()))
    }

    /// Runs a command in a container.
    pub async fn exec(&self, name: &str, params: &exec::ExecParams) -> Result<exec::ExecSession> {
        exec::start(&self.client, &self.target.subresource(name, "exec"), params).await
    }
}
