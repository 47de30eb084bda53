//! The rules of the API server that controllers rely on, over a map.

use std::collections::BTreeMap;

use api::{
    Kind, ObjectKey,
    kinds::{Namespace, Pod},
};
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::{
    controller::{name_of, namespace_of},
    step::{Deletion, Notice},
    world::{World, WorldError},
};

/// One recorded change.
pub(crate) struct Recorded {
    pub(crate) kind: Kind,
    pub(crate) object: Value,
    pub(crate) gone: bool,
    pub(crate) listed: bool,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<(String, ObjectKey), (Kind, Value)>,
    changes: Vec<Recorded>,
    revision: u64,
    uid: u64,
    now: Timestamp,
    notices: Vec<String>,
    /// Writes until all fail, as if the process had been killed between two of them.
    writes_left: Option<u32>,
}

/// A cluster's objects in memory.
#[derive(Default)]
pub(crate) struct Memory(Mutex<State>);

fn meta<'a>(object: &'a Value, field: &str) -> &'a Value {
    &object["metadata"][field]
}

fn no_finalizers(object: &Value) -> bool {
    let empty = |list: &Value| list.as_array().is_none_or(Vec::is_empty);
    empty(meta(object, "finalizers")) && (object["kind"] != "Namespace" || empty(&object["spec"]["finalizers"]))
}

