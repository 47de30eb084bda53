//! The world over the client: one typed endpoint per kind, found by the kind's name.

use std::{collections::BTreeMap, fmt, sync::Arc};

use ::client::{Api, Client, DeleteParams, EventRecorder, ListParams, Severity, Store, WorkQueue, reflect};
use api::{
    Kind, KindVisitor, ObjectKey, Resource, Scope, decode, encode,
    kinds::{self, Namespace, Pod},
};
use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::{
    controller::{Change, Keys},
    isolation,
    run::RESYNC,
    step::{Deletion, Notice},
    world::{World, WorldError},
};

/// Typed access to one kind behind an untyped face.
#[async_trait]
trait Endpoint: Send + Sync {
    async fn get(&self, key: &ObjectKey) -> Result<Option<Value>, WorldError>;
    async fn list(&self, namespace: Option<&str>) -> Result<Vec<Value>, WorldError>;
    async fn create(&self, object: &Value) -> Result<(), WorldError>;
    async fn replace(&self, object: &Value) -> Result<(), WorldError>;
    async fn replace_status(&self, object: &Value) -> Result<(), WorldError>;
    async fn delete(&self, key: &ObjectKey, deletion: &Deletion) -> Result<(), WorldError>;
    fn notify(&self, recorder: &EventRecorder, notice: &Notice);
    /// Keeps the cache by which changes are noticed.
    async fn watch(&self, stop: CancellationToken);
    /// Puts the keys that changes wake into a queue, until the task is dropped.
    async fn forward(&self, keys: Keys, queue: Arc<WorkQueue>);
}

struct Typed<R> {
    client: Client,
    store: Store<R>,
}

impl<R: Resource> Typed<R> {
    fn api(&self, namespace: Option<&str>) -> Api<R> {
        match namespace.filter(|_| R::SCOPE == Scope::Namespaced) {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        }
    }

    /// The object and the API beside it.
    fn typed(&self, object: &Value) -> Result<(R, Api<R>), WorldError> {
        let object: R = decode(object.clone()).map_err(unfit)?;
        let api = self.api(ObjectKey::of(&object).namespace.as_deref());
        Ok((object, api))
    }
}

fn unfit(source: api::DecodeError) -> WorldError {
    WorldError::Refused { source: Box::new(source) }
}

fn failed(error: ::client::Error) -> WorldError {
    let code = error.status().map(|status| status.code);
    match code {
        Some(404) => WorldError::Missing,
        Some(409) if error.is_already_exists() => WorldError::Exists { source: Box::new(error) },
        Some(409) => WorldError::Conflict { source: Box::new(error) },
        Some(400 | 403 | 405 | 413 | 415 | 422) => WorldError::Refused { source: Box::new(error) },
        _ => WorldError::Unavailable { source: Box::new(error) },
    }
}

#[async_trait]
impl<R: Resource> Endpoint for Typed<R> {
    async fn get(&self, key: &ObjectKey) -> Result<Option<Value>, WorldError> {
        let found = self.api(key.namespace.as_deref()).get_opt(&key.name).await.map_err(failed)?;
        Ok(found.as_ref().map(encode))
    }

    async fn list(&self, namespace: Option<&str>) -> Result<Vec<Value>, WorldError> {
        let found = self.api(namespace).list_all(&ListParams::default()).await.map_err(failed)?;
        Ok(found.items.iter().map(encode).collect())
    }

    async fn create(&self, object: &Value) -> Result<(), WorldError> {
        let (object, api) = self.typed(object)?;
        api.create(&object).await.map(drop).map_err(failed)
    }

    async fn replace(&self, object: &Value) -> Result<(), WorldError> {
        let (object, api) = self.typed(object)?;
        api.replace(&object).await.map(drop).map_err(failed)
    }

    async fn replace_status(&self, object: &Value) -> Result<(), WorldError> {
        let (object, api) = self.typed(object)?;
        api.replace_status(&object).await.map(drop).map_err(failed)
    }

    async fn delete(&self, key: &ObjectKey, deletion: &Deletion) -> Result<(), WorldError> {
        let mut params = DeleteParams::default().uid(deletion.uid.as_str());
        params.grace_period_seconds = deletion.grace_seconds;
        params.preconditions.get_or_insert_default().resource_version = deletion.version.clone();
        match self.api(key.namespace.as_deref()).delete_opt(&key.name, &params).await {
            // Another object has the name: the one that was meant is gone.
            Err(error) if error.is_conflict() && deletion.version.is_none() => Ok(()),
            other => other.map_err(failed),
        }
    }

    fn notify(&self, recorder: &EventRecorder, notice: &Notice) {
        let severity = if notice.warning { Severity::Warning } else { Severity::Normal };
        match decode::<R>(notice.about.clone()) {
            Ok(about) => recorder.record(&about, severity, &notice.reason, notice.message.clone()),
            Err(error) => tracing::warn!(kind = R::KIND, reason = notice.reason, %error, "event not recorded"),
        }
    }

    async fn watch(&self, stop: CancellationToken) {
        reflect(Api::all(self.client.clone()), ListParams::default(), self.store.clone(), stop).await;
    }

