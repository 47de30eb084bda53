//! The API server over a keyspace in memory, with a clock that tests move.

use std::{
    cell::Cell,
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use ::client::{Changes, Client, DeleteParams, DynamicApi, EventRecorder, ListParams, WatchEvent, Watchable};
use api::{Kind, Kinds, ObjectKey, Reason, Resource, Status, kinds};
use apiserver::{ApiServer, Connection, ExecOptions, ExecSession, LogOptions, PodStreams, Security, StreamError};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt, StreamExt, stream::BoxStream};
use jiff::{SignedDuration, Timestamp};
use keyspace::{Keyspace, KeyspaceExt, MemoryKeyspace};
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value, json};
use trust::{Authority, Envelope, MasterKeys, Subject, TokenKeys, Tokens};

use crate::{
    api_world::ApiWorld,
    controller::{name_of, namespace_of},
    error::WorldError,
    step::{Deletion, Notice},
    world::World,
};

/// Revision to watch from: everything that the server has ever written.
const BEGINNING: &str = "1";

thread_local! {
    /// The time of the test that runs on this thread. The server takes its clock as a function.
    static NOW: Cell<Timestamp> = const { Cell::new(Timestamp::UNIX_EPOCH) };
}

/// One change of an object, as a watch reports it.
pub(crate) struct Recorded {
    pub(crate) kind: Kind,
    pub(crate) object: Value,
    pub(crate) gone: bool,
    pub(crate) listed: bool,
}

/// What the watches of all kinds have reported.
struct Cache {
    watches: Vec<(Kind, Changes<Value>)>,
    objects: BTreeMap<(String, ObjectKey), (Kind, Value)>,
    /// Not drained yet.
    changes: Vec<Recorded>,
}

/// A cluster without machines: the real API, in memory. As a [`World`] it is what controllers may do.
pub(crate) struct Cluster {
    server: ApiServer,
    keyspace: Arc<MemoryKeyspace>,
    controllers: ApiWorld,
    admin: ApiWorld,
    cache: Mutex<Cache>,
    notices: Mutex<Vec<String>>,
    /// Writes of controllers until all fail, as if the process had been killed between two of them.
    writes_left: Mutex<Option<u32>>,
}

impl Cluster {
    /// A cluster with the built-in namespaces, at the beginning of time.
    pub(crate) async fn start() -> Self {
        NOW.set(Timestamp::UNIX_EPOCH);
        let keyspace = Arc::new(MemoryKeyspace::new());
        let mut config = apiserver::Config::new("10.0.0.0/16".parse().unwrap());
        config.now = || NOW.get();
        let server = ApiServer::new(config, keyspace.clone(), security(), Arc::new(NoPods), Arc::default());
        server.prepare().await.unwrap();
        let (controllers, admin) = (world(&server, Subject::controllers()), world(&server, Subject::admin("tester")));
        let mut watches = Vec::new();
        for kind in kinds::all() {
            let api = DynamicApi::new(admin.client.clone(), kind, None);
            watches.push((kind.clone(), api.watch_objects(&ListParams::default(), BEGINNING).await.unwrap()));
        }
        let cache = Mutex::new(Cache { watches, objects: BTreeMap::new(), changes: Vec::new() });
        let (notices, writes_left) = (Mutex::default(), Mutex::default());
        Self { server, keyspace, controllers, admin, cache, notices, writes_left }
    }

    /// The API as an administrator sees it.
    pub(crate) fn admin(&self) -> &ApiWorld {
        &self.admin
    }

    /// The API as the kubelet of a node sees it.
    pub(crate) fn node(&self, name: &str) -> ApiWorld {
        world(&self.server, Subject::node(name))
    }

    /// Creates an object as an administrator.
    pub(crate) async fn create<R: Resource>(&self, object: Value) {
        self.admin.create(&Kind::of::<R>(), &object).await.unwrap();
    }

