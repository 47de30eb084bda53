//! What follows from who owns whom.

use api::{
    Finalizer, Kind, Kinds, ObjectKey,
    names::finalizer::{FOREGROUND, ORPHAN},
};
use serde_json::Value;

use crate::{
    controller::{name_of, namespace_of},
    step::{Deletion, Step},
};

/// An object with its kind.
pub(crate) struct Found {
    pub(crate) kind: Kind,
    pub(crate) object: Value,
}

/// All objects.
pub(crate) struct Graph {
    found: Vec<Found>,
}

/// An owner as an object names it. It is in the object's namespace or in none.
pub(super) struct Owner<'a> {
    pub(super) api_version: &'a str,
    pub(super) kind: &'a str,
    pub(super) name: &'a str,
    pub(super) uid: &'a str,
    blocks: bool,
}

/// An object's uid; empty when it has none.
pub(super) fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

impl Graph {
    pub(crate) fn new(found: Vec<Found>) -> Self {
        Self { found }
    }

    /// What to do for an owner that is being deleted and waits for its dependents.
    pub(super) fn settle(&self, owner: &Found) -> Vec<Step> {
        if has_finalizer(&owner.object, ORPHAN) { self.set_free(owner) } else { self.dependents_first(owner) }
    }

    fn dependents<'a>(&'a self, owner: &'a Found) -> impl Iterator<Item = &'a Found> {
        self.found.iter().filter(move |found| owners(&found.object).any(|named| is(&named, owner, found)))
    }

    /// Takes the owner out of its dependents, then lets it go.
    fn set_free(&self, owner: &Found) -> Vec<Step> {
        let uid = uid(&owner.object);
        let mut steps: Vec<Step> = self
            .dependents(owner)
            .filter_map(|found| {
                let mut object = found.object.clone();
                let owners = object.pointer_mut("/metadata/ownerReferences")?.as_array_mut()?;
                owners.retain(|owner| owner["uid"] != uid);
                replace(found.kind.clone(), object)
            })
            .collect();
        steps.extend(release(owner, ORPHAN));
        steps
    }

    /// Deletes the dependents; lets the owner go once none is left that blocks it.
    fn dependents_first(&self, owner: &Found) -> Vec<Step> {
        let blocks = |found: &&Found| owners(&found.object).any(|named| named.blocks && is(&named, owner, found));
        // One with another owner that lives stays.
        let shared = |found: &&Found| {
            owners(&found.object)
                .any(|named| named.uid != uid(&owner.object) && self.found.iter().any(|other| is(&named, other, found)))
        };
        let live = self.dependents(owner).filter(|found| !is_ending(&found.object));
        let mut steps: Vec<Step> = live.filter(|found| !shared(found)).filter_map(delete).collect();
        if !self.dependents(owner).filter(|found| !shared(found)).any(|found| blocks(&found)) {
            steps.extend(release(owner, FOREGROUND));
        }
        steps
    }
}

/// Whether `found` names `owner` by this reference: by uid, and only within a namespace.
fn is(named: &Owner<'_>, owner: &Found, found: &Found) -> bool {
    let near = !owner.kind.is_namespaced() || namespace_of(&owner.object) == namespace_of(&found.object);
    near && named.uid == uid(&owner.object) && named.kind == owner.kind.kind()
}

/// The step that deletes an object at the version it was judged by.
pub(super) fn delete(found: &Found) -> Option<Step> {
    let key = ObjectKey { namespace: namespace_of(&found.object), name: name_of(&found.object)? };
    let version = text(&found.object, "/metadata/resourceVersion");
    let version = Some(version.to_owned()).filter(|version| !version.is_empty());
    let deletion = Deletion { uid: uid(&found.object).to_owned(), version, grace_seconds: None };
    Some(Step::Delete { kind: found.kind.clone(), key, deletion })
}

fn release(owner: &Found, finalizer: Finalizer) -> Option<Step> {
    let mut object = owner.object.clone();
    object
        .pointer_mut("/metadata/finalizers")?
        .as_array_mut()?
        .retain(|name| !name.as_str().is_some_and(|name| finalizer.is(name)));
    replace(owner.kind.clone(), object)
}

