//! Apply sets: which objects were applied from a file, so that those it no longer contains can be deleted.
//!
//! Membership is a label on the object and is recorded nowhere else, so a set survives the loss of the machine that
//! applied it.

use std::collections::BTreeSet;

use api::{Kind, meta::is_label_value, names::label::APPLY_SET};
use client::{DeleteParams, DynamicApi, ListParams};
use serde_json::{Value, json};

use crate::{
    context::Context,
    error::{Error, Result},
    outln,
    output::name,
};

/// Kind, namespace (empty for cluster-scoped objects) and name.
pub type Member = (String, String, String);

/// A set and its members after a file was applied.
#[derive(Debug)]
pub struct ApplySet {
    name: String,
    members: BTreeSet<Member>,
}

impl ApplySet {
    /// An empty set with this name.
    pub fn new(name: &str) -> Result<Self> {
        if name.is_empty() || !is_label_value(name) {
            let remedy = "use up to 63 letters, digits, '-', '_' and '.'";
            return Err(Error::usage("--apply-set", format!("{name:?} is not a valid label value"), remedy));
        }
        Ok(Self { name: name.to_owned(), members: BTreeSet::new() })
    }

    /// Adds an object that is about to be applied.
    pub fn add(&mut self, kind: &Kind, namespace: &str, object: &mut Value) {
        if !object["metadata"]["labels"].is_object() {
            object["metadata"]["labels"] = json!({});
        }
        object["metadata"]["labels"][APPLY_SET] = json!(self.name);
        self.members.insert(member(kind, namespace, name(object)));
    }

    /// Deletes the members on the server that the file does not contain, and prints them.
    pub async fn prune(&self, context: &Context<'_>) -> Result<()> {
        let params = ListParams::default().labels(format!("{APPLY_SET}={}", self.name));
        // Namespaces are first in the list of kinds, so that their contents are deleted before them.
        let kinds = context.kinds(|_| false).await;
        for kind in kinds.resources().collect::<Vec<_>>().into_iter().rev() {
            let (objects, _) = DynamicApi::new(context.client.clone(), kind, None).list_all(&params).await?;
            for object in objects.iter().filter(|object| self.is_over(kind, object)) {
                let api = DynamicApi::new(context.client.clone(), kind, object["metadata"]["namespace"].as_str());
                match api.delete(name(object), &DeleteParams::default()).await {
                    Err(error) if error.is_not_found() => {}
                    Err(error) => return Err(error.into()),
                    Ok(()) => outln!("{}/{} deleted", kind.resource(), name(object))?,
                }
            }
        }
        Ok(())
    }

    /// Whether an object with the label is to be deleted. Objects that have an owner were created by a controller, which
    /// copied the label; the garbage collector deletes them with their owner.
    fn is_over(&self, kind: &Kind, object: &Value) -> bool {
        let owned = object["metadata"]["ownerReferences"].as_array().is_some_and(|owners| !owners.is_empty());
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        !owned && !self.members.contains(&member(kind, namespace, name(object)))
    }
}

fn member(kind: &Kind, namespace: &str, name: &str) -> Member {
    let namespace = if kind.is_namespaced() { namespace } else { "" };
    (kind.resource(), namespace.to_owned(), name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(name: &str) -> &'static Kind {
        api::kinds::find(name).unwrap()
    }

    #[test]
    fn only_what_the_file_no_longer_names_and_nobody_owns_is_over() {
        let mut set = ApplySet::new("nix").unwrap();
        let mut kept = json!({"metadata": {"name": "kept", "labels": {"a": "b"}}});
        set.add(kind("configmap"), "default", &mut kept);
        assert_eq!(kept["metadata"]["labels"], json!({"a": "b", APPLY_SET: "nix"}));

        let here = |name: &str| json!({"metadata": {"name": name, "namespace": "default"}});
        assert!(!set.is_over(kind("configmap"), &here("kept")));
        assert!(set.is_over(kind("configmap"), &here("dropped")));
        assert!(set.is_over(kind("secret"), &here("kept")));
        assert!(set.is_over(kind("configmap"), &json!({"metadata": {"name": "kept", "namespace": "other"}})));
        let owned = json!({"metadata": {"name": "x", "namespace": "default", "ownerReferences": [{"uid": "1"}]}});
        assert!(!set.is_over(kind("service"), &owned));
    }

    #[test]
    fn objects_of_the_whole_cluster_have_no_namespace() {
        let mut set = ApplySet::new("nix").unwrap();
        set.add(kind("namespace"), "default", &mut json!({"metadata": {"name": "n"}}));
        assert!(!set.is_over(kind("namespace"), &json!({"metadata": {"name": "n"}})));
    }

    #[test]
    fn a_name_must_be_the_value_of_a_label() {
        assert!(ApplySet::new("").is_err() && ApplySet::new("a b").is_err());
    }
}
