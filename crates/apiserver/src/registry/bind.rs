//! Binding pods: the only way in which a pod gets a node after it was created.

use api::{Kind, k8s_openapi::api::core::v1::Binding};
use serde_json::{Value, json};

use super::{
    admit::Target,
    store::{Registry, Stored},
};
use crate::{
    api_error::{ApiError, Result},
    limits,
    managed::{Change, Entries, Writer},
    object,
    query::options::WriteOptions,
};

/// Condition of a pod that has a node.
const SCHEDULED: &str = "PodScheduled";
/// The subresource that writes it, as managedFields name it.
const BINDING: &str = "binding";

impl Registry {
    /// Assigns a pod to the node of the binding, unless it has one or is being deleted.
    ///
    /// The pod was valid when it was stored and only its node changes, so it is not admitted again: admission keeps
    /// everybody else from changing the node.
    pub(crate) async fn bind(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
        binding: &Binding,
        options: &WriteOptions,
    ) -> Result<()> {
        let writer = Writer { subresource: BINDING, ..self.writer(kind, Target::Object, options) };
        for _ in 0..limits::MAX_WRITE_ATTEMPTS {
            let current = self.get(kind, namespace, name).await?;
            let now = object::time(self.now());
            let mut next = plan(&current, binding, &now).map_err(|message| ApiError::conflict(kind, name, &message))?;
            let owners = Entries::of(&current.object)?.unwrap_or_default();
            self.record_managers(kind, &current.object, &mut next, owners, &writer, Change::Updated)?;
            if options.dry_run || self.replace(kind, namespace, name, &current, next).await?.is_some() {
                return Ok(());
            }
        }
        Err(ApiError::conflict(kind, name, "others kept changing it"))
    }
}

/// The pod with the binding's node and annotations, or the reason why it cannot be bound. Its generation stays: the
/// desired pod did not change. Pure.
fn plan(current: &Stored, binding: &Binding, now: &Value) -> Result<Value, String> {
    let pod = &current.object;
    let name = object::name(pod);
    let insists =
        |wanted: &Option<String>, found: &str| wanted.as_deref().is_some_and(|it| !it.is_empty() && it != found);
    if insists(&binding.metadata.uid, object::uid(pod)) {
        return Err(format!("the binding is for another pod {name}, with another uid"));
    }
    if insists(&binding.metadata.resource_version, &current.revision.to_string()) {
        return Err("the pod has been modified; please look at it again".to_owned());
    }
    if object::is_deleting(pod) {
        return Err(format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    let node = object::text(pod, "/spec/nodeName");
    if !node.is_empty() {
        return Err(format!("pod {name} is already assigned to node {node:?}"));
    }
    if pod.pointer("/spec/schedulingGates").and_then(Value::as_array).is_some_and(|gates| !gates.is_empty()) {
        return Err(format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    let mut next = pod.clone();
    next["spec"]["nodeName"] = binding.target.name.clone().unwrap_or_default().into();
    if let Some(annotations) = binding.metadata.annotations.as_ref().filter(|all| !all.is_empty()) {
        let mut all = next.pointer("/metadata/annotations").cloned().unwrap_or_else(|| json!({}));
        for (key, value) in annotations {
            all[key] = value.clone().into();
        }
        object::set_meta(&mut next, "annotations", Some(all));
    }
    schedule(&mut next, now);
    Ok(next)
}

/// Says in the status that the pod has a node.
fn schedule(pod: &mut Value, now: &Value) {
    let Some(status) = pod.as_object_mut().map(|pod| pod.entry("status").or_insert_with(|| json!({}))) else { return };
    let mut conditions = status.get("conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    conditions.retain(|condition| condition["type"] != SCHEDULED);
    conditions.push(json!({"type": SCHEDULED, "status": "True", "lastTransitionTime": now}));
    object::set(status, "conditions", Some(conditions.into()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(mut object: Value) -> Stored {
        object["metadata"]["name"] = "p".into();
        object["metadata"]["uid"] = "u".into();
        Stored { object, revision: 7, lease: 0 }
    }

    fn binding(meta: Value) -> Binding {
        serde_json::from_value(json!({"metadata": meta, "target": {"name": "n1"}})).unwrap()
    }

    #[test]
    fn a_pod_gets_its_node_once_and_only_while_it_waits_for_one() {
        let now = json!("2026-01-01T00:00:00Z");
        let plan = |pod: Value, meta: Value| plan(&stored(pod), &binding(meta), &now);
        let waiting = json!({"metadata": {"generation": 1}, "spec": {}, "status": {"conditions": [
            {"type": "Ready", "status": "False"}, {"type": SCHEDULED, "status": "False", "reason": "Unschedulable"},
        ]}});
        let bound = plan(waiting.clone(), json!({"uid": "u", "annotations": {"a": "b"}})).unwrap();
        assert_eq!((&bound["spec"]["nodeName"], &bound["metadata"]["generation"]), (&json!("n1"), &json!(1)));
        assert_eq!(bound["metadata"]["annotations"], json!({"a": "b"}));
        let scheduled = json!({"type": SCHEDULED, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        assert_eq!(bound["status"]["conditions"], json!([{"type": "Ready", "status": "False"}, scheduled]));

        for (pod, meta) in [
            (json!({"metadata": {}, "spec": {"nodeName": "n2"}}), json!({})),
            (json!({"metadata": {}, "spec": {"nodeName": "n1"}}), json!({})),
            (json!({"metadata": {}, "spec": {"schedulingGates": [{"name": "a"}]}}), json!({})),
            (json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": {}}), json!({})),
            (waiting.clone(), json!({"uid": "other"})),
            (waiting.clone(), json!({"resourceVersion": "6"})),
        ] {
            assert!(plan(pod.clone(), meta.clone()).is_err(), "{pod} {meta}");
        }
    }
}
