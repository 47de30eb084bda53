//! Namespaces: the default service account while they live, their contents when they end.

use std::time::Duration;

use api::{
    Kind, ObjectKey, ObjectMeta,
    kinds::{self, Namespace, ServiceAccount, namespace::CONTENTS_FINALIZER},
};
use async_trait::async_trait;
use serde_json::Value;

use crate::{
    controller::{Change, Controller, Next, Watch, itself, name_of, namespace_of},
    error::Error,
    step::Step,
    world::{self, World},
};

/// Service account every pod has unless it names another.
const DEFAULT_ACCOUNT: &str = "default";
/// Time until a namespace whose contents still end is looked at again, beside the changes it watches.
const RECHECK: Duration = Duration::from_secs(5);

/// Reconciles namespaces.
#[derive(Clone, Copy, Debug, Default)]
pub struct Namespaces;

#[async_trait]
impl Controller for Namespaces {
    fn name(&self) -> &'static str {
        "namespace-controller"
    }

    fn watches(&self) -> Vec<Watch> {
        vec![
            Watch::new(Kind::of::<Namespace>(), itself),
            Watch::new(Kind::of::<ServiceAccount>(), lost_default_account),
        ]
    }

    async fn reconcile(&self, world: &dyn World, key: &ObjectKey) -> Result<Next, Error> {
        let Some(namespace) = world::get::<Namespace>(world, key).await? else {
            return Ok(Next::OnChange);
        };
        if namespace.metadata.deletion_timestamp.is_none() {
            let account = ObjectKey::namespaced(key.name.clone(), DEFAULT_ACCOUNT);
            let found = world::get::<ServiceAccount>(world, &account).await?;
            world::apply(world, &default_account(&key.name, found.as_ref())).await?;
            return Ok(Next::OnChange);
        }
        let mut contents = Vec::new();
        for kind in kinds::all().iter().filter(|kind| kind.is_namespaced()) {
            let list = world.list(kind, Some(&key.name)).await;
            let list = list.map_err(|source| Error::Read { kind: kind.kind, key: key.clone(), source })?;
            contents.extend(list.into_iter().map(|object| (*kind, object)));
        }
        let empty = contents.is_empty();
        world::apply(world, &end(&namespace, contents)).await?;
        Ok(if empty { Next::OnChange } else { Next::After(RECHECK) })
    }
}

fn lost_default_account(change: Change<'_>) -> Vec<ObjectKey> {
    let lost = change.gone && name_of(change.object).as_deref() == Some(DEFAULT_ACCOUNT);
    namespace_of(change.object).filter(|_| lost).map(ObjectKey::cluster).into_iter().collect()
}

fn default_account(namespace: &str, found: Option<&ServiceAccount>) -> Vec<Step> {
    if found.is_some() {
        return Vec::new();
    }
    let metadata =
        ObjectMeta { name: Some(DEFAULT_ACCOUNT.into()), namespace: Some(namespace.into()), ..ObjectMeta::default() };
    vec![Step::create(&ServiceAccount { metadata, ..ServiceAccount::default() })]
}

/// Deletes what is left; nothing left, lets the namespace go.
fn end(namespace: &Namespace, contents: Vec<(Kind, Value)>) -> Vec<Step> {
    if !contents.is_empty() {
        let live = contents.into_iter().filter(|(_, object)| object.pointer("/metadata/deletionTimestamp").is_none());
        return live.filter_map(|(kind, object)| delete(kind, &object)).collect();
    }
    let mut free = namespace.clone();
    let finalizers = free.spec.get_or_insert_default().finalizers.get_or_insert_default();
    let before = finalizers.len();
    finalizers.retain(|name| name != CONTENTS_FINALIZER);
    if finalizers.len() == before { Vec::new() } else { vec![Step::replace(&free)] }
}

/// The step that deletes an untyped object.
pub(crate) fn delete(kind: Kind, object: &Value) -> Option<Step> {
    let uid = object.pointer("/metadata/uid").and_then(Value::as_str)?;
    let key = ObjectKey { namespace: namespace_of(object), name: name_of(object)? };
    Some(Step::Delete { kind, key, uid: uid.to_owned() })
}

#[cfg(test)]
mod tests {
    use api::{Resource, decode};
    use serde_json::json;

    use super::*;

    #[test]
    fn contents_go_before_the_namespace() {
        let mut namespace: Namespace = decode(json!({"metadata": {"name": "shop"}})).unwrap();
        namespace.apply_defaults();
        let kind = *kinds::find("configmaps").unwrap();
        let object = |name: &str, ending: bool| {
            let mut object = json!({"metadata": {"name": name, "namespace": "shop", "uid": name}});
            if ending {
                object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            }
            (kind, object)
        };
        let steps = end(&namespace, vec![object("a", false), object("b", true)]);
        let [Step::Delete { key, .. }] = &steps[..] else { panic!("{steps:?}") };
        assert_eq!(key, &ObjectKey::namespaced("shop", "a"));
        assert!(end(&namespace, vec![object("b", true)]).is_empty(), "it waits for what still ends");
        let [Step::Replace { object, .. }] = &end(&namespace, vec![])[..] else { panic!() };
        assert_eq!(object["spec"]["finalizers"], json!([]));
    }
}