    /// All objects of a kind.
    pub(crate) fn all<R: Resource>(&self) -> Vec<Value> {
        let wanted = Kind::of::<R>().resource();
        let cache = self.refreshed();
        cache
            .objects
            .iter()
            .filter(|((resource, _), _)| *resource == wanted)
            .map(|(_, (_, object))| object.clone())
            .collect()
    }

    /// All objects as changes, as a watch begins.
    pub(crate) fn listing(&self) -> Vec<Recorded> {
        let listed = |(kind, object): &(Kind, Value)| Recorded {
            kind: kind.clone(),
            object: object.clone(),
            gone: false,
            listed: true,
        };
        self.refreshed().objects.values().map(listed).collect()
    }

    /// Changes since the last call, in the order in which they were made.
    pub(crate) fn drain(&self) -> Vec<Recorded> {
        std::mem::take(&mut self.refreshed().changes)
    }

    /// The cache with everything that the watches have by now.
    fn refreshed(&self) -> MutexGuard<'_, Cache> {
        let mut cache = self.cache.lock();
        let mut found = Vec::new();
        for (kind, watch) in &mut cache.watches {
            // A watch over a keyspace in memory has every change as soon as it is made. Without the budget of the
            // scheduler, pending means that there is none.
            while let Some(Some(event)) = tokio::task::unconstrained(watch.next()).now_or_never() {
                let (object, gone) = match event.unwrap() {
                    WatchEvent::Added(object) | WatchEvent::Modified(object) => (object, false),
                    WatchEvent::Deleted(object) => (object, true),
                    WatchEvent::Bookmark(_) => continue,
                };
                let revision: u64 = object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
                found.push((revision, Recorded { kind: kind.clone(), object, gone, listed: false }));
            }
        }
        found.sort_by_key(|(revision, _)| *revision);
        for (_, change) in found {
            let namespace = namespace_of(&change.object);
            let key = (change.kind.resource(), ObjectKey { namespace, name: name_of(&change.object).unwrap() });
            if change.gone {
                cache.objects.remove(&key);
            } else {
                cache.objects.insert(key, (change.kind.clone(), change.object.clone()));
            }
            cache.changes.push(change);
        }
        cache
    }

    /// Reasons of all events.
    pub(crate) fn notices(&self) -> Vec<String> {
        self.notices.lock().clone()
    }

    /// Counts the writes of everybody.
    pub(crate) async fn revision(&self) -> u64 {
        self.keyspace.status().await.unwrap().revision
    }

    /// Lets time pass.
    pub(crate) fn advance(&self, seconds: i64) {
        NOW.set(NOW.get() + SignedDuration::from_secs(seconds));
    }

    /// Lets only so many writes of controllers through.
    pub(crate) fn limit_writes(&self, left: Option<u32>) {
        *self.writes_left.lock() = left;
    }

    /// Deletes as a person does; an object that is not there is fine.
    pub(crate) async fn delete<R: Resource>(&self, key: &ObjectKey) {
        let api = DynamicApi::new(self.admin.client.clone(), &Kind::of::<R>(), key.namespace.as_deref());
        match api.delete(&key.name, &DeleteParams::default()).await {
            Err(error) if error.is_not_found() => {}
            done => done.unwrap(),
        }
    }

    /// Removes the finalizers of an object, as those who set them do.
    pub(crate) async fn release<R: Resource>(&self, key: &ObjectKey) {
        let kind = Kind::of::<R>();
        let mut object = self.admin.get(&kind, key).await.unwrap().unwrap();
        object["metadata"]["finalizers"] = json!([]);
        self.admin.replace(&kind, &object).await.unwrap();
    }

    /// Loses an object behind the server's back, as a damaged disk does.
    pub(crate) async fn lose<R: Resource>(&self, name: &str) {
        let group = if R::GROUP.is_empty() { "core" } else { R::GROUP };
        self.keyspace.delete(format!("/registry/{group}/{}/{name}", R::PLURAL)).await.unwrap();
    }

    fn count_write(&self) -> Result<(), WorldError> {
        match &mut *self.writes_left.lock() {
            Some(0) => Err(WorldError::Unavailable { source: "killed".into() }),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

#[async_trait]
impl World for Cluster {
    fn now(&self) -> Timestamp {
        NOW.get()
    }

    async fn kinds(&self) -> Result<Kinds, WorldError> {
        self.controllers.kinds().await
    }

    async fn get(&self, kind: &Kind, key: &ObjectKey) -> Result<Option<Value>, WorldError> {
        self.controllers.get(kind, key).await
    }

    async fn list(&self, kind: &Kind, namespace: Option<&str>) -> Result<Vec<Value>, WorldError> {
        self.controllers.list(kind, namespace).await
    }

    async fn create(&self, kind: &Kind, object: &Value) -> Result<(), WorldError> {
        self.count_write()?;
        self.controllers.create(kind, object).await
    }

    async fn replace(&self, kind: &Kind, object: &Value) -> Result<(), WorldError> {
        self.count_write()?;
        self.controllers.replace(kind, object).await
    }

    async fn replace_status(&self, kind: &Kind, object: &Value) -> Result<(), WorldError> {
        self.count_write()?;
        self.controllers.replace_status(kind, object).await
    }

    async fn finalize(&self, namespace: &Value) -> Result<(), WorldError> {
        self.count_write()?;
        self.controllers.finalize(namespace).await
    }

    async fn bind(&self, pod: &Value, node: &str) -> Result<(), WorldError> {
        self.count_write()?;
        self.controllers.bind(pod, node).await
    }

    async fn delete(&self, kind: &Kind, key: &ObjectKey, deletion: &Deletion) -> Result<(), WorldError> {
        self.count_write()?;
        self.controllers.delete(kind, key, deletion).await
    }

    async fn notify(&self, notice: &Notice) {
        assert!(!notice.reason.is_empty() && !notice.message.is_empty(), "{notice:?}");
        self.notices.lock().push(notice.reason.clone());
    }
}

/// The API as a subject sees it. Its events go nowhere.
fn world(server: &ApiServer, subject: Subject) -> ApiWorld {
    let client = Client::in_process(server.router(), subject);
    let (recorder, _) = EventRecorder::new(client.clone(), "test", "test");
    ApiWorld { client, recorder }
}

/// Keys for all clusters of the process: making them takes long.
fn security() -> Security {
    static SECURITY: OnceLock<Security> = OnceLock::new();
    let make = || {
        let now = Timestamp::UNIX_EPOCH;
        let (authority, _) = Authority::generate("test authority", now).unwrap();
        Security {
            authority: Arc::new(authority),
            tokens: Arc::new(Tokens::new("test", &TokenKeys::generate(now).unwrap()).unwrap()),
            envelope: Arc::new(Envelope::new(&MasterKeys::generate(now).unwrap())),
        }
    };
    SECURITY.get_or_init(make).clone()
}

/// No pod runs anything.
struct NoPods;

fn no_pod() -> StreamError {
    Box::new(Status::failure(Reason::NotFound, "no pod runs in this cluster"))
}

#[async_trait]
impl PodStreams for NoPods {
    async fn logs(
        &self,
        _: &str,
        _: &str,
        _: LogOptions,
    ) -> Result<BoxStream<'static, std::io::Result<Bytes>>, StreamError> {
        Err(no_pod())
    }

    async fn exec(&self, _: &str, _: &str, _: ExecOptions) -> Result<ExecSession, StreamError> {
        Err(no_pod())
    }

    async fn attach(&self, _: &str, _: &str, _: ExecOptions) -> Result<ExecSession, StreamError> {
        Err(no_pod())
    }

    async fn connect(&self, _: &str, _: &str, _: u16) -> Result<Box<dyn Connection>, StreamError> {
        Err(no_pod())
    }
}
