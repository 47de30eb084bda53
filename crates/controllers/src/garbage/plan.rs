//! Who owns whom, and what follows from it.

use std::collections::{BTreeMap, BTreeSet};

use api::{Kind, ObjectKey, kinds};
use serde_json::Value;

use crate::{
    controller::{name_of, namespace_of},
    namespace::delete,
    step::Step,
};

/// Finalizer of an owner that goes after its dependents.
const FOREGROUND: &str = "foregroundDeletion";
/// Finalizer of an owner whose dependents are set free.
const ORPHAN: &str = "orphan";

/// An object with its kind.
pub(crate) struct Found {
    pub(crate) kind: Kind,
    pub(crate) object: Value,
}

/// An owner that an object names and the listing lacks.
pub(crate) struct MissingOwner<'a> {
    pub(crate) kind: Kind,
    pub(crate) key: ObjectKey,
    pub(crate) uid: &'a str,
}

/// All objects.
pub(crate) struct Graph {
    found: Vec<Found>,
    uids: BTreeSet<String>,
}

struct Owner<'a> {
    api_version: &'a str,
    kind: &'a str,
    name: &'a str,
    uid: &'a str,
    blocks: bool,
}

/// An object's uid; empty when it has none.
pub(crate) fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

impl Graph {
    pub(crate) fn new(found: Vec<Found>) -> Self {
        let uids = found.iter().map(|found| uid(&found.object).to_owned()).collect();
        Self { found, uids }
    }

    /// Owners to ask for, each once. Owners of kinds that are not served here are never missing.
    pub(crate) fn missing_owners(&self) -> Vec<MissingOwner<'_>> {
        let mut missing = BTreeMap::new();
        for found in &self.found {
            for owner in owners(&found.object).filter(|owner| !self.uids.contains(owner.uid)) {
                if let Some(kind) = served(&owner) {
                    let namespace = namespace_of(&found.object).filter(|_| kind.is_namespaced());
                    let key = ObjectKey { namespace, name: owner.name.to_owned() };
                    missing.insert(owner.uid, MissingOwner { kind, key, uid: owner.uid });
                }
            }
        }
        missing.into_values().collect()
    }

    /// What to do, given the uids of owners that are known to be gone.
    pub(crate) fn plan(&self, gone: &[String]) -> Vec<Step> {
        let gone: BTreeSet<&str> = gone.iter().map(String::as_str).collect();
        let mut steps = Vec::new();
        for found in &self.found {
            let all: Vec<_> = owners(&found.object).collect();
            let dead = !all.is_empty() && all.iter().all(|owner| gone.contains(owner.uid));
            if dead && !is_ending(&found.object) {
                steps.extend(delete(found.kind, &found.object));
            }
            if is_ending(&found.object) && has_finalizer(&found.object, ORPHAN) {
                steps.extend(self.set_free(found));
            } else if is_ending(&found.object) && has_finalizer(&found.object, FOREGROUND) {
                steps.extend(self.dependents_first(found));
            }
        }
        steps
    }

    fn dependents<'a>(&'a self, owner: &'a Found) -> impl Iterator<Item = &'a Found> {
        let uid = uid(&owner.object);
        self.found.iter().filter(move |found| owners(&found.object).any(|owner| owner.uid == uid))
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
                replace(found.kind, object)
            })
            .collect();
        steps.extend(release(owner, ORPHAN));
        steps
    }

    /// Deletes the dependents; lets the owner go once none is left that blocks it.
    fn dependents_first(&self, owner: &Found) -> Vec<Step> {
        let owner_uid = uid(&owner.object);
        let blocks = |found: &&Found| owners(&found.object).any(|owner| owner.uid == owner_uid && owner.blocks);
        let live = self.dependents(owner).filter(|found| !is_ending(&found.object));
        // One with another owner that lives stays.
        let shared =
            |found: &&Found| owners(&found.object).any(|owner| owner.uid != owner_uid && self.uids.contains(owner.uid));
        let mut steps: Vec<Step> =
            live.filter(|found| !shared(found)).filter_map(|found| delete(found.kind, &found.object)).collect();
        if !self.dependents(owner).filter(|found| !shared(found)).any(|found| blocks(&found)) {
            steps.extend(release(owner, FOREGROUND));
        }
        steps
    }
}

