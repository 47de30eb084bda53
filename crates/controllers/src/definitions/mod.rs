//! CustomResourceDefinitions: their names are accepted, then they are established; their objects go before them.

mod plan;

use std::time::Duration;

use api::{Kind, ObjectKey, custom, kinds::CustomResourceDefinition, names::finalizer::CUSTOM_RESOURCES};
use async_trait::async_trait;
use futures::{StreamExt as _, stream};

use crate::{
    controller::{Controller, Next, Watch, itself},
    error::Error,
    step::Step,
    world::{self, World},
};

/// Time until names that others have are looked at again, and until objects that still end are.
const RECHECK: Duration = Duration::from_secs(1);
/// Deletions that are under way at once.
const DELETIONS_AT_ONCE: usize = 16;

/// Reconciles definitions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Definitions;

#[async_trait]
impl Controller for Definitions {
    fn name(&self) -> &'static str {
        "customresourcedefinition-controller"
    }

    fn watches(&self) -> Vec<Watch> {
        vec![Watch::new(Kind::of::<CustomResourceDefinition>(), itself)]
    }

    async fn reconcile(&self, world: &dyn World, key: &ObjectKey) -> Result<Next, Error> {
        let Some(definition) = world::get::<CustomResourceDefinition>(world, key).await? else {
            return Ok(Next::OnChange);
        };
        if definition.metadata.deletion_timestamp.is_some() {
            return end(world, key, &definition).await;
        }
        let all = world::list::<CustomResourceDefinition>(world, None).await?;
        let next = plan::accept(&definition, &all, world.now());
        let waits = !custom::has_condition(&next, custom::NAMES_ACCEPTED);
        if next.status != definition.status {
            world::apply(world, &[Step::replace_status(&next)]).await?;
        }
        Ok(if waits { Next::After(RECHECK) } else { Next::OnChange })
    }
}