    async fn forward(&self, keys: Keys, queue: Arc<WorkQueue>) {
        let wake = |object: &R, gone: bool, listed: bool| match isolation::call(|| {
            keys(Change { object: &encode(object), gone, listed })
        }) {
            Ok(woken) => woken.into_iter().for_each(|key| queue.add(key)),
            Err(panicked) => {
                tracing::error!(kind = R::KIND, key = %ObjectKey::of(object), %panicked, "a change wakes nobody");
            }
        };
        self.store.wait_until_ready().await;
        let mut changes = self.store.subscribe();
        self.store.all().iter().for_each(|object| wake(object, false, true));
        loop {
            match tokio::time::timeout(RESYNC, changes.recv()).await {
                Ok(Ok(change)) => match (&change.old, &change.new) {
                    (_, Some(new)) => wake(new, false, false),
                    (Some(old), None) => wake(old, true, false),
                    (None, None) => {}
                },
                Ok(Err(RecvError::Closed)) => return,
                // Behind the changes, or nothing for long. A loss that was missed wakes as a change does.
                Ok(Err(RecvError::Lagged(_))) | Err(_) => {
                    self.store.all().iter().for_each(|object| wake(object, false, true));
                }
            }
        }
    }
}

/// An endpoint for each kind.
#[derive(Clone)]
pub(crate) struct Endpoints(Arc<BTreeMap<String, Arc<dyn Endpoint>>>);

struct Collect {
    client: Client,
    all: BTreeMap<String, Arc<dyn Endpoint>>,
}

impl KindVisitor for Collect {
    fn visit<R: Resource>(&mut self) {
        let typed = Typed::<R> { client: self.client.clone(), store: Store::default() };
        self.all.insert(Kind::of::<R>().resource(), Arc::new(typed));
    }
}

impl Endpoints {
    pub(crate) fn new(client: &Client) -> Self {
        let mut collect = Collect { client: client.clone(), all: BTreeMap::new() };
        kinds::for_each_kind(&mut collect);
        Self(Arc::new(collect.all))
    }

    fn of(&self, kind: &Kind) -> Result<&Arc<dyn Endpoint>, WorldError> {
        let unknown = || WorldError::Refused { source: format!("kind {} is not served", kind.kind).into() };
        self.0.get(&kind.resource()).ok_or_else(unknown)
    }

    /// Keeps the cache of a kind.
    pub(crate) async fn watch(self, kind: Kind, stop: CancellationToken) {
        if let Ok(endpoint) = self.of(&kind) {
            endpoint.watch(stop).await;
        }
    }

    /// Wakes keys by the changes of a kind, until `stop`.
    pub(crate) async fn forward(self, kind: Kind, keys: Keys, queue: Arc<WorkQueue>, stop: CancellationToken) {
        if let Ok(endpoint) = self.of(&kind) {
            stop.run_until_cancelled(endpoint.forward(keys, queue)).await;
        }
    }
}

/// The API through the client, for one controller.
pub(crate) struct ClientWorld {
    pub(crate) client: Client,
    pub(crate) endpoints: Endpoints,
    pub(crate) recorder: EventRecorder,
}

impl fmt::Debug for ClientWorld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientWorld({} kinds)", self.endpoints.0.len())
    }
}

#[async_trait]
impl World for ClientWorld {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn get(&self, kind: &Kind, key: &ObjectKey) -> Result<Option<Value>, WorldError> {
        self.endpoints.of(kind)?.get(key).await
    }

    async fn list(&self, kind: &Kind, namespace: Option<&str>) -> Result<Vec<Value>, WorldError> {
        self.endpoints.of(kind)?.list(namespace).await
    }

    async fn create(&self, kind: &Kind, object: &Value) -> Result<(), WorldError> {
        self.endpoints.of(kind)?.create(object).await
    }

    async fn replace(&self, kind: &Kind, object: &Value) -> Result<(), WorldError> {
        self.endpoints.of(kind)?.replace(object).await
    }

    async fn replace_status(&self, kind: &Kind, object: &Value) -> Result<(), WorldError> {
        self.endpoints.of(kind)?.replace_status(object).await
    }

    async fn finalize(&self, namespace: &Value) -> Result<(), WorldError> {
        let free: Namespace = decode(namespace.clone()).map_err(unfit)?;
        Api::all(self.client.clone()).finalize(&free).await.map(drop).map_err(failed)
    }

    async fn bind(&self, pod: &Value, node: &str) -> Result<(), WorldError> {
        let placed: Pod = decode(pod.clone()).map_err(unfit)?;
        let (key, uid) = (ObjectKey::of(&placed), placed.metadata.uid.as_deref().unwrap_or_default());
        Api::<Pod>::of(self.client.clone(), &key).bind(&key.name, uid, node).await.map_err(failed)
    }

    async fn delete(&self, kind: &Kind, key: &ObjectKey, deletion: &Deletion) -> Result<(), WorldError> {
        self.endpoints.of(kind)?.delete(key, deletion).await
    }

    async fn notify(&self, notice: &Notice) {
        if let Ok(endpoint) = self.endpoints.of(&notice.kind) {
            endpoint.notify(&self.recorder, notice);
        }
    }
}