fn release(owner: &Found, finalizer: &str) -> Option<Step> {
    let mut object = owner.object.clone();
    object.pointer_mut("/metadata/finalizers")?.as_array_mut()?.retain(|name| name != finalizer);
    replace(owner.kind, object)
}

fn replace(kind: Kind, object: Value) -> Option<Step> {
    let key = ObjectKey { namespace: namespace_of(&object), name: name_of(&object)? };
    Some(Step::Replace { kind, key, object })
}

fn owners(object: &Value) -> impl Iterator<Item = Owner<'_>> {
    let list = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    list.into_iter().flatten().map(|owner| Owner {
        api_version: text(owner, "/apiVersion"),
        kind: text(owner, "/kind"),
        name: text(owner, "/name"),
        uid: text(owner, "/uid"),
        blocks: owner["blockOwnerDeletion"] == true,
    })
}

fn served(owner: &Owner<'_>) -> Option<Kind> {
    kinds::all().iter().find(|kind| kind.kind == owner.kind && kind.api_version() == owner.api_version).copied()
}

fn is_ending(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some_and(|time| !time.is_null())
}

fn has_finalizer(object: &Value, finalizer: &str) -> bool {
    let list = object.pointer("/metadata/finalizers").and_then(Value::as_array);
    list.into_iter().flatten().any(|name| name == finalizer)
}

fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    object.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(kind: &str, name: &str, owners: &[(&str, &str)]) -> Found {
        let owners: Vec<_> = owners
            .iter()
            .map(|(kind, name)| {
                let api_version = kinds::find(kind).map_or("example.org/v1".to_owned(), Kind::api_version);
                json!({"apiVersion": api_version, "kind": kind, "name": name, "uid": format!("{name}-uid"), "blockOwnerDeletion": true})
            })
            .collect();
        let object = json!({"metadata": {"name": name, "namespace": "n", "uid": format!("{name}-uid"), "ownerReferences": owners}});
        Found { kind: *kinds::find(kind).unwrap(), object }
    }

    fn ending(mut found: Found, finalizer: &str) -> Found {
        found.object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        found.object["metadata"]["finalizers"] = json!([finalizer]);
        found
    }

    fn names(steps: &[Step]) -> Vec<String> {
        steps
            .iter()
            .map(|step| match step {
                Step::Delete { key, .. } => format!("-{}", key.name),
                Step::Replace { key, object, .. } => {
                    let owners = object["metadata"]["ownerReferences"].as_array().map_or(0, Vec::len);
                    format!("{} owners {owners} finalizers {}", key.name, object["metadata"]["finalizers"])
                }
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn only_known_dead_owners_of_served_kinds_condemn() {
        let graph = Graph::new(vec![
            found("Bundle", "db", &[]),
            found("Secret", "kept", &[("Bundle", "db")]),
            found("Secret", "lost", &[("Bundle", "old")]),
            found("Secret", "shared", &[("Bundle", "old"), ("Bundle", "db")]),
            found("Secret", "foreign", &[("Widget", "w")]),
            found("Secret", "free", &[]),
        ]);
        let missing: Vec<_> = graph.missing_owners().iter().map(|owner| owner.key.to_string()).collect();
        assert_eq!(missing, ["n/old"]);
        assert_eq!(names(&graph.plan(&["old-uid".into()])), ["-lost"]);
        assert!(graph.plan(&[]).is_empty());
    }

    #[test]
    fn foreground_waits_for_dependents() {
        let owner = || ending(found("Bundle", "db", &[]), FOREGROUND);
        let graph = Graph::new(vec![owner(), found("Secret", "s", &[("Bundle", "db")])]);
        assert_eq!(names(&graph.plan(&[])), ["-s"]);
        assert_eq!(names(&Graph::new(vec![owner()]).plan(&[])), ["db owners 0 finalizers []"]);
    }

    #[test]
    fn orphans_lose_their_owner_before_it_goes() {
        let owner = ending(found("Bundle", "db", &[]), ORPHAN);
        let graph = Graph::new(vec![owner, found("Secret", "s", &[("Bundle", "db")])]);
        assert_eq!(names(&graph.plan(&[])), ["s owners 0 finalizers null", "db owners 0 finalizers []"]);
    }
}
