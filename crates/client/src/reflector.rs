//! A cache of all objects of a kind, kept true by a watch.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use api::{ObjectKey, Resource};
use futures::StreamExt;
use parking_lot::RwLock;
use serde_json::Value;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use crate::{Event, ListParams, Watchable, dynamic, watcher};

/// Changes a slow subscriber may fall behind before it has to look at everything again.
pub const CHANGES_BUFFERED: usize = 1024;

/// One object before and after a change.
#[derive(Debug)]
pub struct StoreChange<O> {
    /// Which object.
    pub key: ObjectKey,
    /// As it was; `None` if it is new.
    pub old: Option<Arc<O>>,
    /// As it is; `None` if it is gone.
    pub new: Option<Arc<O>>,
}

impl<O> Clone for StoreChange<O> {
    fn clone(&self) -> Self {
        Self { key: self.key.clone(), old: self.old.clone(), new: self.new.clone() }
    }
}

/// All objects of a kind, as far as the watch has reported them; typed, or as JSON.
#[derive(Debug)]
pub struct Store<O> {
    objects: Arc<RwLock<BTreeMap<ObjectKey, Arc<O>>>>,
    changes: broadcast::Sender<StoreChange<O>>,
    ready: Arc<watch::Sender<bool>>,
    key: fn(&O) -> ObjectKey,
    revision: fn(&O) -> Option<String>,
}

impl<O> Clone for Store<O> {
    fn clone(&self) -> Self {
        let (objects, changes, ready) = (self.objects.clone(), self.changes.clone(), self.ready.clone());
        Self { objects, changes, ready, key: self.key, revision: self.revision }
    }
}

impl<R: Resource> Default for Store<R> {
    fn default() -> Self {
        Self::of(ObjectKey::of, |object| object.meta().resource_version.clone())
    }
}

impl Store<Value> {
    /// A store of objects as JSON, for kinds that are known only at run time.
    #[must_use]
    pub fn dynamic() -> Self {
        Self::of(dynamic::key, dynamic::revision)
    }
}

impl<O> Store<O> {
    fn of(key: fn(&O) -> ObjectKey, revision: fn(&O) -> Option<String>) -> Self {
        let (changes, ready) = (broadcast::channel(CHANGES_BUFFERED).0, Arc::new(watch::channel(false).0));
        Self { objects: Arc::default(), changes, ready, key, revision }
    }

    /// Key of an object.
    pub fn key_of(&self, object: &O) -> ObjectKey {
        (self.key)(object)
    }

    /// One object.
    pub fn get(&self, key: &ObjectKey) -> Option<Arc<O>> {
        self.objects.read().get(key).cloned()
    }

    /// All objects, by key.
    pub fn all(&self) -> Vec<Arc<O>> {
        self.objects.read().values().cloned().collect()
    }

    /// All objects of a namespace, by name.
    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<O>> {
        let first = ObjectKey::namespaced(namespace, "");
        let objects = self.objects.read();
        let range = objects.range(first..).take_while(|(key, _)| key.namespace.as_deref() == Some(namespace));
        range.map(|(_, object)| object.clone()).collect()
    }

    /// All keys.
    pub fn keys(&self) -> Vec<ObjectKey> {
        self.objects.read().keys().cloned().collect()
    }

    /// Changes from now on. A receiver that lags must look at [`Store::keys`] again.
    pub fn subscribe(&self) -> broadcast::Receiver<StoreChange<O>> {
        self.changes.subscribe()
    }

    /// Whether the first full state has arrived.
    pub fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// Waits for the first full state.
    pub async fn wait_until_ready(&self) {
        let mut ready = self.ready.subscribe();
        // The sender lives as long as the store, so waiting cannot fail.
        let _ = ready.wait_for(|ready| *ready).await;
    }

    /// Applies an event of a watcher.
    pub fn apply(&self, event: Event<O>) {
        match event {
            Event::Applied(object) => self.put(object),
            Event::Deleted(object) => self.remove(&self.key_of(&object)),
            Event::Restarted(objects) => {
                let named: BTreeSet<_> = objects.iter().map(self.key).collect();
                self.keys().iter().filter(|key| !named.contains(key)).for_each(|key| self.remove(key));
                objects.into_iter().for_each(|object| self.put(object));
                self.ready.send_replace(true);
            }
        }
    }

    fn put(&self, object: O) {
        let (key, object) = (self.key_of(&object), Arc::new(object));
        let old = self.objects.write().insert(key.clone(), object.clone());
        let same = old.as_ref().is_some_and(|old| (self.revision)(old) == (self.revision)(&object));
        if !same {
            self.tell(StoreChange { key, old, new: Some(object) });
        }
    }

    fn remove(&self, key: &ObjectKey) {
        let old = self.objects.write().remove(key);
        if old.is_some() {
            self.tell(StoreChange { key: key.clone(), old, new: None });
        }
    }

    fn tell(&self, change: StoreChange<O>) {
        // No subscriber is fine: the store itself is the state.
        let _ = self.changes.send(change);
    }
}

/// Keeps a store true until `stop`.
pub async fn reflect<W: Watchable>(source: W, params: ListParams, store: Store<W::Object>, stop: CancellationToken) {
    let kind = source.kind_name().to_owned();
    let mut events = Box::pin(watcher(source, params));
    while let Some(Some(event)) = stop.run_until_cancelled(events.next()).await {
        match event {
            Ok(event) => store.apply(event),
            Err(error) => tracing::warn!(kind, error = %error, "watch interrupted"),
        }
    }
}

#[cfg(test)]
mod tests {
    use api::kinds::ConfigMap;

    use super::*;

    fn map(name: &str, revision: &str) -> ConfigMap {
        let mut map = ConfigMap::default();
        map.metadata.name = Some(name.into());
        map.metadata.namespace = Some("default".into());
        map.metadata.resource_version = Some(revision.into());
        map
    }

    #[test]
    fn a_full_state_removes_what_it_does_not_name_and_repeats_nothing() {
        let store = Store::default();
        let mut changes = store.subscribe();
        store.apply(Event::Restarted(vec![map("a", "1"), map("b", "2")]));
        store.apply(Event::Restarted(vec![map("b", "2"), map("c", "3")]));
        let mut seen = Vec::new();
        while let Ok(change) = changes.try_recv() {
            seen.push(format!("{}{}", if change.new.is_some() { '+' } else { '-' }, change.key.name));
        }
        assert_eq!(seen, ["+a", "+b", "-a", "+c"]);
        assert!(store.is_ready());
        assert_eq!(store.in_namespace("default").len(), 2);
        assert_eq!(store.in_namespace("other").len(), 0);
    }

    #[test]
    fn a_change_carries_the_object_before_and_after() {
        let store = Store::default();
        store.apply(Event::Applied(map("a", "1")));
        let mut changes = store.subscribe();
        store.apply(Event::Applied(map("a", "2")));
        let change = changes.try_recv().unwrap();
        assert_eq!(change.old.unwrap().metadata.resource_version.as_deref(), Some("1"));
        assert_eq!(change.new.unwrap().metadata.resource_version.as_deref(), Some("2"));
    }
}
