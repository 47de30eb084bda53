//! Who owns whom, as far as the watches told.

use std::collections::{BTreeMap, BTreeSet};

use api::{Kind, ObjectKey};

use super::plan::{awaits_dependents, owners, uid};
use crate::controller::{Change, name_of, namespace_of};

/// Parts a resource from a name in a key.
const BAR: char = '/';

/// What is remembered of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    uid: String,
    owners: BTreeSet<String>,
    /// Whether it is being deleted and waits for its dependents.
    awaits: bool,
}

/// Objects by key, and their relations by uid.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// The kinds that were watched, by resource.
    kinds: BTreeMap<String, Kind>,
    entries: BTreeMap<ObjectKey, Entry>,
    homes: BTreeMap<String, ObjectKey>,
    dependents: BTreeMap<String, BTreeSet<ObjectKey>>,
}

/// The key of an object of some kind.
fn key_of(kind: &Kind, change: Change<'_>) -> Option<ObjectKey> {
    let name = format!("{}{BAR}{}", kind.resource(), name_of(change.object)?);
    Some(ObjectKey { namespace: namespace_of(change.object), name })
}

impl Index {
    /// Kind and key of the object that a key of this controller means.
    pub(super) fn parse(&self, key: &ObjectKey) -> Option<(Kind, ObjectKey)> {
        let (resource, name) = key.name.split_once(BAR)?;
        let kind = self.kinds.get(resource)?;
        Some((kind.clone(), ObjectKey { namespace: key.namespace.clone(), name: name.to_owned() }))
    }

    /// Takes a change in; answers whom it concerns.
    pub(super) fn observe(&mut self, kind: &Kind, change: Change<'_>) -> Vec<ObjectKey> {
        let Some(key) = key_of(kind, change) else { return Vec::new() };
        self.kinds.insert(kind.resource(), kind.clone());
        let before = self.forget(&key);
        let mut woken = BTreeSet::new();
        if change.gone {
            let gone = before.as_ref().map_or_else(|| uid(change.object).to_owned(), |entry| entry.uid.clone());
            woken.extend(self.dependents.get(&gone).into_iter().flatten().cloned());
            self.wake_owners(before.iter(), &mut woken);
            return woken.into_iter().collect();
        }
        let now = Entry {
            uid: uid(change.object).to_owned(),
            owners: owners(change.object).map(|owner| owner.uid.to_owned()).collect(),
            awaits: awaits_dependents(change.object),
        };
        let changed = before.as_ref() != Some(&now);
        if (changed || change.listed) && (now.awaits || !now.owners.is_empty()) {
            woken.insert(key.clone());
        }
        if changed {
            // Another object of that name: the one before is gone.
            if let Some(before) = before.as_ref().filter(|before| before.uid != now.uid) {
                woken.extend(self.dependents.get(&before.uid).into_iter().flatten().cloned());
            }
            self.wake_owners(before.iter().chain([&now]), &mut woken);
        }
        self.remember(key, now);
        woken.into_iter().collect()
    }

    /// Where the object with this uid is.
    pub(super) fn home_of(&self, uid: &str) -> Option<&ObjectKey> {
        self.homes.get(uid)
    }

    /// Owners that wait for their dependents want to know how these are.
    fn wake_owners<'a>(&self, entries: impl Iterator<Item = &'a Entry>, woken: &mut BTreeSet<ObjectKey>) {
        let homes = entries.flat_map(|entry| &entry.owners).filter_map(|owner| self.homes.get(owner));
        woken.extend(homes.filter(|home| self.entries.get(*home).is_some_and(|owner| owner.awaits)).cloned());
    }

    fn remember(&mut self, key: ObjectKey, entry: Entry) {
        self.homes.insert(entry.uid.clone(), key.clone());
        for owner in &entry.owners {
            self.dependents.entry(owner.clone()).or_default().insert(key.clone());
        }
        self.entries.insert(key, entry);
    }

    fn forget(&mut self, key: &ObjectKey) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        self.homes.remove(&entry.uid);
        for owner in &entry.owners {
            if let Some(dependents) = self.dependents.get_mut(owner) {
                dependents.remove(key);
                if dependents.is_empty() {
                    self.dependents.remove(owner);
                }
            }
        }
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use api::kinds;
    use serde_json::{Value, json};

    use super::*;

    fn object(name: &str, owner: &str, status: &str) -> Value {
        let owners = if owner.is_empty() { json!([]) } else { json!([{"uid": format!("{owner}-uid")}]) };
        json!({"metadata": {"name": name, "namespace": "n", "uid": format!("{name}-uid"), "ownerReferences": owners}, "status": status})
    }

    fn observe(index: &mut Index, object: &Value, gone: bool, listed: bool) -> Vec<String> {
        let kind = kinds::find("secrets").unwrap();
        index.observe(kind, Change { object, gone, listed }).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn changes_that_bear_on_ownership_wake_and_others_do_not() {
        let mut index = Index::default();
        assert!(observe(&mut index, &object("db", "", ""), false, false).is_empty());
        assert_eq!(observe(&mut index, &object("s", "db", "a"), false, false), ["n/secrets/s"]);
        assert!(observe(&mut index, &object("s", "db", "b"), false, false).is_empty(), "a status is not looked at");
        assert_eq!(observe(&mut index, &object("s", "db", "b"), false, true), ["n/secrets/s"]);
        assert_eq!(observe(&mut index, &object("db", "", ""), true, false), ["n/secrets/s"]);
        assert!(observe(&mut index, &object("s", "", "b"), true, false).is_empty());
        assert!(index.entries.is_empty() && index.homes.is_empty() && index.dependents.is_empty(), "{index:?}");
    }

    #[test]
    fn an_owner_that_waits_is_told_of_its_dependents() {
        let mut index = Index::default();
        let mut owner = object("db", "", "");
        owner["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        owner["metadata"]["finalizers"] = json!(["foregroundDeletion"]);
        assert_eq!(observe(&mut index, &owner, false, false), ["n/secrets/db"]);
        assert_eq!(observe(&mut index, &object("s", "db", ""), false, false), ["n/secrets/db", "n/secrets/s"]);
        assert_eq!(observe(&mut index, &object("s", "db", ""), true, false), ["n/secrets/db"]);
    }

    #[test]
    fn keys_name_a_kind_of_any_group() {
        for plural in ["secrets", "statefulsets", "nodes"] {
            let kind = kinds::find(plural).unwrap();
            let object = object("x", "", "");
            let key = key_of(kind, Change { object: &object, gone: false, listed: false }).unwrap();
            let mut index = Index::default();
            index.observe(kind, Change { object: &object, gone: false, listed: false });
            let (found, parsed) = index.parse(&key).unwrap();
            assert_eq!((found.resource(), parsed.name.as_str()), (kind.resource(), "x"));
        }
        let index = Index::default();
        assert!(index.parse(&ObjectKey::cluster("x")).is_none() && index.parse(&ObjectKey::cluster("y/x")).is_none());
    }
}