/// Deletes the objects of a definition that is being deleted; once there are none, lets it go.
async fn end(world: &dyn World, key: &ObjectKey, definition: &CustomResourceDefinition) -> Result<Next, Error> {
    if !CUSTOM_RESOURCES.holds(&definition.metadata) {
        return Ok(Next::OnChange);
    }
    let mut left = Vec::new();
    if let Some(kind) = custom::kinds(definition).first() {
        let read = |source| Error::Read { kind: kind.kind().into(), key: key.clone(), source };
        left = world.list(kind, None).await.map_err(read)?;
        let deletions = plan::deletions(kind, &left).into_iter();
        let deletions = deletions.map(async |step| world::apply(world, &[step]).await);
        let failed = stream::iter(deletions).buffered(DELETIONS_AT_ONCE).filter_map(async |done| done.err());
        if let Some(error) = failed.collect::<Vec<_>>().await.pop() {
            return Err(error);
        }
    }
    if left.is_empty() {
        let mut free = definition.clone();
        CUSTOM_RESOURCES.remove(&mut free.metadata);
        world::apply(world, &[Step::replace(&free)]).await?;
        return Ok(Next::OnChange);
    }
    let told = plan::ending(definition, left.len(), world.now());
    if told.status != definition.status {
        world::apply(world, &[Step::replace_status(&told)]).await?;
    }
    Ok(Next::After(RECHECK))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{GarbageCollector, Namespaces, testing::Cluster};

    fn definition(plural: &str, kind: &str, short: &str) -> Value {
        let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
        json!({"metadata": {"name": format!("{plural}.example.com")}, "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind, "shortNames": [short]},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}],
        }})
    }

    async fn read(world: &Cluster, name: &str) -> Option<CustomResourceDefinition> {
        world::get::<CustomResourceDefinition>(world, &ObjectKey::cluster(name)).await.unwrap()
    }

    async fn define(world: &Cluster, plural: &str, kind: &str, short: &str) -> CustomResourceDefinition {
        world.create::<CustomResourceDefinition>(definition(plural, kind, short)).await;
        let name = format!("{plural}.example.com");
        Definitions.reconcile(world, &ObjectKey::cluster(name.as_str())).await.unwrap();
        read(world, &name).await.unwrap()
    }

    fn reasons(definition: &CustomResourceDefinition) -> Vec<String> {
        let conditions = definition.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let word = |text: &Option<String>| text.clone().unwrap_or_default();
        conditions.map(|found| format!("{}={} {}", found.type_, found.status, word(&found.reason))).collect()
    }

    #[tokio::test]
    async fn a_definition_without_conflicts_is_established_and_others_wait() {
        let world = Cluster::start().await;
        let first = define(&world, "widgets", "Widget", "wi").await;
        assert_eq!(reasons(&first), ["NamesAccepted=True NoConflicts", "Established=True InitialNamesAccepted"]);
        assert_eq!(first.status.unwrap().accepted_names.unwrap().plural, "widgets");
        let second = define(&world, "wigs", "Widget", "wi").await;
        assert_eq!(reasons(&second), ["NamesAccepted=False ListKindConflict", "Established=False NotAccepted"]);
        let key = ObjectKey::cluster("wigs.example.com");
        world.delete::<CustomResourceDefinition>(&ObjectKey::cluster("widgets.example.com")).await;
        Definitions.reconcile(&world, &ObjectKey::cluster("widgets.example.com")).await.unwrap();
        assert!(read(&world, "widgets.example.com").await.is_none());
        assert_eq!(Definitions.reconcile(&world, &key).await.unwrap(), Next::OnChange);
        assert!(custom::has_condition(&read(&world, "wigs.example.com").await.unwrap(), custom::ESTABLISHED));
    }

    #[tokio::test]
    async fn objects_go_before_their_definition() {
        let world = Cluster::start().await;
        let defined = define(&world, "widgets", "Widget", "wi").await;
        let kind = custom::kinds(&defined).remove(0);
        let held = json!({"name": "b", "namespace": "default", "finalizers": ["example.com/slow"]});
        for metadata in [json!({"name": "a", "namespace": "default"}), held] {
            world.admin().create(&kind, &json!({"metadata": metadata})).await.unwrap();
        }
        let key = ObjectKey::cluster("widgets.example.com");
        world.delete::<CustomResourceDefinition>(&key).await;
        assert_eq!(Definitions.reconcile(&world, &key).await.unwrap(), Next::After(RECHECK));
        assert_eq!(Definitions.reconcile(&world, &key).await.unwrap(), Next::After(RECHECK));
        let ending = read(&world, "widgets.example.com").await.unwrap();
        assert!(reasons(&ending).contains(&"Terminating=True InstanceDeletionInProgress".to_owned()));
        let place = ObjectKey::namespaced("default", "b");
        let mut object = world.get(&kind, &place).await.unwrap().unwrap();
        object["metadata"]["finalizers"] = json!([]);
        world.admin().replace(&kind, &object).await.unwrap();
        assert_eq!(Definitions.reconcile(&world, &key).await.unwrap(), Next::OnChange);
        assert!(read(&world, "widgets.example.com").await.is_none());
    }

    #[tokio::test]
    async fn custom_resources_end_with_their_owner_and_their_namespace() {
        let world = Cluster::start().await;
        let kind = custom::kinds(&define(&world, "widgets", "Widget", "wi").await).remove(0);
        world.create::<api::kinds::Namespace>(json!({"metadata": {"name": "shop"}})).await;
        let make = async |name: &str, owners: Value| {
            let metadata = json!({"name": name, "namespace": "shop", "ownerReferences": owners});
            world.admin().create(&kind, &json!({"metadata": metadata})).await.unwrap();
            world.get(&kind, &ObjectKey::namespaced("shop", name)).await.unwrap().unwrap()
        };
        let owner = make("owner", json!([])).await;
        let named =
            |uid: &Value| json!([{"apiVersion": "example.com/v1", "kind": "Widget", "name": "owner", "uid": uid}]);
        let kept = make("kept", named(&owner["metadata"]["uid"])).await;
        let lost = make("lost", named(&json!("another"))).await;
        let collector = GarbageCollector::default();
        let watch = collector.watches_custom(&kind).unwrap();
        for object in [owner, kept, lost] {
            for key in (watch.keys)(crate::controller::Change { object: &object, gone: false, listed: true }) {
                collector.reconcile(&world, &key).await.unwrap();
            }
        }
        let names = async || {
            let found = world.list(&kind, Some("shop")).await.unwrap();
            found.iter().map(|object| object["metadata"]["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names().await, ["kept", "owner"]);
        let key = ObjectKey::cluster("shop");
        world.delete::<api::kinds::Namespace>(&key).await;
        while world.get(&Kind::of::<api::kinds::Namespace>(), &key).await.unwrap().is_some() {
            Namespaces.reconcile(&world, &key).await.unwrap();
        }
        assert!(names().await.is_empty());
    }
}