fn replace(kind: Kind, object: Value) -> Option<Step> {
    let key = ObjectKey { namespace: namespace_of(&object), name: name_of(&object)? };
    Some(Step::Replace { kind, key, object })
}

/// The owners that an object names.
pub(super) fn owners(object: &Value) -> impl Iterator<Item = Owner<'_>> {
    let list = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    list.into_iter().flatten().map(|owner| Owner {
        api_version: text(owner, "/apiVersion"),
        kind: text(owner, "/kind"),
        name: text(owner, "/name"),
        uid: text(owner, "/uid"),
        blocks: owner["blockOwnerDeletion"] == true,
    })
}

/// The owner's kind, if it is one of these.
pub(super) fn served(kinds: &Kinds, owner: &Owner<'_>) -> Option<Kind> {
    kinds.iter().find(|kind| kind.kind() == owner.kind && kind.api_version() == owner.api_version).cloned()
}

/// Whether the object is being deleted.
pub(super) fn is_ending(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some_and(|time| !time.is_null())
}

/// Whether the object is being deleted and something is to be done about its dependents first.
pub(super) fn awaits_dependents(object: &Value) -> bool {
    is_ending(object) && (has_finalizer(object, ORPHAN) || has_finalizer(object, FOREGROUND))
}

fn has_finalizer(object: &Value, finalizer: Finalizer) -> bool {
    let list = object.pointer("/metadata/finalizers").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).any(|name| finalizer.is(name))
}

fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    object.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use api::kinds;
    use serde_json::json;

    use super::*;

    fn found(name: &str, namespace: &str, owners: &[&str]) -> Found {
        let owners: Vec<_> = owners
            .iter()
            .map(|name| json!({"apiVersion": "v1", "kind": "Secret", "name": name, "uid": format!("{name}-uid"), "blockOwnerDeletion": true}))
            .collect();
        let metadata =
            json!({"name": name, "namespace": namespace, "uid": format!("{name}-uid"), "ownerReferences": owners});
        Found { kind: kinds::find("Secret").unwrap().clone(), object: json!({"metadata": metadata}) }
    }

    fn ending(finalizer: Finalizer) -> Found {
        let mut owner = found("db", "n", &[]);
        owner.object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        owner.object["metadata"]["finalizers"] = json!([finalizer.name()]);
        owner
    }

    fn settle(finalizer: Finalizer, others: Vec<Found>) -> Vec<String> {
        let all = others.into_iter().chain([ending(finalizer)]).collect();
        let steps = Graph::new(all).settle(&ending(finalizer));
        let named = steps.iter().map(|step| match step {
            Step::Delete { key, .. } => format!("-{}", key.name),
            Step::Replace { key, object, .. } => {
                let owners = object["metadata"]["ownerReferences"].as_array().map_or(0, Vec::len);
                format!("{} owners {owners} finalizers {}", key.name, object["metadata"]["finalizers"])
            }
            other => panic!("{other:?}"),
        });
        named.collect()
    }

    #[test]
    fn foreground_waits_for_dependents_of_the_same_namespace() {
        assert_eq!(settle(FOREGROUND, vec![found("s", "n", &["db"])]), ["-s"]);
        assert_eq!(settle(FOREGROUND, vec![found("s", "m", &["db"])]), ["db owners 0 finalizers []"]);
        let shared = vec![found("s", "n", &["db", "other"]), found("other", "n", &[])];
        assert_eq!(settle(FOREGROUND, shared), ["db owners 0 finalizers []"]);
        // Another owner that is in another namespace is none.
        let far = vec![found("s", "n", &["db", "other"]), found("other", "m", &[])];
        assert_eq!(settle(FOREGROUND, far), ["-s"]);
        assert_eq!(settle(FOREGROUND, vec![]), ["db owners 0 finalizers []"]);
    }

    #[test]
    fn orphans_lose_their_owner_before_it_goes() {
        let others = vec![found("s", "n", &["db"]), found("t", "m", &["db"])];
        assert_eq!(settle(ORPHAN, others), ["s owners 0 finalizers null", "db owners 0 finalizers []"]);
    }
}
