//! Namespaces: the default service account while they live, their contents when they end, and what lies in none.

mod plan;

use std::{sync::Arc, time::Duration};

use api::{
    Kind, Kinds, ObjectKey, ObjectMeta, Resource,
    kinds::{self, CustomResourceDefinition, Namespace, ServiceAccount},
    names::namespace::BUILT_IN,
};
use async_trait::async_trait;
use client::chain;
use futures::{StreamExt as _, stream};

use crate::{
    controller::{Change, Controller, Next, Watch, itself, name_of, namespace_of},
    error::Error,
    step::Step,
    world::{self, World},
};
use plan::{Contents, Item};

/// Service account every pod has unless it names another.
const DEFAULT_ACCOUNT: &str = "default";
/// Deletions that are under way at once; together they cost one write to the disk.
const DELETIONS_AT_ONCE: usize = 16;
/// Time until a namespace whose contents still end is looked at again.
const RECHECK: Duration = Duration::from_secs(1);

/// Reconciles namespaces.
#[derive(Clone, Copy, Debug, Default)]
pub struct Namespaces;

#[async_trait]
impl Controller for Namespaces {
    fn name(&self) -> &'static str {
        "namespace-controller"
    }

    fn watches(&self) -> Vec<Watch> {
        let mut all = vec![Watch::new(Kind::of::<Namespace>(), itself)];
        for kind in kinds::all().iter().filter(|kind| kind.is_namespaced()) {
            all.push(Watch { kind: kind.clone(), keys: Arc::new(home) });
        }
        all
    }

    fn watches_custom(&self, kind: &Kind) -> Option<Watch> {
        kind.is_namespaced().then(|| Watch { kind: kind.clone(), keys: Arc::new(home) })
    }

    async fn reconcile(&self, world: &dyn World, key: &ObjectKey) -> Result<Next, Error> {
        match world::get::<Namespace>(world, key).await? {
            None => strays(world, key).await,
            Some(namespace) if namespace.metadata.deletion_timestamp.is_some() => end(world, &namespace).await,
            Some(_) => {
                let account = ObjectKey::namespaced(key.name.clone(), DEFAULT_ACCOUNT);
                let found = world::get::<ServiceAccount>(world, &account).await?;
                world::apply(world, &default_account(&key.name, found.as_ref())).await?;
                Ok(Next::OnChange)
            }
        }
    }
}

/// The namespace of what is listed, for it may be gone; and of a default account that is lost.
fn home(change: Change<'_>) -> Vec<ObjectKey> {
    let lost = change.gone && change.object["kind"] == "ServiceAccount";
    let lost = lost && name_of(change.object).as_deref() == Some(DEFAULT_ACCOUNT);
    namespace_of(change.object).filter(|_| lost || change.listed).map(ObjectKey::cluster).into_iter().collect()
}

fn default_account(namespace: &str, found: Option<&ServiceAccount>) -> Vec<Step> {
    if found.is_some() {
        return Vec::new();
    }
    let metadata =
        ObjectMeta { name: Some(DEFAULT_ACCOUNT.into()), namespace: Some(namespace.into()), ..ObjectMeta::default() };
    vec![Step::create(&ServiceAccount { metadata, ..ServiceAccount::default() })]
}

/// Everything in a namespace. A kind that cannot be listed is noted, and does not keep the others.
async fn contents(world: &dyn World, namespace: &str) -> Contents {
    let mut contents = Contents::default();
    let kinds = world.kinds().await.unwrap_or_else(|error| {
        contents.unread.push(format!("{}: {}", CustomResourceDefinition::PLURAL, chain(&error)));
        Kinds::builtin()
    });
    for kind in kinds.resources().filter(|kind| kind.is_namespaced()) {
        match world.list(kind, Some(namespace)).await {
            Ok(found) => contents.items.extend(found.into_iter().map(|object| Item { kind: kind.clone(), object })),
            Err(error) => contents.unread.push(format!("{}: {}", kind.plural(), chain(&error))),
        }
    }
    contents
}

/// Deletes everything that is not being deleted yet, and gives what failed: one object that cannot be deleted does not
/// keep the others.
async fn delete_all(world: &dyn World, contents: &Contents) -> Vec<Error> {
    let deletions = plan::deletions(contents).into_iter().map(async |step| world::apply(world, &[step]).await);
    let done = stream::iter(deletions).buffered(DELETIONS_AT_ONCE);
    done.filter_map(async |done| done.err()).collect().await
}

/// Deletes what is left, and says what that is; once nothing is left, lets the namespace go.
async fn end(world: &dyn World, namespace: &Namespace) -> Result<Next, Error> {
    let name = namespace.metadata.name.as_deref().unwrap_or_default();
    let mut contents = contents(world, name).await;
    contents.failed = delete_all(world, &contents).await.iter().map(|error| chain(error)).collect();
    let empty = contents.is_empty();
    let told = plan::conditions(namespace, &contents, world.now());
    world::apply(world, &told.into_iter().collect::<Vec<_>>()).await?;
    if !empty {
        return Ok(Next::After(RECHECK));
    }
    // Read again: the conditions may have been written.
    let key = ObjectKey::of(namespace);
    if let Some(fresh) = world::get::<Namespace>(world, &key).await?
        && let Some(free) = plan::release(&fresh)
    {
        let done = world.finalize(&api::encode(&free)).await;
        done.map_err(|source| Error::Write { verb: "finalize", kind: "Namespace".into(), key, source })?;
    }
    Ok(Next::OnChange)
}

