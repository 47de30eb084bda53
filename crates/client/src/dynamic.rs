//! The verbs on objects of a kind that is known only at run time, as JSON.

use api::{Kind, ObjectKey};
use futures::{FutureExt, StreamExt, future::BoxFuture};
use http::Method;
use serde_json::Value;

use crate::{
    Client, DeleteParams, ListParams, Result,
    api::{PAGE, RawList},
    lines::lines,
    request::{Target, json, plain},
    watcher::{Changes, Watchable, read_event},
};

/// The objects of a kind, in one namespace or in all.
#[derive(Clone, Debug)]
pub struct DynamicApi {
    client: Client,
    kind: Kind,
    target: Target,
}

impl DynamicApi {
    /// The objects of `kind` in a namespace, or in all when it is `None`.
    pub fn new(client: Client, kind: &Kind, namespace: Option<&str>) -> Self {
        Self { client, kind: kind.clone(), target: Target::of_kind(kind, namespace) }
    }

    /// The kind.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// One object, or `None` if it does not exist.
    pub async fn get_opt(&self, name: &str) -> Result<Option<Value>> {
        match self.client.json(plain(Method::GET, &self.target.object(name), &[])?).await {
            Err(error) if error.is_not_found() => Ok(None),
            other => other.map(Some),
        }
    }

    /// Every object, page by page, and the revision of the answer.
    pub async fn list_all(&self, params: &ListParams) -> Result<(Vec<Value>, String)> {
        let mut params = ListParams { limit: Some(PAGE), ..params.clone() };
        let mut items = Vec::new();
        loop {
            let request = plain(Method::GET, self.target.collection(), &params.query())?;
            let page: RawList = self.client.json(request).await?;
            items.extend(page.items.into_iter().map(|item| self.typed(item)));
            if page.metadata.r#continue.is_empty() {
                return Ok((items, page.metadata.resource_version));
            }
            params.continue_token = Some(page.metadata.r#continue);
        }
    }

    /// Items of a list may leave out what the list already says.
    fn typed(&self, mut item: Value) -> Value {
        if let Value::Object(fields) = &mut item {
            fields.entry("apiVersion").or_insert_with(|| self.kind.api_version().into());
            fields.entry("kind").or_insert_with(|| self.kind.kind().into());
        }
        item
    }

    /// Creates an object.
    pub async fn create(&self, object: &Value) -> Result<Value> {
        self.client.json(json(Method::POST, self.target.collection(), &[], object)?).await
    }

    /// Replaces an object. With `metadata.resourceVersion` it is a compare-and-swap.
    pub async fn replace(&self, object: &Value) -> Result<Value> {
        self.client.json(json(Method::PUT, &self.target.object(name_of(object)), &[], object)?).await
    }

    /// Replaces a subresource of an object, such as `status`.
    pub async fn replace_subresource(&self, object: &Value, subresource: &str) -> Result<Value> {
        let path = self.target.subresource(name_of(object), subresource);
        self.client.json(json(Method::PUT, &path, &[], object)?).await
    }

    /// Deletes an object.
    pub async fn delete(&self, name: &str, params: &DeleteParams) -> Result<()> {
        self.client.bytes(json(Method::DELETE, &self.target.object(name), &[], params)?).await.map(drop)
    }
}

fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// Key of an object that the server sent.
pub(crate) fn key(object: &Value) -> ObjectKey {
    let namespace = object["metadata"]["namespace"].as_str().map(str::to_owned);
    ObjectKey { namespace, name: name_of(object).to_owned() }
}

/// Revision of an object.
pub(crate) fn revision(object: &Value) -> Option<String> {
    object["metadata"]["resourceVersion"].as_str().map(str::to_owned)
}

impl Watchable for DynamicApi {
    type Object = Value;

    fn list_objects<'a>(&'a self, params: &'a ListParams) -> BoxFuture<'a, Result<(Vec<Value>, String)>> {
        self.list_all(params).boxed()
    }

    fn watch_objects<'a>(&'a self, params: &'a ListParams, from: &'a str) -> BoxFuture<'a, Result<Changes<Value>>> {
        async move {
            let mut query = params.query();
            query.push(("watch", "true".into()));
            query.push(("allowWatchBookmarks", "true".into()));
            query.push(("resourceVersion", from.to_owned()));
            let response = self.client.stream(plain(Method::GET, self.target.collection(), &query)?).await?;
            let events = lines(response.into_body(), self.client.server());
            Ok(events.map(|line| line.and_then(|line| read_event(&line, Ok))).boxed())
        }
        .boxed()
    }

    fn kind_name(&self) -> &str {
        self.kind.kind()
    }

    fn revision(object: &Value) -> Option<String> {
        revision(object)
    }
}
