//! Deletes what nobody owns any more (Kubernetes: "Owners and Dependents").
//!
//! An index over what the watches tell says whom a change concerns; what is done is decided on what is read then.

mod index;
mod plan;

use std::sync::Arc;

use api::{Kind, Kinds, ObjectKey, Resource, kinds, kinds::CustomResourceDefinition};
use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::Value;

use crate::{
    controller::{Change, Controller, Next, Watch, namespace_of},
    error::Error,
    step::{Notice, Step},
    world::{self, World},
};
use index::Index;
use plan::{Found, Graph, Owner};

/// Collects garbage, one object at a time. The key is the object's, with the resource before the name.
#[derive(Clone, Debug, Default)]
pub struct GarbageCollector {
    /// Who owns whom: only to wake keys; a restart builds it anew.
    index: Arc<Mutex<Index>>,
}

/// How an owner is found.
enum Presence {
    Alive,
    Absent,
    /// In another namespace, where it does not count.
    Elsewhere,
}

#[async_trait]
impl Controller for GarbageCollector {
    fn name(&self) -> &'static str {
        "garbage-collector"
    }

    fn watches(&self) -> Vec<Watch> {
        kinds::all().iter().map(|kind| self.watch(kind)).collect()
    }

    fn watches_custom(&self, kind: &Kind) -> Option<Watch> {
        Some(self.watch(kind))
    }

    async fn reconcile(&self, world: &dyn World, key: &ObjectKey) -> Result<Next, Error> {
        let Some((kind, key)) = self.index.lock().parse(key) else { return Ok(Next::OnChange) };
        let read = |source| Error::Read { kind: kind.kind().into(), key: key.clone(), source };
        let Some(object) = world.get(&kind, &key).await.map_err(read)? else { return Ok(Next::OnChange) };
        let found = Found { kind, object };
        if plan::awaits_dependents(&found.object) {
            // Rare, and nothing may be missed: everything is read.
            let graph = Graph::new(everything(world).await?);
            world::apply(world, &graph.settle(&found)).await?;
        } else if !plan::is_ending(&found.object) {
            self.judge(world, &found).await?;
        }
        Ok(Next::OnChange)
    }
}

