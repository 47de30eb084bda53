//! Secrets are for the nodes whose pods name them.

use api::{
    Resource,
    kinds::{Binding, Pod},
};
use async_trait::async_trait;
use serde_json::Value;

use super::strategy::{NodeAccess, Objects, Strategy};
use crate::{api_error::Result, object};

pub(super) struct Secrets;

#[async_trait]
impl Strategy for Secrets {
    /// A secret keeps its type when the client does not name it.
    fn keep(&self, document: &mut Value, current: &Value) {
        if object::text(document, "/type").is_empty() {
            object::set(document, "type", current.get("type").cloned());
        }
    }

    /// A node reads secrets that a pod on it, or a binding into one, names.
    async fn confine(&self, objects: &dyn Objects, access: NodeAccess<'_>) -> Result<()> {
        let pods = objects.list(Pod::PLURAL, access.namespace).await?;
        let named = match pods_name_secret(&pods, access.node, access.name) {
            Some(false) => {
                let bindings = objects.list(Binding::PLURAL, access.namespace).await?;
                bindings.iter().any(|binding| binding_names_secret(binding, access.name))
            }
            named => named.unwrap_or_default(),
        };
        if named { Ok(()) } else { Err(access.refused("secret")) }
    }
}

/// Whether a parameter of the binding is a key of the secret.
fn binding_names_secret(binding: &Value, secret: &str) -> bool {
    let parameters = binding.pointer("/spec/parameters").and_then(Value::as_object);
    parameters.into_iter().flatten().any(|(_, value)| object::text(value, "/secretKeyRef/name") == secret)
}

/// Whether a pod of the node names the secret; nothing when the node has no pods at all.
fn pods_name_secret(pods: &[Value], node: &str, secret: &str) -> Option<bool> {
    let specs = pods.iter().filter_map(|pod| pod.get("spec"));
    let on_node: Vec<_> = specs.filter(|spec| object::text(spec, "/nodeName") == node).collect();
    (!on_node.is_empty()).then(|| on_node.iter().any(|spec| names_secret(spec, secret)))
}

/// Whether a pod's spec names the secret anywhere: volumes, environment, image pulls.
fn names_secret(value: &Value, secret: &str) -> bool {
    match value {
        Value::Array(items) => items.iter().any(|item| names_secret(item, secret)),
        Value::Object(fields) => fields.iter().any(|(field, value)| match (field.as_str(), value) {
            ("secretName", Value::String(name)) => name == secret,
            ("secretKeyRef" | "secretRef" | "secret", Value::Object(inner)) => {
                inner.get("name").or_else(|| inner.get("secretName")).and_then(Value::as_str) == Some(secret)
            }
            ("imagePullSecrets", Value::Array(items)) => items.iter().any(|item| object::text(item, "/name") == secret),
            _ => names_secret(value, secret),
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn every_way_to_name_a_secret_counts() {
        for spec in [
            json!({"volumes": [{"name": "v", "secret": {"secretName": "s"}}]}),
            json!({"volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": "s"}}]}}]}),
            json!({"containers": [{"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}]}),
            json!({"initContainers": [{"envFrom": [{"secretRef": {"name": "s"}}]}]}),
            json!({"imagePullSecrets": [{"name": "s"}]}),
        ] {
            assert!(super::names_secret(&spec, "s"), "{spec}");
            assert!(!super::names_secret(&spec, "t"), "{spec}");
        }
    }
}