impl State {
    fn killed(&mut self) -> Result<(), WorldError> {
        match &mut self.writes_left {
            Some(0) => Err(WorldError::Unavailable { source: "killed".into() }),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn put(&mut self, kind: &Kind, key: &ObjectKey, mut object: Value) {
        let at = (kind.resource(), key.clone());
        let same = |old: &Value| {
            let strip = |value: &Value| {
                let mut value = value.clone();
                value["metadata"]["resourceVersion"] = Value::Null;
                value
            };
            strip(old) == strip(&object)
        };
        if self.objects.get(&at).is_some_and(|(_, old)| same(old)) {
            return;
        }
        self.revision += 1;
        object["metadata"]["resourceVersion"] = json!(self.revision.to_string());
        let gone = !meta(&object, "deletionTimestamp").is_null() && no_finalizers(&object) && kind.kind() != "Pod";
        self.changes.push(Recorded { kind: kind.clone(), object: object.clone(), gone, listed: false });
        if gone {
            self.objects.remove(&at);
        } else {
            self.objects.insert(at, (kind.clone(), object));
        }
    }

    fn current(&self, kind: &Kind, key: &ObjectKey) -> Result<Value, WorldError> {
        let found = self.objects.get(&(kind.resource(), key.clone()));
        found.map(|(_, object)| object.clone()).ok_or(WorldError::Missing)
    }

    fn write(&mut self, kind: &Kind, document: &Value, status: bool) -> Result<(), WorldError> {
        self.killed()?;
        let key = key_of(document);
        let old = self.current(kind, &key)?;
        if meta(&old, "resourceVersion") != meta(document, "resourceVersion") {
            return Err(WorldError::Conflict { source: "another version".into() });
        }
        let mut next = if status { old.clone() } else { document.clone() };
        if status {
            next["status"] = document["status"].clone();
        } else if kind.facts().has_status {
            match old.get("status") {
                Some(status) => next["status"] = status.clone(),
                None => drop(next.as_object_mut().and_then(|fields| fields.shift_remove("status"))),
            }
        }
        for field in ["uid", "creationTimestamp", "deletionTimestamp", "generation"] {
            next["metadata"][field] = meta(&old, field).clone();
        }
        let mut next = admit(kind, next, Some(&old))?;
        if old["spec"] != next["spec"] {
            next["metadata"]["generation"] = json!(meta(&old, "generation").as_i64().unwrap_or(0) + 1);
        }
        self.put(kind, &key, next);
        Ok(())
    }
}

fn admit(kind: &Kind, document: Value, old: Option<&Value>) -> Result<Value, WorldError> {
    let admitted = kind.admit(document, old);
    let refused = |errors| WorldError::Refused { source: format!("{errors:?}").into() };
    admitted.map(|admitted| admitted.object).map_err(refused)
}

fn key_of(object: &Value) -> ObjectKey {
    ObjectKey { namespace: namespace_of(object), name: name_of(object).unwrap_or_default() }
}

impl Memory {
    /// All objects of a kind.
    pub(crate) fn all(&self, plural: &str) -> Vec<Value> {
        let state = self.0.lock();
        state.objects.values().filter(|(kind, _)| kind.plural() == plural).map(|(_, object)| object.clone()).collect()
    }

    /// All objects as changes, as a watch begins.
    pub(crate) fn listing(&self) -> Vec<Recorded> {
        let state = self.0.lock();
        state
            .objects
            .values()
            .map(|(kind, object)| Recorded { kind: kind.clone(), object: object.clone(), gone: false, listed: true })
            .collect()
    }

    /// Changes since the last call.
    pub(crate) fn drain(&self) -> Vec<Recorded> {
        std::mem::take(&mut self.0.lock().changes)
    }

    /// Reasons of all that was told.
    pub(crate) fn notices(&self) -> Vec<String> {
        self.0.lock().notices.clone()
    }

    /// A counter of writes.
    pub(crate) fn revision(&self) -> u64 {
        self.0.lock().revision
    }

    /// Lets time pass.
    pub(crate) fn advance(&self, seconds: i64) {
        let mut state = self.0.lock();
        state.now += SignedDuration::from_secs(seconds);
    }

    /// Lets only so many writes through.
    pub(crate) fn limit_writes(&self, left: Option<u32>) {
        self.0.lock().writes_left = left;
    }

    /// Deletes as a person does.
    pub(crate) fn delete_now(&self, kind: &Kind, key: &ObjectKey) {
        let mut state = self.0.lock();
        let Ok(mut object) = state.current(kind, key) else { return };
        let graceful = kind.kind() == "Pod" && object["spec"]["nodeName"].is_string();
        if graceful || !no_finalizers(&object) {
            if meta(&object, "deletionTimestamp").is_null() {
                object["metadata"]["deletionTimestamp"] = json!(state.now.to_string());
                state.put(kind, key, object);
            }
        } else {
            self::remove(&mut state, kind, key);
        }
    }

    /// Ends a pod as its kubelet does.
    pub(crate) fn remove_now(&self, kind: &Kind, key: &ObjectKey) {
        remove(&mut self.0.lock(), kind, key);
    }
}

fn remove(state: &mut State, kind: &Kind, key: &ObjectKey) {
    if let Some((kind, object)) = state.objects.remove(&(kind.resource(), key.clone())) {
        state.revision += 1;
        state.changes.push(Recorded { kind, object, gone: true, listed: false });
    }
}

#[async_trait]
impl World for Memory {
    fn now(&self) -> Timestamp {
        self.0.lock().now
    }

    async fn get(&self, kind: &Kind, key: &ObjectKey) -> Result<Option<Value>, WorldError> {
        Ok(self.0.lock().current(kind, key).ok())
    }

    async fn list(&self, kind: &Kind, namespace: Option<&str>) -> Result<Vec<Value>, WorldError> {
        let here = |object: &Value| namespace.is_none() || namespace_of(object).as_deref() == namespace;
        Ok(self.all(kind.plural()).into_iter().filter(here).collect())
    }

    async fn create(&self, kind: &Kind, object: &Value) -> Result<(), WorldError> {
        let mut state = self.0.lock();
        state.killed()?;
        let key = key_of(object);
        if state.current(kind, &key).is_ok() {
            return Err(WorldError::Exists { source: "name taken".into() });
        }
        let mut object = object.clone();
        state.uid += 1;
        object["metadata"]["uid"] = json!(format!("uid-{}", state.uid));
        object["metadata"]["generation"] = json!(1);
        object["metadata"]["creationTimestamp"] = json!(state.now.to_string());
        if kind.kind() == "Service" {
            object["spec"]["clusterIP"] = json!(format!("10.0.0.{}", state.uid));
        }
        let object = admit(kind, object, None)?;
        state.put(kind, &key, object);
        Ok(())
    }

    async fn replace(&self, kind: &Kind, object: &Value) -> Result<(), WorldError> {
        self.0.lock().write(kind, object, false)
    }

    async fn replace_status(&self, kind: &Kind, object: &Value) -> Result<(), WorldError> {
        self.0.lock().write(kind, object, true)
    }

    async fn finalize(&self, namespace: &Value) -> Result<(), WorldError> {
        self.0.lock().write(&Kind::of::<Namespace>(), namespace, false)
    }

    async fn bind(&self, pod: &Value, node: &str) -> Result<(), WorldError> {
        // Only the node changes, and a binding is not admitted as a change of the pod.
        let (kind, key) = (Kind::of::<Pod>(), key_of(pod));
        let mut state = self.0.lock();
        state.killed()?;
        let mut placed = state.current(&kind, &key)?;
        let is_same = ["uid", "resourceVersion"].iter().all(|field| meta(&placed, field) == meta(pod, field));
        if !is_same || placed["spec"]["nodeName"].is_string() {
            return Err(WorldError::Conflict { source: "another version".into() });
        }
        placed["spec"]["nodeName"] = json!(node);
        state.put(&kind, &key, placed);
        Ok(())
    }

    async fn delete(&self, kind: &Kind, key: &ObjectKey, deletion: &Deletion) -> Result<(), WorldError> {
        let found = {
            let mut state = self.0.lock();
            state.killed()?;
            state.current(kind, key).ok().filter(|object| meta(object, "uid") == deletion.uid.as_str())
        };
        let Some(found) = found else { return Ok(()) };
        if deletion.version.as_ref().is_some_and(|version| meta(&found, "resourceVersion") != version.as_str()) {
            return Err(WorldError::Conflict { source: "another version".into() });
        }
        if deletion.grace_seconds == Some(0) && no_finalizers(&found) {
            self.remove_now(kind, key);
        } else {
            self.delete_now(kind, key);
        }
        Ok(())
    }

    async fn notify(&self, notice: &Notice) {
        assert!(!notice.reason.is_empty() && !notice.message.is_empty(), "{notice:?}");
        self.0.lock().notices.push(notice.reason.clone());
    }
}
