//! A cache of all objects of a kind, kept true by a watch.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use api::{ObjectKey, Resource};
use futures::StreamExt;
use parking_lot::RwLock;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use crate::{Api, Event, ListParams, watcher};

/// Changes a slow subscriber may fall behind before it has to look at everything again.
pub const CHANGES_BUFFERED: usize = 1024;

/// One object before and after a change.
#[derive(Debug)]
pub struct Change<R> {
    /// Which object.
    pub key: ObjectKey,
    /// As it was; `None` if it is new.
    pub old: Option<Arc<R>>,
    /// As it is; `None` if it is gone.
    pub new: Option<Arc<R>>,
}

impl<R> Clone for Change<R> {
    fn clone(&self) -> Self {
        Self { key: self.key.clone(), old: self.old.clone(), new: self.new.clone() }
    }
}

/// All objects of a kind, as far as the watch has told.
#[derive(Debug)]
pub struct Store<R> {
    objects: Arc<RwLock<BTreeMap<ObjectKey, Arc<R>>>>,
    changes: broadcast::Sender<Change<R>>,
    ready: Arc<watch::Sender<bool>>,
}

impl<R> Clone for Store<R> {
    fn clone(&self) -> Self {
        Self { objects: self.objects.clone(), changes: self.changes.clone(), ready: self.ready.clone() }
    }
}

impl<R: Resource> Default for Store<R> {
    fn default() -> Self {
        Self {
            objects: Arc::default(),
            changes: broadcast::channel(CHANGES_BUFFERED).0,
            ready: Arc::new(watch::channel(false).0),
        }
    }
}

impl<R: Resource> Store<R> {
    /// One object.
    pub fn get(&self, key: &ObjectKey) -> Option<Arc<R>> {
        self.objects.read().get(key).cloned()
    }

    /// All objects, by key.
    pub fn all(&self) -> Vec<Arc<R>> {
        self.objects.read().values().cloned().collect()
    }

    /// All objects of a namespace, by name.
    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<R>> {
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
    pub fn subscribe(&self) -> broadcast::Receiver<Change<R>> {
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

    /// Takes in what a watcher told.
    pub fn apply(&self, event: Event<R>) {
        match event {
            Event::Applied(object) => self.put(object),
            Event::Deleted(object) => self.remove(&ObjectKey::of(&object)),
            Event::Restarted(objects) => {
                let named: BTreeSet<_> = objects.iter().map(ObjectKey::of).collect();
                self.keys().iter().filter(|key| !named.contains(key)).for_each(|key| self.remove(key));
                objects.into_iter().for_each(|object| self.put(object));
                self.ready.send_replace(true);
            }
        }
    }

    fn put(&self, object: R) {
        let (key, object) = (ObjectKey::of(&object), Arc::new(object));
        let old = self.objects.write().insert(key.clone(), object.clone());
        let same = old.as_ref().is_some_and(|old| old.meta().resource_version == object.meta().resource_version);
        if !same {
            self.tell(Change { key, old, new: Some(object) });
        }
    }

    fn remove(&self, key: &ObjectKey) {
        let old = self.objects.write().remove(key);
        if old.is_some() {
            self.tell(Change { key: key.clone(), old, new: None });
        }
    }

    fn tell(&self, change: Change<R>) {
        // No subscriber is fine: the store itself is the state.
        let _ = self.changes.send(change);
    }
}

/// Keeps a store true until `stop`.
pub async fn reflect<R: Resource>(api: Api<R>, params: ListParams, store: Store<R>, stop: CancellationToken) {
    let mut events = Box::pin(watcher(api, params));
    while let Some(Some(event)) = stop.run_until_cancelled(events.next()).await {
        match event {
            Ok(event) => store.apply(event),
            Err(error) => tracing::warn!(kind = R::KIND, error = %error, "watch interrupted"),
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
