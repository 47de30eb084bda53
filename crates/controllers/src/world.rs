//! The API as controllers see it: objects of any kind, read and written one at a time.

use api::{Kind, Kinds, ObjectKey, Resource, decode, encode, kinds::Pod};
use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    error::{Error, WorldError},
    step::{Deletion, Notice, Step},
};

/// Everything a controller may do to the cluster. Writes carry the `resourceVersion` that was read.
#[async_trait]
pub trait World: Send + Sync + 'static {
    /// The time by which controllers decide.
    fn now(&self) -> Timestamp;
    /// Every kind that is served, those of CustomResourceDefinitions included.
    async fn kinds(&self) -> Result<Kinds, WorldError>;
    /// One object, or `None`.
    async fn get(&self, kind: &Kind, key: &ObjectKey) -> Result<Option<Value>, WorldError>;
    /// All objects of a kind, in one namespace or in all.
    async fn list(&self, kind: &Kind, namespace: Option<&str>) -> Result<Vec<Value>, WorldError>;
    /// Creates an object.
    async fn create(&self, kind: &Kind, object: &Value) -> Result<(), WorldError>;
    /// Replaces an object, its status excepted.
    async fn replace(&self, kind: &Kind, object: &Value) -> Result<(), WorldError>;
    /// Replaces the status of an object.
    async fn replace_status(&self, kind: &Kind, object: &Value) -> Result<(), WorldError>;
    /// Replaces the finalizers of a namespace.
    async fn finalize(&self, namespace: &Value) -> Result<(), WorldError>;
    /// Binds a pod, as it was read, to a node.
    async fn bind(&self, pod: &Value, node: &str) -> Result<(), WorldError>;
    /// Deletes the object with this uid, or does nothing when it is gone. A version that is asked for
    /// and not the object's is a conflict.
    async fn delete(&self, kind: &Kind, key: &ObjectKey, deletion: &Deletion) -> Result<(), WorldError>;
    /// Tells people; never fails a reconcile.
    async fn notify(&self, notice: &Notice);
}

/// Reads one object.
pub(crate) async fn get<R: Resource>(world: &dyn World, key: &ObjectKey) -> Result<Option<R>, Error> {
    let found = world.get(&Kind::of::<R>(), key).await;
    let found = found.map_err(|source| Error::Read { kind: R::KIND.into(), key: key.clone(), source })?;
    found.map(|value| typed(key, value)).transpose()
}

/// Reads all objects of a kind; those that do not fit it are reported and left out, so that one
/// broken object does not stop the others.
pub(crate) async fn list<R: Resource>(world: &dyn World, namespace: Option<&str>) -> Result<Vec<R>, Error> {
    let found = world.list(&Kind::of::<R>(), namespace).await.map_err(|source| Error::Read {
        kind: R::KIND.into(),
        key: ObjectKey { namespace: namespace.map(str::to_owned), name: String::new() },
        source,
    })?;
    let mut objects = Vec::with_capacity(found.len());
    for value in found {
        match decode::<R>(value) {
            Ok(object) => objects.push(object),
            Err(error) => tracing::warn!(kind = R::KIND, %error, "an object does not fit its kind and is ignored"),
        }
    }
    Ok(objects)
}

fn typed<R: Resource>(key: &ObjectKey, value: Value) -> Result<R, Error> {
    decode(value).map_err(|source| Error::Decode { kind: R::KIND.into(), key: key.clone(), source: Box::new(source) })
}

/// Carries steps out, in order; stops at the first that fails.
pub(crate) async fn apply(world: &dyn World, steps: &[Step]) -> Result<(), Error> {
    for step in steps {
        let (verb, kind, key, result) = match step {
            Step::Create { kind, object, key } => ("create", kind.clone(), key, world.create(kind, object).await),
            Step::Replace { kind, object, key } => ("replace", kind.clone(), key, world.replace(kind, object).await),
            Step::ReplaceStatus { kind, object, key } => {
                ("update the status of", kind.clone(), key, world.replace_status(kind, object).await)
            }
            Step::Bind { key, pod, node } => ("bind", Kind::of::<Pod>(), key, world.bind(pod, node).await),
            Step::Delete { kind, key, deletion } => {
                ("delete", kind.clone(), key, world.delete(kind, key, deletion).await)
            }
            Step::Notify(notice) => {
                world.notify(notice).await;
                continue;
            }
        };
        result.map_err(|source| Error::Write { verb, kind: kind.kind().into(), key: key.clone(), source })?;
    }
    Ok(())
}

/// Whether every field of `desired` has the same value in `found`; lists are compared whole.
///
/// `found` may hold more: defaults and what others set. Null, empty lists and empty maps are absence.
pub(crate) fn contains(found: &Value, desired: &Value) -> bool {
    match (found, desired) {
        (Value::Object(found), Value::Object(desired)) => desired.iter().all(|(key, value)| match found.get(key) {
            Some(found) => contains(found, value),
            None => is_void(value),
        }),
        (Value::Array(found), Value::Array(desired)) => {
            found.len() == desired.len() && found.iter().zip(desired).all(|(found, desired)| contains(found, desired))
        }
        (found, desired) => found == desired,
    }
}

fn is_void(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_void),
        _ => false,
    }
}

/// [`contains`] over typed objects, leaving out status and the metadata others own.
pub(crate) fn is_applied<R: Resource>(found: &R, desired: &R) -> bool {
    let mut desired = desired.clone();
    desired.apply_defaults();
    let mut desired = encode(&desired);
    if let Value::Object(fields) = &mut desired {
        fields.shift_remove("status");
    }
    contains(&encode(found), &desired)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn containment_ignores_what_others_add_but_not_what_differs() {
        let found = json!({"a": 1, "b": {"c": 2, "d": 3}, "list": [{"x": 1, "y": 2}]});
        for same in
            [json!({}), json!({"a": 1, "z": null, "y": {}}), json!({"b": {"c": 2}}), json!({"list": [{"x": 1}]})]
        {
            assert!(contains(&found, &same), "{same}");
        }
        for other in [json!({"a": 2}), json!({"b": {"e": 1}}), json!({"list": []}), json!({"list": [{"x": 2}]})] {
            assert!(!contains(&found, &other), "{other}");
        }
    }
}
