//! Deletes what nobody owns any more (Kubernetes: "Owners and Dependents").

mod plan;

use api::{Kind, ObjectKey, kinds};
use async_trait::async_trait;
use serde_json::Value;

use crate::{
    controller::{Change, Controller, Next, Watch},
    error::Error,
    world::{self, World},
};

pub(crate) use plan::{Found, Graph};

/// Collects garbage in one pass over the metadata of all kinds. All objects are one key.
#[derive(Clone, Copy, Debug, Default)]
pub struct GarbageCollector;

#[async_trait]
impl Controller for GarbageCollector {
    fn name(&self) -> &'static str {
        "garbage-collector"
    }

    fn watches(&self) -> Vec<Watch> {
        kinds::all().iter().map(|kind| Watch::new(*kind, keys)).collect()
    }

    async fn reconcile(&self, world: &dyn World, _key: &ObjectKey) -> Result<Next, Error> {
        let mut found = Vec::new();
        for kind in kinds::all() {
            found.extend(list(world, kind).await?.into_iter().map(|object| Found { kind: *kind, object }));
        }
        let graph = Graph::new(found);
        // The listing is no snapshot: an owner may have been made after its kind was listed. So each
        // owner that seems gone is asked for by name before anything is deleted.
        let mut gone = Vec::new();
        for owner in graph.missing_owners() {
            let key = owner.key.clone();
            let read = world.get(&owner.kind, &key).await;
            let object = read.map_err(|source| Error::Read { kind: owner.kind.kind, key, source })?;
            let alive = object.is_some_and(|object| plan::uid(&object) == owner.uid);
            if !alive {
                gone.push(owner.uid.to_owned());
            }
        }
        let steps = graph.plan(&gone);
        world::apply(world, &steps).await?;
        Ok(Next::OnChange)
    }
}

async fn list(world: &dyn World, kind: &Kind) -> Result<Vec<Value>, Error> {
    let failed = |source| Error::Read { kind: kind.kind, key: ObjectKey::cluster(""), source };
    world.list(kind, None).await.map_err(failed)
}

/// Only what can make garbage, or be it: what goes, what is held by a policy, what has owners.
fn keys(change: Change<'_>) -> Vec<ObjectKey> {
    let meta = &change.object["metadata"];
    let has = |field: &str| meta[field].as_array().is_some_and(|list| !list.is_empty());
    let ending = !meta["deletionTimestamp"].is_null() && has("finalizers");
    if change.gone || ending || has("ownerReferences") { vec![ObjectKey::cluster("objects")] } else { Vec::new() }
}