/// Removes what lies in a namespace that is not there: nobody could see it, until somebody makes a namespace of
/// that name. Earlier versions left such objects behind.
async fn strays(world: &dyn World, key: &ObjectKey) -> Result<Next, Error> {
    let found = contents(world, &key.name).await;
    if found.items.is_empty() {
        return Ok(Next::OnChange);
    }
    // What was listed before the namespace is found missing was in no namespace: reads are linearizable.
    if world::get::<Namespace>(world, key).await?.is_some() {
        return Ok(Next::OnChange);
    }
    if BUILT_IN.contains(&key.name.as_str()) {
        let metadata = ObjectMeta { name: Some(key.name.clone()), ..ObjectMeta::default() };
        world::apply(world, &[Step::create(&Namespace { metadata, ..Namespace::default() })]).await?;
        return Ok(Next::OnChange);
    }
    tracing::warn!(namespace = key.name, objects = found.items.len(), "removing what lies in a namespace that is gone");
    match delete_all(world, &found).await.pop() {
        Some(error) => Err(error),
        None => Ok(Next::After(RECHECK)),
    }
}

#[cfg(test)]
mod tests {
    use api::kinds::{ConfigMap, Pod, Secret};
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::Cluster;

    #[tokio::test]
    async fn contents_go_before_the_namespace_and_it_says_what_is_left() {
        let world = Cluster::start().await;
        world.create::<Namespace>(json!({"metadata": {"name": "shop"}})).await;
        world.create::<ConfigMap>(json!({"metadata": {"name": "a", "namespace": "shop"}})).await;
        let held = json!({"name": "b", "namespace": "shop", "finalizers": ["example.org/slow"]});
        world.create::<ConfigMap>(json!({"metadata": held})).await;
        world.create::<ConfigMap>(json!({"metadata": {"name": "a", "namespace": "default"}})).await;
        let key = ObjectKey::cluster("shop");
        world.delete::<Namespace>(&key).await;
        assert_eq!(Namespaces.reconcile(&world, &key).await.unwrap(), Next::After(RECHECK));
        Namespaces.reconcile(&world, &key).await.unwrap();
        let namespace = world.get(&Kind::of::<Namespace>(), &key).await.unwrap().unwrap();
        let told = namespace["status"]["conditions"].as_array().unwrap();
        let of = |name: &str| told.iter().find(|told| told["type"] == name).unwrap();
        assert_eq!(
            of("NamespaceContentRemaining")["message"],
            "Some resources are remaining: configmaps. has 1 resource instances"
        );
        assert_eq!(
            of("NamespaceFinalizersRemaining")["message"],
            "Some content in the namespace has finalizers remaining: example.org/slow in 1 resource instances"
        );
        world.release::<ConfigMap>(&ObjectKey::namespaced("shop", "b")).await;
        Namespaces.reconcile(&world, &key).await.unwrap();
        assert!(world.get(&Kind::of::<Namespace>(), &key).await.unwrap().is_none());
        assert_eq!(world.all::<ConfigMap>().len(), 1, "what lies elsewhere stays");
    }

    #[tokio::test]
    async fn a_hundred_pods_end_side_by_side() {
        let world = Cluster::start().await;
        world.create::<Namespace>(json!({"metadata": {"name": "shop"}})).await;
        for number in 0..100 {
            let spec = json!({"nodeName": "a", "containers": [{"name": "c", "image": "i"}]});
            let metadata = json!({"name": format!("p{number}"), "namespace": "shop"});
            world.create::<Pod>(json!({"metadata": metadata, "spec": spec})).await;
        }
        let key = ObjectKey::cluster("shop");
        world.delete::<Namespace>(&key).await;
        Namespaces.reconcile(&world, &key).await.unwrap();
        let ending = |pod: &Value| !pod["metadata"]["deletionTimestamp"].is_null();
        assert!(world.all::<Pod>().iter().all(ending), "one pass tells all of them to end");
    }

    #[tokio::test]
    async fn what_lies_in_no_namespace_is_removed_and_built_in_ones_are_made_again() {
        let world = Cluster::start().await;
        world.create::<Namespace>(json!({"metadata": {"name": "gone"}})).await;
        for namespace in ["gone", "kube-system"] {
            world.create::<Secret>(json!({"metadata": {"name": "s", "namespace": namespace}})).await;
            world.lose::<Namespace>(namespace).await;
        }
        for namespace in ["gone", "kube-system", "never"] {
            Namespaces.reconcile(&world, &ObjectKey::cluster(namespace)).await.unwrap();
        }
        let left: Vec<_> = world.all::<Secret>().iter().map(|secret| secret["metadata"]["namespace"].clone()).collect();
        assert_eq!(left, ["kube-system"]);
        let names = world.all::<Namespace>();
        let names: Vec<_> = names.iter().map(|namespace| namespace["metadata"]["name"].clone()).collect();
        assert_eq!(names, BUILT_IN);
    }

    #[test]
    fn only_what_is_listed_or_lost_wakes_a_namespace() {
        let object = json!({"kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "n"}});
        let wakes = |gone, listed| home(Change { object: &object, gone, listed }).len();
        assert_eq!((wakes(false, true), wakes(false, false), wakes(true, false)), (1, 0, 1));
    }
}