impl GarbageCollector {
    fn watch(&self, kind: &Kind) -> Watch {
        let (index, kind) = (self.index.clone(), kind.clone());
        Watch::new(kind.clone(), move |change: Change<'_>| index.lock().observe(&kind, change))
    }

    /// Deletes an object all of whose owners are gone, at the version that named them.
    async fn judge(&self, world: &dyn World, found: &Found) -> Result<(), Error> {
        let (mut owned, mut dead) = (false, true);
        for owner in plan::owners(&found.object) {
            owned = true;
            match self.presence(world, found, &owner).await? {
                Presence::Alive => dead = false,
                Presence::Absent => {}
                Presence::Elsewhere => world.notify(&misplaced(found, &owner)).await,
            }
        }
        let steps: Vec<Step> = plan::delete(found).into_iter().filter(|_| owned && dead).collect();
        world::apply(world, &steps).await
    }

    /// Asks for an owner by name: caches may lag.
    async fn presence(&self, world: &dyn World, found: &Found, owner: &Owner<'_>) -> Result<Presence, Error> {
        // Of what is not served here nobody knows.
        let kind = match plan::served(&Kinds::builtin(), owner) {
            Some(kind) => Some(kind),
            None => plan::served(&kinds_of(world).await?, owner),
        };
        let Some(kind) = kind else { return Ok(Presence::Alive) };
        let namespace = namespace_of(&found.object);
        if kind.is_namespaced() && namespace.is_none() {
            return Ok(Presence::Elsewhere);
        }
        let key = ObjectKey { namespace: namespace.filter(|_| kind.is_namespaced()), name: owner.name.to_owned() };
        let read = world.get(&kind, &key).await;
        let object = read.map_err(|source| Error::Read { kind: kind.kind().into(), key: key.clone(), source })?;
        if object.is_some_and(|object| plan::uid(&object) == owner.uid) {
            return Ok(Presence::Alive);
        }
        let elsewhere = self.index.lock().home_of(owner.uid).is_some_and(|home| home.namespace != key.namespace);
        Ok(if elsewhere { Presence::Elsewhere } else { Presence::Absent })
    }
}

fn misplaced(found: &Found, owner: &Owner<'_>) -> Notice {
    let place = match namespace_of(&found.object) {
        Some(namespace) => format!("does not exist in namespace {namespace:?}"),
        None => "is in a namespace, and cannot own what is in none".to_owned(),
    };
    let message =
        format!("ownerRef [{}/{}, name: {}, uid: {}] {place}", owner.api_version, owner.kind, owner.name, owner.uid);
    let (kind, about) = (found.kind.clone(), found.object.clone());
    Notice { kind, about, warning: true, reason: "OwnerRefInvalidNamespace".into(), message }
}

/// Every kind that is served.
async fn kinds_of(world: &dyn World) -> Result<Kinds, Error> {
    let kind = || CustomResourceDefinition::KIND.into();
    world.kinds().await.map_err(|source| Error::Read { kind: kind(), key: ObjectKey::cluster(""), source })
}

/// Every object of every kind.
async fn everything(world: &dyn World) -> Result<Vec<Found>, Error> {
    let mut found = Vec::new();
    for kind in kinds_of(world).await?.resources() {
        let failed = |source| Error::Read { kind: kind.kind().into(), key: ObjectKey::cluster(""), source };
        let objects: Vec<Value> = world.list(kind, None).await.map_err(failed)?;
        found.extend(objects.into_iter().map(|object| Found { kind: kind.clone(), object }));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use api::kinds::{ConfigMap, Namespace};
    use serde_json::json;

    use super::*;
    use crate::{WorldError, testing::Cluster};

    fn kind(plural: &str) -> Kind {
        kinds::find(plural).unwrap().clone()
    }

    /// A cluster with the namespaces `a` and `b`.
    async fn cluster() -> Cluster {
        let cluster = Cluster::start().await;
        for name in ["a", "b"] {
            cluster.create::<Namespace>(json!({"metadata": {"name": name}})).await;
        }
        cluster
    }

    /// A ConfigMap, owned by those of this name and uid; answers its uid.
    async fn config_map(world: &Cluster, namespace: &str, name: &str, owners: &[(&str, &str)]) -> String {
        let owners: Vec<_> = owners
            .iter()
            .map(|(name, uid)| json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid, "blockOwnerDeletion": true}))
            .collect();
        let metadata = json!({"name": name, "namespace": namespace, "ownerReferences": owners});
        world.create::<ConfigMap>(json!({"metadata": metadata})).await;
        let made = world.get(&kind("configmaps"), &ObjectKey::namespaced(namespace, name)).await.unwrap().unwrap();
        plan::uid(&made).to_owned()
    }

    /// Reconciles everything that changes wake, until nothing does.
    async fn collect(world: &Cluster, collector: &GarbageCollector) {
        for _ in 0..16 {
            let mut due = Vec::new();
            for change in world.drain() {
                for watch in collector.watches().iter().filter(|watch| watch.kind.resource() == change.kind.resource())
                {
                    due.extend((watch.keys)(Change { object: &change.object, gone: change.gone, listed: false }));
                }
            }
            for key in due {
                collector.reconcile(world, &key).await.unwrap();
            }
        }
    }

    fn names(world: &Cluster) -> Vec<String> {
        let name = |object: &Value| {
            format!(
                "{}/{}",
                object["metadata"]["namespace"].as_str().unwrap(),
                object["metadata"]["name"].as_str().unwrap()
            )
        };
        world.all::<ConfigMap>().iter().map(name).collect()
    }

