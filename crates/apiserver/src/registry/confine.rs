//! Which secrets a node needs: those its pods name.

use api::{Kind, kinds};
use serde_json::Value;

use super::store::{Registry, Stored};
use crate::{api_error::Result, object, query::options::Selection};

impl Registry {
    /// Whether a pod on the node, or a binding into one, names the secret.
    pub(crate) async fn is_secret_of_node(
        &self,
        pods: &Kind,
        namespace: &str,
        node: &str,
        secret: &str,
    ) -> Result<bool> {
        let (found, _) = self.everything(pods, Some(namespace), &Selection::default()).await?;
        match pods_name_secret(&found, node, secret) {
            None => return Ok(false),
            Some(true) => return Ok(true),
            Some(false) => {}
        }
        let Some(bindings) = kinds::find("bindings") else { return Ok(false) };
        let (bindings, _) = self.everything(bindings, Some(namespace), &Selection::default()).await?;
        Ok(bindings.iter().any(|binding| {
            let parameters = binding.object.pointer("/spec/parameters").and_then(Value::as_object);
            parameters.into_iter().flatten().any(|(_, value)| object::text(value, "/secretKeyRef/name") == secret)
        }))
    }
}

/// Whether a pod of the node names the secret; nothing when the node has no pods at all.
fn pods_name_secret(pods: &[Stored], node: &str, secret: &str) -> Option<bool> {
    let specs = pods.iter().filter_map(|pod| pod.object.get("spec"));
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
