//! Which workloads a changed object wakes: the one that controls it, or those that select it.

use std::{collections::BTreeMap, sync::Arc};

use api::{Kind, LabelSelector, ObjectKey, Resource};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as SelectorSpec;
use parking_lot::Mutex;
use serde_json::Value;

use super::ownership;
use crate::controller::{Change, Watch, itself, namespace_of, owner};

/// Selectors of all workloads of a kind, as their watch has reported them.
///
/// A workload that is not known yet is no loss: it is reconciled as soon as its watch reports it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selectors(Arc<Mutex<BTreeMap<ObjectKey, LabelSelector>>>);

impl Selectors {
    /// Watches the workloads themselves, and objects that belong to them.
    pub(crate) fn watches<O: Resource, R: Resource>(&self) -> Vec<Watch> {
        let (owners, objects) = (self.clone(), self.clone());
        vec![
            Watch::new(Kind::of::<O>(), move |change| owners.note(change)),
            Watch::new(Kind::of::<R>(), move |change| objects.keys(change, O::KIND)),
        ]
    }

    /// All workloads that are known.
    pub(crate) fn known(&self) -> Vec<ObjectKey> {
        self.0.lock().keys().cloned().collect()
    }

    fn note(&self, change: Change<'_>) -> Vec<ObjectKey> {
        let keys = itself(change);
        for key in &keys {
            let selector = selector(change.object).filter(|_| !change.gone);
            match selector {
                Some(selector) => drop(self.0.lock().insert(key.clone(), selector)),
                None => drop(self.0.lock().remove(key)),
            }
        }
        keys
    }

    fn keys(&self, change: Change<'_>, kind: &str) -> Vec<ObjectKey> {
        let owners = change.object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
        if owners.into_iter().flatten().any(|owner| owner["controller"] == true) {
            return owner(change, kind);
        }
        let namespace = namespace_of(change.object);
        let labels = change.object.pointer("/metadata/labels").cloned().unwrap_or_default();
        let Ok(labels) = serde_json::from_value::<BTreeMap<String, String>>(labels) else { return Vec::new() };
        let all = self.0.lock();
        let selecting = all.iter().filter(|(key, all)| key.namespace == namespace && all.matches(Some(&labels)));
        selecting.map(|(key, _)| key.clone()).collect()
    }
}

/// The selector of a workload: `matchLabels` and `matchExpressions`, or labels alone as a ReplicationController has them.
fn selector(object: &Value) -> Option<LabelSelector> {
    let spec = object.pointer("/spec/selector")?;
    let parts = ["matchLabels", "matchExpressions"];
    let is_plain = spec.as_object()?.iter().any(|(name, value)| !parts.contains(&name.as_str()) || value.is_string());
    let parsed = if is_plain {
        let match_labels = serde_json::from_value(spec.clone()).ok();
        SelectorSpec { match_labels, match_expressions: None }
    } else {
        serde_json::from_value(spec.clone()).ok()?
    };
    ownership::selector(&parsed)
}

#[cfg(test)]
mod tests {
    use api::kinds::{Pod, ReplicaSet};
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_without_a_controller_wakes_what_selects_it() {
        let selectors = Selectors::default();
        let watches = selectors.watches::<ReplicaSet, Pod>();
        let set = |name: &str, selector: Value| json!({"metadata": {"name": name, "namespace": "d"}, "spec": {"selector": selector}});
        let keys = |index: usize, object: &Value, gone: bool| {
            let keys = (watches[index].keys)(Change { object, gone, listed: false });
            keys.into_iter().map(|key| key.name).collect::<Vec<_>>()
        };
        assert_eq!(keys(0, &set("web", json!({"matchLabels": {"app": "web"}})), false), ["web"]);
        assert_eq!(keys(0, &set("plain", json!({"app": "web"})), false), ["plain"]);
        assert_eq!(keys(0, &set("all", json!({})), false), ["all"]);
        let pod = |meta: Value| json!({"metadata": meta});
        let free = pod(json!({"namespace": "d", "labels": {"app": "web"}}));
        assert_eq!(keys(1, &free, false), ["plain", "web"]);
        assert_eq!(keys(1, &pod(json!({"namespace": "e", "labels": {"app": "web"}})), false), [""; 0]);
        let owner = json!([{"kind": "ReplicaSet", "name": "web", "controller": true}]);
        let owned = pod(json!({"namespace": "d", "labels": {"app": "web"}, "ownerReferences": owner}));
        assert_eq!(keys(1, &owned, false), ["web"]);
        assert_eq!(keys(0, &set("web", json!({"matchLabels": {"app": "web"}})), true), ["web"]);
        assert_eq!(keys(1, &free, false), ["plain"]);
    }
}