    #[tokio::test]
    async fn what_is_left_of_an_owner_goes() {
        let (world, collector) = (cluster().await, GarbageCollector::default());
        let owner = config_map(&world, "a", "owner", &[]).await;
        let other = config_map(&world, "a", "other", &[]).await;
        config_map(&world, "a", "child", &[("owner", &owner)]).await;
        config_map(&world, "a", "shared", &[("owner", &owner), ("other", &other)]).await;
        config_map(&world, "a", "born-late", &[("never", "no-such-uid")]).await;
        // Two that name one uid by different names: each question is asked.
        config_map(&world, "a", "liar", &[("other", &owner)]).await;
        collect(&world, &collector).await;
        assert_eq!(names(&world), ["a/child", "a/other", "a/owner", "a/shared"]);
        world.delete::<ConfigMap>(&ObjectKey::namespaced("a", "owner")).await;
        collect(&world, &collector).await;
        assert_eq!(names(&world), ["a/other", "a/shared"]);
    }

    #[tokio::test]
    async fn an_owner_in_another_namespace_is_none() {
        let (world, collector) = (cluster().await, GarbageCollector::default());
        let owner = config_map(&world, "a", "owner", &[]).await;
        let home = config_map(&world, "b", "home", &[]).await;
        collect(&world, &collector).await;
        config_map(&world, "b", "stray", &[("owner", &owner)]).await;
        config_map(&world, "b", "half", &[("owner", &owner), ("home", &home)]).await;
        collect(&world, &collector).await;
        assert_eq!(names(&world), ["a/owner", "b/half", "b/home"]);
        assert_eq!(world.notices(), ["OwnerRefInvalidNamespace", "OwnerRefInvalidNamespace"]);
    }

    #[tokio::test]
    async fn an_object_that_changed_after_it_was_judged_is_judged_again() {
        let world = cluster().await;
        config_map(&world, "a", "child", &[("gone", "gone-uid")]).await;
        let key = ObjectKey::namespaced("a", "child");
        let object = world.get(&kind("configmaps"), &key).await.unwrap().unwrap();
        let found = Found { kind: kind("configmaps"), object: object.clone() };
        let mut kept = object;
        kept["metadata"]["ownerReferences"] = json!([]);
        world.admin().replace(&kind("configmaps"), &kept).await.unwrap();
        let judged = GarbageCollector::default().judge(&world, &found).await;
        assert!(matches!(judged, Err(Error::Write { source: WorldError::Conflict { .. }, .. })), "{judged:?}");
        assert_eq!(names(&world), ["a/child"]);
    }

    #[tokio::test]
    async fn foreground_deletion_stays_in_its_namespace_and_waits_for_dependents() {
        let (world, collector) = (cluster().await, GarbageCollector::default());
        let owner = config_map(&world, "a", "owner", &[]).await;
        config_map(&world, "a", "child", &[("owner", &owner)]).await;
        let home = config_map(&world, "b", "home", &[]).await;
        config_map(&world, "b", "stranger", &[("owner", &owner), ("home", &home)]).await;
        collect(&world, &collector).await;
        let key = ObjectKey::namespaced("a", "owner");
        let mut object = world.get(&kind("configmaps"), &key).await.unwrap().unwrap();
        object["metadata"]["finalizers"] = json!(["foregroundDeletion"]);
        world.admin().replace(&kind("configmaps"), &object).await.unwrap();
        let child = ObjectKey::namespaced("a", "child");
        let mut held = world.get(&kind("configmaps"), &child).await.unwrap().unwrap();
        held["metadata"]["finalizers"] = json!(["example.org/slow"]);
        world.admin().replace(&kind("configmaps"), &held).await.unwrap();
        world.delete::<ConfigMap>(&key).await;
        collect(&world, &collector).await;
        assert_eq!(names(&world), ["a/child", "a/owner", "b/home", "b/stranger"], "the owner waits");
        world.release::<ConfigMap>(&child).await;
        collect(&world, &collector).await;
        assert_eq!(names(&world), ["b/home", "b/stranger"]);
    }
}
