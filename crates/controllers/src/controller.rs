//! What every controller is.

use std::sync::Arc;

use api::{Kind, ObjectKey};
use async_trait::async_trait;
use serde_json::Value;

pub use client::Next;

use crate::{error::Error, world::World};

/// One observed change of an object.
pub type Change<'a> = client::Change<'a, Value>;

/// Which keys of a controller a change of another kind wakes.
#[derive(Clone)]
pub struct Watch {
    /// The kind to watch.
    pub kind: Kind,
    /// The keys to reconcile for a change; none when it does not matter.
    pub keys: Keys,
}

/// From a change to the keys it wakes.
pub type Keys = Arc<dyn Fn(Change<'_>) -> Vec<ObjectKey> + Send + Sync>;

impl Watch {
    /// Watches a kind.
    pub fn new(kind: Kind, keys: impl Fn(Change<'_>) -> Vec<ObjectKey> + Send + Sync + 'static) -> Self {
        Self { kind, keys: Arc::new(keys) }
    }
}

/// A level-triggered loop: given a key it reads everything, decides, acts, and remembers nothing.
#[async_trait]
pub trait Controller: Send + Sync + 'static {
    /// Name in logs, metrics and events, such as `bundle-controller`.
    fn name(&self) -> &'static str;
    /// What wakes it. The listing at the start of a watch counts as changes.
    fn watches(&self) -> Vec<Watch>;
    /// What wakes it, too, of a kind that a CustomResourceDefinition defines.
    fn watches_custom(&self, _kind: &Kind) -> Option<Watch> {
        None
    }
    /// Brings the object with this key one step, or all the way, towards what it should be.
    async fn reconcile(&self, world: &dyn World, key: &ObjectKey) -> Result<Next, Error>;
}

/// Key of the changed object itself.
pub(crate) fn itself(change: Change<'_>) -> Vec<ObjectKey> {
    name_of(change.object).map(|name| ObjectKey { namespace: namespace_of(change.object), name }).into_iter().collect()
}

/// Keys of the controlling owners of a kind, in the namespace of the changed object.
pub(crate) fn owner(change: Change<'_>, kind: &str) -> Vec<ObjectKey> {
    let owners = change.object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    let names = owners.into_iter().flatten().filter(|owner| owner["kind"] == kind).filter_map(|o| o["name"].as_str());
    names.map(|name| ObjectKey { namespace: namespace_of(change.object), name: name.to_owned() }).collect()
}

pub(crate) fn namespace_of(object: &Value) -> Option<String> {
    object.pointer("/metadata/namespace").and_then(Value::as_str).map(str::to_owned)
}

pub(crate) fn name_of(object: &Value) -> Option<String> {
    object.pointer("/metadata/name").and_then(Value::as_str).map(str::to_owned)
}
