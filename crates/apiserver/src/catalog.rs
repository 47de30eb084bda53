//! What a server serves: the kinds it has from the start, and those of CustomResourceDefinitions, which come and go.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use api::{Kind, Kinds, custom, kinds::CustomResourceDefinition};
use parking_lot::{Mutex, RwLock};
use serde_json::{Value, json};

use crate::{endpoint::Endpoints, openapi::OpenApi};

/// What is served at one time. A request sees one of these from its beginning to its end.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) kinds: Kinds,
    openapi: OnceLock<OpenApi>,
}

impl Served {
    fn new(kinds: Kinds) -> Arc<Self> {
        Arc::new(Self { kinds, openapi: OnceLock::new() })
    }

    /// The description, which is made when it is asked for first.
    pub(crate) fn openapi(&self, endpoints: &Endpoints) -> &OpenApi {
        self.openapi.get_or_init(|| OpenApi::build(&self.kinds, endpoints))
    }
}

/// All that is served. Whoever reads the catalog is never kept waiting by a change.
#[derive(Debug)]
pub(crate) struct Catalog {
    builtin: Kinds,
    definitions: Mutex<Definitions>,
    now: RwLock<Arc<Served>>,
}

/// All definitions, as far as they are known.
#[derive(Debug, Default)]
struct Definitions {
    /// By name, also those that are gone: a version that was read earlier must not bring one back.
    known: BTreeMap<String, Known>,
    /// The revision of the last listing. What it lacked, and is older, is gone.
    listed: u64,
}

/// The newest version of a definition that the server has seen.
#[derive(Debug, Default)]
struct Known {
    revision: u64,
    /// What its kinds are made of.
    facts: Value,
    kinds: Vec<Kind>,
}

impl Catalog {
    pub(crate) fn new(builtin: Kinds) -> Self {
        let now = RwLock::new(Served::new(builtin.clone()));
        Self { builtin, definitions: Mutex::default(), now }
    }

    /// What is served now.
    pub(crate) fn now(&self) -> Arc<Served> {
        self.now.read().clone()
    }

    /// Takes over a version of a definition, or that it is gone, unless a later one is known.
    pub(crate) fn observe(&self, name: &str, revision: u64, definition: Option<Value>) {
        let mut all = self.definitions.lock();
        if revision > all.listed && all.observe(name, revision, definition) {
            self.publish(&all);
        }
    }

    /// Takes over all definitions that there are at a revision.
    pub(crate) fn reset(&self, found: Vec<(String, u64, Value)>, revision: u64) {
        let mut all = self.definitions.lock();
        let before = all.known.len();
        let listed = |name: &String| found.iter().any(|(known, _, _)| known == name);
        all.known.retain(|name, known| known.revision > revision || listed(name));
        all.listed = all.listed.max(revision);
        let mut changed = all.known.len() != before;
        for (name, revision, definition) in found {
            changed |= all.observe(&name, revision, Some(definition));
        }
        if changed {
            self.publish(&all);
        }
    }

    fn publish(&self, all: &Definitions) {
        let kinds = all.known.values().flat_map(|known| known.kinds.clone()).collect();
        *self.now.write() = Served::new(self.builtin.clone().with_custom(kinds));
    }
}

impl Definitions {
    /// Whether what is served changes by this.
    fn observe(&mut self, name: &str, revision: u64, definition: Option<Value>) -> bool {
        let known = self.known.entry(name.to_owned()).or_default();
        if known.revision >= revision {
            return false;
        }
        known.revision = revision;
        let definition = definition.and_then(|object| match api::decode::<CustomResourceDefinition>(object) {
            Ok(definition) => Some(definition),
            Err(error) => {
                tracing::error!(name, %error, "a definition cannot be read, and what it defines is not served");
                None
            }
        });
        let facts = definition.as_ref().map_or(Value::Null, facts);
        if facts == known.facts {
            return false;
        }
        known.kinds = definition.map(|definition| custom::kinds(&definition)).unwrap_or_default();
        known.facts = facts;
        true
    }
}

/// What the kinds of a definition are made of; its other conditions change more often.
fn facts(definition: &CustomResourceDefinition) -> Value {
    let names = definition.status.as_ref().map(|status| &status.accepted_names);
    let ends = definition.metadata.deletion_timestamp.is_some();
    json!([definition.spec, names, custom::has_condition(definition, custom::ESTABLISHED), ends])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(plural: &str, established: bool) -> Value {
        let schema = json!({"openAPIV3Schema": {"type": "object"}});
        json!({
            "metadata": {"name": format!("{plural}.example.com")},
            "spec": {
                "group": "example.com", "scope": "Cluster", "names": {"plural": plural, "kind": "W"},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}],
            },
            "status": {"conditions": [{"type": "Established", "status": if established { "True" } else { "False" }}]},
        })
    }

    fn served(catalog: &Catalog) -> Vec<String> {
        let custom = catalog.now();
        custom.kinds.iter().filter(|kind| kind.group() == "example.com").map(Kind::resource).collect()
    }

    #[test]
    fn the_newest_version_of_a_definition_counts() {
        let catalog = Catalog::new(Kinds::builtin());
        catalog.observe("a.example.com", 5, Some(definition("a", false)));
        assert!(served(&catalog).is_empty());
        catalog.observe("a.example.com", 6, Some(definition("a", true)));
        assert_eq!(served(&catalog), ["a.example.com"]);
        let before = catalog.now();
        catalog.observe("a.example.com", 5, Some(definition("a", false)));
        catalog.observe("a.example.com", 7, Some(definition("a", true)));
        assert!(Arc::ptr_eq(&before, &catalog.now()), "nothing that matters has changed");
        catalog.observe("a.example.com", 8, None);
        catalog.observe("a.example.com", 7, Some(definition("a", true)));
        assert!(served(&catalog).is_empty(), "what is gone does not come back");
        catalog.observe("c.example.com", 12, Some(definition("c", true)));
        catalog.reset(vec![("b.example.com".into(), 9, definition("b", true))], 10);
        assert_eq!(served(&catalog), ["b.example.com", "c.example.com"]);
        catalog.observe("b.example.com", 9, Some(definition("b", true)));
        catalog.reset(Vec::new(), 20);
        catalog.observe("b.example.com", 10, Some(definition("b", true)));
        assert!(served(&catalog).is_empty());
    }
}
